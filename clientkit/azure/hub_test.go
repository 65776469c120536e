package azure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

const hubHost = "contoso.azure-devices.net"

// demoKey is the 32 ASCII characters 0123456789abcdef twice, the key of the sheet's vectors.
const demoKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// vectorNow makes a token of one hour end at vector V1's expiry, 2030-01-01.
func vectorNow() time.Time { return time.Unix(1893456000-3600, 0) }

func hubConfig(c *kittest.Cloud) HubConfig {
	credential, err := SymmetricKey(demoKey)
	require.NoError(c.TB, err)
	return HubConfig{
		Host: hubHost, DeviceID: "dev-01", Credential: credential, TLS: c.TLS(), Dial: c.Dial,
		Timing: Timing{Jitter: func() float64 { return 0 }},
	}
}

// up connects a hub to c and returns both ends.
func up(t *testing.T, c *kittest.Cloud, cfg HubConfig) (*Hub, *kittest.Peer) {
	t.Helper()
	type result struct {
		hub *Hub
		err error
	}
	done := make(chan result, 1)
	go func() {
		h, err := Dial(t.Context(), cfg)
		done <- result{h, err}
	}()
	p, _ := c.Accept(kittest.Accepted)
	got := <-done
	require.NoError(t, got.err)
	t.Cleanup(func() { _ = got.hub.Close(context.Background()) })
	return got.hub, p
}

// sending runs Send beside the test.
func sending(ctx context.Context, h *Hub, m Message) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.Send(ctx, m) }()
	return done
}

func text(body string) Message { return Message{Body: []byte(body)} }

// The literal CONNECT and PUBLISH packets; the password is the whole token of vector V1 of the sheet.
func TestHubLiteralPackets(t *testing.T) {
	t.Parallel()
	cert, _ := kittest.SelfSigned(t, "dev-01")
	cases := map[string]struct {
		change           func(*HubConfig)
		address          string
		connect, publish string
	}{
		"key": {
			change:  func(c *HubConfig) { c.Timing.Now = vectorNow },
			address: "contoso.azure-devices.net:8883",
			connect: "\x10\xdc\x01\x00\x04MQTT\x04\xc0\x00\xf0\x00\x06dev-01" +
				"\x00\x38contoso.azure-devices.net/dev-01/?api-version=2021-04-12" +
				"\x00\x8eSharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01" +
				"&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000",
			publish: "\x32\x27\x00\x1fdevices/dev-01/messages/events/\x00\x01{\"\"}",
		},
		"certificate": {
			change: func(c *HubConfig) {
				c.Credential = X509(cert)
				c.CleanSession, c.KeepAlive, c.GatewayHost, c.Port = true, 20*time.Second, "127.0.0.1", 18883
				c.ModelID, c.Product = "dtmi:com:example:Thermostat;1", "my device/1"
			},
			address: "127.0.0.1:18883",
			connect: "\x10\x9c\x01\x00\x04MQTT\x04\x82\x00\x14\x00\x06dev-01" +
				"\x00\x88contoso.azure-devices.net/dev-01/?api-version=2021-04-12" +
				"&DeviceClientType=my%20device%2F1&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1",
			publish: "\x32\x27\x00\x1fdevices/dev-01/messages/events/\x00\x01{\"\"}",
		},
		"module": {
			change: func(c *HubConfig) {
				c.ModuleID, c.Timing.Now = "mod-a", vectorNow
			},
			address: "contoso.azure-devices.net:8883",
			connect: "\x10\xf2\x01\x00\x04MQTT\x04\xc0\x00\xf0\x00\x0cdev-01/mod-a" +
				"\x00\x3econtoso.azure-devices.net/dev-01/mod-a/?api-version=2021-04-12" +
				"\x00\x98SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01%2Fmodules%2Fmod-a" +
				"&sig=Aph6WgFAF00uSVneZglExBjOsbRbUsrlT6bipTiK5iU%3D&se=1893456000",
			publish: "\x32\x35\x00\x2ddevices/dev-01/modules/mod-a/messages/events/\x00\x01{\"\"}",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, hubHost, "127.0.0.1")
				cfg := hubConfig(c)
				tc.change(&cfg)
				go func() {
					h, err := Dial(t.Context(), cfg)
					if err != nil {
						t.Error(err)
						close(c.Peers)
						return
					}
					if err := h.Send(t.Context(), text(`{""}`)); err != nil {
						t.Error(err)
					}
					_ = h.Close(t.Context())
				}()
				p, connect := c.Accept(kittest.Accepted)
				require.Equal(t, tc.address, <-c.Dials)
				require.Equal(t, tc.connect, connect)
				publish := p.Packet()
				require.Equal(t, tc.publish, publish)
				p.Puback(publish)
				p.Expect(kittest.Disconnect)
				p.ExpectEnd()
			})
		})
	}
}

func TestSendWaitsForPuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		sent := sending(t.Context(), h, text("1"))
		publish := p.Packet()
		synctest.Wait()
		require.Empty(t, sent, "no return before the PUBACK")
		p.Puback(publish)
		require.NoError(t, <-sent)
	})
}

func TestSendAgainAfterLostConnection(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprintf("clean session %t", clean), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, hubHost)
				var mu sync.Mutex
				var states []string
				cfg := hubConfig(c)
				cfg.CleanSession = clean
				cfg.OnState = func(s State, err error) {
					mu.Lock()
					defer mu.Unlock()
					states = append(states, fmt.Sprintf("%s %t", s, err != nil))
				}
				h, p := up(t, c, cfg)
				sent := sending(t.Context(), h, text("precious"))
				first := p.Packet()
				start := time.Now()
				p.Drop()

				p, _ = c.Accept("\x20\x02\x00\x03") // busy: not final
				require.Equal(t, 500*time.Millisecond, time.Since(start))
				p.ExpectEnd()
				p, _ = c.Accept(kittest.Accepted)
				require.Equal(t, 1500*time.Millisecond, time.Since(start), "the delay doubles")
				second := p.Packet()
				require.Equal(t, first, second)
				p.Puback(second)
				require.NoError(t, <-sent)

				require.NoError(t, h.Close(t.Context()))
				p.Expect(kittest.Disconnect)
				require.Equal(t, []string{
					"connecting false", "connected false", "disconnected true", "connecting false",
					"disconnected true", "connecting false", "connected false", "closed false",
				}, states)
				require.ErrorIs(t, h.Send(t.Context(), text("late")), ErrClosed)
				require.Equal(t, ErrClosed, h.Err())
			})
		})
	}
}

func TestPubackJustBeforeTheEndCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		sent := sending(t.Context(), h, text("once"))
		publish := p.Packet()
		synctest.Wait() // for the kit to wait for the PUBACK: it has sent before it does
		p.Puback(publish)
		p.Drop()
		require.NoError(t, <-sent)
		p, _ = c.Accept(kittest.Accepted)
		synctest.Wait() // for the hub to take the CONNACK
		require.NoError(t, h.Close(t.Context()))
		p.Expect(kittest.Disconnect)
	})
}

func TestRefusedReconnectIsFinal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		sent := sending(t.Context(), h, text("1"))
		p.Packet()
		p.Drop()
		p, _ = c.Accept("\x20\x02\x00\x05")
		var refused *ConnectError
		err := <-sent
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, ErrClosed)
		require.EqualValues(t, 5, refused.ReturnCode)
		require.EqualError(t, refused, "azure: contoso.azure-devices.net refused the connection: return code 5 (not authorized)")
		<-h.Done()
		require.ErrorAs(t, h.Err(), &refused)
		p.ExpectEnd()
	})
}

func TestDialRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		failed := make(chan error, 1)
		go func() {
			_, err := Dial(t.Context(), hubConfig(c))
			failed <- err
		}()
		c.Accept("\x20\x02\x00\x05")
		var refused *ConnectError
		require.ErrorAs(t, <-failed, &refused)
		require.Len(t, c.Dials, 1)
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cfg := hubConfig(c)
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
		_, err := Dial(ctx, cfg)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no network", "the last failure is told as well")
	})
}

func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		cfg := hubConfig(c)
		cfg.TokenLife = 1000 * time.Second
		start := time.Now()
		h, p := up(t, c, cfg)

		time.Sleep(849 * time.Second)
		sent := sending(t.Context(), h, text("under way"))
		publish := p.Packet()
		time.Sleep(2 * time.Second)
		waiting := sending(t.Context(), h, text("waits"))
		synctest.Wait()
		require.Empty(t, p.Packets, "DISCONNECT waits for the PUBACK, the next message for the new connection")
		p.Puback(publish)
		require.NoError(t, <-sent)
		p.Expect(kittest.Disconnect)
		p.ExpectEnd()

		p, connect := c.Accept(kittest.Accepted)
		require.Equal(t, 851*time.Second, time.Since(start), "85 percent of the token's life and the wait")
		require.Contains(t, connect, fmt.Sprintf("&se=%d", time.Now().Unix()+1000))
		publish = p.Packet()
		require.Contains(t, publish, "waits")
		p.Puback(publish)
		require.NoError(t, <-waiting)
	})
}
