package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
)

func TestDelivery(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.online(brokertest.Connect{ClientID: "d"})
		l := f.device(0).c.Link
		require.False(t, l.Send(Outgoing{Topic: "zero/x"}), "nothing is subscribed")
		client.Send(brokertest.Subscribe(1, 0, "zero/#"), brokertest.Subscribe(1, 1, "one/+"))
		client.Expect([]byte("\x90\x03\x00\x01\x00\x90\x03\x00\x01\x01")...)
		qos, ok := l.Subscribed("zero")
		require.True(t, ok)
		require.Zero(t, qos)
		_, ok = l.Subscribed("two")
		require.False(t, ok)

		require.True(t, l.Send(Outgoing{Topic: "zero/x", Payload: []byte("0"), QoS: 1, Dup: true}))
		client.Expect([]byte("\x30\x09\x00\x06zero/x0")...)
		require.True(t, l.Send(Outgoing{Topic: "one/x", QoS: 1, Retain: true, Dup: true}))
		client.Expect([]byte("\x3b\x09\x00\x05one/x\x00\x01")...)
		require.True(t, l.Send(Outgoing{Topic: "else", QoS: 1, Unsubscribed: true}))
		client.Expect([]byte("\x32\x08\x00\x04else\x00\x02")...)

		client.Send(brokertest.Unsubscribe(1, "zero/#"))
		client.Expect(0xb0, 2, 0, 1)
		require.False(t, l.Send(Outgoing{Topic: "zero/x"}))
		require.Contains(t, f.notes(), "unsubscribe zero/#")
		client.Send(brokertest.Disconnect)
		client.ExpectClosed()
		synctest.Wait()
		require.False(t, l.Send(Outgoing{Topic: "one/x"}), "the connection has ended")
	})
}

// A device that is subscribed twice gets one copy with the higher QoS (MQTT 3.1.1 section 3.3.5).
func TestOverlappingSubscriptions(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.online(brokertest.Connect{ClientID: "d"})
		client.Send(brokertest.Subscribe(1, 0, "#"), brokertest.Subscribe(2, 1, "a"), brokertest.Subscribe(3, 0, "+"))
		client.Expect([]byte("\x90\x03\x00\x01\x00\x90\x03\x00\x02\x01\x90\x03\x00\x03\x00")...)
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "a", QoS: 1}))
		client.Expect([]byte("\x32\x05\x00\x01a\x00\x01")...)
		require.False(t, f.device(0).c.Link.Send(Outgoing{Topic: "$dps/x"}), "a wildcard in front matches no $ topic")
		client.ExpectSilence(second)
	})
}

// mochi mixes the ids of both sides: it would refuse the SUBSCRIBE and lose the message.
func TestPacketIDsOfBothSides(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.online(brokertest.Connect{ClientID: "d"})
		l := f.device(0).c.Link
		acked := func(n string) func() { return func() { f.note("acked " + n) } }
		require.True(t, l.Send(Outgoing{Topic: "a", QoS: 1, Unsubscribed: true, Acked: acked("1")}))
		client.Expect([]byte("\x32\x05\x00\x01a\x00\x01")...)
		require.True(t, l.Send(Outgoing{Topic: "b", QoS: 1, Unsubscribed: true, Acked: acked("2")}))
		client.Expect([]byte("\x32\x05\x00\x01b\x00\x02")...)
		client.Send(brokertest.Subscribe(1, 1, "x"), brokertest.Publish{Topic: "t", QoS: 1, ID: 2}.Bytes())
		client.Expect([]byte("\x90\x03\x00\x01\x01\x40\x02\x00\x02")...)
		client.Send(brokertest.Puback(2), brokertest.Puback(2), brokertest.Puback(1))
		client.ExpectSilence(second)
		require.Equal(t, []string{"connect d", "established", "publish t", "acked 2", "acked 1"}, f.notes())
	})
}

func TestIDsWrapPastTheOnesInUse(t *testing.T) {
	t.Parallel()
	o := outbound{lastID: 65534, unacked: []*inflight{{id: 1}, {id: 65535}}}
	require.EqualValues(t, 2, o.nextID())
	require.EqualValues(t, 3, o.nextID())
}

func TestOrderAndBound(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.online(brokertest.Connect{ClientID: "d"})
		l := f.device(0).c.Link
		accepted := 0
		for i := range 50 { // nobody reads the pipe: the first is on its way, 8 wait
			if l.Send(Outgoing{Topic: "t", Payload: []byte{byte(i)}, QoS: byte(i % 2), Unsubscribed: true}) {
				accepted++
			}
			synctest.Wait()
		}
		require.Equal(t, 9, accepted)
		for i := range accepted {
			require.Equal(t, []byte{byte(i)}, client.NextPublish().Payload)
		}
		require.Len(t, f.events(journal.Publish), accepted)
	}, func(c *Config) { c.Pending = 8 })
}

// An MQTT 5 client says how many unacknowledged messages it bears; the next ones wait.
func TestWindow(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.dial()
		client.Send([]byte("\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x02\x00\x01d"))
		client.Next()
		synctest.Wait()
		l := f.device(0).c.Link
		for i := range 5 {
			require.True(t, l.Send(Outgoing{Topic: "t", Payload: []byte{byte(i)}, QoS: 1, Unsubscribed: true}))
		}
		for id := byte(1); id <= 5; id++ {
			if id > 2 {
				client.ExpectSilence(second)
				client.Send(brokertest.Puback(uint16(id - 2)))
			}
			client.Expect(0x32, 7, 0, 1, 't', 0, id, 0, id-1)
		}
	}, func(c *Config) { c.Levels = []byte{5} })
}

// The sends of one message have one packet id and end with its PUBACK, also where they wait in the queue.
func TestFlight(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.dial()
		client.Send([]byte("\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x01\x00\x01d")) // receive maximum 1
		client.Next()
		synctest.Wait()
		l := f.device(0).c.Link
		o := Outgoing{Topic: "t", QoS: 1, Unsubscribed: true, Flight: &Flight{}, Acked: func() { f.note("acked") }}
		require.True(t, l.Send(o))
		client.Expect(0x32, 6, 0, 1, 't', 0, 1, 0)
		require.True(t, l.Send(o), "it needs no more room in the window")
		client.Expect(0x3a, 6, 0, 1, 't', 0, 1, 0)
		synctest.Wait()
		client.Send(brokertest.Puback(1))
		synctest.Wait()
		require.True(t, l.Send(o))
		require.True(t, l.Send(Outgoing{Topic: "u", QoS: 1, Unsubscribed: true}))
		client.Expect(0x32, 6, 0, 1, 'u', 0, 2, 0)

		held := o
		held.Flight = &Flight{}
		for range 2 { // behind the window
			require.True(t, l.Send(held))
		}
		client.ExpectSilence(second)
		client.Send(brokertest.Puback(2))
		client.Expect(0x32, 6, 0, 1, 't', 0, 3, 0)
		client.Expect(0x3a, 6, 0, 1, 't', 0, 3, 0)
		client.Send(brokertest.Puback(3))
		client.ExpectSilence(second)
		require.Equal(t, []string{"connect d", "established", "acked", "acked"}, f.notes())
	}, func(c *Config) { c.Levels = []byte{5} })
}

// Sent comes before Acked however fast the client is, and neither after Gone.
func TestSentThenAckedThenGone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.online(brokertest.Connect{ClientID: "d"})
		hold := make(chan struct{})
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "t", QoS: 1, Unsubscribed: true,
			Sent:  func(qos byte) { <-hold; f.note(fmt.Sprint("sent ", qos)) },
			Acked: func() { f.note("acked") }}))
		client.NextPublish()
		client.Send(brokertest.Puback(1), brokertest.Pingreq)
		client.Expect(brokertest.Pingresp...)
		client.Close()
		synctest.Wait()
		require.Equal(t, []string{"connect d", "established"}, f.notes())
		close(hold)
		synctest.Wait()
		require.Equal(t, []string{"connect d", "established", "sent 1", "acked", "gone"}, f.notes())
	})
}

// A kept session may be sent to as soon as it is accepted, here while its predecessor leaves; it sees the
// CONNACK first.
func TestLinkBeforeTheConnack(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect = func(c *Connect) (Session, error) {
			require.False(t, c.Link.Send(Outgoing{Topic: "kept/early", Unsubscribed: true}))
			return Session{Present: !c.CleanSession, Subscriptions: []Subscription{{Filter: "kept/#", QoS: 1}}}, nil
		}
		f.online(brokertest.Connect{ClientID: "d"})
		f.leave = func(d *device) {
			if d == f.device(0) {
				require.True(t, f.device(1).c.Link.Send(Outgoing{Topic: "kept/1", QoS: 1}))
				time.Sleep(second)
			}
		}
		client := f.dial()
		client.Send(brokertest.Connect{ClientID: "d", Session: true}.Bytes())
		client.Expect([]byte("\x20\x02\x01\x00\x32\x0a\x00\x06kept/1\x00\x01")...)
	})
}

// A client that does not read costs nobody a wait and is closed after the write timeout.
func TestStalledReader(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.online(brokertest.Connect{ClientID: "stalled", Will: &brokertest.Publish{Topic: "w"}})
		other := f.online(brokertest.Connect{ClientID: "other"})
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "t", Unsubscribed: true}))
		other.ExpectSilence(10*second - 1)
		other.Send(brokertest.Pingreq)
		other.Expect(brokertest.Pingresp...)
		require.True(t, f.srv.Connected("ep", "stalled"))
		other.ExpectSilence(1)
		require.ErrorIs(t, f.goneOnce(0), ErrStalled)
		require.Len(t, f.device(0).wills, 1)
		require.Equal(t, 1, f.srv.Connections())
	})
}

func TestSubscriptionLimit(t *testing.T) {
	t.Parallel()
	var o outbound
	for i := range maxSubscriptions {
		require.True(t, o.subscribe(fmt.Sprint(i), 0))
	}
	require.False(t, o.subscribe("one more", 0))
	require.True(t, o.subscribe("7", 1))
}

// What a platform sends on its own while it judges a message follows that message's PUBACK.
func TestSendWhileJudgingFollowsTheAck(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish = func(d *device, _ Message) Verdict {
			d.c.Link.Send(Outgoing{Topic: "a", Unsubscribed: true})
			synctest.Wait() // whoever could write it has done so
			return Verdict{}
		}
		client := f.online(brokertest.Connect{ClientID: "d"})
		go client.Write(brokertest.Publish{Topic: "t", QoS: 1, ID: 7}.Bytes())
		client.Expect(0x40, 2, 0, 7)
		require.Equal(t, "a", client.NextPublish().Topic)
	})
}
