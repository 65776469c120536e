package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// clientHello returns what a client sends first, a handshake record with a ClientHello, for name.
func clientHello(t *testing.T, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12}).Handshake()
	}()
	header := make([]byte, 5)
	_, err := io.ReadFull(server, header)
	require.NoError(t, err)
	body := make([]byte, int(header[3])<<8|int(header[4]))
	_, err = io.ReadFull(server, body)
	require.NoError(t, err)
	require.NoError(t, server.Close())
	<-done
	return append(header, body...)
}

// A device that works while others are at fault.
type bystander struct {
	t    *testing.T
	conn *rawmqtt.Conn
	next int
}

func newBystander(t *testing.T, cloud *fakecloud.Cloud) *bystander {
	t.Helper()
	return &bystander{t: t, conn: enrolled(t, cloud, "bystander").open(t, cloud)}
}

// works registers on the standing connection, and on a new one.
func (b *bystander) works(cloud *fakecloud.Cloud) {
	b.t.Helper()
	b.next++
	wantAssigning(b.t, register(b.t, b.conn, ""))
	other := enrolled(b.t, cloud, "newcomer-"+string(rune('a'+b.next))).open(b.t, cloud)
	wantAssigning(b.t, register(b.t, other, ""))
}

func TestDoorAlerts(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sni    string
		change func(*tls.Config)
		rule   rule.ID
		alert  string
	}{
		"untrusted root":         {globalDPS, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, "TLS-1/bad-certificate", "bad_certificate"},
		"untrusted, TLS 1.2":     {demoHub, func(c *tls.Config) { c.RootCAs, c.MaxVersion = x509.NewCertPool(), tls.VersionTLS12 }, "TLS-1/bad-certificate", "bad_certificate"},
		"untrusted, by address":  {"127.0.0.1", func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, "TLS-1/no-name", "bad_certificate"},
		"TLS 1.1":                {globalDPS, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "TLS-2/version", ""},
		"TLS 1.1 by address":     {"127.0.0.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "TLS-2/version", ""},
		"no forward secrecy":     {demoHub, func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{0x002f} }, "TLS-3/suite", ""},
		"a name of someone else": {"www.example.com", nil, "TLS-5/name", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			good := newBystander(t, cloud)
			config := clientTLS(t, cloud, row.sni, via{})
			if row.change != nil {
				row.change(config)
			}
			client := tls.Client(tcp(t, "127.0.0.1", cloud.Ports().MQTTS), config)
			require.Error(t, client.Handshake())
			e := refused(t, cloud, row.rule)
			require.Equal(t, row.alert, e.Properties["alert"])
			good.works(cloud)
		})
	}
}

// What the server says: a fatal alert in the clear, then the end (RFC 5246, section 7.2).
func TestDoorAlertsOnTheWire(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sni, last string // what ends the answer, in hexadecimal
		send      []byte
		rule      rule.ID
	}{
		"unrecognized_name": {"www.example.com", "15030300020270", nil, "TLS-5/name"},
		"unknown_ca":        {globalDPS, "", []byte{0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x30}, "TLS-1/unknown-ca"},
		"expired":           {globalDPS, "", []byte{0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x2d}, "TLS-1/certificate-expired"},
		"access_denied":     {globalDPS, "", []byte{0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x31}, "TLS-1/access-denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			conn := tcp(t, "127.0.0.1", cloud.Ports().MQTTS)
			_, err := conn.Write(append(clientHello(t, row.sni), row.send...))
			require.NoError(t, err)
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Regexp(t, row.last+"$", hex.EncodeToString(answer))
			refused(t, cloud, row.rule)
		})
	}
}

func TestDoorWithoutAClientCertificate(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := enrollee{id: "device-001", token: ptr(v3Token), via: via{max: version}}.open(t, cloud)
		wantAssigning(t, register(t, c, ""))
		require.Equal(t, version, c.Conn.(*tls.Conn).ConnectionState().Version)
	}
}

// What is no TLS, or half of it, closes its own connection and disturbs nobody.
func TestDoorGarbageDisturbsNobody(t *testing.T) {
	t.Parallel()
	hello := clientHello(t, globalDPS)
	for name, row := range map[string]struct {
		sent []byte
		rule rule.ID
	}{
		"MQTT without TLS": {rawmqtt.Connect{ClientID: "x"}.Bytes(), "TLS-4/mqtt"},
		"HTTP":             {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "TLS-4/http"},
		"noise":            {[]byte("\xa5\x5a\xff\x00 nothing that anybody speaks"), "TLS-4/other"},
		"half a hello":     {hello[:len(hello)/2], "TLS-6/closed"},
		"hello, then gone": {hello, "TLS-6/closed"},
		"a broken hello":   {[]byte{0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0xff}, "TLS-8/protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			good := newBystander(t, cloud)
			conn := tcp(t, "127.0.0.1", cloud.Ports().MQTTS)
			_, err := conn.Write(row.sent)
			require.NoError(t, err)
			good.works(cloud) // while the other one stands in the door
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			_, err = io.ReadAll(conn)
			require.NoError(t, err, "the server closes")
			refused(t, cloud, row.rule)
			good.works(cloud)
		})
	}
}

func TestDoorConnectThatNeverComes(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	good := newBystander(t, cloud)
	silent := dial(t, cloud, via{name: globalDPS})
	half := dial(t, cloud, via{name: demoHub})
	send(t, half, rawmqtt.Connect{ClientID: "x", Username: ptr("y")}.Bytes()[:9])
	good.works(cloud)
	require.NoError(t, silent.Close())
	refused(t, cloud, "DOOR-2/closed")
	good.works(cloud)
}

func TestDoorFirstPackets(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sent []byte
		rule rule.ID
	}{
		"PUBLISH first":    {rawmqtt.Publish("a", "b", 0, 0, false), "DOOR-3/packet"},
		"HTTP in TLS":      {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "DOOR-3/http"},
		"noise in TLS":     {[]byte("\xff\xff\xff\xff\xff"), "DOOR-3/other"},
		"256 MiB":          {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, "DOOR-4/size"},
		"cut fields":       {[]byte{0x10, 0x0c, 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x04, 0x02, 0x00, 0x3c, 0x00, 0x09}, "DOOR-4/malformed"},
		"another protocol": {rawmqtt.Connect{Protocol: "XMPP", ClientID: "x"}.Bytes(), "DOOR-4/protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			good := newBystander(t, cloud)
			c := dial(t, cloud, via{name: globalDPS})
			send(t, c, row.sent)
			wantClosed(t, c)
			refused(t, cloud, row.rule)
			good.works(cloud)
		})
	}
}

func TestDoorTwoHundredAtOnce(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	good := newBystander(t, cloud)
	hello := clientHello(t, globalDPS)
	kinds := [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), rawmqtt.Connect{ClientID: "x"}.Bytes(), make([]byte, 4096), hello, hello[:40]}
	var conns []net.Conn
	var sending sync.WaitGroup
	for i := range 200 {
		conn := tcp(t, "127.0.0.1", cloud.Ports().MQTTS)
		conns = append(conns, conn)
		sending.Go(func() { _, _ = conn.Write(kinds[i%len(kinds)]) })
	}
	good.works(cloud)
	sending.Wait()
	good.works(cloud)
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	good.works(cloud)
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	for id, count := range map[rule.ID]int{"TLS-4/http": 40, "TLS-4/mqtt": 40, "TLS-4/other": 40, "TLS-6/closed": 80} {
		events, err := cloud.Await(ctx, fakecloud.Filter{Rule: id, Kind: "refused"}, count)
		require.NoError(t, err)
		require.Len(t, events, count)
	}
}
