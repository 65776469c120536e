package door

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/fakecloud/fakecloud/internal/broker"
)

// Port is a kind of listener; what it speaks decides how a connection is treated.
type Port byte

// The kinds of listener.
const (
	MQTTS Port = iota + 1 // MQTT over TLS, all platforms
	MQTT                  // MQTT over plain TCP, for platforms that have it
	HTTPS                 // HTTPS, and MQTT over TLS for clients that ask for it by ALPN
	Edge                  // MQTT over TLS, the Edge gateway for clients that do not use its name
	Proxy                 // HTTP CONNECT and SOCKS5 to the other ones
)

// String returns the listener's name, as in its flag.
func (p Port) String() string {
	switch p {
	case MQTTS:
		return "mqtts"
	case MQTT:
		return "mqtt"
	case HTTPS:
		return "https"
	case Edge:
		return "edge"
	case Proxy:
		return "proxy"
	}
	return "unknown"
}

// Platform is what stands behind the door. It is given once, at Open; instances come and go inside it.
type Platform struct {
	Name string // as in the host table and the journal
	// Claim says whether a connection without a telling host name is for this platform, and for which of
	// its instances. Where the name has told the platform it is asked for the instance only. It must be
	// fast and without effect. Nil claims nothing.
	Claim func(*Hello) Claim
	// MQTT serves MQTT connections; nil: the platform has none.
	MQTT MQTTServer
	// ConnectTimeout is how long a client that has named the platform may take until its whole CONNECT; 0 is
	// Timeouts.Connect.
	ConnectTimeout time.Duration
	// Certificate makes the certificates of the platform's own names and port, for one that has a chain of its
	// own; own says that the client came to the platform's port by another name. Nil takes Config.Certificates.
	Certificate func(hello *tls.ClientHelloInfo, own bool) (*tls.Certificate, error)
	// Distrusted is what a client may do that refuses those certificates; empty: it is to trust fakecloud's root.
	Distrusted string
	// HTTP serves HTTPS requests; PeerOf tells it who asks. Nil: the platform has none.
	HTTP http.Handler
	// WebSocket says whether MQTT over WebSocket is spoken at a path; the door upgrades and routes such a
	// stream by its CONNECT, as on the MQTT port. Nil: nowhere. Other upgrades go to HTTP.
	WebSocket func(path string) bool
	// Plain is whether the platform also speaks MQTT without TLS.
	Plain bool
	// MinTLS is the oldest TLS version it accepts by its own host names; 0 is TLS 1.2.
	MinTLS uint16
}

// MQTTServer serves one MQTT connection until it ends, and closes it. *broker.Server is one.
type MQTTServer interface {
	Serve(conn net.Conn, peer broker.Peer) error
}

// Certificates makes the server's certificates. *pki.Authority does.
type Certificates interface {
	// GetCertificate returns the one for hello.ServerName, or for the local address of hello.Conn when that
	// is empty. An error ends the handshake with the alert unrecognized_name.
	GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// BrokenServer returns the same with one thing wrong: expired, not-yet-valid, wrong-name, unknown-ca or
	// missing-intermediate.
	BrokenServer(kind string, hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// Hello is what a client has said of where it wants to go: all that routing knows.
type Hello struct {
	Port Port
	ALPN string // negotiated protocol, empty for most
	// Name is the host name that the client asked for: SNI, else the name it asked of the proxy; for HTTP
	// its Host header where that is a vendor's name. Empty for clients that dial an address.
	Name string
	// Endpoint is the instance that Name leads to, empty where it leads to none or to several.
	Endpoint string
	Path     string // of an HTTP request
	// Hosts are names beside the vendors' that may stand in user names on this connection: loopback,
	// advertised names, what was dialled. It is shared and must not be changed.
	Hosts []string

	Level        byte // MQTT protocol level; 0 for HTTP
	ClientID     string
	Username     string
	HasUsername  bool
	Certificates []*x509.Certificate // as presented, leaf first; not verified
}

// Claim is a platform's answer to a Hello.
type Claim struct {
	Endpoint string // the instance that is to judge it; empty: the platform refuses by itself
	OK       bool   // it is this platform's
	// Near is, when not OK, why it almost is: one sentence for a person, without secrets. Empty when the
	// client has nothing in common with this platform.
	Near string
}
