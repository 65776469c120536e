//go:build vendor

package sdk

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// An hour on the clock, with the grace on top, ends the connection whose token has run out with it, and the SDK comes back with a token
// that is accepted; so it does after an expiry and a disconnect of its own. A device with a certificate beside
// it stays connected through all.
func TestAzureSDKsOutliveTheClock(t *testing.T) {
	for _, p := range programs() {
		for _, transport := range []string{"mqtt", "ws"} {
			t.Run(joined(p.name, transport), func(t *testing.T) {
				cloud, host := beside(t)
				sessionWorld(t, cloud)
				bystand(t, cloud)
				env := with(trust(t, cloud), sessionCredential(t, cloud, "key", ""))
				env = with(env, map[string]string{"HUB_HOST": host, "TRANSPORT": transport})
				s := &session{cloud: cloud, device: "key", messages: true, connected: true}
				s.running = p.start(t, env)
				s.outlive()
				require.Equal(t, 1, connects(cloud, "x509", 0), "the certificate's connection stays")
			})
		}
	}
}

// The SDKs renew a token of their own accord before it runs out: a second connection, with a later expiry, on
// which all works.
func TestAzureSDKsRenewTheirTokens(t *testing.T) {
	life := map[string]string{"python": "123", "node": "6"} // seconds; the one renews 120 s before the end, the other 3 s
	for _, p := range programs() {
		for _, transport := range []string{"mqtt", "ws"} {
			t.Run(joined(p.name, transport), func(t *testing.T) {
				cloud, host := beside(t)
				sessionWorld(t, cloud)
				env := with(trust(t, cloud), sessionCredential(t, cloud, "key", ""))
				env = with(env, map[string]string{"HUB_HOST": host, "TRANSPORT": transport, "TOKEN_LIFE": life[p.name]})
				s := &session{cloud: cloud, device: "key", messages: true, connected: true}
				s.running = p.start(t, env)
				s.await("ready")
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				connects, err := cloud.Await(ctx, fakecloud.Filter{Kind: "connect", Device: "key"}, 2)
				require.NoError(t, err)
				require.Greater(t, expiry(t, connects[1]), expiry(t, connects[0]))
				s.use("second")
				s.leave()
			})
		}
	}
}

// expiry is the se of a CONNECT's token.
func expiry(t *testing.T, connect fakecloud.Event) int64 {
	t.Helper()
	_, se, _ := strings.Cut(connect.Properties["password"], "&se=")
	seconds, err := strconv.ParseInt(se, 10, 64)
	require.NoError(t, err)
	return seconds
}

// outlive moves the clock, ends the token alone and cuts the connection, and sees the program come back each time.
func (s *session) outlive() {
	s.Helper()
	s.await("ready")
	before := connects(s.cloud, s.device, s.since)
	for i, end := range []func() error{
		func() error { return s.cloud.Advance(time.Hour + 11*time.Minute) }, // HUB-24 gives it ten
		func() error { return s.cloud.Expire("iothub", demoHub, s.device) },
		func() error { return s.cloud.Disconnect("iothub", demoHub, s.device) },
	} {
		require.NoError(s, end())
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		_, err := s.cloud.Await(ctx, fakecloud.Filter{Kind: "connack", Device: s.device, Since: s.since}, before+i+1)
		cancel()
		require.NoError(s, err)
		s.method("reboot", `{"delay": 5}`)
	}
	s.leave()
	require.Equal(s, before+3, connects(s.cloud, s.device, s.since))
	for _, e := range s.cloud.Events(fakecloud.Filter{Kind: "refused", Device: s.device, Since: s.since}) {
		require.EqualValues(s, "HUB-24/expired", e.Rule, "nothing but the ends of the old tokens")
	}
}

// connects counts a device's connections.
func connects(cloud *fakecloud.Cloud, device string, since uint64) int {
	return len(cloud.Events(fakecloud.Filter{Kind: "connack", Device: device, Since: since}))
}

// bystand connects x509 by the client kit.
func bystand(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	certificate, err := cloud.IssueDevice("x509")
	require.NoError(t, err)
	hub, err := azure.Dial(t.Context(), azure.HubConfig{Host: demoHub, DeviceID: "x509", Credential: azure.X509(certificate.TLS()),
		TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Close(context.Background())) })
}
