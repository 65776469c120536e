package mqtt_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// The group key and token of the vectors V2 and V3 of the fact sheet.
const (
	groupKey = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg=="
	token    = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=%2BUMInG4dEKIdrF%2FV9%2F0%2FKk9gnlSf4YnvBeLW0PrFgGU%3D&se=4102444800&skn=registration"
	username = "0ne00FAKE01/registrations/device-001/api-version=2019-03-31"
	filter   = "$dps/registrations/res/#"
	register = "$dps/registrations/PUT/iotdps-register/?$rid="
	poll     = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid="
)

type allHubs struct{}

func (allHubs) Assign(context.Context, dps.Assignment) error { return nil }
func (allHubs) Holds(string, string) bool                    { return false }

// link is a broker.Link that knows whether the device has subscribed.
type link struct{ filter string }

func (*link) Send(broker.Outgoing) bool { return false }
func (*link) Close(error)               {}
func (l *link) Subscribed(topic string) (byte, bool) {
	return 1, l.filter != "" && strings.HasPrefix(topic, strings.TrimSuffix(l.filter, "#"))
}

func newHead(t *testing.T) (*mqtt.Head, *dps.Service) {
	t.Helper()
	c := clock.New()
	s := dps.New(dps.Config{Clock: c, IDs: ids.New(1), Journal: journal.New(c, rule.NewTable(dps.Rules), journal.Options{}), Store: store.New(),
		Allocator: allHubs{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, s.PutInstance(dps.Instance{Name: "fakecloud-dps", IDScope: "0ne00FAKE01", LinkedHubs: []string{"h.azure-devices.net"}}))
	_, err := s.PutGroup("fakecloud-dps", dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}}})
	require.NoError(t, err)
	return mqtt.New(s), s
}

func connect(edit func(*broker.Connect)) *broker.Connect {
	c := &broker.Connect{Level: 4, ClientID: "device-001", HasUsername: true, Username: username, HasPassword: true, Password: []byte(token),
		CleanSession: true, KeepAlive: 60, Link: &link{},
		Peer: broker.Peer{Conn: 3, Endpoint: "fakecloud-dps", Remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}}}
	if edit != nil {
		edit(c)
	}
	return c
}

// DPS-1, DPS-2: CONNECTs that are accepted, with the credential not yet judged (DPS-15, DPS-26).
func TestConnectAccepted(t *testing.T) {
	t.Parallel()
	h, _ := newHead(t)
	for name, edit := range map[string]func(*broker.Connect){
		"token":                 nil,
		"clean session 0":       func(c *broker.Connect) { c.CleanSession = false },
		"client version":        func(c *broker.Connect) { c.Username += "&ClientVersion=azure-iot%2F1.0%20%28x%29" },
		"java's client version": func(c *broker.Connect) { c.Username += "&ClientVersion=2019-03-31" },
		"c's api-version":       func(c *broker.Connect) { c.Username = strings.Replace(username, "2019-03-31", "2021-06-01", 1) },
		"wrong password":        func(c *broker.Connect) { c.Password = []byte("SharedAccessSignature sr=x") },
		"unknown scope":         func(c *broker.Connect) { c.Username = strings.Replace(username, "0ne00FAKE01", "0neOTHER", 1) },
		"unknown device": func(c *broker.Connect) {
			c.Username = strings.Replace(username, "001", "9", 1)
			c.ClientID = "device-9"
		},
		"client id's case": func(c *broker.Connect) { c.ClientID = "DEVICE-001" },
		"certificate, no password": func(c *broker.Connect) {
			c.HasPassword, c.Password, c.Peer.Certificates = false, nil, []*x509.Certificate{{}}
		},
		"certificate, empty password": func(c *broker.Connect) { c.Password, c.Peer.Certificates = nil, []*x509.Certificate{{}} },
		"will":                        func(c *broker.Connect) { c.Will = &broker.Message{Topic: "a"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(edit)
			s, err := h.Connect(t.Context(), c)
			require.NoError(t, err)
			require.False(t, s.Present)
			require.True(t, strings.EqualFold(c.ClientID, s.Name))
			require.Zero(t, s.Silence)
			require.Equal(t, broker.Verdict{Granted: 1}, s.Device.Subscribe(filter, 1), "SUBSCRIBE succeeds with any credential")
		})
	}
	s, err := h.Connect(t.Context(), connect(func(c *broker.Connect) { c.KeepAlive = 0 }))
	require.NoError(t, err)
	require.GreaterOrEqual(t, s.Silence, time.Minute)
}

// DPS-1, DPS-3, DPS-4: CONNECTs that are refused, with the closest legal form.
func TestConnectRefused(t *testing.T) {
	t.Parallel()
	h, _ := newHead(t)
	user := func(text string) func(*broker.Connect) { return func(c *broker.Connect) { c.Username = text } }
	for _, c := range []struct {
		name     string
		edit     func(*broker.Connect)
		code     int
		rule     rule.ID
		expected string
	}{
		{"level 5", func(c *broker.Connect) { c.Level = 5 }, 1, "DPS-1/level", "protocol level 4 (MQTT 3.1.1)"},
		{"no credential", func(c *broker.Connect) { c.Password = nil }, 5, "DPS-1/credential", ""},
		{"no username", func(c *broker.Connect) { c.Username, c.HasUsername = "", false }, 4, "DPS-3/username", "{idScope}/registrations/device-001/api-version=2019-03-31"},
		{"no registrations", user("0ne00FAKE01/device-001/api-version=2019-03-31"), 4, "DPS-3/username", username},
		{"no api-version", user("0ne00FAKE01/registrations/device-001"), 4, "DPS-3/username", username},
		{"question mark", user("0ne00FAKE01/registrations/device-001/?api-version=2019-03-31"), 4, "DPS-3/question-mark", username},
		{"unknown api-version", user("0ne00FAKE01/registrations/device-001/api-version=1999-01-01"), 4, "DPS-3/api-version", username},
		{"illegal id", user("0ne00FAKE01/registrations/device 001/api-version=2019-03-31"), 4, "DPS-3/registration-id", username},
		{"hub username", user("h.azure-devices.net/device-001/?api-version=2021-04-12"), 4, "DPS-3/username", "{idScope}/registrations/device-001/api-version=2019-03-31"},
		{"client id as username", user("device-001"), 4, "DPS-3/username", "{idScope}/registrations/device-001/api-version=2019-03-31"},
		{"no names at all", func(c *broker.Connect) { c.Username, c.ClientID = "", "not legal." }, 4, "DPS-3/username", "{idScope}/registrations/{registrationId}/api-version=2019-03-31"},
		{"long", user(strings.Repeat("x", 10_000)), 4, "DPS-3/username", ""},
		{"client id", func(c *broker.Connect) { c.ClientID = "device-002" }, 2, "DPS-4/client-id", `client id "device-001"`},
		{"client id long", func(c *broker.Connect) { c.ClientID = strings.Repeat("\xff", 10_000) }, 2, "DPS-4/client-id", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.Connect(t.Context(), connect(c.edit))
			var r *rule.Refusal
			require.True(t, errors.As(err, &r), "%v", err)
			require.Equal(t, c.rule, r.Rule)
			require.Equal(t, c.code, r.Code)
			require.False(t, r.Silent)
			require.NotEmpty(t, r.Seen)
			require.NotEmpty(t, r.Expected)
			require.Less(t, len(r.Seen)+len(r.Expected), 4000)
			if c.expected != "" {
				require.Equal(t, c.expected, r.Expected)
			}
			require.NotContains(t, r.Seen+r.Expected+r.Detail, "sig=%2B")
		})
	}
}

func TestClaimAndNear(t *testing.T) {
	t.Parallel()
	h, _ := newHead(t)
	for username, want := range map[string]string{
		username:                   "fakecloud-dps",
		"0neOTHER/registrations/d": mqtt.GlobalEndpoint,
		"0ne00FAKE01/registrations/device-001/?api-version=2019-03-31": "fakecloud-dps",
	} {
		endpoint, ok := h.Claim(username)
		require.True(t, ok)
		require.Equal(t, want, endpoint)
	}
	for username, near := range map[string]string{
		"0ne00FAKE01/device-001/api-version=2019-03-31":          `DPS takes the username "` + username + `"`,
		"registrations/device-001/api-version=2019-03-31":        `DPS takes the username`,
		"h.azure-devices.net/device-001/?api-version=2021-04-12": "",
		"": "",
	} {
		_, ok := h.Claim(username)
		require.False(t, ok)
		if near == "" {
			require.Empty(t, h.Near(username))
		} else {
			require.Contains(t, h.Near(username), near)
		}
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	user, password := mqtt.Mask(username, []byte(token))
	require.Equal(t, username, user)
	require.Equal(t, "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=***&se=4102444800&skn=registration", password)
	_, password = mqtt.Mask(username, []byte("hunter2"))
	require.Equal(t, "***", password)
	_, password = mqtt.Mask(username, nil)
	require.Empty(t, password)
}
