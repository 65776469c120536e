package kittest

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
)

// Cloud is the other end in these tests: TLS servers on in-memory pipes, written to and read from in raw
// bytes by the test. It knows no MQTT beyond where a packet ends.
type Cloud struct {
	TB    testing.TB
	Roots *x509.CertPool
	Cert  tls.Certificate
	Peers chan *Peer
	// Server, if set, changes the server's side of TLS.
	Server func(*tls.Config)
	Dials  chan string // addresses dialled
	// WebSocket is the answer to a WebSocket handshake, as Upgraded; empty is MQTT on the bare connection.
	WebSocket string
}

// Peer is the server's end of one connection.
type Peer struct {
	TB      testing.TB
	Conn    *tls.Conn
	Packets chan string   // raw packets; closed at the end of the connection
	Stalled chan struct{} // closed by the test: take no more from the socket
	Upgrade string        // the WebSocket handshake, with KEY in place of its key
	frames  *frames       // of a WebSocket; else nil
}

// NewCloud returns a server whose certificate has these names.
func NewCloud(t testing.TB, names ...string) *Cloud {
	cert, roots := SelfSigned(t, "server", names...)
	return &Cloud{TB: t, Roots: roots, Cert: cert, Peers: make(chan *Peer, 64), Dials: make(chan string, 64)}
}

// SelfSigned returns a certificate with its key, and the pool that trusts it.
func SelfSigned(t testing.TB, cn string, names ...string) (tls.Certificate, *x509.CertPool) {
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

// TLS is what a client needs to trust the cloud.
func (c *Cloud) TLS() *tls.Config { return &tls.Config{RootCAs: c.Roots} }

// ServerTLS is the cloud's side of TLS, for other servers of the same cloud.
func (c *Cloud) ServerTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.Cert}, ClientAuth: tls.RequestClientCert}
}

// Dial is a DialFunc that leads here, whatever the address.
func (c *Cloud) Dial(_ context.Context, _, address string) (net.Conn, error) {
	client, server := pipe()
	cfg := c.ServerTLS()
	if c.Server != nil {
		c.Server(cfg)
	}
	p := &Peer{TB: c.TB, Packets: make(chan string, 1024), Stalled: make(chan struct{}), Conn: tls.Server(server, cfg)}
	c.TB.Cleanup(func() { _ = server.Close() })
	c.Dials <- address
	go p.read(c)
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

func (p *Peer) read(c *Cloud) {
	defer close(p.Packets)
	if p.Conn.Handshake() != nil {
		return
	}
	if c.WebSocket != "" && p.upgrade(c.WebSocket) != nil {
		return
	}
	c.Peers <- p
	for {
		packet, err := readPacket(p)
		if err != nil {
			return
		}
		if packet == Pingreq {
			_, _ = p.stream().Write([]byte(Pingresp))
			continue
		}
		p.Packets <- packet
	}
}

// Read takes from the socket unless the peer is stalled.
func (p *Peer) Read(b []byte) (int, error) {
	n, err := p.stream().Read(b)
	select {
	case <-p.Stalled:
		<-p.TB.Context().Done()
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

// Packet returns the next packet.
func (p *Peer) Packet() string {
	p.TB.Helper()
	packet, ok := <-p.Packets
	require.True(p.TB, ok, "the client closed the connection")
	return packet
}

// Expect compares the next packet to the letter.
func (p *Peer) Expect(packet string) {
	p.TB.Helper()
	require.Equal(p.TB, packet, p.Packet())
}

// ExpectEnd takes the connection's end, with no packet before it.
func (p *Peer) ExpectEnd() {
	p.TB.Helper()
	packet, ok := <-p.Packets
	require.False(p.TB, ok, "unexpected packet %q", packet)
}

// Send writes a packet.
func (p *Peer) Send(packet string) {
	p.TB.Helper()
	_, err := p.stream().Write([]byte(packet))
	require.NoError(p.TB, err)
}

// stream is what carries MQTT.
func (p *Peer) stream() io.ReadWriter {
	if p.frames != nil {
		return p.frames
	}
	return p.Conn
}

// Drop cuts the connection without a word, as the clouds do.
func (p *Peer) Drop() { _ = p.Conn.NetConn().Close() }

// Accept takes the next connection and answers its CONNECT.
func (c *Cloud) Accept(connack string) (*Peer, string) {
	c.TB.Helper()
	p, ok := <-c.Peers
	require.True(c.TB, ok, "nobody connects")
	connect := p.Packet()
	if connack != "" {
		p.Send(connack)
	}
	return p, connect
}

// Whole packets.
const (
	Accepted   = "\x20\x02\x00\x00"
	Disconnect = "\xe0\x00"
	Pingreq    = "\xc0\x00"
	Pingresp   = "\xd0\x00"
)

// Puback acknowledges a QoS 1 PUBLISH that came in raw.
func (p *Peer) Puback(publish string) {
	p.TB.Helper()
	id := PacketID(publish)
	p.Send("\x40\x02" + id)
}

// PacketID finds the packet identifier of a raw PUBLISH behind its topic.
func PacketID(publish string) string {
	at := headerLength(publish)
	at += 2 + int(publish[at])<<8 + int(publish[at+1])
	return publish[at : at+2]
}

// Grant takes a SUBSCRIBE to filter with QoS 1 and grants it.
func (p *Peer) Grant(filter string) {
	p.TB.Helper()
	packet := p.Packet()
	rest := packet[headerLength(packet):]
	require.Equal(p.TB, Subscribe(rest[:2], filter), packet)
	p.Send("\x90\x03" + rest[:2] + "\x01")
}

// Take takes a PUBLISH with QoS 1, acknowledges it and returns its topic and payload.
func (p *Peer) Take() (topic, payload string) {
	p.TB.Helper()
	packet := p.Packet()
	require.Equal(p.TB, "\x32", packet[:1])
	p.Puback(packet)
	at := headerLength(packet)
	end := at + 2 + int(packet[at])<<8 + int(packet[at+1])
	return packet[at+2 : end], packet[end+2:]
}

// headerLength returns where what follows the remaining length begins.
func headerLength(packet string) int {
	at := 2
	for packet[at-1] >= 0x80 {
		at++
	}
	return at
}

// Publish puts a PUBLISH together: first is its first byte, id its packet identifier, empty with QoS 0.
func Publish(first, topic, id, body string) string {
	rest := String(topic) + id + body
	return first + length(len(rest)) + rest
}

// String is a string as MQTT writes it.
func String(text string) string {
	return string([]byte{byte(len(text) >> 8), byte(len(text))}) + text
}

// Subscribe puts a SUBSCRIBE with QoS 1 together.
func Subscribe(id, filter string) string {
	rest := id + String(filter) + "\x01"
	return "\x82" + length(len(rest)) + rest
}

func length(n int) string {
	var text []byte
	for ; ; n >>= 7 {
		if n < 0x80 {
			return string(append(text, byte(n)))
		}
		text = append(text, byte(n&0x7f)|0x80)
	}
}
