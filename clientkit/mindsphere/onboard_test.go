package mindsphere

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// The broker closes the first connections without a word; the fourth stays.
func TestOnboardingRidesOverTheDrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, DefaultHostEU1)
		cfg := eu1(c)
		var seen states
		cfg.OnState = seen.note
		start := time.Now()
		done := dialling(t, cfg)
		for range 3 {
			p, connect := c.Accept("")
			require.Equal(t, "mindconnectmqtt.eu1.mindsphere.io:8883", <-c.Dials)
			require.Equal(t, "\x10\x1a\x00\x04MQTT\x04\x00\x00\x3c\x00\x0ecamexia_pump-7", connect)
			state := p.Conn.ConnectionState()
			require.Equal(t, DefaultHostEU1, state.ServerName)
			require.Empty(t, state.NegotiatedProtocol)
			require.Equal(t, "pump-7", state.PeerCertificates[0].Subject.CommonName)
			p.Drop()
		}
		p, _ := c.Accept(kittest.Accepted)
		require.Equal(t, second(0.5+1+2), time.Since(start))
		got := <-done
		require.NoError(t, got.err)
		require.Equal(t, "camexia_pump-7", got.agent.ClientID())
		synctest.Wait()
		require.Equal(t, strings.Repeat("connecting disconnected ", 3)+"connecting connected", seen.String())
		require.NoError(t, got.agent.Close(t.Context()))
		p.Expect(kittest.Disconnect)
		p.ExpectEnd()
		require.ErrorIs(t, got.agent.Err(), ErrClosed)
		require.ErrorIs(t, got.agent.Err(), clientkit.ErrClosed)
		<-got.agent.Done()
	})
}

func TestOnboardingThatNeverEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, DefaultHostEU1)
		cfg := eu1(c)
		cfg.Onboarding = 10 * time.Second
		done := dialling(t, cfg)
		for range 6 { // 0, 0.5, 1.5, 3.5, 7.5, 15.5 s
			p, _ := c.Accept("")
			p.Drop()
		}
		var gone *DroppedError
		require.ErrorAs(t, (<-done).err, &gone)
		require.Equal(t, DroppedError{Host: DefaultHostEU1, ClientID: "camexia_pump-7", Attempts: 6, After: second(15.5)}, *gone)
		require.ErrorContains(t, gone, "has closed 6 connections of camexia_pump-7 without a word within 15.5s")
	})
}

func TestOnboardingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, DefaultHostEU1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := running(func() error { _, err := Dial(ctx, eu1(c)); return err })
		for range 2 {
			p, _ := c.Accept("")
			p.Drop()
		}
		err := <-done
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, io.EOF, "the last failure is told as well")
	})
}

func TestOnboardingRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, DefaultHostEU1)
		done := dialling(t, eu1(c))
		c.Accept("\x20\x02\x00\x05")
		var refused *ConnectError
		require.ErrorAs(t, (<-done).err, &refused)
		require.EqualError(t, refused, "mindsphere: mindconnectmqtt.eu1.mindsphere.io refused the connection: return code 5")
		require.Len(t, c.Dials, 1)
	})
}

func TestCertificateAlert(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, DefaultHostEU1)
				c.Server = func(cfg *tls.Config) {
					cfg.ClientAuth, cfg.ClientCAs, cfg.MaxVersion = tls.RequireAndVerifyClientCert, c.Roots, version
				}
				var refused *CertificateError
				require.ErrorAs(t, (<-dialling(t, eu1(c))).err, &refused)
				require.Equal(t, "unknown certificate authority", refused.Alert)
				require.Error(t, errors.Unwrap(refused))
			})
		})
	}
}

func TestPort443(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, DefaultHostEU1)
		c.Server = func(cfg *tls.Config) { cfg.NextProtos = []string{"x-amzn-mqtt-ca"} }
		cfg := eu1(c)
		cfg.Port, cfg.CleanSession, cfg.KeepAlive = 443, true, 30*time.Second
		done := dialling(t, cfg)
		p, connect := c.Accept(kittest.Accepted)
		require.Equal(t, "mindconnectmqtt.eu1.mindsphere.io:443", <-c.Dials)
		require.Equal(t, "x-amzn-mqtt-ca", p.Conn.ConnectionState().NegotiatedProtocol)
		require.Equal(t, "\x10\x1a\x00\x04MQTT\x04\x02\x00\x1e\x00\x0ecamexia_pump-7", connect)
		require.NoError(t, (<-done).agent.Close(t.Context()))
	})
}

// A client that takes the agent's place is not a reason to give up, nor is a drop later on.
func TestReconnectAfterTakeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, c := up(t)
		sent := running(func() error { return a.SendTimeSeries(t.Context(), Sample{}) })
		p.Packet()
		p.Drop()
		p, _ = c.Accept("")
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Take()
		require.NoError(t, <-sent)
		p.Drop()
		c.Accept("\x20\x02\x00\x05")
		<-a.Done()
		var refused *ConnectError
		require.ErrorAs(t, a.Err(), &refused)
		require.ErrorIs(t, a.SendTimeSeries(t.Context(), Sample{}), ErrClosed)
	})
}

// Region eu2: DPS, then the hub that it names, both with the same certificate.
func TestRegionEU2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hub = "conn-prod-ex-iothub.azure-devices.net"
		c := kittest.NewCloud(t, azure.DefaultProvisioningHost, hub)
		cert, _ := kittest.SelfSigned(t, "camexia_pump-7")
		done := dialling(t, Config{
			Region: EU2, Tenant: "camexia", Certificate: cert, IDScope: "0ne00FAKE02", TLS: c.TLS(), Dial: c.Dial,
		})
		p, connect := c.Accept(kittest.Accepted)
		require.Equal(t, "global.azure-devices-provisioning.net:8883", <-c.Dials)
		require.Equal(t, "\x10\x5b\x00\x04MQTT\x04\x82\x00\x1e\x00\x0ecamexia_pump-7"+
			"\x00\x3f0ne00FAKE02/registrations/camexia_pump-7/api-version=2019-03-31", connect)
		p.Grant("$dps/registrations/res/#")
		topic, _ := p.Take()
		require.Equal(t, "$dps/registrations/PUT/iotdps-register/?$rid=1", topic)
		p.Send(kittest.Publish("\x32", "$dps/registrations/res/200/?$rid=1", "\x00\x01", `{"operationId":"4.a.b","status":"assigned",
			"registrationState":{"assignedHub":"`+hub+`","deviceId":"camexia_pump-7","status":"assigned"}}`))
		p.Expect("\x40\x02\x00\x01")
		p.Expect(kittest.Disconnect)

		p, connect = c.Accept(kittest.Accepted)
		require.Equal(t, hub+":8883", <-c.Dials)
		require.Equal(t, "\x10\x68\x00\x04MQTT\x04\x80\x00\x3c\x00\x0ecamexia_pump-7"+
			"\x00\x4c"+hub+"/camexia_pump-7/?api-version=2018-06-30", connect)
		got := <-done
		require.NoError(t, got.err)
		a := got.agent
		a.ids = func() string { return "id1" }

		made := running(func() error { _, err := a.CreateModel(t.Context(), Model{ExternalID: "PumpModel"}); return err })
		p.Grant("devices/camexia_pump-7/messages/devicebound/#")
		topic, payload := p.Take()
		require.Equal(t, "devices/camexia_pump-7/messages/events/amo_v3=m", topic)
		require.JSONEq(t, `{"id":"id1","data":{"externalId":"PumpModel","typeModel":{"aspectTypes":[],"assetTypes":[]},`+
			`"instanceModel":{"assets":[]},"mappingModel":{"mappings":[]}}}`, payload)
		// The property of the answer is assumed; without it the request's id tells.
		for _, bag := range []string{"amo_v3=ms", "", "%24.to=x"} {
			p.Send(kittest.Publish("\x32", "devices/camexia_pump-7/messages/devicebound/"+bag, "\x00\x07", `{"requestId":"id1`+answer+`{"status":"InProgress"}}`))
			p.Expect("\x40\x02\x00\x07")
		}
		p.Send(kittest.Publish("\x32", "devices/camexia_pump-7/messages/devicebound/", "\x00\x07", `{"requestId":"id1`+answer+`{"status":"Success"}}`))
		p.Expect("\x40\x02\x00\x07")
		require.NoError(t, <-made)

		commands := make(chan Command, 1)
		require.NoError(t, a.OnCommand(t.Context(), func(_ context.Context, c Command) (any, error) { commands <- c; return nil, nil }))
		p.Send(kittest.Publish("\x32", "devices/camexia_pump-7/messages/devicebound/", "\x00\x07", `{"id":"c1","data":{"jobId":"j1","payload":{}}}`))
		p.Expect("\x40\x02\x00\x07")
		require.Equal(t, "j1", (<-commands).JobID)
		topic, payload = p.Take()
		require.Equal(t, "devices/camexia_pump-7/messages/events/cmd_v3=u", topic)
		require.Contains(t, payload, `"jobId":"j1","status":"EXECUTED"}`)

		_, err := a.Token(t.Context())
		require.ErrorIs(t, err, ErrRegion)
		require.NoError(t, a.Close(t.Context()))
		p.Expect(kittest.Disconnect)
		require.ErrorIs(t, a.SendTimeSeries(t.Context(), Sample{}), ErrClosed)
		require.ErrorIs(t, a.OnCommand(t.Context(), func(context.Context, Command) (any, error) { return nil, nil }), errTaken)
		<-a.Done()
	})
}

func TestRegionEU2Refused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, "hub.test")
		cert, _ := kittest.SelfSigned(t, "camexia_pump-7")
		done := dialling(t, Config{Region: EU2, Tenant: "camexia", Certificate: cert, Hub: "hub.test", TLS: c.TLS(), Dial: c.Dial})
		c.Accept("\x20\x02\x00\x05")
		var refused *azure.ConnectError
		require.ErrorAs(t, (<-done).err, &refused)
	})
}

func rsaDevice(t *testing.T, cn string) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A private cloud's agent shows a signed token, and no certificate; the token is renewed in time.
func TestPrivateCloud(t *testing.T) {
	t.Parallel()
	cert := rsaDevice(t, "pump-7")
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, "mqtt.plant.test")
		done := dialling(t, Config{
			Region: PrivateCloud, Tenant: "camexia", Certificate: cert, Host: "mqtt.plant.test", TLS: c.TLS(), Dial: c.Dial,
			Timing: Timing{Jitter: func() float64 { return 0 }},
		})
		p, connect := c.Accept(kittest.Accepted)
		require.Empty(t, p.Conn.ConnectionState().PeerCertificates)
		require.Contains(t, connect, "\x00\x04MQTT\x04\xc0\x00\x3c\x00\x0ecamexia_pump-7\x00\x12_CertificateBearer")
		_, token, _ := strings.Cut(connect, "_CertificateBearer")
		require.Equal(t, 3, len(strings.Split(token[2:], ".")))
		got := <-done
		require.NoError(t, got.err)
		start := time.Now()
		p.Expect(kittest.Disconnect)
		require.Equal(t, 51*time.Minute, time.Since(start))
		p, renewed := c.Accept(kittest.Accepted)
		require.NotEqual(t, connect, renewed)
		synctest.Wait()
		require.NoError(t, got.agent.Close(t.Context()))
		p.Expect(kittest.Disconnect)
	})
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	cert, _ := kittest.SelfSigned(t, "pump-7")
	nameless, _ := kittest.SelfSigned(t, "")
	slash, _ := kittest.SelfSigned(t, "a/b")
	broken := tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: cert.PrivateKey}
	for want, cfg := range map[string]Config{
		`region is ""`:                       {},
		`region is "eu3"`:                    {Region: "eu3"},
		`tenant is ""`:                       {Region: EU1},
		`tenant is "a_b"`:                    {Region: EU1, Tenant: "a_b"},
		"host is":                            {Region: PrivateCloud, Tenant: "t"},
		`host is "a:1"`:                      {Region: EU1, Tenant: "t", Host: "a:1"},
		"needs the ID scope":                 {Region: EU2, Tenant: "t"},
		"are of region eu2":                  {Region: EU1, Tenant: "t", IDScope: "0ne"},
		"is of region eu1":                   {Region: EU2, Tenant: "t", IDScope: "0ne", Port: 443},
		"keep alive is 1s":                   {Region: EU1, Tenant: "t", KeepAlive: time.Second},
		"token life is 1s":                   {Region: EU1, Tenant: "t", TokenLife: time.Second},
		"needs a certificate":                {Region: EU1, Tenant: "t"},
		"the agent's certificate":            {Region: EU1, Tenant: "t", Certificate: broken},
		"no common name":                     {Region: EU1, Tenant: "t", Certificate: nameless},
		`begins with the tenant: t_pump-7`:   {Region: EU2, Tenant: "t", IDScope: "0ne", Certificate: cert},
		`client id "t_a/b"`:                  {Region: EU1, Tenant: "t", Certificate: slash},
		"its key must be RSA":                {Region: PrivateCloud, Tenant: "t", Host: "h", Certificate: cert},
		"onboarding must not be negative":    {Region: EU1, Tenant: "t", Onboarding: -1, Certificate: cert},
		"expected the broker's name":         {Region: EU1, Tenant: "t", Host: "https://x", Certificate: cert},
		"region eu2 needs the ID scope of D": {Region: EU2, Tenant: "t", Certificate: cert},
	} {
		_, err := Dial(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}
