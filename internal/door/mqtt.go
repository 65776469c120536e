package door

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// serveMQTT serves a connection that speaks MQTT by itself. state is nil on plain TCP.
func (d *Door) serveMQTT(s *sock, conn net.Conn, state *tls.ConnectionState) {
	if state == nil {
		s.peer = d.peer(s, nil)
	}
	h := Hello{Port: s.port, Name: wanted(s.peer.SNI, s.dialled), Certificates: s.peer.Certificates, Hosts: s.peer.Hosts}
	if state != nil {
		h.ALPN = state.NegotiatedProtocol
	}
	d.serveStream(s, conn, func() { d.hangUp(s, conn) }, h, s.peer)
}

// serveStream reads the first packet from conn, finds the platform by it and by h, and lets it serve the
// connection. hangUp ends a refused one.
func (d *Door) serveStream(s *sock, conn net.Conn, hangUp func(), h Hello, peer broker.Peer) {
	wait := d.timeouts.Connect
	if name, _ := fixed(&h, &d.table); name != "" {
		if p := d.table.platform(name); p != nil && p.ConnectTimeout > 0 {
			wait = p.ConnectTimeout
		}
	}
	_ = s.SetDeadline(time.Now().Add(wait))
	c, raw, err := readConnect(conn)
	if err != nil {
		r := d.firstPacketRefusal(s, err, raw)
		switch {
		case r.Rule == "DOOR-2/timeout":
			r.Detail = fmt.Sprintf("no whole CONNECT within %s", wait)
		case r.Rule == "DOOR-2/closed" && peer.Transport == webSocket: // TLS and HTTP are behind it, so trust is not the matter
			r.Rule, r.Expected = "DOOR-2/websocket", r.Expected+", in masked binary frames (RFC 6455, section 5)"
		}
		d.refuse(s, r, "")
		hangUp()
		return
	}
	h.Level, h.ClientID, h.Username, h.HasUsername = c.level, c.clientID, c.username, c.hasUsername
	d.attempts.note(s.number, &h)
	to := route(h, &d.table)
	if to.refusal != nil {
		d.refuse(s, to.refusal, shown(c.clientID))
		_ = s.SetWriteDeadline(time.Now().Add(d.timeouts.Write))
		_, _ = conn.Write(notAuthorized(c.level))
		hangUp()
		return
	}
	peer.Endpoint, peer.Pace = to.endpoint, s.speedUp()
	s.handedOver.Store(true)
	if d.stopped() {
		_ = s.Close() // Stop may have looked at it a moment too early
		return
	}
	_ = s.SetDeadline(time.Time{})
	_ = to.platform.MQTT.Serve(&replayed{Conn: conn, ahead: raw}, peer) // the server journals how it ends
	_ = s.Close()
}

// notAuthorized is the CONNACK that refuses a client: return code 5 (MQTT 3.1.1, section 3.2.2.3), or for
// MQTT 5 reason code 0x87.
func notAuthorized(level byte) []byte {
	if level&0x7f == 5 {
		return []byte{0x20, 0x03, 0x00, 0x87, 0x00}
	}
	return []byte{0x20, 0x02, 0x00, 0x05}
}

func (d *Door) stopped() bool {
	d.socks.Lock()
	defer d.socks.Unlock()
	return d.stopping
}

// hangUp ends a refused connection: TLS says good-bye, then the client may read what it was sent.
func (d *Door) hangUp(s *sock, conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		_ = s.SetWriteDeadline(time.Now().Add(d.timeouts.Write))
		_ = t.CloseWrite()
	}
	d.linger(s)
}

// refuse writes a refusal of the door to the journal, unless it is the door itself that is closing. device
// is what the client calls itself, empty where it has not said.
func (d *Door) refuse(s *sock, r *rule.Refusal, device string) {
	if d.stopped() {
		return
	}
	e := d.event(s)
	e.Device = device
	name := wanted(s.peer.SNI, s.dialled)
	if m := d.table.hosts.Lookup(name); m.Platform != "" {
		e.Endpoint = m.Endpoint
	}
	e.Fix = d.distrustFix(s, name, r)
	d.journal.Refuse(e, r)
}

// closed notes a connection that ended without anybody being wrong.
func (d *Door) closed(s *sock, detail string) {
	if d.stopped() {
		return
	}
	e := d.event(s)
	e.Kind, e.Detail = journal.Closed, detail
	d.journal.Append(e)
}

// firstPacketRefusal names the rule that the first packet broke. raw is what has arrived of it.
func (d *Door) firstPacketRefusal(s *sock, err error, raw []byte) *rule.Refusal {
	const want = "a CONNECT packet (first byte 0x10) as the first packet"
	r := &rule.Refusal{Silent: true, Detail: err.Error(), Seen: firstBytes(raw), Expected: want}
	if alert, ok := clientAlert(err); ok {
		s.alertRefusal(r, s.peer.SNI, alert)
		return r
	}
	switch kind := guess(raw); {
	case errors.Is(err, errNotConnect) && kind == "http":
		r.Rule, r.Detail = "DOOR-3/http", "an HTTP request came on a port that speaks MQTT"
	case errors.Is(err, errNotConnect) && kind == "tls" && s.port == MQTT:
		r.Rule, r.Detail = "TLS-9/plain", "a TLS handshake came on the port that speaks MQTT without TLS"
	case errors.Is(err, errNotConnect) && kind == "mqtt":
		r.Rule = "DOOR-3/packet"
	case errors.Is(err, errNotConnect):
		r.Rule = "DOOR-3/other"
	case errors.Is(err, errTooLarge):
		r.Rule, r.Expected = "DOOR-4/size", fmt.Sprintf("at most %d bytes", maxConnect)
	case errors.Is(err, errProtocol):
		r.Rule, r.Expected = "DOOR-4/protocol", `protocol name "MQTT" (3.1.1, 5) or "MQIsdp" (3.1)`
	case errors.Is(err, errMalformed):
		r.Rule, r.Expected = "DOOR-4/malformed", "a CONNECT whose fields fit into its length (MQTT 3.1.1, section 3.1)"
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.Rule = "DOOR-2/timeout"
	case errors.Is(err, io.EOF):
		r.Rule, r.Detail = "DOOR-2/closed", "the client closed the connection without sending a CONNECT"
	default:
		r.Rule, r.Detail = "DOOR-2/closed", "the connection broke before a CONNECT: "+err.Error()
	}
	return r
}

// firstBytes shows the start of what a client sent, as bytes: it may be anything.
func firstBytes(raw []byte) string {
	const most = 16
	if len(raw) == 0 {
		return "nothing"
	}
	if len(raw) > most {
		return fmt.Sprintf("% x … (%d bytes)", raw[:most], len(raw))
	}
	return fmt.Sprintf("% x", raw)
}
