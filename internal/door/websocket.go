package door

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Upgrade makes a WebSocket of a request that the door has handed to a platform. One of subprotocols must be
// among those that the client offers, in any case; the answer repeats the client's spelling (the C SDK asks
// for "MQTT"). The connection is a stream of bytes over binary frames, which may hold parts of packets or
// several; a text frame or a message of more than limit bytes ends it. When it returns an error the
// request has been answered, and the journal says why.
func Upgrade(w http.ResponseWriter, r *http.Request, limit int64, subprotocols ...string) (net.Conn, broker.Peer, error) {
	v, ok := r.Context().Value(contextKey{}).(visit)
	if !ok {
		panic("door: Upgrade of a request that did not come through the door")
	}
	if refusal := upgradeRefusal(r, subprotocols); refusal != nil {
		v.sock.door.refuse(v.sock, refusal, "")
		http.Error(w, refusal.Detail+"; expected "+refusal.Expected, refusal.Code)
		return nil, broker.Peer{}, refusal
	}
	// Browsers are no devices and the credentials are in the stream, so that any origin may ask.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: subprotocols, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		refusal := &rule.Refusal{Rule: "DOOR-7/handshake", Code: http.StatusBadRequest, Detail: err.Error(),
			Seen: r.Method + " " + shown(r.URL.Path), Expected: "a WebSocket handshake (RFC 6455, section 4.1)"}
		v.sock.door.refuse(v.sock, refusal, "")
		return nil, broker.Peer{}, refusal
	}
	// The request's context ends with the handler, the stream lives until it is closed.
	conn := websocket.NetConn(context.WithoutCancel(r.Context()), ws, websocket.MessageBinary)
	ws.SetReadLimit(limit)
	v.sock.handedOver.Store(true)
	peer := PeerOf(r)
	peer.Transport = webSocket
	return &stream{Conn: conn, ws: ws, below: v.sock}, peer, nil
}

// webSocket is how a peer's transport is called that came through Upgrade.
const webSocket = "wss"

// maxFrame is the largest WebSocket message of an MQTT stream: above every platform's largest packet, so
// that the platform's own rule fires first.
const maxFrame = 2 << 20

func isUpgrade(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }

// speaksMQTT reports whether the platform that the name tells, or else any, speaks MQTT over WebSocket at
// the request's path.
func (d *Door) speaksMQTT(h Hello) bool {
	name, _ := fixed(&h, &d.table)
	return slices.ContainsFunc(d.table.platforms, func(p Platform) bool {
		return (name == "" || p.Name == name) && p.MQTT != nil && p.WebSocket != nil && p.WebSocket(h.Path)
	})
}

// serveWebSocket upgrades a request and serves its MQTT stream until it ends.
func (d *Door) serveWebSocket(w http.ResponseWriter, r *http.Request, v visit, h Hello) {
	conn, peer, err := Upgrade(w, r, maxFrame, "mqtt")
	if err != nil {
		return
	}
	d.socks.Lock()
	if d.stopping {
		d.socks.Unlock()
		_ = conn.Close()
		return
	}
	d.running.Add(1)
	v.sock.handedOver.Store(false) // until its CONNECT is routed
	d.socks.Unlock()
	defer d.running.Done()
	e := d.event(v.sock)
	e.Kind, e.Dir, e.Topic, e.Detail = journal.WS, journal.In, h.Path, "MQTT over WebSocket"
	d.journal.Append(e)
	d.serveStream(v.sock, conn, func() { d.hangUp(v.sock, v.tls) }, h, peer)
	_ = conn.Close()
}

// stream is a WebSocket as a connection.
type stream struct {
	net.Conn
	ws    *websocket.Conn
	below net.Conn
}

// NetConn returns a connection below, as tls.Conn does.
func (s *stream) NetConn() net.Conn { return s.below }

// Write implements net.Conn. The deadline goes with its write: the library's timer breaks off whatever is being
// written when it fires, also the next packet, which may begin at that very moment.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	_ = s.SetWriteDeadline(time.Time{})
	return n, err
}

// Close ends the connection at once: the library's own Close would wait up to five seconds for the client's
// close frame, and a platform that drops a device does not wait for it.
func (s *stream) Close() error {
	_ = s.Conn.SetDeadline(time.Time{}) // stops its timers
	return s.ws.CloseNow()
}

// upgradeRefusal checks what the WebSocket library would let pass or explain less well.
func upgradeRefusal(r *http.Request, subprotocols []string) *rule.Refusal {
	if !isUpgrade(r) {
		return &rule.Refusal{Rule: "DOOR-7/handshake", Code: http.StatusUpgradeRequired,
			Detail: "this path speaks WebSocket only", Seen: r.Method + " " + shown(r.URL.Path),
			Expected: "the headers Connection: Upgrade and Upgrade: websocket"}
	}
	var offered []string
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(header, ",") {
			offered = append(offered, strings.TrimSpace(name))
		}
	}
	for _, name := range offered {
		if slices.ContainsFunc(subprotocols, func(s string) bool { return strings.EqualFold(s, name) }) {
			return nil
		}
	}
	return &rule.Refusal{Rule: "DOOR-7/subprotocol", Code: http.StatusBadRequest,
		Detail:   "the client offers no WebSocket subprotocol that is spoken here",
		Seen:     fmt.Sprintf("Sec-WebSocket-Protocol: %s", shown(strings.Join(offered, ", "))),
		Expected: "Sec-WebSocket-Protocol: " + strings.Join(subprotocols, " or ")}
}
