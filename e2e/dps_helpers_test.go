package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// answers is the one filter that a DPS device subscribes to.
const answers = "$dps/registrations/res/#"

// farFuture is the expiry of the fact sheet's vectors, in the year 2100.
const farFuture = 4102444800

// hmacKey returns base64(HMAC-SHA256(base64-decoded key, text)): signatures, and keys of a group's devices.
func hmacKey(t *testing.T, key, text string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// sasFor makes a token over the resource as it is to be written.
func sasFor(t *testing.T, key, resource string, expiry int64, tail string) string {
	t.Helper()
	sig := hmacKey(t, key, resource+"\n"+strconv.FormatInt(expiry, 10))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d%s", resource, url.QueryEscape(sig), expiry, tail)
}

// registrationToken is a device's token for DPS.
func registrationToken(t *testing.T, key, scope, id string) string {
	t.Helper()
	return sasFor(t, key, scope+"%2Fregistrations%2F"+id, farFuture, "&skn=registration")
}

// enrollee is a device that registers.
type enrollee struct {
	id    string
	scope string  // default 0ne00FAKE01
	tail  string  // follows the api-version in the username
	token *string // the password, nil for none
	via   via     // default: the vendor's name
}

func (e enrollee) connect() rawmqtt.Connect {
	if e.scope == "" {
		e.scope = idScope
	}
	return rawmqtt.Connect{ClientID: e.id, Password: e.token,
		Username: ptr(e.scope + "/registrations/" + e.id + "/api-version=2019-03-31" + e.tail)}
}

// open connects and subscribes; both succeed with any credential.
func (e enrollee) open(t *testing.T, cloud *fakecloud.Cloud) *rawmqtt.Conn {
	t.Helper()
	if e.via.name == "" {
		e.via.name = globalDPS
	}
	return e.openOn(t, dial(t, cloud, e.via))
}

func (e enrollee) openOn(t *testing.T, c *rawmqtt.Conn) *rawmqtt.Conn {
	t.Helper()
	send(t, c, e.connect().Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Subscribe(1, 1, answers))
	wantBytes(t, c, 0x90, 0x03, 0x00, 0x01, 0x01)
	return c
}

// request publishes with QoS 1 and returns the answer, after the PUBACK.
func request(t *testing.T, c *rawmqtt.Conn, topic, body string) rawmqtt.Packet {
	t.Helper()
	send(t, c, rawmqtt.Publish(topic, body, 1, 7, false))
	wantBytes(t, c, 0x40, 0x02, 0x00, 0x07)
	return answer(t, c)
}

// answer reads an answer, which is QoS 1, neither retained nor a duplicate, and acknowledges it.
func answer(t *testing.T, c *rawmqtt.Conn) rawmqtt.Packet {
	t.Helper()
	p := receive(t, c)
	require.Equal(t, byte(0x32), p.First, "%x", p.Bytes())
	send(t, c, []byte{0x40, 0x02, byte(p.ID() >> 8), byte(p.ID())})
	return p
}

func register(t *testing.T, c *rawmqtt.Conn, body string) rawmqtt.Packet {
	t.Helper()
	return request(t, c, "$dps/registrations/PUT/iotdps-register/?$rid=r-1", body)
}

func poll(t *testing.T, c *rawmqtt.Conn, operation string) rawmqtt.Packet {
	t.Helper()
	return request(t, c, "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=p-1&operationId="+operation, "")
}

var assigning = regexp.MustCompile(`^\{"operationId":"(\d\.[0-9a-f]{16}\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})","status":"assigning"\}$`)

// wantAssigning reads the operation from the answer to a register.
func wantAssigning(t *testing.T, p rawmqtt.Packet) (operation string) {
	t.Helper()
	require.Equal(t, "$dps/registrations/res/202/?$rid=r-1&retry-after=3", p.Topic(), p.Payload())
	m := assigning.FindStringSubmatch(p.Payload())
	require.NotNil(t, m, p.Payload())
	return m[1]
}

// registration is what a device reads of a final answer.
type registration struct {
	OperationID string
	Status      string
	State       struct {
		X509, SymmetricKey *struct{ EnrollmentGroupID string }

		RegistrationID, CreatedDateTimeUTC, AssignedHub, DeviceID, Status, Substatus string
		LastUpdatedDateTimeUTC, ETag, ErrorMessage                                   string
		ErrorCode                                                                    int
	} `json:"registrationState"`
}

// finish registers and polls until the answer is final, which the default world tells in the second poll.
func finish(t *testing.T, c *rawmqtt.Conn, body string) (registration, string) {
	t.Helper()
	operation := wantAssigning(t, register(t, c, body))
	require.Equal(t, "$dps/registrations/res/202/?$rid=p-1&retry-after=3", poll(t, c, operation).Topic())
	p := poll(t, c, operation)
	require.Equal(t, "$dps/registrations/res/200/?$rid=p-1", p.Topic(), p.Payload())
	var r registration
	require.NoError(t, json.Unmarshal([]byte(p.Payload()), &r))
	require.Equal(t, operation, r.OperationID)
	return r, p.Payload()
}

// provision takes a device all the way to assigned.
func provision(t *testing.T, cloud *fakecloud.Cloud, e enrollee) registration {
	t.Helper()
	r, body := finish(t, e.open(t, cloud), "")
	require.Equal(t, "assigned", r.Status, body)
	require.Equal(t, "assigned", r.State.Status, body)
	return r
}

// wantError checks an error answer: its topic, and every field of its body (DPS-45).
func wantError(t *testing.T, p rawmqtt.Packet, code int, message string) {
	t.Helper()
	require.Contains(t, p.Topic(), fmt.Sprintf("$dps/registrations/res/%d/?$rid=", code/1000), p.Payload())
	require.NotContains(t, p.Topic(), "retry-after")
	want := `^\{"errorCode":` + strconv.Itoa(code) +
		`,"trackingId":"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}","message":"` + message +
		`","timestampUtc":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"\}$`
	require.Regexp(t, want, p.Payload())
}

// signer is a certificate with its key.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issueBy makes a certificate, self-signed without a parent; change may spoil it.
func issueBy(t *testing.T, name string, parent *signer, ca bool, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: ca, BasicConstraintsValid: ca}
	if change != nil {
		change(template)
	}
	up, by := template, key
	if parent != nil {
		up, by = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, up, key.Public(), by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &signer{cert, key}
}

// tls is the certificate as a client presents it, with others of its chain behind it.
func (s *signer) tls(chain ...*signer) *tls.Certificate {
	c := &tls.Certificate{Certificate: [][]byte{s.cert.Raw}, PrivateKey: s.key}
	for _, up := range chain {
		c.Certificate = append(c.Certificate, up.cert.Raw)
	}
	return c
}

// yaml is the certificate's PEM text as a YAML string.
func (s *signer) yaml() string {
	return strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})))
}

// demoSigner is demo-ca, whose key is public.
func demoSigner(t *testing.T, cloud *fakecloud.Cloud) *signer {
	t.Helper()
	certPEM, keyPEM := cloud.DemoCA()
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	require.True(t, ok, "demo-ca has an ECDSA key")
	return &signer{cert, key}
}

// dialAt is dial to an address of this machine.
func dialAt(t *testing.T, cloud *fakecloud.Cloud, host string, v via) *rawmqtt.Conn {
	t.Helper()
	return rawmqtt.New(shake(t, cloud, tcp(t, host, cloud.Ports().MQTTS), host, v))
}

// tcp opens a connection that ends with the test.
func tcp(t *testing.T, host string, port int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
	return conn
}

// clientTLS is what a client that trusts the instance is configured with; host is verified where v has no name.
func clientTLS(t *testing.T, cloud *fakecloud.Cloud, host string, v via) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	config := &tls.Config{RootCAs: roots, ServerName: v.name, MaxVersion: v.max}
	if v.name == "" {
		config.ServerName = host
	}
	if v.cert != nil {
		config.Certificates = []tls.Certificate{*v.cert}
	}
	return config
}

// shake does the TLS handshake over conn and verifies the server.
func shake(t *testing.T, cloud *fakecloud.Cloud, conn net.Conn, host string, v via) *tls.Conn {
	t.Helper()
	client := tls.Client(conn, clientTLS(t, cloud, host, v))
	require.NoError(t, client.Handshake())
	return client
}

// withoutSNI does the handshake of a client that sends no server name and verifies host all the same.
func withoutSNI(t *testing.T, config *tls.Config, conn net.Conn, host string) *tls.Conn {
	t.Helper()
	config.ServerName, config.InsecureSkipVerify = "", true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: config.RootCAs, DNSName: host})
		return err
	}
	client := tls.Client(conn, config)
	require.NoError(t, client.Handshake())
	return client
}
