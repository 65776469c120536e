package iotda

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// Vectors V1 to V4 and V6 of the sheet, each checked with openssl there.
func TestGenerateLogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		device, secret string
		sign           SignType
		at             time.Time
		want           Login
	}{
		"V1": {"d_1", "12345678", SignChecked, time.Date(2025, 4, 14, 1, 59, 0, 0, time.UTC),
			Login{"d_1_0_1_2025041401", "d_1", "c75150e6cb841417396819e4d2ee4358a416344a03a083e3a8567074ddec820a"}},
		"V2": {deviceID, secret, SignUnchecked, at2018().In(time.FixedZone("CST", 8*3600)),
			Login{deviceID + "_0_0_2018072417", deviceID, "2a6acdf8e766b25981f6cc109313db3dc99937bc50f4b966535703f20b5a19c1"}},
		"V3": {deviceID, "0123456789abcdef0123456789abcdef", SignUnchecked, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			Login{deviceID + "_0_0_2026010100", deviceID, "9757a7db81ff9a18449ecf611e763f2552e6f94aea53e66fe6559db3bb41eef9"}},
		"V4": {deviceID, "", SignUnchecked, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			Login{deviceID + "_0_0_2026010100", deviceID, "6318036815083c3e4972af9720fc7fdfb3760df235c02eef11c3e86d584c9807"}},
		"V6": {"d_1", "12345678", SignSM3, time.Date(2025, 4, 14, 1, 0, 0, 0, time.UTC),
			Login{"d_1_0_2_2025041401", "d_1", "a110c9e1536980a2ca572e7d5b82542a20a04e144937385f224d587fa1d0e862"}},
	} {
		got, err := GenerateLogin(tc.device, tc.secret, tc.sign, tc.at)
		require.NoError(t, err, name)
		require.Equal(t, tc.want, got, name)
	}
	_, err := GenerateLogin("a b", "x", SignUnchecked, at2018())
	require.ErrorContains(t, err, `device ID is "a b"`)
	_, err = GenerateLogin("d", "x", '7', at2018())
	require.ErrorContains(t, err, `sign type is "7"`)
}

func TestConnect(t *testing.T) {
	t.Parallel()
	cert, _ := kittest.SelfSigned(t, "dev01")
	for name, tc := range map[string]struct {
		change  func(*Config)
		connect string
		cn      string
	}{
		"secret":      {func(*Config) {}, connectV2, ""},
		"sign type 1": {func(c *Config) { c.Sign = SignChecked }, strings.Replace(connectV2, "_0_0_", "_0_1_", 1), ""},
		"certificate": {func(c *Config) { c.Credential, c.KeepAlive, c.Port = X509(cert), 30*time.Second, 18883 },
			"\x10\x59\x00\x04MQTT\x04\x82\x00\x1e\x00\x2d5e25cd2ea16ebc0a3f7b1f1c_dev01_0_0_2018072417\x00\x1e5e25cd2ea16ebc0a3f7b1f1c_dev01", "dev01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, host)
				cfg := config(c)
				tc.change(&cfg)
				done := dialling(t, cfg)
				p, connect := c.Accept(kittest.Accepted)
				require.Equal(t, tc.connect, connect)
				state := p.Conn.ConnectionState()
				require.Equal(t, host, state.ServerName)
				if tc.cn != "" {
					require.Equal(t, host+":18883", <-c.Dials)
					require.Equal(t, tc.cn, state.PeerCertificates[0].Subject.CommonName)
				} else {
					require.Equal(t, host+":8883", <-c.Dials)
					require.Empty(t, state.PeerCertificates)
				}
				got := <-done
				require.NoError(t, got.err)
				require.Equal(t, deviceID, got.device.ID())
				synctest.Wait()
				require.Empty(t, p.Packets, "no SUBSCRIBE: system topics come without")
				require.NoError(t, got.device.Close(t.Context()))
				p.Expect(kittest.Disconnect)
				require.ErrorIs(t, got.device.Err(), clientkit.ErrClosed)
			})
		})
	}
}

// Without TLS, on port 1883.
func TestConnectPlain(t *testing.T) {
	t.Parallel()
	dialled := make(chan string, 1)
	packets := make(chan []byte, 1)
	cfg := Config{
		Host: host, DeviceID: deviceID, Credential: Secret(secret), Plain: true, Timing: Timing{Now: at2018},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled <- address
			client, server := net.Pipe()
			go func() {
				b := make([]byte, len(connectV2))
				_, _ = io.ReadFull(server, b)
				packets <- b
				_, _ = server.Write([]byte("\x20\x02\x00\x05"))
				_ = server.Close()
			}()
			return client, nil
		},
	}
	_, err := Dial(t.Context(), cfg)
	var refused *ConnectError
	require.ErrorAs(t, err, &refused)
	require.EqualError(t, refused, "iotda: "+host+" refused the connection: return code 5 (no permission: the device is frozen, or must use TLS)")
	require.Equal(t, host+":1883", <-dialled)
	require.Equal(t, connectV2, string(<-packets))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"\x01": "return code 1 (protocol", "\x02": "keep alive", "\x04": "user name or password wrong", "\x63": "return code 99 (not a return code",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, host)
				done := dialling(t, config(c))
				c.Accept("\x20\x02\x00" + code)
				err := (<-done).err
				var refused *ConnectError
				require.ErrorAs(t, err, &refused)
				require.ErrorContains(t, err, want)
				require.Len(t, c.Dials, 1)
			})
		})
	}
}

// Code 3 and closed connections are passing; an untrusted server and an alert about our certificate are not.
func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, host)
		start := time.Now()
		done := dialling(t, config(c))
		c.Accept("\x20\x02\x00\x03")
		p, _ := c.Accept("")
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		require.Equal(t, 1500*time.Millisecond, time.Since(start))
		got := <-done
		require.NoError(t, got.err)

		// A lost connection is replaced; a refusal ends the device.
		p.Drop()
		p, _ = c.Accept("\x20\x02\x00\x04")
		<-got.device.Done()
		var refused *ConnectError
		require.ErrorAs(t, got.device.Err(), &refused)
		require.ErrorIs(t, got.device.Report(t.Context()), ErrClosed)
		require.ErrorIs(t, got.device.OnEvent("$log", func(context.Context, Event) {}), ErrClosed)
		p.ExpectEnd()

		other := kittest.NewCloud(t, "other.test")
		cfg := config(other)
		var verify *tls.CertificateVerificationError
		require.ErrorAs(t, (<-dialling(t, cfg)).err, &verify)

		strict := kittest.NewCloud(t, host)
		strict.Server = func(cfg *tls.Config) { cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, strict.Roots }
		cfg = config(strict)
		var alert *CertificateError
		require.ErrorAs(t, (<-dialling(t, cfg)).err, &alert)
		require.ErrorContains(t, alert, "does not accept the certificate: ")
		require.Error(t, errors.Unwrap(alert))
	})
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	cert, _ := kittest.SelfSigned(t, "x")
	group, err := GroupSecret("Z3JvdXBzZWNyZXQtMDE=")
	require.NoError(t, err)
	for want, cfg := range map[string]Config{
		`host is ""`:                 {},
		`host is "a:1"`:              {Host: "a:1"},
		"port is -1":                 {Host: "h", DeviceID: "d", Credential: Secret("x"), Port: -1},
		"keep alive is 1s":           {Host: "h", KeepAlive: time.Second},
		"a certificate needs TLS":    {Host: "h", Plain: true, Credential: X509(cert)},
		"a group secret is for":      {Host: "h", Credential: group},
		`device ID is ""`:            {Host: "h"},
		"sign type is":               {Host: "h", DeviceID: "d", Sign: '9'},
		"no credential":              {Host: "h", DeviceID: "d"},
		"needs a certificate and it": {Host: "h", DeviceID: "d", Credential: X509(tls.Certificate{})},
	} {
		_, err := Dial(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
	_, err = GroupSecret("?")
	require.ErrorContains(t, err, "not base64")
	for want, cfg := range map[string]ProvisionConfig{
		"no host":                 {},
		`host is "a:1"`:           {Host: "a:1"},
		"port is 65536":           {Host: "h", DeviceID: "d", Credential: Secret("x"), Port: 65536},
		"needs the group's scope": {Host: "h", Credential: group},
		"with a scope ID":         {Host: "h", ScopeID: "s", Credential: Secret("x")},
		"device ID is":            {Host: "h"},
		"no credential":           {Host: "h", DeviceID: "d"},
	} {
		_, err := Provision(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}

// The provisioning service: group key (vector V5), certificate, the device's own secret.
func TestProvision(t *testing.T) {
	t.Parallel()
	cert, _ := kittest.SelfSigned(t, "dev01")
	group, err := GroupSecret("Z3JvdXBzZWNyZXQtMDE=")
	require.NoError(t, err)
	at2026 := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	const topic = "$oc/devices/" + deviceID + "/sys/bootstrap/"
	for name, tc := range map[string]struct {
		change                 func(*ProvisionConfig)
		id, password, up, down string
		want                   Assignment
		fails                  string
	}{
		"group key": {func(c *ProvisionConfig) { c.Credential, c.ScopeID = group, "scope1" }, deviceID + "_0_scope1_0_2026010100",
			"10693b86d7ba5a6be9c5aae21f528d3ffef8a20507c6f3d67c1f96305abdc476", "",
			`{"address":"h.test:8883","initConfig":"{}","deviceSecret":"s"}`, Assignment{"h.test", 8883, "{}", "s"}, ""},
		"certificate": {func(c *ProvisionConfig) { c.Credential, c.ScopeID = X509(cert), "scope1" }, deviceID + "_0_scope1", "", "",
			`{"address":"h.test:1883"}`, Assignment{Host: "h.test", Port: 1883}, ""},
		"no strategy": {func(c *ProvisionConfig) {
			c.Credential, c.Keyword = Secret("0123456789abcdef0123456789abcdef"), "north"
		}, deviceID + "_0_0_2026010100",
			"9757a7db81ff9a18449ecf611e763f2552e6f94aea53e66fe6559db3bb41eef9", `{"baseStrategyKeyword":"north"}`,
			`{"errorCode":"100414","errorMsg":"none"}`, Assignment{}, "iotda: provisioning failed: error code 100414: none"},
		"no port":  {func(c *ProvisionConfig) { c.Credential = X509(cert) }, deviceID + "_0_0_2026010100", "", "", `{"address":"h"}`, Assignment{}, `the address "h" is not host:port`},
		"not JSON": {func(c *ProvisionConfig) { c.Credential = X509(cert) }, deviceID + "_0_0_2026010100", "", "", `x`, Assignment{}, "is not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, "bs.test")
				cfg := ProvisionConfig{Host: "bs.test", DeviceID: deviceID, TLS: c.TLS(), Dial: c.Dial, Timing: Timing{Now: at2026}}
				tc.change(&cfg)
				var got Assignment
				done := running(func() error { var err error; got, err = Provision(t.Context(), cfg); return err })
				p, _ := c.Accept("\x20\x02\x00\x03") // passing
				_ = p
				p, connect := c.Accept(kittest.Accepted)
				want := kittest.String(tc.id) + kittest.String(deviceID)
				if tc.password != "" {
					want += kittest.String(tc.password)
				}
				require.True(t, strings.HasSuffix(connect, "\x00\x78"+want), "%q", connect)
				p.Grant(topic + "down")
				gotTopic, body := p.Take()
				require.Equal(t, topic+"up", gotTopic)
				require.Equal(t, tc.up, body)
				inform(p, "other", "{}")
				inform(p, topic+"down", tc.down)
				p.Expect(kittest.Disconnect)
				err := <-done
				if tc.fails != "" {
					require.ErrorContains(t, err, tc.fails)
					var refused *ProvisionError
					require.ErrorAs(t, err, &refused)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tc.want, got)
			})
		})
	}
}

func TestProvisionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, "bs.test")
		done := running(func() error {
			_, err := Provision(t.Context(), ProvisionConfig{Host: "bs.test", DeviceID: deviceID, Credential: Secret("x"),
				TLS: c.TLS(), Dial: c.Dial, Timeout: 31 * time.Second, Timing: Timing{Jitter: func() float64 { return 0 }}})
			return err
		})
		p, _ := c.Accept(kittest.Accepted)
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Grant(sys + "bootstrap/down")
		p.Take()
		p.Expect(kittest.Disconnect)
		err := <-done
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, ErrNoAnswer)
	})
}
