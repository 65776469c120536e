package azure

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// published is a whole message "1" of dev-01 under its packet identifier.
func published(id string) string {
	return "\x32\x24\x00\x1fdevices/dev-01/messages/events/" + id + "1"
}

// The connection stands, and the PUBACK does not come: after 30 seconds it is cut, without a DISCONNECT, and the
// next one gets the message.
func TestSendAgainAfterLostPuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		var lost []error
		cfg := hubConfig(c)
		cfg.OnState = func(s State, err error) {
			if s == Disconnected {
				lost = append(lost, err)
			}
		}
		h, p := up(t, c, cfg)
		start := time.Now()
		sent := sending(t.Context(), h, text("1"))
		p.Expect(published("\x00\x01"))
		p.ExpectEnd()
		require.Equal(t, 30*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		require.Equal(t, 30500*time.Millisecond, time.Since(start), "the first delay")
		p.Expect(published("\x00\x01"))
		p.Send("\x40\x02\x00\x01")
		require.NoError(t, <-sent)
		require.Len(t, lost, 1)
		require.EqualError(t, lost[0], "no PUBACK within 30s")
	})
}

// A message that was on its way before the connection was lost may have arrived: the error does not say "not sent",
// and names what was in the way. One that never left is not sent.
func TestContextEndsBeforeTheNextConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		ctx, cancel := context.WithTimeout(t.Context(), 30100*time.Millisecond)
		defer cancel()
		sent := sending(ctx, h, text("1"))
		p.Expect(published("\x00\x01"))
		p.ExpectEnd()
		err := <-sent
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var missing *clientkit.AckError
		require.ErrorAs(t, err, &missing)
		require.EqualError(t, err, "azure: message not acknowledged: context deadline exceeded; the last attempt: no PUBACK within 30s")
		ended, stop := context.WithCancel(t.Context())
		stop()
		require.EqualError(t, h.Send(ended, text("2")), "azure: message not sent: context canceled")
	})
}

// A PUBACK that comes at the last moment costs no connection, and neither does the next one, however long the
// connection stands: the limit is each packet's own.
func TestLatePubackDoesNotCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		for _, id := range []string{"\x00\x01", "\x00\x02", "\x00\x03"} {
			sent := sending(t.Context(), h, text("1"))
			p.Expect(published(id))
			time.Sleep(30*time.Second - time.Nanosecond)
			p.Send("\x40\x02" + id)
			require.NoError(t, <-sent)
		}
		require.NoError(t, h.Close(t.Context()))
		p.Expect(kittest.Disconnect)
	})
}

// Others whose acknowledgement comes do not keep a connection alive on which one is missing; they lose nothing.
func TestLostPubackAmongOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		unlucky := sending(t.Context(), h, text("1"))
		p.Expect(published("\x00\x01"))
		time.Sleep(20 * time.Second)
		lucky := sending(t.Context(), h, text("1"))
		p.Expect(published("\x00\x02"))
		p.Send("\x40\x02\x00\x02")
		require.NoError(t, <-lucky)
		under := sending(t.Context(), h, text("1"))
		p.Expect(published("\x00\x03"))
		time.Sleep(10 * time.Second)
		p.ExpectEnd()
		p, _ = c.Accept(kittest.Accepted)
		for _, id := range []string{"\x00\x01", "\x00\x02"} {
			p.Expect(published(id))
			p.Send("\x40\x02" + id)
		}
		require.NoError(t, <-unlucky)
		require.NoError(t, <-under)
	})
}

// A message that is never acknowledged ends with an error that says so; the limit is the configuration's.
func TestMessageThatIsNeverAcknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		cfg := hubConfig(c)
		cfg.Timing.Acknowledge = 5 * time.Second
		h, p := up(t, c, cfg)
		start := time.Now()
		sent := sending(t.Context(), h, text("1"))
		for range 5 {
			p.Expect(published("\x00\x01"))
			p.ExpectEnd()
			p, _ = c.Accept(kittest.Accepted)
		}
		err := <-sent
		require.EqualError(t, err, "azure: message not acknowledged: connection lost 5 times while it was under way, the last time: no PUBACK within 5s")
		var missing *clientkit.AckError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, clientkit.AckError{Missing: "PUBACK", After: 5 * time.Second}, *missing)
		require.Equal(t, 40500*time.Millisecond, time.Since(start), "five times 5 s, and 0.5, 1, 2, 4, 8 s between them")
		sent = sending(t.Context(), h, text("1"))
		p.Expect(published("\x00\x01"))
		p.Send("\x40\x02\x00\x01")
		require.NoError(t, <-sent)
	})
}

// A SUBACK that does not come is waited for as long, at first and when a new connection subscribes again.
func TestSubscribeAgainAfterLostSuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const wanted = "\x82\x2a\x00\x01\x00\x25devices/dev-01/messages/devicebound/#\x01"
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		start := time.Now()
		set := wait(none(func() error { return h.OnMessage(t.Context(), func(context.Context, Received) {}) }))
		p.Expect(wanted)
		p.ExpectEnd()
		require.Equal(t, 30*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(wanted)
		p.Send("\x90\x03\x00\x01\x01")
		require.NoError(t, (<-set).err)

		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		start = time.Now()
		p.Expect(wanted)
		p.ExpectEnd()
		require.Equal(t, 30*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(wanted)
		p.Send("\x90\x03\x00\x01\x01")
		require.NoError(t, h.Close(t.Context()))
		p.Expect(kittest.Disconnect)
	})
}

// DPS: the register request's PUBACK is missing, then the SUBACK; the third connection registers.
func TestProvisionAgainAfterLostAcknowledgements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		start := time.Now()
		done := provision(t.Context(), dpsConfig(c))
		p, _ := c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.Send(suback)
		require.Contains(t, p.Packet(), registerTopic+"1")
		p.ExpectEnd()
		require.Equal(t, 30*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.ExpectEnd()
		require.Equal(t, 60500*time.Millisecond, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.Send(suback)
		request := p.Packet()
		require.Contains(t, request, registerTopic+"2")
		reply(p, request, "$dps/registrations/res/200/?$rid=2",
			`{"operationId":"5","status":"assigned","registrationState":{"assignedHub":"h.azure-devices.net","deviceId":"device-001","status":"assigned"}}`)
		p.Expect(kittest.Disconnect)
		got := <-done
		require.NoError(t, got.err)
		require.Equal(t, "h.azure-devices.net", got.assignment.Hub)
	})
}
