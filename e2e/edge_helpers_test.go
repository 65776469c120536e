package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

const (
	edgeGateway = "mygateway.contoso.com"
	leafUser    = demoHub + "/demo-leaf/?api-version=2021-04-12"
	leafSays    = "devices/demo-leaf/messages/events/"
)

// later is far in the future, as an se.
const later = 4102444800

// edgeRoots trusts the gateways' root.
func edgeRoots(t *testing.T, cloud *fakecloud.Cloud) *x509.CertPool {
	t.Helper()
	text, err := cloud.EdgeRootPEM()
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(text))
	return roots
}

// dialEdge opens a connection to a gateway by its name on the MQTT port.
func dialEdge(t *testing.T, cloud *fakecloud.Cloud, certs ...tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	return dialEdgeAt(t, cloud, cloud.MQTTSAddr(), edgeGateway, certs...)
}

func dialEdgeAt(t *testing.T, cloud *fakecloud.Cloud, address, name string, certs ...tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	conn := tls.Client(raw, &tls.Config{RootCAs: edgeRoots(t, cloud), ServerName: name, Certificates: certs})
	require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
	require.NoError(t, conn.Handshake())
	return rawmqtt.New(conn)
}

// edgePort is the address of the port for clients without the gateway's name.
func edgePort(cloud *fakecloud.Cloud) string {
	host, _, _ := net.SplitHostPort(cloud.MQTTSAddr())
	return net.JoinHostPort(host, strconv.Itoa(cloud.Ports().Edge))
}

// leaf is the CONNECT of demo-leaf through its gateway: it names the hub.
func leaf() rawmqtt.Connect {
	return rawmqtt.Connect{ClientID: "demo-leaf", Username: ptr(leafUser), Password: ptr(sign(demoHub+"/devices/demo-leaf", demoKey, later, ""))}
}

// child is the CONNECT of another device or module with the demo key.
func child(id string) rawmqtt.Connect {
	device, module := id, ""
	for i := range id {
		if id[i] == '/' {
			device, module = id[:i], id[i+1:]
		}
	}
	resource, user := demoHub+"/devices/"+device, demoHub+"/"+device
	if module != "" {
		resource, user = resource+"/modules/"+module, user+"/"+module
	}
	return rawmqtt.Connect{ClientID: id, Username: ptr(user + "/?api-version=2021-04-12"), Password: ptr(sign(resource, demoKey, later, ""))}
}

// join connects a child and sees it accepted.
func join(t *testing.T, cloud *fakecloud.Cloud, c rawmqtt.Connect, certs ...tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	conn := dialEdge(t, cloud, certs...)
	send(t, conn, c.Bytes())
	wantConnack(t, conn, 0)
	return conn
}

// tryEdge connects a child and leaves the answer to the caller.
func tryEdge(t *testing.T, cloud *fakecloud.Cloud, c rawmqtt.Connect, certs ...tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	conn := dialEdge(t, cloud, certs...)
	send(t, conn, c.Bytes())
	return conn
}

// subscribe subscribes with QoS 1 and sees every filter granted.
func subscribe(t *testing.T, conn *rawmqtt.Conn, filters ...string) {
	t.Helper()
	send(t, conn, rawmqtt.Subscribe(1, 1, filters...))
	want := []byte{0x90, byte(2 + len(filters)), 0, 1}
	for range filters {
		want = append(want, 1)
	}
	wantBytes(t, conn, want...)
}

// atHub waits until the hub has n messages of a device, or with an empty one of all.
func atHub(t *testing.T, cloud *fakecloud.Cloud, device string, n int) []fakecloud.Message {
	t.Helper()
	telemetryAt(t, cloud, "iothub", device, n)
	messages, _ := cloud.Telemetry(demoHub, device, 0, 0)
	require.GreaterOrEqual(t, len(messages), n)
	return messages
}

func telemetryAt(t *testing.T, cloud *fakecloud.Cloud, platform, device string, n int) {
	t.Helper()
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "telemetry", Platform: platform, Device: device}, n)
	require.NoError(t, err)
}

// upstream switches the gateway's hub off or on.
func upstream(t *testing.T, cloud *fakecloud.Cloud, up bool) {
	t.Helper()
	require.NoError(t, cloud.SetEdgeUpstream(edgeGateway, up))
}

// edgeWorld adds children to the gateway.
func edgeWorld(devices string) string {
	return `
edge:
  gateways:
    - hostname: mygateway.contoso.com
      children:
` + devices
}

// keyed is a child device with the demo key.
func keyed(id string) string {
	return "        - {deviceId: " + id + ", authentication: {symmetricKey: {primaryKey: " + demoKey + "}}}\n"
}

// callMethod calls a method and reports whether an answer came.
func callMethod(t *testing.T, cloud *fakecloud.Cloud, device, name string) <-chan error {
	done := make(chan error, 1)
	go func() {
		r, err := cloud.InvokeMethod(t.Context(), demoHub, device, name, []byte(`{"x":1}`), 10*time.Second)
		if err == nil && (r.Status != 200 || string(r.Payload) != `{"ok":true}`) {
			err = fmt.Errorf("status %d, payload %s", r.Status, r.Payload)
		}
		done <- err
	}()
	return done
}

// answerMethod reads a call and answers it.
func answerMethod(t *testing.T, conn *rawmqtt.Conn, name, payload string) (rid string) {
	t.Helper()
	p := receive(t, conn)
	rid, ok := strings.CutPrefix(p.Topic(), "$iothub/methods/POST/"+name+"/?$rid=")
	require.True(t, ok, p.Topic())
	require.Equal(t, `{"x":1}`, p.Payload())
	if p.QoS() == 1 {
		send(t, conn, []byte{0x40, 2, byte(p.ID() >> 8), byte(p.ID())})
	}
	if payload != "" {
		send(t, conn, rawmqtt.Publish("$iothub/methods/res/200/?$rid="+strings.ToUpper(rid), payload, 0, 0, false))
	}
	return rid
}

func pemOf(certs ...[]byte) string {
	var text []byte
	for _, der := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return string(text)
}

func keyPEM(t *testing.T, c tls.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// quoted writes a text for YAML.
func quoted(text string) string { return strconv.Quote(text) }
