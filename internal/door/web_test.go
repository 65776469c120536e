package door

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// get asks one URL of the HTTPS port, with a server name of the test's choice.
func (r *rig) get(sni, host, path string) (*http.Response, string) {
	r.t.Helper()
	conn := r.mustTLS(r.Ports().HTTPS[0], sni, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })
	_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
	require.NoError(r.t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(r.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	return answer, string(body)
}

func TestHTTPSByHostNameAndPath(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) {
		byUser := c.Platforms[1].Claim
		c.Platforms[1].Claim = func(h *Hello) Claim {
			if strings.HasPrefix(h.Path, "/devices/") {
				return Claim{Endpoint: "by path", OK: true}
			}
			return byUser(h)
		}
	})
	for _, row := range [][4]string{ // SNI, Host, path, endpoint
		{hubName, hubName, "/", hubName},
		{hubName, hubName + ":443", "/", hubName},
		{hubName, "127.0.0.1", "/", hubName},
		{"localhost", hubName, "/", hubName},
		{"", hubName, "/", hubName},
		{"localhost", "localhost:8443", "/devices/d/messages/events", "by path"},
		{"", "127.0.0.1:8443", "/devices/d/messages/events", "by path"},
	} {
		answer, body := r.get(row[0], row[1], row[2])
		require.Equal(t, http.StatusOK, answer.StatusCode, "%v", row)
		require.Equal(t, "HTTP/1.1", answer.Proto)
		require.Equal(t, row[3], answer.Header.Get("Endpoint"), "%v", row)
		require.Equal(t, row[2], body)
	}
}

func TestHTTPSThatNobodyTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for host, id := range map[string]rule.ID{"localhost": "DOOR-5/host", dpsName: "DOOR-5/platform"} {
		answer, body := r.get("localhost", host, "/nowhere")
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
		require.Equal(t, "application/json; charset=utf-8", answer.Header.Get("Content-Type"))
		var said map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &said))
		require.Equal(t, string(id), said["rule"])
		e := r.refused(id)
		require.Equal(t, 404, *e.Code)
		require.Contains(t, e.Seen, "/nowhere")
		rule.Proves(t, id)
	}
}

func TestHTTPSConnectionWithoutARequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	require.NoError(t, r.mustTLS(r.Ports().HTTPS[0], hubName, nil).Close())
	require.Contains(t, r.event(journal.Closed, "").Detail, "without a request")
}

func TestAPanicInAnHTTPHandlerCostsOneConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) {
		c.Platforms[1].HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("a platform with a defect")
			}
			echo(w, r)
		})
	})
	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	_, err := io.WriteString(conn, "GET /panic HTTP/1.1\r\nHost: "+hubName+"\r\n\r\n")
	require.NoError(t, err)
	require.Empty(t, requireClosed(t, conn))
	_, body := r.get(hubName, hubName, "/fine")
	require.Equal(t, "/fine", body)
}

// streams is a platform's handler that upgrades and hands the stream to its MQTT server.
func streams(c *cloud) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, peer, err := Upgrade(w, r, 4096, "mqtt")
		if err != nil {
			return
		}
		_ = c.Serve(conn, peer)
	})
}

// upgrade sends a WebSocket handshake by hand.
func (r *rig) upgrade(conn net.Conn, subprotocol string) (*bufio.Reader, *http.Response) {
	r.t.Helper()
	return r.upgradeAt(conn, hubName, subprotocol)
}

func (r *rig) upgradeAt(conn net.Conn, host, subprotocol string) (*bufio.Reader, *http.Response) {
	r.t.Helper()
	protocol := ""
	if subprotocol != "" {
		protocol = "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	_, err := io.WriteString(conn, "GET /$iothub/websocket HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+protocol+"\r\n")
	require.NoError(r.t, err)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	require.NoError(r.t, err)
	return in, answer
}

// frame is a masked client frame (RFC 6455, section 5.2) with a mask of zeros.
func frame(opcode byte, payload []byte) []byte {
	head := []byte{0x80 | opcode}
	if len(payload) < 126 {
		head = append(head, 0x80|byte(len(payload)))
	} else {
		head = append(head, 0x80|126, byte(len(payload)>>8), byte(len(payload)))
	}
	return join(append(head, 0, 0, 0, 0), payload)
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"mqtt", "MQTT", "other, Mqtt"} {
		r := newRig(t, func(c *Config) { c.Platforms[1].HTTP = streams(c.Platforms[1].MQTT.(*cloud)) })
		conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
		in, answer := r.upgrade(conn, asked)
		require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
		spelling := asked[strings.LastIndexByte(asked, ' ')+1:]
		require.Equal(t, spelling, answer.Header.Get("Sec-WebSocket-Protocol"), "the client's spelling")
		require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer.Header.Get("Sec-WebSocket-Accept"), "RFC 6455, section 1.3")

		raw := connectPacket("dev-01", hubUser)
		_, err := conn.Write(frame(2, raw))
		require.NoError(t, err)
		got := make([]byte, 2+len(connack))
		_, err = io.ReadFull(in, got)
		require.NoError(t, err)
		require.Equal(t, append([]byte{0x82, byte(len(connack))}, connack...), got)
		v := <-r.hub.visits
		require.Equal(t, raw, v.first)
		require.Equal(t, "wss", v.peer.Transport)
		require.Equal(t, hubName, v.peer.Endpoint)
		require.NotZero(t, v.peer.TLSVersion)
	}
}

// pieces is a server that copies what it reads into a pipe.
type pieces struct{ to io.Writer }

func (p pieces) Serve(conn net.Conn, _ broker.Peer) error {
	defer conn.Close()
	_, err := io.Copy(p.to, conn)
	return err
}

func TestWebSocketFramesAreAStream(t *testing.T) {
	t.Parallel()
	from, to := io.Pipe()
	r := newRig(t, func(c *Config) {
		c.Platforms[1].HTTP = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if conn, peer, err := Upgrade(w, req, 1000, "mqtt"); err == nil {
				_ = to.CloseWithError(pieces{to}.Serve(conn, peer))
			}
		})
	})
	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	_, answer := r.upgrade(conn, "mqtt")
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	go func() {
		_, _ = conn.Write(join(frame(2, []byte("ab")), frame(9, []byte("ping")), frame(2, nil), frame(2, []byte("cdef"))))
		_, _ = conn.Write(frame(2, make([]byte, 1001)))
	}()
	got := make([]byte, 6)
	_, err := io.ReadFull(from, got)
	require.NoError(t, err)
	require.Equal(t, "abcdef", string(got))
	rest, err := io.ReadAll(from)
	require.Error(t, err, "a message above the limit ends the stream")
	require.LessOrEqual(t, len(rest), 1001)
	_ = from.Close()
}

func TestWebSocketRefusesText(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Platforms[1].HTTP = streams(c.Platforms[1].MQTT.(*cloud)) })
	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	in, _ := r.upgrade(conn, "mqtt")
	_, err := conn.Write(frame(1, connectPacket("dev-01", hubUser)))
	require.NoError(t, err)
	head := make([]byte, 4)
	_, err = io.ReadFull(in, head)
	require.NoError(t, err)
	require.Equal(t, byte(0x88), head[0], "a close frame")
	require.Equal(t, uint16(1003), uint16(head[2])<<8|uint16(head[3]), "unsupported data")
}

func TestWebSocketHandshakeIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Platforms[1].HTTP = streams(c.Platforms[1].MQTT.(*cloud)) })
	for _, asked := range []string{"", "AMQPWSB10"} {
		_, answer := r.upgrade(r.mustTLS(r.Ports().HTTPS[0], hubName, nil), asked)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	}
	require.Contains(t, r.refused("DOOR-7/subprotocol").Expected, "mqtt")
	rule.Proves(t, "DOOR-7/subprotocol")

	answer, _ := r.get(hubName, hubName, "/$iothub/websocket")
	require.Equal(t, http.StatusUpgradeRequired, answer.StatusCode)
	r.refused("DOOR-7/handshake")
	rule.Proves(t, "DOOR-7/handshake")

	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+hubName+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
	require.NoError(t, err)
	old, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, old.StatusCode)
}

func TestPeerOfAForeignRequestIsEmpty(t *testing.T) {
	t.Parallel()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
	require.NoError(t, err)
	require.Equal(t, broker.Peer{}, PeerOf(r))
}

func TestHTTPProxyClient(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	transport := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: r.address(r.Ports().Proxy)}),
		TLSClientConfig: &tls.Config{RootCAs: newAuthority().pool},
	}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("https://" + hubName + "/twins/dev-01")
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, "/twins/dev-01", string(body))
	require.Equal(t, hubName, answer.Header.Get("Endpoint"))
}
