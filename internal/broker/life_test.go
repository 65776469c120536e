package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func withWill(id string, keepAlive uint16) brokertest.Connect {
	return brokertest.Connect{ClientID: id, KeepAlive: keepAlive, Will: &brokertest.Publish{Topic: "w", Payload: []byte("by"), QoS: 1, Retain: true}}
}

// However a connection ends: no packet to the client, the will once unless it said goodbye, then Gone.
func TestEnds(t *testing.T) {
	t.Parallel()
	some := &rule.Refusal{Rule: "P-1/x"}
	for name, tc := range map[string]struct {
		end    func(f *fixture, client *brokertest.Conn)
		cause  error
		noWill bool
		closed []rule.ID // rules of the closed events
	}{
		"disconnect":   {end: func(_ *fixture, c *brokertest.Conn) { c.Send(brokertest.Disconnect) }, cause: ErrDisconnect, noWill: true},
		"kick":         {end: func(f *fixture, _ *brokertest.Conn) { f.device(0).c.Link.Close(some) }, cause: some, closed: []rule.ID{""}},
		"expiry":       {end: func(f *fixture, _ *brokertest.Conn) { f.srv.Disconnect("ep", "d", net.ErrClosed) }, cause: net.ErrClosed, closed: []rule.ID{""}},
		"takeover":     {end: func(f *fixture, _ *brokertest.Conn) { f.online(brokertest.Connect{ClientID: "d"}) }, cause: ErrTakenOver, closed: []rule.ID{"T-3"}},
		"keep alive":   {end: func(*fixture, *brokertest.Conn) { time.Sleep(15 * second) }, cause: ErrKeepAlive, closed: []rule.ID{"T-4"}},
		"second hello": {end: func(_ *fixture, c *brokertest.Conn) { c.Send(withWill("d", 10).Bytes()) }, cause: &rule.Refusal{Rule: "T-2"}, closed: []rule.ID{""}},
		"killed": {end: func(f *fixture, c *brokertest.Conn) {
			f.srv.Kill(net.ErrClosed)
			c.Send(brokertest.Publish{Topic: "t", Payload: []byte("late"), QoS: 1, ID: 1}.Bytes())
		}, cause: net.ErrClosed, noWill: true, closed: []rule.ID{""}},
		"shutdown": {end: func(f *fixture, _ *brokertest.Conn) { require.NoError(f, f.srv.Close(f.Context())) }, cause: ErrShutdown, closed: []rule.ID{""}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				client := f.online(withWill("d", 10))
				tc.end(f, client)
				client.ExpectClosed()
				got := f.goneOnce(0)
				var want, r *rule.Refusal
				if errors.As(tc.cause, &want) {
					require.ErrorAs(t, got, &r)
					require.Equal(t, want.Rule, r.Rule)
				} else {
					require.ErrorIs(t, got, tc.cause)
				}
				var closed []rule.ID
				for _, e := range f.events(journal.Closed) {
					closed = append(closed, e.Rule)
				}
				require.Equal(t, tc.closed, closed)
				if tc.noWill {
					require.Empty(t, f.device(0).wills)
					return
				}
				require.Equal(t, []Message{{Topic: "w", Payload: []byte("by"), QoS: 1, Retain: true}}, f.device(0).wills)
			})
		})
	}
	t.Run("drop", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fixture) {
			f.online(withWill("d", 10)).Close()
			require.Error(t, f.goneOnce(0))
			require.Len(t, f.device(0).wills, 1)
			require.Equal(t, []string{"connect d", "established", "will w", "gone"}, f.notes())
		})
	})
}

func TestTakeoverOrder(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		old := f.online(withWill("d", 0))
		f.srv.cfg.Journal.Append(journal.Event{Kind: journal.Reset}) // a mark
		f.online(brokertest.Connect{ClientID: "d"})
		old.ExpectClosed()
		require.Equal(t, []string{"connect d", "established", "connect d", "will w", "gone", "established"}, f.notes())
		kinds := []journal.Kind{}
		events, _ := f.journal.Select(journal.Filter{Since: 3})
		for _, e := range events {
			kinds = append(kinds, e.Kind)
		}
		require.Equal(t, []journal.Kind{journal.Connect, journal.Closed, journal.Connack}, kinds)
		require.Equal(t, 1, f.srv.Connections())
	})
}

// Another endpoint of the platform, and a client that is refused, take over nothing.
func TestNoTakeover(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.online(brokertest.Connect{ClientID: "d"})
		f.online(brokertest.Connect{})
		f.online(brokertest.Connect{})
		f.connect = func(*Connect) (Session, error) { return Session{}, &rule.Refusal{Rule: "P-1/x", Code: 5} }
		client := f.dial()
		client.Send(brokertest.Connect{ClientID: "d"}.Bytes())
		client.Expect(0x20, 2, 0, 5)
		client.ExpectClosed()
		f.connect = nil
		there, here := net.Pipe()
		f.served.Go(func() { _ = f.srv.Serve(here, Peer{Endpoint: "other"}) })
		client = brokertest.New(t, there)
		client.Send(brokertest.Connect{ClientID: "d"}.Bytes())
		client.Expect(0x20, 2, 0, 0)
		require.Equal(t, 4, f.srv.Connections())
		require.True(t, f.srv.Connected("ep", "d"))
		require.True(t, f.srv.Connected("other", "d"))
	})
}

func TestSimultaneousConnects(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect = func(*Connect) (Session, error) {
			f.mu.Lock()
			f.judging++
			require.Equal(t, 1, f.judging, "one CONNECT of a client id at a time")
			f.mu.Unlock()
			time.Sleep(second)
			f.mu.Lock()
			f.judging--
			f.mu.Unlock()
			return Session{}, nil
		}
		const n = 8
		ended := make(chan error, n)
		for range n {
			client := f.dial()
			client.Send(brokertest.Connect{ClientID: "d"}.Bytes())
			go func() {
				for {
					if _, err := brokertest.ReadPacket(client); err != nil {
						ended <- err
						return
					}
				}
			}()
		}
		for range n - 1 {
			<-ended
		}
		synctest.Wait()
		require.Empty(t, ended, "one of them lives")
		require.Equal(t, 1, f.srv.Connections())
		require.True(t, f.srv.Connected("ep", "d"))
	})
}

// EDGE-24: where the platform says so, what is sent to a silent client keeps it alive as well.
func TestSentKeepsAlive(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{false, true} {
		t.Run(strconv.FormatBool(sent), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				client := f.online(brokertest.Connect{ClientID: "d", KeepAlive: 10})
				client.ExpectSilence(10 * second)
				require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "t", Unsubscribed: true}))
				require.Equal(t, "t", client.NextPublish().Topic)
				if sent {
					client.ExpectSilence(15*second - 1)
				} else {
					client.ExpectSilence(5*second - 1)
				}
				client.ExpectClosed()
				require.ErrorIs(t, f.goneOnce(0), ErrKeepAlive)
			}, func(c *Config) { c.SentKeepsAlive = sent })
		})
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keepAlive uint16
		silence   time.Duration
		closes    time.Duration // 0 is never
	}{
		"10":                    {keepAlive: 10, closes: 15 * second},
		"1":                     {keepAlive: 1, closes: 1500 * time.Millisecond},
		"the platform's":        {keepAlive: 1178, silence: 1767 * second, closes: 1767 * second},
		"none but platform's":   {silence: 1767 * second, closes: 1767 * second},
		"none":                  {},
		"mochi reckons 0 s":     {keepAlive: 43691, closes: 65536500 * time.Millisecond},
		"mochi reckons 32767 s": {keepAlive: 65535, closes: 98302500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				f.connect = func(*Connect) (Session, error) { return Session{Silence: tc.silence}, nil }
				client := f.online(brokertest.Connect{ClientID: "d", KeepAlive: tc.keepAlive})
				if tc.closes == 0 {
					client.ExpectSilence(100 * time.Hour)
					return
				}
				for _, packet := range [][]byte{brokertest.Pingreq, brokertest.Publish{Topic: "t", QoS: 1, ID: 1}.Bytes()} {
					client.ExpectSilence(tc.closes - 1)
					client.Send(packet)
					client.Next()
				}
				client.ExpectSilence(tc.closes - 1)
				require.True(t, f.srv.Connected("ep", "d"))
				start := time.Now()
				client.ExpectClosed()
				require.Equal(t, time.Duration(1), time.Since(start))
				require.ErrorIs(t, f.goneOnce(0), ErrKeepAlive)
			})
		})
	}
}

// The door's deadline holds until the CONNECT is accepted, and what follows it is no keep alive.
func TestDeadlineBeforeConnect(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		there, here := net.Pipe()
		require.NoError(t, here.SetReadDeadline(time.Now().Add(5*second)))
		result := make(chan error)
		f.served.Go(func() { result <- f.srv.Serve(here, Peer{}) })
		start := time.Now()
		require.ErrorIs(t, <-result, os.ErrDeadlineExceeded)
		require.Equal(t, 5*second, time.Since(start))
		there.Close()
		events, _ := f.journal.Select(journal.Filter{})
		require.Empty(t, events, "a connection without a packet is the door's to tell of")
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		silent, online := f.dial(), f.online(brokertest.Connect{ClientID: "d"})
		stalled := f.dial()
		stalled.Send(brokertest.Connect{ClientID: "does not read its CONNACK"}.Bytes())
		synctest.Wait()
		f.connect = func(*Connect) (Session, error) { time.Sleep(second); return Session{}, nil }
		judged := f.dial()
		judged.Send(brokertest.Connect{ClientID: "is being judged"}.Bytes())
		synctest.Wait()
		start := time.Now()
		require.NoError(t, f.srv.Close(t.Context()))
		require.Equal(t, second, time.Since(start))
		require.NoError(t, f.srv.Close(t.Context()))
		for _, c := range []*brokertest.Conn{silent, online, stalled, judged} {
			c.ExpectClosed()
		}
		late := f.dial()
		late.ExpectClosed()
		synctest.Wait()
		require.ErrorIs(t, f.result, ErrShutdown)
		require.Zero(t, f.srv.Connections())
	})
}

func TestCloseDoesNotWaitForAPlatformForEver(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		hold := make(chan struct{})
		f.publish = func(*device, Message) Verdict { <-hold; return Verdict{} }
		client := f.online(brokertest.Connect{ClientID: "d"})
		client.Send(brokertest.Publish{Topic: "t"}.Bytes())
		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		require.ErrorIs(t, f.srv.Close(ctx), context.DeadlineExceeded)
		client.ExpectClosed()
		close(hold)
	})
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	_, err := New(Config{})
	require.ErrorContains(t, err, "Head")
	_, err = New(Config{Head: &platform{}, Journal: &journal.Journal{}})
	require.ErrorContains(t, err, "levels")
}
