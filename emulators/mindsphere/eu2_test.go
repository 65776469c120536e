package mindsphere_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// carrier keeps what it is given.
type carrier struct {
	to   []string
	sent []mindsphere.Message
}

func (c *carrier) Deliver(to mindsphere.Identity, m mindsphere.Message) mindsphere.Delivery {
	c.to, c.sent = append(c.to, to.ClientID), append(c.sent, m)
	return mindsphere.Delivered
}

const hub = "conn-demo2-iothub.azure-devices.net"

// The eu2 way: registered by DPS, a model and data through the hub, answers through the carrier.
func TestEU2(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.PutTenant(mindsphere.Tenant{Name: "demo2", Region: mindsphere.EU2, Hub: hub}))
	c := &carrier{}
	f.Carry(mindsphere.EU2, c)
	for range 2 {
		require.NoError(t, f.RegisterAgent("demo2", "demo2_Agent"))
	}
	require.Equal(t, "demo2_Agent", f.Assets("demo2")[0].ExternalID)
	for id, why := range map[string]string{"Agent": `begin with "demo2_"`, "demo2_": `begin with "demo2_"`, "demo2_a/b": "cannot stand in a topic"} {
		require.ErrorContains(t, f.RegisterAgent("demo2", id), why)
	}
	require.ErrorIs(t, f.RegisterAgent("camexia", "camexia_a"), mindsphere.ErrNotFound)
	require.Equal(t, "TenantEnrollmentGroup-TenantCACertificate-demo2", mindsphere.EnrollmentGroup("demo2"))

	text, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	send := func(property, body string) bool {
		name, value, _ := strings.Cut(property, "=")
		return f.ReceiveFromHub(mindsphere.HubMessage{Hub: strings.ToUpper(hub), DeviceID: "demo2_Agent", Properties: map[string]string{name: value}, Body: []byte(body)})
	}
	require.True(t, send("amo_v4=mi", strings.ReplaceAll(string(text), "camexia.", "demo2.")))
	require.Equal(t, []string{"demo2_Agent", "demo2_Agent", "demo2_Agent"}, c.to)
	name, value := c.sent[2].Channel.Property()
	require.Equal(t, "amo_v4=mip", name+"="+value)
	var r struct{ Data struct{ Status string } }
	require.NoError(t, json.Unmarshal(c.sent[2].Payload, &r))
	require.Equal(t, "Success", r.Data.Status)

	require.True(t, send("mc_v3=ts", `{"timeseries":[{"timestamp":"2026-01-01T00:00:00Z","values":[{"dataPointId":"rpm","value":"1"},{"dataPointId":"x","value":"1"}]}]}`))
	for _, a := range f.Assets("demo2") {
		if a.Name == "Machine" {
			require.Len(t, f.TimeSeries("demo2", a.AssetID, "mechanics", "rpm", time.Time{}, time.Time{}), 1)
		}
	}
	events, _ := f.journal.Select(journal.Filter{Rule: "MS-23/unmapped"})
	require.Len(t, events, 1)
	require.Equal(t, "mc_v3=ts", events[0].Topic)

	_, err = f.CreateJob("demo2", mindsphere.Job{Name: "n", ClientIDs: []string{"demo2_Agent"}, Data: json.RawMessage(`{}`)})
	require.NoError(t, err)
	require.Equal(t, "cmd_v3/c", c.sent[3].Channel.String())
	for _, other := range []string{"agm_v3=t", "amo_v3=ms", "colour=red"} {
		require.False(t, send(other, "{}"))
	}
	require.False(t, f.ReceiveFromHub(mindsphere.HubMessage{Hub: "other", DeviceID: "demo2_Agent", Properties: map[string]string{"mc_v3": "ts"}}))
}
