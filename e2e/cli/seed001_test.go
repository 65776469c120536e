//go:build unix

package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// tutorial is an instance with what the tutorial "Connecting a Device That Uses the X.509 Certificate Based on
// MQTT.fx" makes before its device connects: a product, and a verified device CA.
type tutorial struct {
	*instance
	client *http.Client
	roots  *x509.CertPool
	ca     *issued
}

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// sign issues a certificate as the tutorial's openssl commands do; without by it signs itself.
func sign(t *testing.T, cn string, by *issued, notAfter time.Time) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	wanted := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: notAfter, IsCA: by == nil, BasicConstraintsValid: by == nil}
	if by == nil {
		by = &issued{wanted, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, wanted, by.Certificate, &key.PublicKey, by.key)
	require.NoError(t, err)
	made, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &issued{made, key}
}

func (c *issued) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func (c *issued) fingerprint() string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func (c *issued) tls() []tls.Certificate {
	return []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: c.key}}
}

var nextYear = time.Now().AddDate(1, 0, 0)

func newTutorial(t *testing.T) *tutorial {
	t.Helper()
	s := &tutorial{instance: startFor(t), roots: x509.NewCertPool()}
	_, root := get(t, s.env["ADMIN"]+"/api/v1/ca.pem")
	require.True(t, s.roots.AppendCertsFromPEM([]byte(root)))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: patience}
	s.run(t, "add", "product", "x509", "--property", "Connectivity.dailyActivityTime:int:0..65535:s", "--property", "Battery.batteryLevel:int:0..100:%")
	s.ca = sign(t, "zhangsan", nil, nextYear)
	record := s.upload(t, s.ca)
	verification := sign(t, record["verify_code"].(string), s.ca, nextYear)
	status, _ := s.api(t, "/certificates/"+record["certificate_id"].(string)+"/action?action_id=verify", map[string]any{"verify_content": verification.pem()})
	require.Less(t, status, 300)
	return s
}

// run runs the binary against the instance and returns what it prints.
func (s *tutorial) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append(args, "--admin", s.env["ADMIN"])...)
	cmd.Env = clean()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// api does what the tutorial does in the console.
func (s *tutorial) api(t *testing.T, path string, body map[string]any) (int, map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	answer, err := s.client.Post("https://127.0.0.1:"+s.env["HTTPS"]+"/v5/iot/fa4ec10d0000000000000000000000f1"+path, "application/json", bytes.NewReader(text))
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	require.NoError(t, err)
	var got map[string]any
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &got), string(text))
	}
	return answer.StatusCode, got
}

func (s *tutorial) upload(t *testing.T, ca *issued) map[string]any {
	t.Helper()
	status, record := s.api(t, "/certificates", map[string]any{"content": ca.pem()})
	require.Equal(t, http.StatusCreated, status, record)
	return record
}

// register registers a device of the tutorial's product and returns the status.
func (s *tutorial) register(t *testing.T, node string, auth map[string]any) int {
	t.Helper()
	status, _ := s.api(t, "/devices", map[string]any{"node_id": node, "product_id": "x509", "auth_info": auth})
	return status
}

func x509Auth(fingerprint string) map[string]any {
	return map[string]any{"auth_type": "CERTIFICATES", "fingerprint": fingerprint}
}

// dial opens a TLS connection with a client certificate, or without one.
func (s *tutorial) dial(t *testing.T, with *issued) *rawmqtt.Conn {
	t.Helper()
	cfg := &tls.Config{RootCAs: s.roots}
	if with != nil {
		cfg.Certificates = with.tls()
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+s.env["MQTTS"], cfg)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return rawmqtt.New(conn)
}

// attempt is a CONNECT as the tutorial has it, but for the mistake.
type attempt struct {
	with     *issued
	clientID string // default {device}_0_0_{now}
	username string // default the device
	noAlive  bool
}

// connect tries to connect and returns the connection with the code of its CONNACK.
func (s *tutorial) connect(t *testing.T, device string, a attempt) (*rawmqtt.Conn, byte) {
	t.Helper()
	if a.clientID == "" {
		a.clientID = device + "_0_0_" + time.Now().UTC().Format("2006010215")
	}
	if a.username == "" {
		a.username = device
	}
	c := s.dial(t, a.with)
	packet := rawmqtt.Connect{ClientID: a.clientID, Username: &a.username, KeepAlive: 120}
	if a.noAlive {
		packet.KeepAlive = 0
	}
	_, err := c.Write(packet.Bytes())
	require.NoError(t, err)
	answer, err := c.Read()
	require.NoError(t, err)
	require.Equal(t, byte(0x20), answer.First)
	return c, answer.Body[1]
}

// node registers a device by its certificate and connects it.
func (s *tutorial) node(t *testing.T, node string) *rawmqtt.Conn {
	t.Helper()
	cert := sign(t, node, s.ca, nextYear)
	require.Equal(t, http.StatusCreated, s.register(t, node, x509Auth(cert.fingerprint())))
	c, code := s.connect(t, "x509_"+node, attempt{with: cert})
	require.Zero(t, code)
	return c
}

// mistakes are those that can be made on the way through the tutorial, by the rule that explain names. Each
// makes its own with a device x509_{node}; where the API refuses, no device is known and node is empty.
var mistakes = []struct {
	name, node, rule string
	make             func(t *testing.T, s *tutorial, node string)
}{
	{"verification certificate without the code", "", "DA-19/code", func(t *testing.T, s *tutorial, _ string) {
		ca := sign(t, "lisi", nil, nextYear)
		s.verify(t, s.upload(t, ca)["certificate_id"], sign(t, "lisi", ca, nextYear))
	}},
	{"verification certificate of another key", "", "DA-19/signature", func(t *testing.T, s *tutorial, _ string) {
		record := s.upload(t, sign(t, "wangwu", nil, nextYear))
		s.verify(t, record["certificate_id"], sign(t, record["verify_code"].(string), s.ca, nextYear))
	}},
	{"fingerprint with its colons", "", "DA-18/colons", func(t *testing.T, s *tutorial, _ string) {
		require.Equal(t, http.StatusBadRequest, s.register(t, "colons", x509Auth(strings.TrimSuffix(strings.Repeat("AB:", 32), ":"))))
	}},
	{"fingerprint cut short", "", "DA-18/form", func(t *testing.T, s *tutorial, _ string) {
		require.Equal(t, http.StatusBadRequest, s.register(t, "short", x509Auth(s.ca.fingerprint()[:63])))
	}},
	{"CA left unverified", "unverified", "DA-15/unverified", func(t *testing.T, s *tutorial, node string) {
		ca := sign(t, "zhaoliu", nil, nextYear)
		s.upload(t, ca)
		s.refused(t, node, sign(t, node, ca, nextYear), 4)
	}},
	{"certificate of a CA that was not uploaded", "stranger", "DA-15/chain", func(t *testing.T, s *tutorial, node string) {
		s.refused(t, node, sign(t, node, sign(t, "other", nil, nextYear), nextYear), 4)
	}},
	{"self-signed device certificate", "self", "DA-15/chain", func(t *testing.T, s *tutorial, node string) {
		s.refused(t, node, sign(t, node, nil, nextYear), 4)
	}},
	{"expired device certificate", "old", "DA-15/expired", func(t *testing.T, s *tutorial, node string) {
		s.refused(t, node, sign(t, node, s.ca, time.Now().Add(-24*time.Hour)), 4)
	}},
	{"fingerprint of the CA", "cafp", "DA-15/fingerprint", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{with: sign(t, node, s.ca, nextYear)}, 4)
	}},
	{"another certificate than at first", "second", "DA-16/learned", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, map[string]any{"auth_type": "CERTIFICATES"}, attempt{with: sign(t, node, s.ca, nextYear)}, 0)
		_, code := s.connect(t, "x509_"+node, attempt{with: sign(t, node, s.ca, nextYear)})
		require.EqualValues(t, 4, code)
	}},
	{"no client certificate", "bare", "DA-17/no-certificate", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{}, 4)
	}},
	{"registered by secret", "secret", "DA-17/no-password", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, map[string]any{"auth_type": "SECRET"}, attempt{with: sign(t, node, s.ca, nextYear)}, 4)
	}},
	{"client id that is the device id", "parts", "DA-7/parts", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{clientID: "x509_" + node, with: sign(t, node, s.ca, nextYear)}, 2)
	}},
	{"time stamp without its hour", "stamp", "DA-7/stamp", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{clientID: "x509_" + node + "_0_0_20180724", with: sign(t, node, s.ca, nextYear)}, 2)
	}},
	{"signature type that is none", "type", "DA-7/sign", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{clientID: "x509_" + node + "_0_3_2018072417", with: sign(t, node, s.ca, nextYear)}, 2)
	}},
	{"keep alive off", "alive", "DA-8/keep-alive", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{noAlive: true, with: sign(t, node, s.ca, nextYear)}, 2)
	}},
	{"user name that is the node id", "user", "DA-9/username", func(t *testing.T, s *tutorial, node string) {
		s.code(t, node, x509Auth(s.ca.fingerprint()), attempt{username: node, with: sign(t, node, s.ca, nextYear)}, 4)
	}},
	{"device that was not registered", "nobody", "DA-9/unknown", func(t *testing.T, s *tutorial, node string) {
		_, code := s.connect(t, "x509_"+node, attempt{with: sign(t, node, s.ca, nextYear)})
		require.EqualValues(t, 4, code)
	}},
	{"two clients with one device", "twice", "DA-13/takeover", func(t *testing.T, s *tutorial, node string) {
		cert := sign(t, node, s.ca, nextYear)
		require.Equal(t, http.StatusCreated, s.register(t, node, x509Auth(cert.fingerprint())))
		first, _ := s.connect(t, "x509_"+node, attempt{with: cert})
		s.connect(t, "x509_"+node, attempt{with: cert})
		_, err := first.Read()
		require.ErrorIs(t, err, io.EOF)
	}},
	{"topic of another device", "topic1", "DA-38/device", report("$oc/devices/x509_other/sys/properties/report", seedReport)},
	{"topic misspelled", "topic2", "DA-38/topic", report("$oc/devices/x509_topic2/sys/property/report", seedReport)},
	{"topic without $oc", "topic3", "DA-56/lookalike", report("/devices/x509_topic3/sys/properties/report", seedReport)},
	{"payload with the page's curly quotes", "json", "DA-35/json", report("", `{“services”: []}`)},
	{"payload without services", "services", "DA-35/services", report("", `{"service_id":"Battery"}`)},
	{"service without properties", "entry", "DA-35/entry", report("", `{"services":[{"service_id":"Battery"}]}`)},
	{"service of another name", "service", "DA-34/service", report("", `{"services":[{"service_id":"battery","properties":{"batteryLevel":80}}]}`)},
	{"property of another name", "property", "DA-34/property", report("", `{"services":[{"service_id":"Battery","properties":{"batterylevel":80}}]}`)},
	{"value as text", "text", "DA-33/type", report("", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":"80"}}]}`)},
	{"value out of its range", "range", "DA-33/range", report("", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":101}}]}`)},
	{"event_time of another form", "time", "DA-31/time", report("", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"2015-12-12 12:12:12"}]}`)},
}

const seedReport = `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`

// report is a mistake in what is published; the connection stays, and the message is acknowledged.
func report(topic, payload string) func(t *testing.T, s *tutorial, node string) {
	return func(t *testing.T, s *tutorial, node string) {
		c := s.node(t, node)
		if topic == "" {
			topic = "$oc/devices/x509_" + node + "/sys/properties/report"
		}
		_, err := c.Write(rawmqtt.Publish(topic, payload, 1, 1, false))
		require.NoError(t, err)
		ack, err := c.Read()
		require.NoError(t, err)
		require.Equal(t, []byte{0x40, 2, 0, 1}, ack.Bytes())
	}
}

// verify uploads a verification certificate that has to be refused.
func (s *tutorial) verify(t *testing.T, id any, with *issued) {
	t.Helper()
	status, _ := s.api(t, "/certificates/"+id.(string)+"/action?action_id=verify", map[string]any{"verify_content": with.pem()})
	require.Equal(t, http.StatusBadRequest, status)
}

// refused registers a device by the certificate that it connects with, and is refused.
func (s *tutorial) refused(t *testing.T, node string, cert *issued, code byte) {
	t.Helper()
	s.code(t, node, x509Auth(cert.fingerprint()), attempt{with: cert}, code)
}

// code registers a device and tries to connect it.
func (s *tutorial) code(t *testing.T, node string, auth map[string]any, a attempt, want byte) {
	t.Helper()
	require.Equal(t, http.StatusCreated, s.register(t, node, auth))
	_, code := s.connect(t, "x509_"+node, a)
	require.Equal(t, want, code)
}

// Every mistake that can be made on the way through the tutorial is named by `fakecloud explain`, with what
// was seen and how to mend it.
func TestExplainNamesTheMistakesOfSeed001(t *testing.T) {
	t.Parallel()
	s := newTutorial(t)
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			m.make(t, s, m.node)
			about := "--last"
			if m.node != "" {
				about = "x509_" + m.node
			}
			text := s.run(t, "explain", about)
			require.Contains(t, text, m.rule)
			require.Contains(t, text, "fix")
		})
	}
	t.Run("root not trusted", func(t *testing.T) {
		_, err := tls.Dial("tcp", "127.0.0.1:"+s.env["MQTTS"], &tls.Config{RootCAs: x509.NewCertPool()})
		require.Error(t, err)
		require.Contains(t, s.run(t, "events", "--kind", "refused", "--rule", "TLS-1/no-name", "--wait", "10s", "--count", "1"), "TLS-1/")
		require.Contains(t, s.run(t, "explain", "--last"), "TLS-1/")
	})
	t.Run("no mistake", func(t *testing.T) {
		c := s.node(t, "fouquan1")
		_, err := c.Write(rawmqtt.Publish("$oc/devices/x509_fouquan1/sys/properties/report", seedReport, 1, 1, false))
		require.NoError(t, err)
		_, err = c.Read()
		require.NoError(t, err)
		require.Contains(t, s.run(t, "explain", "x509_fouquan1"), "nothing")
	})
}
