package e2e

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// speak writes text to the proxy port.
func speak(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := conn.Write([]byte(text))
	require.NoError(t, err)
}

// listen reads exactly so many bytes.
func listen(t *testing.T, conn net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	require.NoError(t, err)
	return string(b)
}

// httpTunnel opens a tunnel by HTTP CONNECT, as curl and Python ask for one.
func httpTunnel(t *testing.T, cloud *fakecloud.Cloud, host string) net.Conn {
	t.Helper()
	conn := tcp(t, "127.0.0.1", cloud.Ports().Proxy)
	speak(t, conn, "CONNECT "+host+":8883 HTTP/1.1\r\nHost: "+host+":8883\r\nUser-Agent: test\r\nProxy-Connection: Keep-Alive\r\n\r\n")
	const want = "HTTP/1.1 200 Connection established\r\n\r\n"
	require.Equal(t, want, listen(t, conn, len(want)))
	return conn
}

// socksTunnel opens a tunnel by SOCKS5 with a domain name (RFC 1928).
func socksTunnel(t *testing.T, cloud *fakecloud.Cloud, host string) net.Conn {
	t.Helper()
	conn := tcp(t, "127.0.0.1", cloud.Ports().Proxy)
	speak(t, conn, "\x05\x01\x00")
	require.Equal(t, "\x05\x00", listen(t, conn, 2))
	speak(t, conn, "\x05\x01\x00\x03"+string(rune(len(host)))+host+"\x22\xb3")
	require.Equal(t, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", listen(t, conn, 10))
	return conn
}

// Vendors' names without DNS: provisioned through the tunnel, then to the hub that DPS has named.
func TestDoorProxyReachesThePlatforms(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for name, row := range map[string]struct {
		tunnel func(*testing.T, *fakecloud.Cloud, string) net.Conn
		sni    bool
	}{"HTTP": {httpTunnel, true}, "SOCKS5": {socksTunnel, true}, "without SNI": {httpTunnel, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := "proxied-" + strings.ReplaceAll(name, " ", "-")
			cert := device(t, cloud, id)
			through := func(host string) *rawmqtt.Conn {
				v := via{name: host, cert: cert}
				config := clientTLS(t, cloud, host, v)
				conn := row.tunnel(t, cloud, host)
				if !row.sni {
					conn = withoutSNI(t, config, conn, host)
					return rawmqtt.New(conn)
				}
				return rawmqtt.New(shake(t, cloud, conn, host, v))
			}
			r, _ := finish(t, enrollee{id: id}.openOn(t, through(globalDPS)), "")
			require.Equal(t, demoHub, r.State.AssignedHub, "who asks the proxy for the vendor's name is told one")
			c := hubConnect(t, through(r.State.AssignedHub), demoHub, id, nil)
			send(t, c, rawmqtt.Publish("devices/"+id+"/messages/events/", "x", 1, 1, false))
			wantBytes(t, c, 0x40, 0x02, 0x00, 0x01)
			require.Equal(t, demoHub, telemetry(t, cloud, id, 1)[0].Endpoint)
		})
	}
}

func TestDoorProxyRefuses(t *testing.T) {
	t.Parallel()
	socks := func(kind, address, port string) string {
		return "\x05\x01\x00" + "\x05\x01\x00" + kind + address + port
	}
	const name = "\x0fwww.example.com"
	for what, row := range map[string]struct {
		sent, answer string // what the answer starts with
		rule         rule.ID
	}{
		"another host":      {"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n", "DOOR-6/name"},
		"loopback's name":   {"CONNECT localhost:8883 HTTP/1.1\r\nHost: localhost:8883\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n", "DOOR-6/name"},
		"an address":        {"CONNECT 127.0.0.1:8883 HTTP/1.1\r\nHost: 127.0.0.1:8883\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n", "DOOR-6/address"},
		"an IPv6 address":   {"CONNECT [::1]:8883 HTTP/1.1\r\nHost: [::1]:8883\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n", "DOOR-6/address"},
		"another port":      {"CONNECT " + globalDPS + ":22 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n", "DOOR-6/port"},
		"a page":            {"GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n", "DOOR-6/method"},
		"no port":           {"CONNECT " + globalDPS + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "DOOR-6/request"},
		"no HTTP":           {"hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "DOOR-6/request"},
		"SOCKS, host":       {socks("\x03", name, "\x01\xbb"), "\x05\x00\x05\x02", "DOOR-6/name"},
		"SOCKS, address":    {socks("\x01", "\x7f\x00\x00\x01", "\x22\xb3"), "\x05\x00\x05\x02", "DOOR-6/address"},
		"SOCKS, password":   {"\x05\x01\x02", "\x05\xff", "DOOR-6/request"},
		"SOCKS, bind":       {"\x05\x01\x00" + "\x05\x02\x00\x03" + name + "\x01\xbb", "\x05\x00\x05\x07", "DOOR-6/request"},
		"SOCKS4, no longer": {"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "HTTP/1.1 400 Bad Request\r\n", "DOOR-6/request"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			conn := tcp(t, "127.0.0.1", cloud.Ports().Proxy)
			speak(t, conn, row.sent)
			if row.answer[0] != 0x05 { // HTTP's greeting is one write, and the answer may wait for its end
				require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			}
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Truef(t, strings.HasPrefix(string(got), row.answer), "%q", got)
			refused(t, cloud, row.rule)
		})
	}
}

// A Go client needs no proxy to keep the vendors' names.
func TestDoorDialContext(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn, err := cloud.DialContext(t.Context(), "tcp", globalDPS+":8883")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	v := via{name: globalDPS, cert: device(t, cloud, "by-go")}
	r, _ := finish(t, enrollee{id: "by-go"}.openOn(t, rawmqtt.New(shake(t, cloud, conn, globalDPS, v))), "")
	require.Equal(t, demoHub, r.State.AssignedHub)
	for _, foreign := range []string{"www.example.com:443", globalDPS + ":22", "127.0.0.1:8883"} {
		_, err := cloud.DialContext(t.Context(), "tcp", foreign)
		require.Error(t, err, foreign)
	}
}
