package mindsphere_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/clock"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// speak has an agent make its machine and send one point, one event and one file.
func speak(t *testing.T, s *mindsphere.Service, clientID string) {
	t.Helper()
	a, ok := s.Agent(clientID)
	require.True(t, ok)
	session := s.Open(mindsphere.Identity{Tenant: a.Tenant, Region: mindsphere.EU1, ClientID: clientID, AgentID: a.AgentID}, mindsphere.Origin{}, silent{})
	model, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	for ch, text := range map[wire.Channel]string{
		wire.Events: `{"events":[{"timestamp":"2026-01-01T00:00:00Z","severity":"20","type":"T"}]}`,
		wire.File:   `{"file":{"name":"f","content":"QQ"}}`,
	} {
		require.Nil(t, session.Publish(context.Background(), ch, []byte(text)).Refusal)
	}
	require.Nil(t, session.Publish(context.Background(), wire.ModelV4, []byte(strings.Replace(string(model), `"Machine"`, `"Machine `+clientID+`"`, 1))).Refusal)
	require.Nil(t, session.Publish(context.Background(), wire.TimeSeries, []byte(`{"timeseries":[{"timestamp":"2026-01-01T00:00:00Z","values":[{"dataPointId":"rpm","value":"1"}]}]}`)).Refusal)
}

// machine is the id of the asset that an agent's model has made, empty where there is none.
func machine(s *mindsphere.Service, clientID string) string {
	for _, a := range s.Assets("camexia") {
		if a.Name == "Machine "+clientID {
			return a.AssetID
		}
	}
	return ""
}

// held is what can be read of an agent's data: points of an asset, events, files.
func held(s *mindsphere.Service, clientID, asset string) (n [3]int) {
	n[0] = len(s.TimeSeries("camexia", asset, "mechanics", "rpm", time.Time{}, time.Time{}))
	for _, e := range s.AgentEvents("camexia") {
		if e.Agent == clientID {
			n[1]++
		}
	}
	for _, f := range s.AgentFiles("camexia") {
		if f.Agent == clientID {
			n[2]++
		}
	}
	return n
}

// What reset agents have sent, made and were issued is gone, after a restart too; the others' stays.
func TestForgottenAgents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none, one := [3]int{}, [3]int{1, 1, 1}
	var a, b string
	lives(t, dir, func(s *mindsphere.Service, _ *clock.Control) {
		require.NoError(t, s.PutTenant(mindsphere.Tenant{Name: "camexia"}))
		for _, name := range []string{"a", "b"} {
			_, _, err := s.IssueCertificate("camexia", name, "")
			require.NoError(t, err)
			speak(t, s, "camexia_"+name)
		}
		a, b = machine(s, "camexia_a"), machine(s, "camexia_b")
		require.Equal(t, [2][3]int{one, one}, [2][3]int{held(s, "camexia_a", a), held(s, "camexia_b", b)})
		s.ForgetData("nobody*")
		require.True(t, s.DeleteAgent("camexia_a"))
		require.Equal(t, one, held(s, "camexia_a", a), "an agent's deletion leaves its data")
		s.ForgetMade(func(id string) bool { return id == "camexia_a" })
		s.ForgetData("camexia_a")
		require.Len(t, s.IssuedCertificates("camexia"), 1)
	})
	lives(t, dir, func(s *mindsphere.Service, _ *clock.Control) {
		require.Empty(t, machine(s, "camexia_a"))
		require.Equal(t, [2][3]int{none, one}, [2][3]int{held(s, "camexia_a", a), held(s, "camexia_b", b)})
		_, _, err := s.IssueCertificate("camexia", "a", "")
		require.NoError(t, err)
		speak(t, s, "camexia_a")
		require.Equal(t, one, held(s, "camexia_a", machine(s, "camexia_a")), "new data counts")
		require.True(t, s.DeleteTenant("camexia"))
		require.NoError(t, s.PutTenant(mindsphere.Tenant{Name: "camexia"}))
		require.Equal(t, none, held(s, "camexia_b", b))
		text, err := json.Marshal([]any{s.Assets("camexia"), s.IssuedCertificates("camexia"), s.AgentEvents("camexia")})
		require.NoError(t, err)
		require.Equal(t, "[[],[],null]", string(text))
	})
}
