package mqtt_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// MS-25, MS-26: a command and its updates.
func TestCommand(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		job, err := s.svc.CreateJob("camexia", mindsphere.Job{Name: "restart", ClientIDs: []string{"camexia_a"}, Data: json.RawMessage(`{"k":"<v> & w"}`)})
		require.NoError(t, err)
		p := a.NextPublish()
		require.Equal(t, in+"cmd_v3/c", p.Topic)
		require.Regexp(t, `^\{"id":"[0-9a-f]{32}","data":\{"jobId":"`+job.ID+`","createdAt":"2026-06-01T12:00:00.\d{3}Z","payload":\{"k":"<v> & w"\}\}\}$`, string(p.Payload))
		rule.Proves(t, "MS-25")

		command := s.svc.Commands("camexia", job.ID)[0]
		update := func(status, response string) string {
			return `{"id":"u","requestId":"` + command.ID + `","data":{"timestamp":"2026-01-01T00:00:00.000Z","jobId":"` + job.ID + `","status":"` + status + `","response":` + response + `}}`
		}
		state := func() mindsphere.JobCommand { return s.svc.Commands("camexia", job.ID)[0] }
		a.publish("cmd_v3/u", update("EXECUTING", `{"p":"10"}`))
		require.Equal(t, "EXECUTING", state().Status)
		a.publish("cmd_v3/u", update("EXECUTED", `{"p":"100"}`))
		require.Equal(t, "EXECUTED", state().Status)
		require.JSONEq(t, `{"p":"100"}`, string(state().Response))
		require.Equal(t, 2, state().Updates)
		done, _ := s.svc.Job("camexia", job.ID)
		require.Equal(t, "EXECUTED", done.Status)
		rule.Proves(t, "MS-26")
		for id, payload := range map[rule.ID]string{
			"MS-26/unreadable": `{"id":"u"}`,
			"MS-26/status":     update("DONE", "{}"),
			"MS-26/size":       update("EXECUTED", `{"x":"`+strings.Repeat("x", 4096)+`"}`),
			"MS-26/unknown":    strings.Replace(update("FAILED", "{}"), command.ID, "nothing", 1),
		} {
			a.publish("cmd_v3/u", payload)
			s.refusedAs(t, id)
			require.Equal(t, 2, state().Updates)
			rule.Proves(t, id)
		}
		a.ExpectSilence(time.Second)
		require.True(t, s.svc.DeleteJob("camexia", job.ID))
		a.publish("cmd_v3/u", update("EXECUTED", "{}"))
		s.refusedAs(t, "MS-26/unknown")
	})
}

// MS-25/lost: nobody listens, or nobody is there; MS-30: a kept session gets it later.
func TestCommandToAnAbsentAgent(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		job := mindsphere.Job{Name: "n", ClientIDs: []string{"camexia_a"}, Data: json.RawMessage(`{}`)}
		c := s.join(t, "a")
		synctest.Wait()
		_, err := s.svc.CreateJob("camexia", job)
		require.NoError(t, err)
		c.ExpectSilence(time.Second)
		require.Contains(t, s.refusedAs(t, "MS-25/lost").Detail, "not subscribed")
		c.Send(brokertest.Disconnect)
		c.ExpectClosed()
		synctest.Wait()
		_, err = s.svc.CreateJob("camexia", job)
		require.NoError(t, err)
		require.Contains(t, s.refusedAs(t, "MS-25/lost").Detail, "not connected")
		rule.Proves(t, "MS-25/lost")

		i := s.provision(t, "b")
		keep := brokertest.Connect{ClientID: "camexia_b", Session: true}
		c = s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		c.Send(brokertest.Subscribe(1, 1, "tc/camexia/camexia_b/i/cmd_v3/c"), brokertest.Disconnect)
		c.Expect(0x90, 3, 0, 1, 1)
		c.ExpectClosed()
		synctest.Wait()
		job.ClientIDs[0] = "camexia_b"
		made, err := s.svc.CreateJob("camexia", job)
		require.NoError(t, err)
		c = s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 1, 0)
		require.Contains(t, string(c.NextPublish().Payload), made.ID)
		rule.Proves(t, "MS-30")
	})
}

// MS-28: a token, which the journal does not show.
func TestToken(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		a.publish("agm_v3/t", `{"id":"r1"}`)
		p := a.NextPublish()
		require.Equal(t, in+"agm_v3/tr", p.Topic)
		var r struct {
			RequestID string
			Data      struct {
				Token     string   `json:"access_token"`
				Type      string   `json:"token_type"`
				Expires   int      `json:"expires_in"`
				Scope     []string `json:"scope"`
				ID        string   `json:"jti"`
				Timestamp int64    `json:"timestamp"`
			}
		}
		require.NoError(t, json.Unmarshal(p.Payload, &r))
		require.Equal(t, "r1", r.RequestID)
		require.Equal(t, 3600, r.Data.Expires)
		require.Equal(t, "Bearer", r.Data.Type)
		require.Equal(t, []string{"mdsp:core:DefaultAgent"}, r.Data.Scope)
		require.Regexp(t, "^[0-9a-f]{32}$", r.Data.ID)
		require.InDelta(t, today.Unix(), r.Data.Timestamp, 10)
		tenant, err := s.svc.Authorize(r.Data.Token)
		require.NoError(t, err)
		require.Equal(t, "camexia", tenant)
		s.neverShown(t, r.Data.Token)
		s.clock.Skew(time.Until(today.Add(2 * time.Hour)))
		_, err = s.svc.Authorize(r.Data.Token)
		require.ErrorIs(t, err, mindsphere.ErrUnauthorized)
		a.publish("agm_v3/t", `{}`)
		a.ExpectSilence(time.Second)
		s.refusedAs(t, "MS-28/request")
		rule.Proves(t, "MS-28", "MS-28/request")
	})
}
