package mqtt_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const messagesDown = "$oc/devices/demo_node1/sys/messages/down"

func (c *cloud) listen(conn *brokertest.Conn) {
	conn.Send(brokertest.Subscribe(1, 1, messagesDown))
	conn.Expect(0x90, 3, 0, 1, 1)
	synctest.Wait()
}

func (c *cloud) message(id string, ttl *int) iotda.Message {
	c.t.Helper()
	m, err := c.SendMessage(instance, demo, iotda.NewMessage{ID: id, Content: text("hello"), PayloadFormat: "raw", TTL: ttl})
	require.NoError(c.t, err)
	return m
}

// DA-22: what is not acknowledged comes again every 2 s, three times in all, and then in rounds of 10 s.
func TestResends(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.listen(conn)
		require.Equal(t, iotda.Delivered, c.message("m1", nil).Status, "whether it is acknowledged or not")
		first := conn.NextPublish()
		require.False(t, first.Dup)
		again := func(after time.Duration) {
			t.Helper()
			conn.ExpectSilence(after - 1)
			p := conn.NextPublish()
			require.Equal(t, []any{true, first.ID, "hello"}, []any{p.Dup, p.ID, string(p.Payload)})
		}
		again(2 * time.Second)
		c.listen(conn) // a round does not begin before the first sends are over
		again(2 * time.Second)
		conn.ExpectSilence(time.Minute)

		c.listenAgain(conn, &first)
		again(10 * time.Second)
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()
		conn = c.join(demo)
		conn.ExpectSilence(time.Minute) // nobody can acknowledge what comes with QoS 0
		c.listenAgain(conn, nil)
		first = brokertest.Publish{ID: 1}
		again(10 * time.Second)
		again(10 * time.Second)
		conn.ExpectSilence(time.Minute)
		c.listen(conn)
		conn.ExpectSilence(time.Minute) // five rounds are over
		rule.Proves(t, "DA-22")
	})
}

// listenAgain subscribes where a message waits to come in its next round: as a duplicate of first, else anew.
func (c *cloud) listenAgain(conn *brokertest.Conn, first *brokertest.Publish) {
	c.t.Helper()
	conn.Send(brokertest.Subscribe(1, 1, messagesDown))
	conn.Expect(0x90, 3, 0, 1, 1)
	p := conn.NextPublish()
	require.Equal(c.t, first != nil, p.Dup)
	if first != nil {
		require.Equal(c.t, first.ID, p.ID)
	}
}

// A PUBACK ends the resends for ever, as does the end of the message's time to live; QoS 0 has none.
func TestResendsEnd(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.message("plain", nil)
		require.Zero(t, conn.NextPublish().QoS)
		conn.ExpectSilence(time.Minute)
		c.listen(conn)
		c.message("acked", nil)
		conn.Send(brokertest.Puback(conn.NextPublish().ID))
		c.message("late", nil)
		conn.NextPublish()
		conn.ExpectSilence(2*time.Second - 1)
		conn.Send(brokertest.Puback(conn.NextPublish().ID))
		conn.ExpectSilence(time.Minute)
		c.message("uncached", minutes(0))
		c.message("cached", minutes(5))
		conn.NextPublish()
		conn.NextPublish()
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()

		time.Sleep(5*time.Minute - time.Second) // of the bubble
		conn = c.join(demo)
		c.listenAgain(conn, nil)
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()
		time.Sleep(2 * time.Second)
		conn = c.join(demo)
		c.listen(conn)
		conn.ExpectSilence(time.Minute)
	})
}

// A message that the API refuses does not reach the device either.
func TestRefusedMessageIsNotSent(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.message("m1", nil)
		conn.NextPublish()
		_, err := c.SendMessage(instance, demo, iotda.NewMessage{ID: "m1", Content: text("again")})
		var e *iotda.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, iotda.CodeConflict, e.Code)
		conn.ExpectSilence(time.Second)
	})
}
