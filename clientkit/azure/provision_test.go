package azure

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

const (
	dpsHost    = "global.azure-devices-provisioning.net"
	assigning  = `{"operationId":"4.abe16cbf3f71fe17.19a42d8c-76f4-438c-be83-85d01f7bff73","status":"assigning"}`
	assigned   = `{"operationId":"4.abe16cbf3f71fe17.19a42d8c-76f4-438c-be83-85d01f7bff73","status":"assigned","registrationState":{"x509":{"enrollmentGroupId":"G"},"registrationId":"device-001","createdDateTimeUtc":"2021-06-03T08:37:58.8521797Z","assignedHub":"contoso.azure-devices.net","deviceId":"device-001","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2021-06-03T08:37:59.1384561Z","etag":"IjcxMDAz","payload":{"site":"north"}}}`
	subscribe  = "\x82\x1d\x00\x01\x00\x18$dps/registrations/res/#\x01"
	suback     = "\x90\x03\x00\x01\x01"
	pollPrefix = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid="
	operation1 = "4.abe16cbf3f71fe17.19a42d8c-76f4-438c-be83-85d01f7bff73"
)

// answerQoS1 is an answer to the device, with packet identifier 7.
func answerQoS1(topic, body string) string {
	return kittest.Publish("\x32", topic, "\x00\x07", body)
}

// reply acknowledges a request and answers it, in this order as the service does.
func reply(p *kittest.Peer, request, topic, body string) {
	p.TB.Helper()
	p.Puback(request)
	p.Send(answerQoS1(topic, body))
	p.Expect("\x40\x02\x00\x07")
}

// outcome runs Provision beside the test.
type outcome struct {
	assignment Assignment
	err        error
}

func provision(ctx context.Context, cfg ProvisionConfig) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		a, err := Provision(ctx, cfg)
		done <- outcome{a, err}
	}()
	return done
}

// dpsConfig is a device with a certificate at c.
func dpsConfig(c *kittest.Cloud) ProvisionConfig {
	cert, _ := kittest.SelfSigned(c.TB, "device-001")
	return ProvisionConfig{
		IDScope: "0ne00FAKE01", Credential: X509(cert), TLS: c.TLS(), Dial: c.Dial,
		Timing: Timing{Jitter: func() float64 { return 0 }},
	}
}

func TestProvisionX509(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		cfg := dpsConfig(c)
		cfg.Payload = json.RawMessage(`{"model":7}`)
		start := time.Now()
		done := provision(t.Context(), cfg)

		p, connect := c.Accept(kittest.Accepted)
		require.Equal(t, "global.azure-devices-provisioning.net:8883", <-c.Dials)
		require.Equal(t, "\x10\x53\x00\x04MQTT\x04\x82\x00\x1e\x00\x0adevice-001"+
			"\x00\x3b0ne00FAKE01/registrations/device-001/api-version=2019-03-31", connect)
		state := p.Conn.ConnectionState()
		require.Equal(t, dpsHost, state.ServerName)
		require.Equal(t, "device-001", state.PeerCertificates[0].Subject.CommonName)

		p.Expect(subscribe)
		p.Send(suback)
		register := p.Packet()
		require.Equal(t, "\x32\x67\x00\x2e$dps/registrations/PUT/iotdps-register/?$rid=1\x00\x02"+
			`{"registrationId":"device-001","payload":{"model":7}}`, register)
		reply(p, register, "$dps/registrations/res/202/?$rid=1&retry-after=3", assigning)
		poll := p.Packet()
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, kittest.Publish("\x32", pollPrefix+"2&operationId="+operation1, "\x00\x03", ""), poll)
		reply(p, poll, "$dps/registrations/res/202/?$rid=2", assigning)
		poll = p.Packet()
		require.Equal(t, 5*time.Second, time.Since(start), "2 s without retry-after")
		p.Send(answerQoS1("$dps/registrations/res/401/?$rid=2", `{}`)) // an answer to a past request is not ours
		p.Expect("\x40\x02\x00\x07")
		reply(p, poll, "$dps/registrations/res/200/?$rid=3", assigned)
		p.Expect(kittest.Disconnect)
		p.ExpectEnd()

		got := <-done
		require.NoError(t, got.err)
		require.Equal(t, Assignment{
			Hub: "contoso.azure-devices.net", DeviceID: "device-001", RegistrationID: "device-001",
			Substatus: "initialAssignment", ETag: "IjcxMDAz", OperationID: operation1,
			CreatedAt: time.Date(2021, 6, 3, 8, 37, 58, 852179700, time.UTC),
			UpdatedAt: time.Date(2021, 6, 3, 8, 37, 59, 138456100, time.UTC),
			Payload:   json.RawMessage(`{"site":"north"}`),
		}, got.assignment)
	})
}

// The token is vector V3 of the sheet: HMAC by openssl and by Python over the derived key of V2.
func TestProvisionSymmetricKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, "dps.test")
		key, err := DeriveDeviceKey("ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==", "device-001")
		require.NoError(t, err)
		require.Equal(t, "d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU=", key)
		credential, err := SymmetricKey(key)
		require.NoError(t, err)
		done := provision(t.Context(), ProvisionConfig{
			Host: "dps.test", Port: 18883, IDScope: "0ne00FAKE01", RegistrationID: "device-001",
			Credential: credential, TLS: c.TLS(), Dial: c.Dial,
			Timing: Timing{Now: func() time.Time { return time.Unix(4102444800-3600, 0) }},
		})
		p, connect := c.Accept(kittest.Accepted)
		require.Equal(t, "dps.test:18883", <-c.Dials)
		require.Equal(t, "\x10\xf0\x01\x00\x04MQTT\x04\xc2\x00\x1e\x00\x0adevice-001"+
			"\x00\x3b0ne00FAKE01/registrations/device-001/api-version=2019-03-31"+
			"\x00\x9bSharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001"+
			"&sig=%2BUMInG4dEKIdrF%2FV9%2F0%2FKk9gnlSf4YnvBeLW0PrFgGU%3D&se=4102444800&skn=registration", connect)
		require.Empty(t, p.Conn.ConnectionState().PeerCertificates)
		p.Expect(subscribe)
		p.Send(suback)
		reply(p, p.Packet(), "$dps/registrations/res/200/?$rid=1", assigned)
		require.NoError(t, (<-done).err)
	})
}

func TestProvisionRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		status, body string
		want         ProvisionError
		text         string
	}{
		"wrong certificate": {
			status: "401",
			body:   `{"errorCode":401002,"trackingId":"4f3c","message":"CA certificate not found","timestampUtc":"2019-11-19T21:39:05.1573304Z"}`,
			want:   ProvisionError{Status: 401, ErrorCode: 401002, TrackingID: "4f3c", Message: "CA certificate not found", Final: true},
			text:   "azure: provisioning failed: status 401, error code 401002: CA certificate not found (tracking id 4f3c)",
		},
		"no body": {
			status: "404", want: ProvisionError{Status: 404, Final: true}, text: "azure: provisioning failed: status 404",
		},
		"no hub": {
			status: "200",
			body:   `{"operationId":"4.a.b","status":"failed","registrationState":{"registrationId":"device-001","status":"failed","errorCode":400208,"errorMessage":"no hub"}}`,
			want:   ProvisionError{Status: 200, State: "failed", ErrorCode: 400208, Message: "no hub", Final: true},
			text:   "azure: provisioning failed: status 200, failed, error code 400208: no hub",
		},
		"disabled": {
			status: "200", body: `{"operationId":"4.a.b","status":"disabled","registrationState":{"status":"disabled"}}`,
			want: ProvisionError{Status: 200, State: "disabled", Message: "the enrollment of this device is disabled", Final: true},
			text: "azure: provisioning failed: status 200, disabled: the enrollment of this device is disabled",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, dpsHost)
				done := provision(t.Context(), dpsConfig(c))
				p, _ := c.Accept(kittest.Accepted)
				p.Expect(subscribe)
				p.Send(suback)
				reply(p, p.Packet(), "$dps/registrations/res/"+tc.status+"/?$rid=1", tc.body)
				p.Expect(kittest.Disconnect)
				got := <-done
				var refused *ProvisionError
				require.ErrorAs(t, got.err, &refused)
				require.Equal(t, tc.want, *refused)
				require.EqualError(t, got.err, tc.text)
			})
		})
	}
}

func TestProvisionRetriesThrottlingAndServerErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		start := time.Now()
		done := provision(t.Context(), dpsConfig(c))
		p, _ := c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.Send(suback)
		reply(p, p.Packet(), "$dps/registrations/res/429/?$rid=1&retry-after=5", `{"errorCode":429001}`)
		again := p.Packet()
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Contains(t, again, "iotdps-register/?$rid=2")
		reply(p, again, "$dps/registrations/res/500/?$rid=2", "not json")
		again = p.Packet()
		require.Equal(t, 6*time.Second, time.Since(start), "second failure in a row: 2 s, the lower half without jitter")
		reply(p, again, "$dps/registrations/res/200/?$rid=3", assigned)
		require.NoError(t, (<-done).err)
	})
}

func TestProvisionContinuesAfterLostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		done := provision(t.Context(), dpsConfig(c))
		p, _ := c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.Send(suback)
		reply(p, p.Packet(), "$dps/registrations/res/202/?$rid=1&retry-after=1", assigning)
		p.Packet()
		p.Drop()

		p, _ = c.Accept("\x20\x02\x00\x03") // busy
		p.ExpectEnd()
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.Send(suback)
		poll := p.Packet()
		require.Contains(t, poll, pollPrefix+"3&operationId="+operation1, "the registration is not begun anew")
		reply(p, poll, "$dps/registrations/res/200/?$rid=3", assigned)
		require.NoError(t, (<-done).err)
	})
}

func TestProvisionConnectRefused(t *testing.T) {
	t.Parallel()
	for _, code := range []byte{1, 2, 4, 5, 0x87} {
		synctest.Test(t, func(t *testing.T) {
			c := kittest.NewCloud(t, dpsHost)
			done := provision(t.Context(), dpsConfig(c))
			p, _ := c.Accept("\x20\x02\x00" + string([]byte{code}))
			got := <-done
			var refused *ConnectError
			require.ErrorAs(t, got.err, &refused)
			require.Equal(t, ConnectError{Host: dpsHost, ReturnCode: code}, *refused)
			p.ExpectEnd()
			require.Len(t, c.Dials, 1, "a refusal is final")
		})
	}
}

func TestProvisionGivesUpInTime(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		serve func(*kittest.Cloud)
		want  string
	}{
		"closed without CONNACK": {
			serve: func(c *kittest.Cloud) {
				for p := range c.Peers {
					p.Packet()
					p.Drop()
				}
			},
			want: "without a CONNACK",
		},
		"silence": {
			serve: func(c *kittest.Cloud) {
				for p := range c.Peers {
					p.Packet()
				}
			},
			want: "no CONNACK in time",
		},
		"server errors": {
			serve: func(c *kittest.Cloud) {
				p, _ := c.Accept(kittest.Accepted)
				p.Packet()
				p.Send(suback)
				for request := range p.Packets {
					if request[0] == '\x32' {
						p.Puback(request)
						at := len("$dps/registrations/PUT/iotdps-register/?$rid=") + 4
						end := 4 + int(request[3]) // topics here are shorter than 128 bytes
						p.Send(answerQoS1("$dps/registrations/res/503/?$rid="+request[at:end], `{"errorCode":503001}`))
					}
				}
			},
			want: "status 503, error code 503001",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := kittest.NewCloud(t, dpsHost)
				cfg := dpsConfig(c)
				cfg.Timeout = 50 * time.Second
				start := time.Now()
				go tc.serve(c)
				got := <-provision(t.Context(), cfg)
				require.ErrorIs(t, got.err, context.DeadlineExceeded)
				require.ErrorContains(t, got.err, tc.want)
				require.WithinDuration(t, start.Add(cfg.Timeout), time.Now(), 10*time.Second)
				close(c.Peers)
			})
		})
	}
}

func TestProvisionCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		ctx, cancel := context.WithCancel(t.Context())
		done := provision(ctx, dpsConfig(c))
		p, _ := c.Accept("")
		cancel()
		require.ErrorIs(t, (<-done).err, context.Canceled)
		p.ExpectEnd()
	})
}

func TestProvisionUntrustedServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, "another.name")
		var verify *tls.CertificateVerificationError
		require.ErrorAs(t, (<-provision(t.Context(), dpsConfig(c))).err, &verify)
		require.Len(t, c.Dials, 1)
	})
}

func TestProvisionSubscriptionRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, dpsHost)
		done := provision(t.Context(), dpsConfig(c))
		p, _ := c.Accept(kittest.Accepted)
		p.Expect(subscribe)
		p.Send("\x90\x03\x00\x01\x80")
		require.ErrorContains(t, (<-done).err, "refused with 0x80")
		p.Expect(kittest.Disconnect)
	})
}

func TestProvisionConfig(t *testing.T) {
	t.Parallel()
	key, err := SymmetricKey("MDEyMzQ1Njc4OWFiY2RlZg==")
	require.NoError(t, err)
	cases := map[string]struct {
		cfg  ProvisionConfig
		want string
	}{
		"port in host":    {ProvisionConfig{Host: "dps.test:8883"}, `DPS host is "dps.test:8883"`},
		"port":            {ProvisionConfig{IDScope: "0ne00FAKE01", RegistrationID: "d", Port: 65536, Credential: key}, "port is 65536, expected 1 to 65535"},
		"no scope":        {ProvisionConfig{RegistrationID: "d", Credential: key}, `ID scope is ""`},
		"no id":           {ProvisionConfig{IDScope: "0ne00FAKE01", Credential: key}, "no registration ID"},
		"bad id":          {ProvisionConfig{IDScope: "0ne00FAKE01", RegistrationID: "a/b", Credential: key}, `registration ID "a/b"`},
		"bad end":         {ProvisionConfig{IDScope: "0ne00FAKE01", RegistrationID: "a.", Credential: key}, `registration ID "a."`},
		"no credential":   {ProvisionConfig{IDScope: "0ne00FAKE01", RegistrationID: "d"}, "no credential"},
		"payload no JSON": {ProvisionConfig{IDScope: "0ne00FAKE01", RegistrationID: "d", Credential: key, Payload: json.RawMessage("{")}, "not JSON"},
		"no private key":  {ProvisionConfig{IDScope: "0ne00FAKE01", RegistrationID: "d", Credential: X509(tls.Certificate{})}, "private key"},
	}
	for name, tc := range cases {
		_, err := Provision(t.Context(), tc.cfg)
		require.ErrorContains(t, err, tc.want, name)
	}
}
