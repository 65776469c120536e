package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The default world's public, test-only values (fakecloud world default).
const (
	globalDPS = "global.azure-devices-provisioning.net"
	idScope   = "0ne00FAKE01"
	demoHub   = "fakecloud-hub.azure-devices.net"
	demoKey   = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	groupKey  = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg=="
)

// adminClient calls the admin API of another process. It shares no connection with http.DefaultClient, whose idle ones
// every httptest server ends when it closes, and leaves none behind.
var adminClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// via says how a client comes to the door.
type via struct {
	name string           // SNI; empty dials the address without one
	cert *tls.Certificate // client certificate
	max  uint16           // newest TLS version, 0 is Go's
}

// dial opens a TLS connection to the MQTT port and verifies the server's certificate, by the name or,
// without one, by the address.
func dial(t *testing.T, cloud *fakecloud.Cloud, v via) *rawmqtt.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	config := &tls.Config{RootCAs: roots, ServerName: v.name, MaxVersion: v.max}
	if v.name == "" {
		config.ServerName, _, _ = net.SplitHostPort(cloud.MQTTSAddr()) // an address is verified, not sent
	}
	if v.cert != nil {
		config.Certificates = []tls.Certificate{*v.cert}
	}
	conn := tls.Client(raw, config)
	require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
	require.NoError(t, conn.Handshake())
	return rawmqtt.New(conn)
}

// send writes literal bytes.
func send(t *testing.T, c *rawmqtt.Conn, packet []byte) {
	t.Helper()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(rawmqtt.Patience)))
	_, err := c.Write(packet)
	require.NoError(t, err)
}

// receive reads one packet.
func receive(t *testing.T, c *rawmqtt.Conn) rawmqtt.Packet {
	t.Helper()
	p, err := c.Read()
	require.NoError(t, err)
	return p
}

// wantBytes reads one packet and compares it to the letter.
func wantBytes(t *testing.T, c *rawmqtt.Conn, want ...byte) {
	t.Helper()
	require.Equal(t, want, receive(t, c).Bytes())
}

// wantConnack reads a CONNACK with session-present 0 and this return code.
func wantConnack(t *testing.T, c *rawmqtt.Conn, code byte) {
	t.Helper()
	wantBytes(t, c, 0x20, 0x02, 0x00, code)
}

// wantClosed waits until the server has closed the connection, without a packet before.
func wantClosed(t *testing.T, c *rawmqtt.Conn) {
	t.Helper()
	p, err := c.Read()
	require.ErrorIs(t, err, io.EOF, "read %x", p.Bytes())
}

// wantAlive proves by PINGREQ that the connection stands.
func wantAlive(t *testing.T, c *rawmqtt.Conn) {
	t.Helper()
	send(t, c, []byte{0xc0, 0x00})
	wantBytes(t, c, 0xd0, 0x00)
}

// refused waits for the journal to name id as the reason for a refusal (or a close), checks that it says
// what was wrong and how to mend it, and counts the rule as proven. Call it after the test has seen the
// wire's answer.
func refused(t *testing.T, cloud *fakecloud.Cloud, id rule.ID) fakecloud.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	events, err := cloud.Await(ctx, fakecloud.Filter{Rule: id, Match: func(e *fakecloud.Event) bool {
		return e.Kind == "refused" || e.Kind == "closed"
	}}, 1)
	require.NoError(t, err, "the journal does not name %s", id)
	e := events[0]
	require.Equal(t, id, e.Rule)
	require.NotEmpty(t, e.Detail)
	require.NotEmpty(t, e.Fix, "%s says how to mend it", id)
	require.NotEmpty(t, e.Source, "%s says on whose word", id)
	rule.Proves(t, id)
	return e
}

// telemetry waits for n telemetry events of a device.
func telemetry(t *testing.T, cloud *fakecloud.Cloud, device string, n int) []fakecloud.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	events, err := cloud.Await(ctx, fakecloud.Filter{Kind: "telemetry", Device: device}, n)
	require.NoError(t, err)
	return events
}

// device issues a certificate by demo-ca.
func device(t *testing.T, cloud *fakecloud.Cloud, commonName string) *tls.Certificate {
	t.Helper()
	issued, err := cloud.IssueDevice(commonName)
	require.NoError(t, err)
	cert := issued.TLS()
	return &cert
}

// patch lays a world document over the running world.
func patch(t *testing.T, cloud *fakecloud.Cloud, yaml string) {
	t.Helper()
	require.NoError(t, cloud.PatchWorld(t.Context(), yaml))
}

func ptr(s string) *string { return &s }
