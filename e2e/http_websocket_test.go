package e2e

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// frames is a connection whose bytes travel in WebSocket frames (RFC 6455, section 5.2), each write in one
// binary frame with a mask of zeros.
type frames struct {
	net.Conn
	in   *bufio.Reader
	left int
}

func (f *frames) Write(b []byte) (int, error) {
	head := []byte{0x82}
	if len(b) < 126 {
		head = append(head, 0x80|byte(len(b)))
	} else {
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(len(b)))
	}
	_, err := f.Conn.Write(append(append(head, 0, 0, 0, 0), b...))
	return len(b), err
}

func (f *frames) Read(b []byte) (int, error) {
	for f.left == 0 {
		var head [2]byte
		if _, err := io.ReadFull(f.in, head[:]); err != nil {
			return 0, err
		}
		if head[0]&0x0f != 2 && head[0]&0x0f != 0 {
			return 0, io.EOF // a close frame
		}
		f.left = int(head[1] & 0x7f)
		if f.left == 126 {
			var long [2]byte
			if _, err := io.ReadFull(f.in, long[:]); err != nil {
				return 0, err
			}
			f.left = int(binary.BigEndian.Uint16(long[:]))
		}
	}
	n, err := f.in.Read(b[:min(len(b), f.left)])
	f.left -= n
	return n, err
}

// upgrade sends a WebSocket handshake by hand and returns the answer.
func upgrade(t *testing.T, cloud *fakecloud.Cloud, v via, path, subprotocol string) (*rawmqtt.Conn, *http.Response) {
	t.Helper()
	conn := dialHTTPS(t, cloud, v)
	host := v.name
	if host == "" {
		host = httpsAddr(cloud)
	}
	text := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if subprotocol != "" {
		text += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	_, err := io.WriteString(conn, text+"\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	return rawmqtt.New(&frames{Conn: conn, in: in}), answer
}

// open is upgrade and sees 101 with the subprotocol in the client's spelling.
func openWS(t *testing.T, cloud *fakecloud.Cloud, v via, path, subprotocol string) *rawmqtt.Conn {
	t.Helper()
	conn, answer := upgrade(t, cloud, v, path, subprotocol)
	require.Equal(t, 101, answer.StatusCode)
	require.Equal(t, subprotocol, answer.Header.Get("Sec-WebSocket-Protocol"))
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer.Header.Get("Sec-WebSocket-Accept"))
	return conn
}

func TestHubOverWebSocket(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, c := range []struct{ name, path, subprotocol string }{
		{contosoHost, "/$iothub/websocket", "mqtt"},
		{contosoHost, "/$iothub/websocket?iothub-no-client-cert=true", "mqtt"},
		{contosoHost, "/%24iothub/websocket?iothub-no-client-cert=true", "MQTT"},
		{"", "/$iothub/websocket", "mqtt"},
	} {
		conn := openWS(t, cloud, via{name: c.name}, c.path, c.subprotocol)
		send(t, conn, dev01().Bytes())
		wantConnack(t, conn, 0)
		say(t, conn, eventsDev01, c.path)
		wantAlive(t, conn)
		send(t, conn, []byte{0xe0, 0x00})
	}
	telemetry(t, cloud, "dev-01", 4)
	rule.Proves(t, "HUB-20")
}

// By address and a local user name, as a connection string with GatewayHostName=127.0.0.1 has it.
func TestHubOverWebSocketByAddress(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := openWS(t, cloud, via{}, "/$iothub/websocket", "mqtt")
	connect := dev01()
	connect.Username = ptr("127.0.0.1/dev-01/?api-version=2021-04-12")
	connect.Password = ptr(sasFor(t, demoKey, "127.0.0.1%2Fdevices%2Fdev-01", farFuture, ""))
	send(t, conn, connect.Bytes())
	wantConnack(t, conn, 0)
	say(t, conn, eventsDev01, "by address")
	require.Equal(t, contosoHost, telemetry(t, cloud, "dev-01", 1)[0].Endpoint)
}

func TestHubOverWebSocketRefused(t *testing.T) {
	t.Parallel()
	t.Run("another path", func(t *testing.T) {
		cloud := startContoso(t)
		_, answer := upgrade(t, cloud, via{name: contosoHost}, "/mqtt", "mqtt")
		require.Equal(t, 404, answer.StatusCode)
		require.Equal(t, "/$iothub/websocket", refused(t, cloud, "HUB-20/path").Expected)
	})
	t.Run("no subprotocol", func(t *testing.T) {
		cloud := startContoso(t)
		_, answer := upgrade(t, cloud, via{name: contosoHost}, "/$iothub/websocket", "")
		require.Equal(t, 400, answer.StatusCode)
		refused(t, cloud, "DOOR-7/subprotocol")
	})
	t.Run("wrong key", func(t *testing.T) {
		cloud := startContoso(t)
		conn := openWS(t, cloud, via{name: contosoHost}, "/$iothub/websocket", "mqtt")
		connect := dev01()
		connect.Password = ptr(sasFor(t, secondKey[:len(secondKey)-4]+"AAA=", contosoHost+"%2Fdevices%2Fdev-01", farFuture, ""))
		send(t, conn, connect.Bytes())
		wantConnack(t, conn, 5)
		wantClosed(t, conn)
		refused(t, cloud, "HUB-5/signature")
	})
	t.Run("nobody's user name", func(t *testing.T) {
		cloud := startContoso(t)
		conn := openWS(t, cloud, via{}, "/anything", "mqtt")
		send(t, conn, rawmqtt.Connect{ClientID: "x", Username: ptr("x"), Password: ptr("y")}.Bytes())
		wantConnack(t, conn, 5)
		wantClosed(t, conn)
		refused(t, cloud, "DOOR-1/nobody")
	})
}

// Every SDK asks for another path.
func TestDPSOverWebSocket(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for i, c := range []struct{ name, path, subprotocol string }{
		{globalDPS, "/$iothub/websocket", "mqtt"},
		{globalDPS, "/", "mqtt"},
		{globalDPS, "/mqtt", "MQTT"},
		{globalDPS, "/$iothub/websocket?iothub-no-client-cert=true", "mqtt"},
		{"", "/$iothub/websocket", "mqtt"},
	} {
		id := "ws-" + string(rune('a'+i))
		token := registrationToken(t, hmacKey(t, groupKey, id), idScope, id)
		e := enrollee{id: id, token: &token}
		r, body := finish(t, e.openOn(t, openWS(t, cloud, via{name: c.name}, c.path, c.subprotocol)), "")
		require.Equal(t, "assigned", r.Status, body)
		if c.name == "" {
			require.Equal(t, "127.0.0.1", r.State.AssignedHub)
		} else {
			require.Equal(t, demoHub, r.State.AssignedHub)
		}
	}
	_, answer := upgrade(t, cloud, via{name: globalDPS}, "/", "")
	require.Equal(t, 400, answer.StatusCode)
	refused(t, cloud, "DOOR-7/subprotocol")
	rule.Proves(t, "DPS-34")
}
