package azure

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// handshake is the request for a WebSocket, to the letter but for the key.
func handshake(path, host string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n" +
		"Sec-Websocket-Key: KEY\r\nSec-Websocket-Protocol: mqtt\r\nSec-Websocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
}

// Sheet 1.1: path, subprotocol and the query of a device without a certificate; MQTT in it is as without.
func TestHubOverWebSocket(t *testing.T) {
	t.Parallel()
	cert, _ := kittest.SelfSigned(t, "dev-01")
	for name, tc := range map[string]struct {
		change                   func(*HubConfig)
		address, handshake, name string
	}{
		"key": {
			change:    func(*HubConfig) {},
			address:   "contoso.azure-devices.net:443",
			handshake: handshake("/$iothub/websocket?iothub-no-client-cert=true", hubHost),
		},
		"certificate": {
			change:    func(c *HubConfig) { c.Credential, c.GatewayHost, c.Port = X509(cert), "127.0.0.1", 8443 },
			address:   "127.0.0.1:8443",
			handshake: handshake("/$iothub/websocket", "127.0.0.1:8443"),
			name:      "dev-01",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, hubHost, "127.0.0.1")
				c.WebSocket = kittest.Upgraded
				cfg := hubConfig(c)
				cfg.WebSocket = true
				tc.change(&cfg)
				h, p := up(t, c, cfg)
				require.Equal(t, tc.address, <-c.Dials)
				require.Equal(t, tc.handshake, p.Upgrade)
				var names []string
				for _, cert := range p.Conn.ConnectionState().PeerCertificates {
					names = append(names, cert.Subject.CommonName)
				}
				require.Equal(t, tc.name, strings.Join(names, " "))

				sent := sending(t.Context(), h, text(`{""}`))
				publish := p.Packet()
				require.Equal(t, "\x32\x27\x00\x1fdevices/dev-01/messages/events/\x00\x01{\"\"}", publish)
				p.Puback(publish)
				require.NoError(t, <-sent)

				// A frame need not hold a packet, nor one packet only.
				long := sending(t.Context(), h, text(strings.Repeat("x", 70000)))
				publish = p.Packet()
				require.Len(t, publish, 70000+4+2+len("devices/dev-01/messages/events/")+2)
				p.Puback(publish)
				require.NoError(t, <-long)

				p.Drop()
				again, connect := c.Accept(kittest.Accepted)
				require.Equal(t, "\x10", connect[:1])
				sent = sending(t.Context(), h, text("again"))
				again.Puback(again.Packet())
				require.NoError(t, <-sent)
				closed := make(chan error, 1)
				go func() { closed <- h.Close(t.Context()) }()
				again.Expect(kittest.Disconnect)
				again.ExpectEnd()
				require.NoError(t, <-closed)
			})
		})
	}
}

func TestProvisionOverWebSocket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		c.WebSocket = kittest.Upgraded
		cfg := dpsConfig(c)
		cfg.WebSocket = true
		done := provision(t.Context(), cfg)
		p, connect := c.Accept(kittest.Accepted)
		require.Equal(t, "global.azure-devices-provisioning.net:443", <-c.Dials)
		require.Equal(t, handshake("/$iothub/websocket", dpsHost), p.Upgrade)
		require.Equal(t, "\x10\x53\x00\x04MQTT\x04\x82\x00\x1e\x00\x0adevice-001"+
			"\x00\x3b0ne00FAKE01/registrations/device-001/api-version=2019-03-31", connect)
		p.Expect(subscribe)
		p.Send(suback)
		p.Puback(p.Packet())
		p.Send(answerQoS1("$dps/registrations/res/401/?$rid=1", `{}`))
		p.Expect("\x40\x02\x00\x07")
		p.Expect(kittest.Disconnect)
		p.ExpectEnd()
		var answer *ProvisionError
		require.ErrorAs(t, (<-done).err, &answer)
		require.Equal(t, 401, answer.Status)
	})
}

// An answer that opens no WebSocket ends the attempts, unless it may pass.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n": "azure: connect to contoso.azure-devices.net:443: " +
			"contoso.azure-devices.net:443 answered the WebSocket handshake at /$iothub/websocket with status 404",
		"HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\nContent-Length: 0\r\n\r\n": "azure: connect to contoso.azure-devices.net:443: " +
			"contoso.azure-devices.net:443 answered the WebSocket handshake at /$iothub/websocket with status 302",
		strings.Replace(kittest.Upgraded, "Sec-WebSocket-Protocol: mqtt\r\n", "", 1): "azure: connect to contoso.azure-devices.net:443: " +
			"contoso.azure-devices.net:443 answered the WebSocket handshake at /$iothub/websocket with status 101 and without the subprotocol mqtt",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, hubHost)
				c.WebSocket = answer
				cfg := hubConfig(c)
				cfg.WebSocket = true
				_, err := Dial(t.Context(), cfg)
				require.EqualError(t, err, want)
				var refused *clientkit.UpgradeError
				require.ErrorAs(t, err, &refused)
				require.True(t, refused.Final())
			})
		})
	}
	for _, status := range []int{408, 429, 500, 503} {
		require.False(t, (&clientkit.UpgradeError{Status: status}).Final())
	}
}
