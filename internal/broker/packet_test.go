package broker

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// One accepted connection sends bytes; the wire's answer is compared to the last byte.
func TestWire(t *testing.T) {
	t.Parallel()
	verdict := func(v Verdict) func(*device, Message) Verdict {
		return func(*device, Message) Verdict { return v }
	}
	some := &rule.Refusal{Rule: "P-1/x", Seen: "seen", Expected: "expected"}
	largest := brokertest.Publish{Topic: "t", Payload: make([]byte, 64<<10-7)}
	require.Len(t, largest.Bytes(), 64<<10)
	oneMore := brokertest.Publish{Topic: "t", Payload: make([]byte, 64<<10-6)}
	tooLarge := string(brokertest.Publish{Topic: "t", Payload: make([]byte, 64<<10)}.Bytes())
	for name, tc := range map[string]struct {
		publish func(*device, Message) Verdict
		sent    string
		want    string
		closed  bool
		refused []rule.ID
	}{
		"QoS 0":                                {sent: "\x30\x04\x00\x01tx"},
		"QoS 1 is acked":                       {sent: "\x32\x06\x00\x01t\x12\x34x", want: "\x40\x02\x12\x34"},
		"QoS 1 twice is acked twice":           {sent: "\x32\x06\x00\x01t\x00\x01x\x3a\x06\x00\x01t\x00\x01x", want: "\x40\x02\x00\x01\x40\x02\x00\x01"},
		"dropped QoS 1 gets no ack":            {publish: verdict(Verdict{Action: Drop}), sent: "\x32\x06\x00\x01t\x00\x01x"},
		"refused QoS 1 is acked":               {publish: verdict(Verdict{Action: Refuse, Refusal: some}), sent: "\x32\x06\x00\x01t\x00\x01x", want: "\x40\x02\x00\x01", refused: []rule.ID{"P-1/x"}},
		"close":                                {publish: verdict(Verdict{Action: Close, Refusal: some}), sent: "\x32\x06\x00\x01t\x00\x01x", closed: true, refused: []rule.ID{"P-1/x"}},
		"close without a reason":               {publish: verdict(Verdict{Action: Close}), sent: "\x30\x04\x00\x01tx", closed: true},
		"topics that mochi drops":              {sent: "\x32\x09\x00\x04$SYS\x00\x01x", want: "\x40\x02\x00\x01"},
		"QoS 2":                                {sent: "\x34\x06\x00\x01t\x00\x01x", closed: true, refused: []rule.ID{"T-7"}},
		"QoS 3":                                {sent: "\x36\x06\x00\x01t\x00\x01x", closed: true, refused: []rule.ID{"T-5"}},
		"duplicate with QoS 0":                 {sent: "\x38\x04\x00\x01tx", closed: true, refused: []rule.ID{"T-5"}},
		"packet id 0":                          {sent: "\x32\x06\x00\x01t\x00\x00x", closed: true, refused: []rule.ID{"T-5"}},
		"empty topic":                          {sent: "\x30\x02\x00\x00", closed: true, refused: []rule.ID{"T-5"}},
		"wildcard in a topic":                  {sent: "\x30\x05\x00\x03a/+", closed: true, refused: []rule.ID{"T-5"}},
		"topic is not UTF-8":                   {sent: "\x30\x03\x00\x01\xff", closed: true, refused: []rule.ID{"T-5"}},
		"topic longer than the packet":         {sent: "\x30\x03\x00\x09t", closed: true, refused: []rule.ID{"T-5"}},
		"as large as may be":                   {sent: string(largest.Bytes())},
		"one byte too large":                   {sent: string(oneMore.Bytes()), closed: true, refused: []rule.ID{"T-6"}},
		"too large":                            {sent: tooLarge, closed: true, refused: []rule.ID{"T-6"}},
		"too large by its header":              {sent: tooLarge[:len(tooLarge)-4], closed: true, refused: []rule.ID{"T-6"}},
		"second CONNECT":                       {sent: string(brokertest.Connect{ClientID: "d"}.Bytes()), closed: true, refused: []rule.ID{"T-2"}},
		"subscribe":                            {sent: "\x82\x0a\x00\x01\x00\x01a\x00\x00\x01b\x01", want: "\x90\x04\x00\x01\x00\x01"},
		"subscribe with QoS 2 grants 1":        {sent: "\x82\x06\x00\x01\x00\x01a\x02", want: "\x90\x03\x00\x01\x01"},
		"subscribe with QoS 3":                 {sent: "\x82\x06\x00\x01\x00\x01a\x03", closed: true, refused: []rule.ID{"T-5"}},
		"subscribe without filters":            {sent: "\x82\x02\x00\x01", closed: true, refused: []rule.ID{"T-5"}},
		"subscribe with packet id 0":           {sent: "\x82\x06\x00\x00\x00\x01a\x00", closed: true, refused: []rule.ID{"T-5"}},
		"subscribe with wrong flags":           {sent: "\x80\x06\x00\x01\x00\x01a\x00", closed: true, refused: []rule.ID{"T-5"}},
		"subscribe to filters that mochi lets": {sent: "\x82\x11\x00\x01\x00\x06sport#\x00\x00\x03a+b\x01", want: "\x90\x04\x00\x01\x80\x80", refused: []rule.ID{"T-5", "T-5"}},
		"subscribe to an empty filter":         {sent: "\x82\x05\x00\x01\x00\x00\x00", want: "\x90\x03\x00\x01\x80", refused: []rule.ID{"T-5"}},
		"subscribe: filter by filter":          {sent: "\x82\x13\x00\x07\x00\x01a\x01\x00\x06forbid\x00\x00\x01b\x00", want: "\x90\x05\x00\x07\x01\x80\x00", refused: []rule.ID{"P-2/forbid"}},
		"subscribe that costs the connection":  {sent: "\x82\x0d\x00\x07\x00\x01a\x01\x00\x04kick\x00", closed: true, refused: []rule.ID{"P-2/kick"}},
		"shared filter is the platform's":      {sent: "\x82\x0f\x00\x01\x00\x0a$share/g/a\x01", want: "\x90\x03\x00\x01\x01"},
		"unsubscribe what was not subscribed":  {sent: "\xa2\x08\x00\x09\x00\x01a\x00\x01b", want: "\xb0\x02\x00\x09"},
		"unsubscribe without filters":          {sent: "\xa2\x02\x00\x01", closed: true, refused: []rule.ID{"T-5"}},
		"unknown PUBACK":                       {sent: "\x40\x02\x00\x01"},
		"PUBREC":                               {sent: "\x50\x02\x00\x01", closed: true, refused: []rule.ID{"T-5"}},
		"PUBREL":                               {sent: "\x62\x02\x00\x01", closed: true, refused: []rule.ID{"T-5"}},
		"CONNACK":                              {sent: "\x20\x02\x00\x00", closed: true, refused: []rule.ID{"T-5"}},
		"AUTH":                                 {sent: "\xf0\x00", closed: true, refused: []rule.ID{"T-5"}},
		"type 0":                               {sent: "\x00\x00", closed: true, refused: []rule.ID{"T-5"}},
		"ping":                                 {sent: "\xc0\x00\xc0\x00", want: "\xd0\x00\xd0\x00"},
		"nothing after DISCONNECT counts":      {sent: "\xe0\x00\x32\x06\x00\x01t\x00\x01x", closed: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				f.publish = tc.publish
				f.subscribe = func(_ *device, filter string, qos byte) Verdict {
					switch filter {
					case "forbid":
						return Verdict{Action: Refuse, Refusal: &rule.Refusal{Rule: "P-2/forbid"}}
					case "kick":
						return kick("P-2/kick")
					}
					return Verdict{Granted: qos}
				}
				client := f.online(brokertest.Connect{ClientID: "d", Will: &brokertest.Publish{Topic: "w", Payload: []byte("by")}})
				go client.Write([]byte(tc.sent)) // the server may close before it has read all
				client.Expect([]byte(tc.want)...)
				if tc.closed {
					client.ExpectClosed()
				} else {
					client.ExpectSilence(second)
				}
				require.Equal(t, tc.refused, f.refused())
				if tc.closed {
					graceful := strings.HasPrefix(tc.sent, "\xe0")
					wills := map[bool]int{true: 0, false: 1}
					f.goneOnce(0)
					require.Len(t, f.device(0).wills, wills[graceful])
					require.Len(t, f.events(journal.Closed), wills[graceful]+map[bool]int{true: 1}[name == "close without a reason"])
				}
			})
		})
	}
}

// A platform may end the connection for a malformed filter; then no filter of the packet counts.
func TestMalformedFilterThatCuts(t *testing.T) {
	for name, sent := range map[string]string{
		"subscribe":   "\x82\x0c\x00\x01\x00\x01a\x01\x00\x03a+b\x01",
		"unsubscribe": "\xa2\x0a\x00\x01\x00\x01a\x00\x03a+b",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				client := f.online(brokertest.Connect{ClientID: "d"})
				client.Send([]byte(sent))
				client.ExpectClosed()
				require.Equal(t, []rule.ID{"T-5"}, f.refused())
				require.Empty(t, f.events(journal.Suback))
			}, func(c *Config) { c.CutBadFilters = true })
		})
	}
}

// mochi's decoder panics on this packet; its whole process would be gone (mochi issue 501).
func TestTruncatedV5Subscribe(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.dial()
		client.Send(brokertest.Connect{Level: 5, ClientID: "d"}.Bytes())
		client.Next()
		client.Send([]byte("\x82\x06\x00\x01\x00\x00\x01a"))
		client.ExpectClosed()
		require.Equal(t, []rule.ID{"T-5"}, f.refused())
		require.Error(t, f.goneOnce(0))
		require.Empty(t, f.srv.mochi.Clients.GetAll())
	}, func(c *Config) { c.Levels = []byte{5} })
}

func TestPanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(f *fixture){
		"connect":   func(f *fixture) { f.connect = func(*Connect) (Session, error) { panic("connect") } },
		"establish": func(f *fixture) { f.establish = func(*device) { panic("establish") } },
		"publish":   func(f *fixture) { f.publish = func(*device, Message) Verdict { panic("publish") } },
		"sent": func(f *fixture) {
			f.publish = func(d *device, _ Message) Verdict {
				d.c.Link.Send(Outgoing{Topic: "a", Unsubscribed: true, Sent: func(byte) { panic("sent") }})
				return Verdict{Action: Drop}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				witness := f.online(brokertest.Connect{ClientID: "witness"})
				prepare(f)
				client := f.dial()
				client.Send(brokertest.Connect{ClientID: "d"}.Bytes())
				if name != "connect" && name != "establish" { // which come before the CONNACK
					client.Expect(0x20, 2, 0, 0)
				}
				go client.Write(brokertest.Publish{Topic: "t", QoS: 1, ID: 1}.Bytes())
				if name == "sent" {
					client.NextPublish()
				}
				client.ExpectClosed()
				if name != "connect" {
					require.ErrorContains(t, f.goneOnce(1), "internal error: "+name)
				}
				require.Empty(t, f.refused(), "no fault of the client")
				witness.Send(brokertest.Pingreq)
				witness.Expect(brokertest.Pingresp...)
				require.Equal(t, 1, f.srv.Connections())
			})
		})
	}
}

func TestAckBeforeAfterBeforeAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish = func(d *device, m Message) Verdict {
			f.note("judged")
			return Verdict{
				After: func() { f.note("after") },
				Answers: []Outgoing{
					{Topic: "a/1", Unsubscribed: true, Sent: func(byte) { f.note("sent 1") }},
					{Topic: "a/2", Payload: m.Payload, QoS: 1, Unsubscribed: true, Acked: func() { f.note("acked 2") }},
					{Topic: "nobody/subscribed"},
				},
			}
		}
		client := f.online(brokertest.Connect{ClientID: "d"})
		client.Send(brokertest.Publish{Topic: "t", Payload: []byte("x"), QoS: 1, ID: 1}.Bytes())
		client.Expect([]byte("\x40\x02\x00\x01\x30\x05\x00\x03a/1\x32\x08\x00\x03a/2\x00\x01x")...)
		client.Send(brokertest.Puback(1))
		client.ExpectSilence(second)
		require.Equal(t, []string{"connect d", "established", "judged", "after", "sent 1", "acked 2"}, f.notes())
		kinds := []string{}
		events, _ := f.journal.Select(journal.Filter{})
		for _, e := range events {
			kinds = append(kinds, string(e.Kind)+" "+e.Dir+" "+e.Topic)
		}
		require.Equal(t, []string{"connect in ", "connack out ", "publish in t", "puback out t", "publish out a/1", "publish out a/2", "puback in a/2"}, kinds)
	})
}

// Acks of messages that came together are written together, but do not wait for a slow platform, come before
// what is sent meanwhile, and a kick does not eat them.
func TestAcksOfManyMessages(t *testing.T) {
	message := func(id uint16, topic string) []byte { return brokertest.Publish{Topic: topic, QoS: 1, ID: id}.Bytes() }
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish = func(d *device, m Message) Verdict {
			switch m.Topic {
			case "slow":
				time.Sleep(time.Hour)
			case "send":
				d.c.Link.Send(Outgoing{Topic: "a", Unsubscribed: true})
				time.Sleep(time.Microsecond)
			case "kick":
				return kick("P-1/x")
			}
			return Verdict{}
		}
		client := f.online(brokertest.Connect{ClientID: "d"})
		client.Send(message(1, "t"), message(2, "slow"))
		client.ExpectSilence(ackDelay - 1)
		client.Expect(0x40, 2, 0, 1)
		client.ExpectSilence(time.Hour - ackDelay - 1)
		client.Expect(0x40, 2, 0, 2)
		client.Send(message(3, "t"), message(4, "send"))
		client.Expect(0x40, 2, 0, 3, 0x40, 2, 0, 4, 0x30, 3, 0, 1, 'a')
		client.Send(message(5, "t"), message(6, "t"), brokertest.Pingreq, message(7, "t"), message(8, "kick"))
		client.Expect(0x40, 2, 0, 5, 0x40, 2, 0, 6, 0xd0, 0, 0x40, 2, 0, 7)
		client.ExpectClosed()

		client = f.online(brokertest.Connect{ClientID: "d"})
		client.Send(message(1, "t"), []byte("\x36\x06\x00\x01t\x00\x01x"))
		client.Expect(0x40, 2, 0, 1)
		client.ExpectClosed()
		client = f.online(brokertest.Connect{ClientID: "d"})
		client.Send(message(1, "t"), brokertest.Disconnect)
		client.Expect(0x40, 2, 0, 1)
		client.ExpectClosed()
	})
}

func TestAnswersToSubscribeFollowTheSuback(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.subscribe = func(_ *device, filter string, qos byte) Verdict {
			return Verdict{Granted: qos, Answers: []Outgoing{{Topic: filter, QoS: 1}}}
		}
		client := f.online(brokertest.Connect{ClientID: "d"})
		client.Send(brokertest.Subscribe(1, 0, "a", "b"))
		client.Expect([]byte("\x90\x04\x00\x01\x00\x00\x30\x03\x00\x01a\x30\x03\x00\x01b")...)
	})
}

// A device may close its own connection while it judges.
func TestLinkCloseWithinPublish(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		r := &rule.Refusal{Rule: "P-3/x"}
		f.publish = func(d *device, _ Message) Verdict {
			d.c.Link.Close(r)
			return Verdict{}
		}
		client := f.online(brokertest.Connect{ClientID: "d", Will: &brokertest.Publish{Topic: "w"}})
		client.Send(brokertest.Publish{Topic: "t", QoS: 1, ID: 1}.Bytes())
		client.ExpectClosed()
		require.Equal(t, error(r), f.goneOnce(0))
		require.Equal(t, []rule.ID{"P-3/x"}, f.refused())
		require.Equal(t, []string{"connect d", "established", "will w", "gone"}, f.notes())
	})
}

// The context of Publish ends with the connection, so that nobody waits for a judge who waits.
func TestPublishContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.srv.cfg.Head = stuck{}
		client := brokertest.New(t, f.serve())
		client.Send(brokertest.Connect{ClientID: "d"}.Bytes())
		client.Expect(0x20, 2, 0, 0)
		client.Send(brokertest.Publish{Topic: "t"}.Bytes())
		synctest.Wait()
		require.True(t, f.srv.Disconnect("ep", "d", net.ErrClosed))
		require.False(t, f.srv.Disconnect("ep", "d", net.ErrClosed))
		client.ExpectClosed()
		f.served.Wait()
		require.ErrorIs(t, f.result, net.ErrClosed)
	})
}

// stuck judges until its connection ends.
type stuck struct{ *device }

func (stuck) Connect(context.Context, *Connect) (Session, error) {
	return Session{Device: stuck{}}, nil
}
func (stuck) Established() {}
func (stuck) Gone(error)   {}
func (stuck) Publish(ctx context.Context, _ Message) Verdict {
	<-ctx.Done()
	return Verdict{}
}
