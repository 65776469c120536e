package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
)

func withFaults(c *Config) { c.Faults = fault.New(c.Journal, ids.New(1), c.Clock) }

// breaks sets a fault that happens once.
func (f *fixture) breaks(step fault.Step, a fault.Action) {
	f.Helper()
	_, err := f.srv.cfg.Faults.Put(fault.Fault{Match: fault.Match{Step: step}, Action: a, Count: 1})
	require.NoError(f, err)
}

// patient is online for a client that waits as long as it takes.
func (f *fixture) patient(c brokertest.Connect) *brokertest.Conn {
	f.Helper()
	client := f.online(c)
	client.Timeout = time.Hour
	return client
}

func ptr[T any](v T) *T { return &v }

var ping = []byte{0xc0, 0}

// judged are the topics that the platform has judged, in order.
func (f *fixture) judged() (topics []string) {
	for _, n := range f.notes() {
		if len(n) > 8 && n[:8] == "publish " {
			topics = append(topics, n[8:])
		}
	}
	return topics
}

// From the step on nothing is answered and nothing counts, the socket stands, and the session ends when keep
// alive says so, with its will.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	qos1 := func(topic string, id uint16) []byte { return brokertest.Publish{Topic: topic, QoS: 1, ID: id}.Bytes() }
	for step, tc := range map[fault.Step]struct {
		provoke func(f *fixture, c *brokertest.Conn)
		ends    time.Duration // after the step, of which the last packet before was heard 4 s earlier
		judged  []string
	}{
		fault.Connect: {ends: 15 * second},
		// What breaks there is lost itself, so that keep alive counts from the packet before.
		fault.Subscribe: {func(_ *fixture, c *brokertest.Conn) { c.Send(brokertest.Subscribe(1, 1, "t")) }, 11 * second, nil},
		fault.Publish:   {func(_ *fixture, c *brokertest.Conn) { c.Send(qos1("one", 1)) }, 11 * second, nil},
		// It is committed, and its acknowledgement is lost.
		fault.Puback: {func(_ *fixture, c *brokertest.Conn) { c.Send(qos1("one", 1)) }, 15 * second, []string{"one"}},
		fault.Deliver: {func(f *fixture, _ *brokertest.Conn) {
			require.True(f, f.device(0).c.Link.Send(Outgoing{Topic: "t", Unsubscribed: true}), "it counts as sent")
		}, 11 * second, nil},
	} {
		t.Run(string(step), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				f.breaks(step, fault.Action{HalfOpen: true})
				client := f.patient(withWill("d", 10))
				if tc.provoke != nil {
					time.Sleep(4 * second)
					tc.provoke(f, client)
				}
				start := time.Now()
				client.ExpectSilence(second)
				client.Send(ping, qos1("two", 2), ping)
				require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "u", QoS: 1, Unsubscribed: true}), "as to a device that has died")
				client.ExpectSilence(tc.ends - 2*second)
				require.True(t, f.srv.Connected("ep", "d"))
				client.ExpectClosed()
				require.Equal(t, tc.ends, time.Since(start))
				require.ErrorIs(t, f.goneOnce(0), ErrKeepAlive)
				require.Len(t, f.device(0).wills, 1)
				require.Equal(t, tc.judged, f.judged())
				require.Len(t, f.events(journal.Fault), 1)
			}, withFaults)
		})
	}
}

// The cloud does not see that a client which it cannot hear closes its socket. A client that comes again takes
// over at once.
func TestHalfOpenEnds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.breaks(fault.Connect, fault.Action{HalfOpen: true})
		f.online(withWill("d", 10)).Close()
		time.Sleep(14 * second)
		require.True(t, f.srv.Connected("ep", "d"))
		start := time.Now()
		f.online(withWill("d", 10))
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, f.goneOnce(0), ErrTakenOver)

		f.breaks(fault.Connect, fault.Action{HalfOpen: true})
		f.online(brokertest.Connect{ClientID: "for ever"}).Close()
		require.Error(t, f.goneOnce(2), "without keep alive the end of the socket is all that there is")
	}, withFaults)
}

// The bytes of a slow connection come at its pace, each way, and nobody else waits for them.
func TestSlow(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.breaks(fault.Subscribe, fault.Action{Slow: ptr(10)})
		client, other := f.patient(brokertest.Connect{ClientID: "d"}), f.online(brokertest.Connect{ClientID: "other"})
		start := time.Now()
		client.Send(brokertest.Subscribe(1, 1, "t"))
		client.Expect(0x90, 3, 0, 1, 1)
		require.Equal(t, 400*time.Millisecond, time.Since(start), "five bytes, the first at once")
		time.Sleep(second)
		start = time.Now()
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "t", Payload: make([]byte, 95)}))
		other.Send(ping)
		other.Expect(0xd0, 0)
		require.Zero(t, time.Since(start))
		client.NextPublish()
		require.Equal(t, 9900*time.Millisecond, time.Since(start), "100 bytes")

		time.Sleep(second)
		start = time.Now()
		client.Send(brokertest.Publish{Topic: "t", QoS: 1, ID: 1, Payload: make([]byte, 93)}.Bytes())
		client.Next()
		require.InDelta(t, 10+0.4, time.Since(start).Seconds(), 0.2, "100 bytes there, and 4 back")
	}, withFaults)
}

// Its end does not wait for what is still to be written.
func TestSlowEndsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.breaks(fault.Connect, fault.Action{Slow: ptr(1)})
		client := f.online(brokertest.Connect{ClientID: "d"})
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "t", Payload: make([]byte, 5000), Unsubscribed: true}))
		time.Sleep(second)
		start := time.Now()
		f.srv.Disconnect("ep", "d", ErrShutdown)
		require.ErrorIs(t, f.goneOnce(0), ErrShutdown)
		require.Zero(t, time.Since(start))
		client.Close()
	}, withFaults)
}

// Nor is a slow client taken for one that does not read.
func TestSlowIsNotStalled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.breaks(fault.Connect, fault.Action{Slow: ptr(10)})
		client := f.patient(brokertest.Connect{ClientID: "d"})
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "t", Payload: make([]byte, 500), Unsubscribed: true}))
		start := time.Now()
		client.NextPublish()
		require.Greater(t, time.Since(start), 2*defaultWriteTimeout)
	}, withFaults)
}

func TestReorderDelivery(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		minute := fault.Duration(time.Minute)
		client := f.patient(brokertest.Connect{ClientID: "d"})
		send := func(topic string) {
			require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: topic, QoS: 1, Unsubscribed: true}))
		}
		f.breaks(fault.Deliver, fault.Action{Reorder: &minute})
		send("one")
		client.ExpectSilence(second)
		send("two")
		send("three")
		for _, want := range []string{"two", "one", "three"} {
			require.Equal(t, want, client.NextPublish().Topic)
		}
		client.ExpectSilence(2 * time.Minute)

		f.breaks(fault.Deliver, fault.Action{Reorder: &minute})
		start := time.Now()
		send("alone")
		require.Equal(t, "alone", client.NextPublish().Topic, "nobody comes, and it goes by itself")
		require.Equal(t, time.Minute, time.Since(start))

		f.breaks(fault.Deliver, fault.Action{Reorder: &minute})
		require.False(t, f.device(0).c.Link.Send(Outgoing{Topic: "nobody wants it"}))
		send("not held up")
		require.Equal(t, "not held up", client.NextPublish().Topic)
	}, withFaults)
}

func TestReorderPublish(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		minute := fault.Duration(time.Minute)
		client := f.patient(withWill("d", 0))
		send := func(topic string, id uint16) {
			client.Send(brokertest.Publish{Topic: topic, QoS: 1, ID: id}.Bytes())
		}
		f.breaks(fault.Publish, fault.Action{Reorder: &minute})
		send("one", 1)
		client.Send(ping)
		client.Expect(0xd0, 0)
		client.ExpectSilence(second)
		send("two", 2)
		client.Expect(0x40, 2, 0, 2)
		client.Expect(0x40, 2, 0, 1)
		send("three", 3)
		client.Expect(0x40, 2, 0, 3)
		require.Equal(t, []string{"two", "one", "three"}, f.judged())

		f.breaks(fault.Publish, fault.Action{Reorder: &minute})
		send("alone", 4)
		start := time.Now()
		client.Expect(0x40, 2, 0, 4)
		require.Equal(t, time.Minute, time.Since(start), "it goes by itself")

		f.breaks(fault.Publish, fault.Action{Reorder: &minute})
		send("due now", 5)
		synctest.Wait()
		require.NoError(t, f.srv.cfg.Clock.(*clock.Control).Advance(time.Minute))
		require.Equal(t, "due now", f.judged()[4], "advance returns when it has happened")
		client.Expect(0x40, 2, 0, 5)

		f.breaks(fault.Publish, fault.Action{Reorder: &minute})
		send("last", 6)
		synctest.Wait()
		client.Close()
		require.Error(t, f.goneOnce(0))
		require.Equal(t, []string{"publish last", "will w", "gone"}, f.notes()[len(f.notes())-3:], "it had arrived")
	}, withFaults)
}

// The timer of a message that waits and the packets that come in do not judge at the same time.
func TestReorderPublishTakesTurns(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		span := fault.Duration(second)
		release := make(chan struct{})
		f.subscribe = func(d *device, _ string, qos byte) Verdict {
			d.p.note("subscribing")
			<-release
			d.p.note("subscribed")
			return Verdict{Granted: qos}
		}
		client := f.online(brokertest.Connect{ClientID: "d"})
		f.breaks(fault.Publish, fault.Action{Reorder: &span})
		client.Send(brokertest.Publish{Topic: "one", QoS: 1, ID: 1}.Bytes(), brokertest.Subscribe(2, 1, "t"))
		time.Sleep(2 * second)
		require.Equal(t, "subscribing", f.notes()[len(f.notes())-1])
		close(release)
		client.Expect(0x90, 3, 0, 2, 1)
		client.Expect(0x40, 2, 0, 1)
		require.Equal(t, []string{"subscribing", "subscribed", "publish one"}, f.notes()[2:])
	}, withFaults)
}

// A platform that panics over a message that has waited costs its connection only.
func TestReorderPublishPanics(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		span := fault.Duration(second)
		f.publish = func(*device, Message) Verdict { panic("no") }
		client, other := f.online(brokertest.Connect{ClientID: "d"}), f.online(brokertest.Connect{ClientID: "other"})
		f.breaks(fault.Publish, fault.Action{Reorder: &span})
		client.Send(brokertest.Publish{Topic: "one", QoS: 1, ID: 1}.Bytes())
		client.ExpectClosed()
		require.ErrorContains(t, f.goneOnce(0), "internal error")
		other.Send(ping)
		other.Expect(0xd0, 0)
	}, withFaults)
}

// A CONNECT that is lost: the client waits for its CONNACK, the server for the CONNECT, and gives up first.
func TestDroppedConnect(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.breaks(fault.Connect, fault.Action{Drop: true})
		client := f.dial()
		client.Timeout = time.Hour
		client.Send(withWill("d", 10).Bytes())
		client.Send(ping)
		start := time.Now()
		client.ExpectSilence(29 * second)
		client.ExpectClosed()
		require.Equal(t, 30*second, time.Since(start))
		require.Empty(t, f.notes(), "it never came")

		f.breaks(fault.Connect, fault.Action{Drop: true})
		client = f.dial()
		client.Send(withWill("d", 10).Bytes())
		synctest.Wait()
		start = time.Now()
		require.NoError(t, f.srv.Close(t.Context()))
		require.Zero(t, time.Since(start))
	}, withFaults)
}
