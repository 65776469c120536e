package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// httpsAddr is the first HTTPS port's address.
func httpsAddr(cloud *fakecloud.Cloud) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(cloud.Ports().HTTPS[0]))
}

// dialHTTPS opens a TLS connection to the HTTPS port.
func dialHTTPS(t *testing.T, cloud *fakecloud.Cloud, v via) *tls.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", httpsAddr(cloud))
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	config := &tls.Config{RootCAs: roots, ServerName: v.name}
	if v.name == "" {
		config.ServerName = "127.0.0.1" // an address is verified, not sent
	}
	if v.cert != nil {
		config.Certificates = []tls.Certificate{*v.cert}
	}
	conn := tls.Client(raw, config)
	require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
	require.NoError(t, conn.Handshake())
	return conn
}

// reply is an answer with its body.
type reply struct {
	*http.Response
	body string
}

// ask sends a literal request: first line, header lines, body. Host and lengths are added.
func ask(t *testing.T, cloud *fakecloud.Cloud, v via, line, body string, header ...string) reply {
	t.Helper()
	conn := dialHTTPS(t, cloud, v)
	host := v.name
	if host == "" {
		host = httpsAddr(cloud)
	}
	text := line + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n"
	if len(header) > 0 {
		text += strings.Join(header, "\r\n") + "\r\n"
	}
	_, err := io.WriteString(conn, text+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
	require.NoError(t, err)
	method, _, _ := strings.Cut(line, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(t, err)
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return reply{answer, string(got)}
}

// contosoSays asks contoso as dev-01.
func contosoSays(t *testing.T, cloud *fakecloud.Cloud, line, body string, header ...string) reply {
	t.Helper()
	return ask(t, cloud, via{name: contosoHost}, line, body, append([]string{"Authorization: " + tokenV1}, header...)...)
}

// wantHubError checks an error answer of the device API: that of the hub with a request id.
func wantHubError(t *testing.T, r reply, status int, name string) {
	t.Helper()
	wantServiceError(t, r, status, name)
	require.NotEmpty(t, r.Header.Get("x-ms-request-id"))
}

// wantServiceError checks an error answer of the hub: status, name in header and body, tracking id.
func wantServiceError(t *testing.T, r reply, status int, name string) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, r.body)
	require.Equal(t, name, r.Header.Get("iothub-errorcode"))
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	require.Regexp(t, `^\{"Message":"ErrorCode:`+name+`;[^"]+(\\"[^"]*)*","ExceptionMessage":"Tracking ID:[0-9a-f]{32}-G:0-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d"\}$`, r.body)
}
