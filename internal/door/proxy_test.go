package door

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// tunnel asks the proxy port for host:port and returns the tunnel.
func (r *rig) tunnel(target string) (net.Conn, *http.Response) {
	r.t.Helper()
	conn := r.tcp(r.Ports().Proxy)
	_, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: test\r\n\r\n", target, target)
	require.NoError(r.t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	require.NoError(r.t, err)
	return conn, answer
}

// socks talks SOCKS5 with a domain name.
func (r *rig) socks(kind byte, address []byte, port uint16) (net.Conn, byte) {
	r.t.Helper()
	conn := r.tcp(r.Ports().Proxy)
	_, err := conn.Write([]byte{5, 2, 0, 2})
	require.NoError(r.t, err)
	hello := make([]byte, 2)
	_, err = io.ReadFull(conn, hello)
	require.NoError(r.t, err)
	require.Equal(r.t, []byte{5, 0}, hello)
	_, err = conn.Write(join([]byte{5, 1, 0, kind}, address, []byte{byte(port >> 8), byte(port)}))
	require.NoError(r.t, err)
	answer := make([]byte, 10)
	_, err = io.ReadFull(conn, answer)
	require.NoError(r.t, err)
	require.Equal(r.t, byte(5), answer[0])
	return conn, answer[1]
}

func domain(name string) []byte { return append([]byte{byte(len(name))}, name...) }

func TestTunnelsReachThePlatforms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	overHTTP, answer := r.tunnel(strings.ToUpper(dpsName) + ":8883")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	overSOCKS, reply := r.socks(3, domain(dpsName), 8883)
	require.Zero(t, reply)
	for _, conn := range []net.Conn{overHTTP, overSOCKS} {
		for _, name := range []string{dpsName} {
			client := tls.Client(conn, &tls.Config{RootCAs: newAuthority().pool, ServerName: name})
			peer := requireServed(t, client, r.dps, connectPacket("d", "0ne1/registrations/d/"))
			require.Equal(t, dpsName, peer.SNI)
			require.Empty(t, peer.Door, "the vendor's door")
			require.Equal(t, "mqtts", peer.Transport)
		}
	}
	// A client that sends no server name still came by the vendor's: certificate, platform and door follow.
	conn, _ := r.tunnel(hubName + ":8883")
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	peer := requireServed(t, client, r.hub, connectPacket("dev-01", ""))
	require.NoError(t, client.ConnectionState().PeerCertificates[0].VerifyHostname(hubName))
	require.Empty(t, peer.Door)
	require.Equal(t, hubName, peer.Endpoint)
}

// A client may send its hello together with the request.
func TestTunnelKeepsWhatCameWithTheRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Platforms[1].Plain = true })
	conn := r.tcp(r.Ports().Proxy)
	raw := connectPacket("dev-01", hubUser)
	_, err := conn.Write(join("CONNECT "+hubName+":1883 HTTP/1.1\r\n\r\n", raw))
	require.NoError(t, err)
	want := "HTTP/1.1 200 Connection established\r\n\r\n" + string(connack)
	got := make([]byte, len(want))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	require.Equal(t, raw, (<-r.hub.visits).first)
}

func TestTunnelsAreRefused(t *testing.T) {
	t.Parallel()
	for target, row := range map[string]struct {
		status int
		rule   rule.ID
	}{
		"example.com:443":          {403, "DOOR-6/name"},
		"localhost:8883":           {403, "DOOR-6/name"},
		"azure-devices.net:443":    {403, "DOOR-6/name"},
		hubName + ":22":            {403, "DOOR-6/port"},
		"127.0.0.1:8883":           {403, "DOOR-6/address"},
		"[::1]:8484":               {403, "DOOR-6/address"},
		hubName:                    {400, "DOOR-6/request"},
		hubName + ":99999":         {400, "DOOR-6/request"},
		"169.254.169.254:80":       {403, "DOOR-6/address"},
		"fakecloudhub.azure.net:1": {403, "DOOR-6/name"},
	} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			_, answer := r.tunnel(target)
			require.Equal(t, row.status, answer.StatusCode)
			r.refused(row.rule)
			rule.Proves(t, row.rule)
		})
	}
}

func TestSOCKSIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, reply := r.socks(3, domain("example.com"), 443)
	require.Equal(t, byte(2), reply)
	r.refused("DOOR-6/name")
	_, reply = r.socks(1, []byte{127, 0, 0, 1}, 8883)
	require.Equal(t, byte(2), reply)
	require.Contains(t, r.refused("DOOR-6/address").Fix, "socks5h")
	_, reply = r.socks(4, net.IPv6loopback, 8883)
	require.Equal(t, byte(2), reply)
	_, reply = r.socks(9, nil, 0)
	require.Equal(t, byte(8), reply)

	// Words that do not fit, each in its own connection.
	for name, row := range map[string]struct{ send, want []byte }{
		"password only":    {[]byte{5, 1, 2}, []byte{5, 0xff}},
		"no method":        {[]byte{5, 0}, []byte{5, 0xff}},
		"bind":             {[]byte{5, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0}, []byte{5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0}},
		"empty name":       {[]byte{5, 1, 0, 5, 1, 0, 3, 0}, []byte{5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0}},
		"version 4":        {[]byte{4, 1, 0, 80, 127, 0, 0, 1, 0, '\r', '\n', '\r', '\n'}, nil},
		"garbage":          {[]byte("\xff\xfe\r\n\r\n"), nil},
		"no CONNECT":       {[]byte("GET http://example.com/ HTTP/1.1\r\n\r\n"), nil},
		"endless greeting": {append([]byte("CONNECT x:1 HTTP/1.1\r\nA: "), make([]byte, 20_000)...), nil},
	} {
		conn := r.tcp(r.Ports().Proxy)
		_, err := conn.Write(row.send)
		require.NoError(t, err, name)
		got := requireClosed(t, conn)
		if row.want != nil {
			require.Equal(t, row.want, got, name)
		} else {
			require.Regexp(t, `^HTTP/1\.1 40[05] `, string(got), name)
		}
	}
	r.refused("DOOR-6/request")
	r.refused("DOOR-6/method")
	rule.Proves(t, "DOOR-6/request", "DOOR-6/method", "DOOR-6/address", "DOOR-6/name")
}

func TestASilentProxyClient(t *testing.T) {
	for name, send := range map[string]string{"nothing": "", "half a request": "CONNECT x", "half a greeting": "\x05"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, r := testConfig(t)
				r.Door = newDoor(cfg)
				client, served := net.Pipe()
				r.take(served, Proxy)
				start := time.Now()
				_, err := io.WriteString(client, send)
				require.NoError(t, err)
				requireClosed(t, client)
				require.Equal(t, 10*time.Second, time.Since(start))
				r.refused("DOOR-6/request")
				require.NoError(t, r.Close(t.Context()))
			})
		})
	}
}
