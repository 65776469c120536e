package azure

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is the other end in these tests: TLS servers on in-memory pipes, written to and read from in raw
// bytes by the test. It knows no MQTT beyond where a packet ends.
type cloud struct {
	t     testing.TB
	roots *x509.CertPool
	cert  tls.Certificate
	peers chan *peer
	dials chan string // addresses dialled
}

// peer is the server's end of one connection.
type peer struct {
	t       testing.TB
	conn    *tls.Conn
	packets chan string   // raw packets; closed at the end of the connection
	stalled chan struct{} // closed by the test: take no more from the socket
}

func newCloud(t testing.TB, names ...string) *cloud {
	cert, roots := selfSigned(t, "server", names...)
	return &cloud{t: t, roots: roots, cert: cert, peers: make(chan *peer, 64), dials: make(chan string, 64)}
}

func selfSigned(t testing.TB, cn string, names ...string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// tls is what a client needs to trust the cloud.
func (c *cloud) tls() *tls.Config { return &tls.Config{RootCAs: c.roots} }

func (c *cloud) dial(_ context.Context, _, address string) (net.Conn, error) {
	client, server := pipe()
	p := &peer{t: c.t, packets: make(chan string, 1024), stalled: make(chan struct{}), conn: tls.Server(server, &tls.Config{
		Certificates: []tls.Certificate{c.cert}, ClientAuth: tls.RequestClientCert,
	})}
	c.t.Cleanup(func() { _ = server.Close() })
	c.dials <- address
	go p.read(c.peers)
	return client, nil
}

// pipe is net.Pipe with room for a write that the other side does not read yet: over an unbuffered pipe
// two TLS ends that write at the same time wait for each other for ever.
func pipe() (client, server net.Conn) {
	client, near := net.Pipe()
	far, server := net.Pipe()
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
	}
	go pump(far, near)
	go pump(near, far)
	return client, server
}

func (p *peer) read(accepted chan<- *peer) {
	defer close(p.packets)
	if p.conn.Handshake() != nil {
		return
	}
	accepted <- p
	for {
		packet, err := readPacket(p)
		if err != nil {
			return
		}
		if packet == pingreq {
			_, _ = p.conn.Write([]byte(pingresp))
			continue
		}
		p.packets <- packet
	}
}

// Read takes from the socket unless the peer is stalled.
func (p *peer) Read(b []byte) (int, error) {
	n, err := p.conn.Read(b)
	select {
	case <-p.stalled:
		<-p.t.Context().Done()
		return 0, io.EOF
	default:
		return n, err
	}
}

// readPacket returns one packet: type byte, remaining length of up to four bytes, and the rest.
func readPacket(r io.Reader) (string, error) {
	head := make([]byte, 1, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	length := 0
	for shift := 0; ; shift += 7 {
		b := make([]byte, 1)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		head = append(head, b[0])
		length |= int(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			break
		}
	}
	rest := make([]byte, length)
	_, err := io.ReadFull(r, rest)
	return string(head) + string(rest), err
}

func (p *peer) packet() string {
	p.t.Helper()
	packet, ok := <-p.packets
	require.True(p.t, ok, "the client closed the connection")
	return packet
}

func (p *peer) expect(packet string) {
	p.t.Helper()
	require.Equal(p.t, packet, p.packet())
}

// expectEnd takes the connection's end, with no packet before it.
func (p *peer) expectEnd() {
	p.t.Helper()
	packet, ok := <-p.packets
	require.False(p.t, ok, "unexpected packet %q", packet)
}

func (p *peer) send(packet string) {
	p.t.Helper()
	_, err := p.conn.Write([]byte(packet))
	require.NoError(p.t, err)
}

// drop cuts the connection without a word, as the clouds do.
func (p *peer) drop() { _ = p.conn.NetConn().Close() }

// accept takes the next connection and answers its CONNECT.
func (c *cloud) accept(connack string) (*peer, string) {
	c.t.Helper()
	p, ok := <-c.peers
	require.True(c.t, ok, "nobody connects")
	connect := p.packet()
	if connack != "" {
		p.send(connack)
	}
	return p, connect
}

const (
	accepted   = "\x20\x02\x00\x00"
	disconnect = "\xe0\x00"
	pingreq    = "\xc0\x00"
	pingresp   = "\xd0\x00"
)

// puback acknowledges a QoS 1 PUBLISH that came in raw.
func (p *peer) puback(publish string) {
	p.t.Helper()
	id := packetID(publish)
	p.send("\x40\x02" + id)
}

// packetID finds the packet identifier of a raw PUBLISH behind its topic.
func packetID(publish string) string {
	at := 2
	for publish[at-1] >= 0x80 {
		at++
	}
	at += 2 + int(publish[at])<<8 + int(publish[at+1])
	return publish[at : at+2]
}
