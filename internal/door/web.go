package door

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Limits of HTTPS requests; bodies are limited by the platforms.
const (
	maxHeader   = 64 << 10
	idleTimeout = 2 * time.Minute
	// bodyTimeout bounds a request from its header on; direct methods may wait ten minutes for a device.
	bodyTimeout = 15 * time.Minute
)

type contextKey struct{}

// visit is one request's connection and instance.
type visit struct {
	sock     *sock
	tls      *tls.Conn
	endpoint string
}

// PeerOf returns what is known of the connection of a request that the door has handed to a platform.
func PeerOf(r *http.Request) broker.Peer {
	v, ok := r.Context().Value(contextKey{}).(visit)
	if !ok {
		return broker.Peer{}
	}
	p := v.sock.peer
	p.Endpoint, p.Transport = v.endpoint, HTTPS.String()
	return p
}

func (d *Door) newWeb() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(d.serveHTTP),
		ReadHeaderTimeout: d.timeouts.Connect,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2: the vendors have none
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		ConnState: func(conn net.Conn, state http.ConnState) {
			s := conn.(*webConn).sock
			switch {
			case state == http.StateActive:
				s.handedOver.Store(true)
			case state == http.StateClosed && !s.handedOver.Load():
				d.closed(s, "the client closed the connection after the handshake without a request; "+
					"some do so when they do not trust the root certificate (Node.js)")
			}
		},
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			c := conn.(*webConn)
			return context.WithValue(ctx, contextKey{}, visit{sock: c.sock, tls: c.Conn})
		},
	}
}

// webConn is a TLS connection on the HTTPS port. It refuses clients that speak MQTT there and have not agreed on
// it by ALPN: the HTTP server would wait for the end of a line that never comes.
type webConn struct {
	*tls.Conn
	door  *Door
	sock  *sock
	begun bool
}

// firstOfConnect is the first byte of a CONNECT (MQTT 3.1.1, section 3.1.1); no HTTP method begins with it.
const firstOfConnect = 0x10

// Read implements net.Conn.
func (c *webConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 || c.begun {
		return n, err
	}
	c.begun = true
	if b[0] != firstOfConnect {
		return n, err
	}
	c.sock.handedOver.Store(true) // its end is told here
	c.door.refuse(c.sock, &rule.Refusal{Rule: "DOOR-5/mqtt", Silent: true, Seen: firstBytes(b[:n]),
		Expected: "the ALPN name " + amznALPN + " (MindSphere), MQTT over WebSocket, or port 8883"}, "")
	return 0, io.EOF
}

// serveHTTP hands a request to the platform that its host name or its path belongs to.
func (d *Door) serveHTTP(w http.ResponseWriter, r *http.Request) {
	v := r.Context().Value(contextKey{}).(visit)
	h := Hello{Port: HTTPS, Name: wanted(v.sock.peer.SNI, v.sock.dialled), Path: r.URL.Path,
		Certificates: v.sock.peer.Certificates, Hosts: v.sock.peer.Hosts}
	if host := hostName(r.Host); d.table.hosts.Lookup(host).Platform != "" || h.Name == "" {
		h.Name = host
	}
	if isUpgrade(r) && d.speaksMQTT(h) {
		d.serveWebSocket(w, r, v, h)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	to := route(h, &d.table)
	if to.refusal != nil {
		d.refuse(v.sock, to.refusal, "")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]string{
			"rule": string(to.refusal.Rule), "message": to.refusal.Detail, "expected": to.refusal.Expected})
		return
	}
	v.endpoint = to.endpoint
	to.platform.HTTP.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, v)))
}

// hostName is a Host header without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return hosts.Canonical(host)
}
