package door

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// policyKey tells TLS policies apart: each endpoint has its own session tickets, so that a session of one
// is not resumed at another.
type policyKey struct {
	platform, endpoint string
	protocols          byte // which of the lists in protocolLists
}

// protocolLists are what the HTTPS port can agree on by ALPN. A client that offers only other protocols
// gets none, as if it had not asked: real ones of embedded clients are often wrong and never looked at.
var protocolLists = [...][]string{nil, {"http/1.1"}, {amznALPN}}

const (
	noProtocol byte = iota
	httpProtocol
	amznProtocol
)

// suites are Go's secure ones and the two CBC-SHA256 ones, of which Azure documents the RSA one for IoT Hub
// ("TLS support in IoT Hub", recommended ciphers). Those of TLS 1.3 cannot be chosen.
var suites = func() []uint16 {
	ids := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	return ids
}()

// policy picks the TLS configuration by the name in the ClientHello, and keeps what the client offered for
// the journal. It is the GetConfigForClient of every TLS port.
func (d *Door) policy(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	s := hello.Conn.(*sock)
	name := hosts.Canonical(hello.ServerName)
	s.offer = &offer{name: name, versions: hello.SupportedVersions, suites: hello.CipherSuites}
	match := d.table.hosts.Lookup(wanted(name, s.dialled))
	if s.port == Edge { // a session of another port is not resumed here: its certificates are others
		match.Platform = hosts.Edge
	}
	key := policyKey{match.Platform, match.Endpoint, protocolFor(s.port, hello.SupportedProtos, match.Platform)}
	if config, err := d.spoil(s, match, key); config != nil || err != nil {
		return config, err
	}
	d.mu.RLock()
	config := d.policies[key]
	d.mu.RUnlock()
	if config != nil {
		return config, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.policies[key] == nil {
		d.policies[key] = d.newPolicy(key)
	}
	return d.policies[key], nil
}

// protocolFor chooses a list of protocols that the client can agree to.
func protocolFor(port Port, offered []string, platform string) byte {
	switch {
	case port != HTTPS:
		return noProtocol
	case slices.Contains(offered, amznALPN) && (platform == "" || platform == hosts.MindSphere):
		return amznProtocol
	case slices.Contains(offered, "http/1.1"):
		return httpProtocol
	}
	return noProtocol
}

// newPolicy makes the configuration of an endpoint. Client certificates are requested with an empty list
// of authorities and judged by the platform. The ticket key is set because those that Go would take are
// the ones of the outer configuration, which all endpoints share.
func (d *Door) newPolicy(key policyKey) *tls.Config {
	config := &tls.Config{
		GetCertificate: d.certificate,
		ClientAuth:     tls.RequestClientCert,
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   suites,
		NextProtos:     protocolLists[key.protocols],
		KeyLogWriter:   d.keyLog,
	}
	if p := d.table.platform(key.platform); p != nil && p.MinTLS != 0 {
		config.MinVersion = p.MinTLS
	}
	var ticketKey [32]byte
	_, _ = rand.Read(ticketKey[:]) // never fails (crypto/rand)
	config.SetSessionTicketKeys([][32]byte{ticketKey})
	return config
}

// certificate asks for the server's certificate. Without one crypto/tls sends unrecognized_name.
func (d *Door) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := hello.Conn.(*sock)
	hello.ServerName = wanted(s.offer.name, s.dialled)
	certify := d.certificates.GetCertificate
	own := s.port == Edge && d.table.hosts.Lookup(hello.ServerName).Platform != hosts.Edge
	if p := d.behind(s, hello.ServerName); p != nil && p.Certificate != nil {
		certify = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return p.Certificate(hello, own) }
	}
	cert, err := certify(hello)
	if err != nil {
		s.offer.refused = err
		return nil, nil
	}
	return cert, nil
}

// behind is the platform whose certificate a client gets that asks for a name; nil where the name tells of none.
func (d *Door) behind(s *sock, name string) *Platform {
	if s.port == Edge {
		return d.table.platform(hosts.Edge)
	}
	return d.table.platform(d.table.hosts.Lookup(name).Platform)
}

// wanted is the name that a client asked for: in its ClientHello, else of the proxy.
func wanted(sni, dialled string) string {
	if sni != "" {
		return sni
	}
	return dialled
}

// handshake returns the TLS connection, or nil when there is none; then it is in the journal why.
func (d *Door) handshake(s *sock) *tls.Conn {
	_ = s.SetDeadline(time.Now().Add(d.timeouts.Handshake))
	conn := tls.Server(s, d.tls)
	s.shaking = true
	err := conn.Handshake()
	s.shaking = false
	if err != nil {
		d.handshakeFailed(s, err)
		return nil
	}
	s.offer = nil
	return conn
}

// shookHands keeps what TLS has told and writes it to the journal.
func (d *Door) shookHands(s *sock, state *tls.ConnectionState) {
	s.peer = d.peer(s, state)
	e := d.event(s)
	e.Kind, e.Detail = journal.TLS, "handshake done"
	if m := d.table.hosts.Lookup(wanted(s.peer.SNI, s.dialled)); m.Platform != "" {
		e.Platform, e.Endpoint = m.Platform, m.Endpoint
	}
	e.Properties = map[string]string{
		"version": tls.VersionName(state.Version),
		"suite":   tls.CipherSuiteName(state.CipherSuite),
		"port":    s.port.String(),
	}
	tell := func(key, value string) {
		if value != "" {
			e.Properties[key] = shown(value)
		}
	}
	tell("sni", s.peer.SNI)
	tell("alpn", state.NegotiatedProtocol)
	tell("proxied", s.dialled)
	if state.DidResume {
		tell("resumed", "true")
	}
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		s1, s256 := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw)
		tell("clientCertificate", leaf.Subject.String())
		tell("clientSHA1", hex.EncodeToString(s1[:]))
		tell("clientSHA256", hex.EncodeToString(s256[:]))
	}
	d.journal.Append(e)
}

// peer is what the platforms get to know of a connection; state is nil on plain TCP.
func (d *Door) peer(s *sock, state *tls.ConnectionState) broker.Peer {
	p := broker.Peer{Conn: s.number, Local: s.LocalAddr(), Remote: s.RemoteAddr(), Transport: MQTT.String()}
	if state != nil {
		p.SNI = hosts.Canonical(state.ServerName)
		p.Certificates = state.PeerCertificates
		p.TLSVersion = state.Version
		p.Transport = MQTTS.String()
	}
	name, local := wanted(p.SNI, s.dialled), addrOf(p.Local)
	vendor := d.table.hosts.Lookup(name).Platform != ""
	p.Door = d.names.handOver(name, vendor, local)
	if vendor {
		name = ""
	}
	p.Hosts = d.names.accepted(name, local)
	return p
}
