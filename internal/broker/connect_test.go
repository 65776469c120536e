package broker

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestConnack(t *testing.T) {
	t.Parallel()
	refuse := func(code int) func(*Connect) (Session, error) {
		return func(*Connect) (Session, error) {
			return Session{}, &rule.Refusal{Rule: "P-1/x", Code: code, Seen: "seen", Expected: "expected"}
		}
	}
	v3, v5 := []byte{3, 4}, []byte{4, 5}
	for name, tc := range map[string]struct {
		level   byte
		levels  []byte
		connect func(*Connect) (Session, error)
		want    string
		refused []rule.ID
	}{
		"accepted":                    {want: "\x20\x02\x00\x00"},
		"session present":             {connect: func(*Connect) (Session, error) { return Session{Present: true}, nil }, want: "\x20\x02\x01\x00"},
		"no session present in 3.1":   {level: 3, levels: v3, connect: func(*Connect) (Session, error) { return Session{Present: true}, nil }, want: "\x20\x02\x00\x00"},
		"return code 1":               {connect: refuse(1), want: "\x20\x02\x00\x01", refused: []rule.ID{"P-1/x"}},
		"return code 2":               {connect: refuse(2), want: "\x20\x02\x00\x02", refused: []rule.ID{"P-1/x"}},
		"return code 3":               {connect: refuse(3), want: "\x20\x02\x00\x03", refused: []rule.ID{"P-1/x"}},
		"return code 4":               {connect: refuse(4), want: "\x20\x02\x00\x04", refused: []rule.ID{"P-1/x"}},
		"return code 5":               {connect: refuse(5), want: "\x20\x02\x00\x05", refused: []rule.ID{"P-1/x"}},
		"no return code is silence":   {connect: refuse(0), refused: []rule.ID{"P-1/x"}},
		"foreign code is silence":     {connect: refuse(401), refused: []rule.ID{"P-1/x"}},
		"an error of ours is 3":       {connect: func(*Connect) (Session, error) { return Session{}, errors.New("x") }, want: "\x20\x02\x00\x03"},
		"silent":                      {connect: func(*Connect) (Session, error) { return Session{}, &rule.Refusal{Rule: "P-2/y", Code: 5, Silent: true} }, refused: []rule.ID{"P-2/y"}},
		"level 3 not spoken":          {level: 3, want: "\x20\x02\x00\x01", refused: []rule.ID{"T-1"}},
		"level 5 not spoken":          {level: 5, want: "\x20\x02\x00\x01", refused: []rule.ID{"T-1"}},
		"level 6 unknown":             {level: 6, levels: v5, want: "\x20\x02\x00\x01", refused: []rule.ID{"T-1"}},
		"bridge level":                {level: 0x84, want: "\x20\x02\x00\x01", refused: []rule.ID{"T-1"}},
		"v5 unsupported version":      {level: 5, levels: v5, connect: refuse(1), want: "\x20\x03\x00\x84\x00", refused: []rule.ID{"P-1/x"}},
		"v5 client identifier":        {level: 5, levels: v5, connect: refuse(2), want: "\x20\x03\x00\x85\x00", refused: []rule.ID{"P-1/x"}},
		"v5 server unavailable":       {level: 5, levels: v5, connect: refuse(3), want: "\x20\x03\x00\x88\x00", refused: []rule.ID{"P-1/x"}},
		"v5 bad username or password": {level: 5, levels: v5, connect: refuse(4), want: "\x20\x03\x00\x86\x00", refused: []rule.ID{"P-1/x"}},
		"v5 not authorized":           {level: 5, levels: v5, connect: refuse(5), want: "\x20\x03\x00\x87\x00", refused: []rule.ID{"P-1/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				f.connect = tc.connect
				client := f.dial()
				client.Send(brokertest.Connect{Level: tc.level, ClientID: "d"}.Bytes())
				client.Expect([]byte(tc.want)...)
				if len(tc.want) == 0 || tc.want[3] != 0 {
					client.ExpectClosed()
					require.Zero(t, f.srv.Connections())
				} else {
					client.ExpectSilence(second)
					require.True(t, f.srv.Connected("ep", "d"))
					require.False(t, f.srv.Connected("other", "d"))
				}
				require.Equal(t, tc.refused, f.refused())
				if len(tc.refused) > 0 && tc.refused[0] == "T-1" && tc.levels == nil {
					require.Equal(t, `protocol "MQTT" level 4`, f.events(journal.Refused)[0].Expected)
				}
			}, func(c *Config) {
				if tc.levels != nil {
					c.Levels = tc.levels
				}
			})
		})
	}
}

func TestConnectAsTheHeadSeesIt(t *testing.T) {
	t.Parallel()
	text := brokertest.Text
	long := strings.Repeat("x", 10_000)
	for name, tc := range map[string]struct {
		sent brokertest.Connect
		want Connect
	}{
		"nothing but an id":            {brokertest.Connect{ClientID: "d"}, Connect{ClientID: "d", CleanSession: true}},
		"kept session":                 {brokertest.Connect{ClientID: "d", Session: true}, Connect{ClientID: "d"}},
		"mochi's inline client":        {brokertest.Connect{ClientID: "inline"}, Connect{ClientID: "inline", CleanSession: true}},
		"no id":                        {brokertest.Connect{}, Connect{CleanSession: true}},
		"no id, session kept":          {brokertest.Connect{Session: true}, Connect{}},
		"10,000 bytes of id":           {brokertest.Connect{ClientID: long}, Connect{ClientID: long, CleanSession: true}},
		"empty password":               {brokertest.Connect{ClientID: "d", Username: text("u"), Password: text("")}, Connect{ClientID: "d", CleanSession: true, HasUsername: true, Username: "u", HasPassword: true, Password: []byte{}}},
		"empty username":               {brokertest.Connect{ClientID: "d", Username: text("")}, Connect{ClientID: "d", CleanSession: true, HasUsername: true}},
		"will with empty payload":      {brokertest.Connect{ClientID: "d", Will: &brokertest.Publish{Topic: "w", QoS: 2, Retain: true}}, Connect{ClientID: "d", CleanSession: true, Will: &Message{Topic: "w", Payload: []byte{}, QoS: 2, Retain: true}}},
		"keep alive that mochi breaks": {brokertest.Connect{ClientID: "d", KeepAlive: 43691}, Connect{ClientID: "d", CleanSession: true, KeepAlive: 43691}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				client := f.online(tc.sent)
				got := *f.lastClient
				require.NotNil(t, got.Link)
				require.Equal(t, uint64(1), got.Peer.Conn)
				require.NotNil(t, got.Peer.Remote)
				got.Link, got.Peer, tc.want.Level = nil, Peer{}, 4
				require.Equal(t, tc.want, got)
				client.Send(brokertest.Pingreq)
				client.Expect(brokertest.Pingresp...)
			})
		})
	}
}

func TestConnectThatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sent string
		rule rule.ID
	}{
		"first packet is a ping":         {"\xc0\x00", "T-2"},
		"first packet is no packet":      {"\x00\x00", "T-2"},
		"HTTP":                           {"GET / HTTP/1.1\r\n\r\n", "T-5"},
		"protocol name":                  {"\x10\x0d\x00\x04MQTX\x04\x02\x00\x00\x00\x01d", "T-5"},
		"reserved flag":                  {"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01d", "T-5"},
		"will qos without a will":        {"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x00\x00\x01d", "T-5"},
		"will qos 3":                     {"\x10\x12\x00\x04MQTT\x04\x1e\x00\x00\x00\x01d\x00\x01w\x00\x00", "T-5"},
		"will topic with a wildcard":     {"\x10\x12\x00\x04MQTT\x04\x06\x00\x00\x00\x01d\x00\x01#\x00\x00", "T-5"},
		"client id is not UTF-8":         {"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\xff", "T-5"},
		"client id with NUL":             {"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00", "T-5"},
		"username is not UTF-8":          {"\x10\x10\x00\x04MQTT\x04\x82\x00\x00\x00\x01d\x00\x01\xff", "T-5"},
		"password without username":      {"\x10\x10\x00\x04MQTT\x04\x42\x00\x00\x00\x01d\x00\x01p", "T-5"},
		"username flag without username": {"\x10\x0d\x00\x04MQTT\x04\x82\x00\x00\x00\x01d", "T-5"},
		"password flag without password": {"\x10\x10\x00\x04MQTT\x04\xc2\x00\x00\x00\x01d\x00\x01u", "T-5"},
		"length beyond four bytes":       {"\x10\xff\xff\xff\xff\x7f", "T-5"},
		"larger than allowed":            {"\x10\xff\xff\x7f", "T-6"},
		"flags of the fixed header":      {"\x11\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01d", "T-5"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				client := f.dial()
				go client.Write([]byte(tc.sent)) // the server may close before it has read all
				client.ExpectClosed()
				require.Equal(t, []rule.ID{tc.rule}, f.refused())
				require.Empty(t, f.events(journal.Connack))
				require.Empty(t, f.notes())
				f.online(brokertest.Connect{ClientID: "other"})
			})
		})
	}
}

func TestNoRuleNoRefusedEvent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.dial()
		client.Send(brokertest.Pingreq)
		client.ExpectClosed()
		require.Empty(t, f.refused())
		require.Len(t, f.events(journal.Closed), 1)
	}, func(c *Config) { c.Rules = Rules{} })
}

func TestConnectInTheJournal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect = func(*Connect) (Session, error) {
			return Session{Name: "dev/mod"}, nil
		}
		client := f.online(brokertest.Connect{ClientID: "d", Username: brokertest.Text("sig=abc"), Password: brokertest.Text("secret"),
			KeepAlive: 60, Will: &brokertest.Publish{Topic: "w"}})
		client.Send(brokertest.Disconnect)
		client.ExpectClosed()
		synctest.Wait()
		events, _ := f.journal.Select(journal.Filter{})
		require.Len(t, events, 3)
		e := events[0]
		require.Equal(t, journal.Connect, e.Kind)
		require.Equal(t, []any{"test", "ep", uint64(1), "pipe", "d", journal.In}, []any{e.Platform, e.Endpoint, e.Conn, e.Address, e.Device, e.Dir})
		require.Equal(t, map[string]string{"clientId": "d", "level": "4", "cleanSession": "true", "keepAlive": "60",
			"username": "SIG=ABC", "password": "******", "willTopic": "w"}, e.Properties)
		e = events[1]
		require.Equal(t, []any{journal.Connack, "dev/mod", journal.Out, 0}, []any{e.Kind, e.Device, e.Dir, *e.Code})
		require.Equal(t, journal.Disconnect, events[2].Kind)
		require.NoError(t, f.result)
	}, func(c *Config) {
		c.Mask = func(username string, password []byte) (string, string) {
			return strings.ToUpper(username), strings.Repeat("*", len(password))
		}
	})
}

func TestRefusalInTheJournal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect = func(*Connect) (Session, error) {
			return Session{}, &rule.Refusal{Rule: "P-1/x", Code: 5, Detail: "why", Seen: "seen", Expected: "expected"}
		}
		client := f.dial()
		client.Send(brokertest.Connect{ClientID: "d", Username: brokertest.Text("u"), Password: brokertest.Text("secret")}.Bytes())
		client.Expect(0x20, 2, 0, 5)
		client.ExpectClosed()
		synctest.Wait()
		events, _ := f.journal.Select(journal.Filter{})
		require.Len(t, events, 3)
		require.Equal(t, "****", events[0].Properties["password"])
		e := events[1]
		require.Equal(t, []any{journal.Refused, rule.ID("P-1/x"), "why", "seen", "expected", 5}, []any{e.Kind, e.Rule, e.Detail, e.Seen, e.Expected, *e.Code})
		require.Equal(t, journal.Connack, events[2].Kind)
		require.Equal(t, 5, *events[2].Code)
		var r *rule.Refusal
		require.ErrorAs(t, f.result, &r)
	})
}

func TestMQTT5(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		client := f.dial()
		client.Send(brokertest.Connect{Level: 5, ClientID: "d"}.Bytes())
		ack := client.Next()
		require.Equal(t, []byte{0, 0}, ack[2:4])
		client.Send([]byte("\x82\x07\x00\x01\x00\x00\x01a\x01"), []byte("\x82\x07\x00\x02\x00\x00\x01#\x01"))
		client.Expect([]byte("\x90\x04\x00\x01\x00\x01\x90\x04\x00\x02\x00\x01")...)
		client.Send([]byte("\x32\x07\x00\x01t\x00\x05\x00x"))
		client.Expect(0x40, 2, 0, 5)
		require.True(t, f.device(0).c.Link.Send(Outgoing{Topic: "a", Payload: []byte("p"), QoS: 1}))
		client.Expect([]byte("\x32\x07\x00\x01a\x00\x01\x00p")...)
		client.Send([]byte("\xa2\x06\x00\x03\x00\x00\x01a"))
		client.Expect([]byte("\xb0\x04\x00\x03\x00\x00")...)
		client.Send([]byte("\xe0\x02\x04\x00"))
		client.ExpectClosed()
		require.ErrorIs(t, f.goneOnce(0), ErrDisconnect)
	}, func(c *Config) { c.Levels = []byte{5} })
}
