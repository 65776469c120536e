package explain

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// Return codes of a CONNACK (MQTT 3.1.1, table 3.1).
var connackNames = map[int]string{
	0: "accepted", 1: "unacceptable protocol version", 2: "identifier rejected", 3: "server unavailable",
	4: "bad user name or password", 5: "not authorized",
}

const (
	closed     = "the socket closed"
	bareClose  = "the socket closed without a packet"
	noConnack  = "the socket closed without a CONNACK"
	onlyAck    = "a PUBACK, as if nothing were wrong; the connection stayed open"
	nothing    = "no packet; the connection stayed open"
	tlsFailure = "the TLS handshake failed"
)

// hungUp is how the broker tells that the client has closed the connection.
const hungUp = "EOF"

// reaction is what became of a connection after a refusal.
type reaction struct {
	accepted bool // before it
	answer   string
	acked    bool
	ended    bool // because of it
}

// react reads e's connection. Topics without a code are those of packets, which only an accepted client sends.
func react(e *journal.Event, around []journal.Event) (r reaction) {
	r.accepted = e.Topic != "" && e.Code == nil
	moved := false // the client has sent something else
	for i := range around {
		o := &around[i]
		switch {
		case o.Seq < e.Seq:
			r.accepted = r.accepted || (o.Kind == journal.Connack && o.Code != nil && *o.Code == 0)
			r.ended = r.ended || o.Kind == journal.Closed // of a last will
		case o.Seq == e.Seq:
		case o.Kind == journal.Closed:
			r.ended = r.ended || strings.HasPrefix(o.Detail, string(e.Rule)) || !moved && o.Detail != hungUp
			return r
		case o.Dir == journal.In && r.acked:
			return r
		case o.Dir != journal.Out:
			moved = moved || o.Dir == journal.In
		case o.Kind == journal.Puback && o.Topic == e.Topic:
			r.acked = true
		default:
			if r.answer = answer(e, o, around[i+1:]); r.answer != "" {
				return r
			}
		}
	}
	return r
}

// DeviceSaw says what the wire showed of a refusal, from the events of its connection around it.
func DeviceSaw(e *journal.Event, around []journal.Event) string {
	r := react(e, around)
	if r.answer != "" {
		return r.answer
	}
	row := e.Rule.Row()
	switch {
	case row == "TLS-4", row == "TLS-9": // no TLS to speak of
		return noConnack
	case strings.HasPrefix(string(row), "TLS-"):
		return tlsFailure
	case e.Kind == journal.Closed || (r.accepted && r.ended && e.Code == nil):
		return bareClose
	case r.accepted && r.acked && e.Code == nil:
		return onlyAck
	case r.accepted && e.Code == nil:
		return nothing
	case e.Code == nil:
		return noConnack
	case !r.accepted && e.Topic == "" && *e.Code > 0 && *e.Code <= 5:
		return connack(*e.Code) + ", then " + closed
	case e.Topic != "":
		return fmt.Sprintf("an answer with status %d", *e.Code)
	default:
		return fmt.Sprintf("status %d", *e.Code)
	}
}

// answer describes a packet o that was sent after the refusal e; empty when it is none that tells of it.
func answer(e, o *journal.Event, rest []journal.Event) string {
	switch {
	case o.Kind == journal.Connack && o.Code != nil:
		return connack(*o.Code) + ", then " + closed
	case o.Kind == journal.Suback && e.Topic != "" && o.Topic != e.Topic:
		return ""
	case o.Kind == journal.Suback && o.Code != nil:
		return fmt.Sprintf("SUBACK 0x%02x", *o.Code) + ending(rest)
	case o.Kind == journal.Suback:
		return fmt.Sprintf("SUBACK that grants QoS %d", o.QoS) + ending(rest)
	case o.Kind == journal.Publish:
		text := "a message on " + o.Topic
		if code := errorCode(o.Payload); code != "" {
			text += " with errorCode " + code
		}
		return text
	case o.Kind == journal.HTTP && o.Code != nil:
		return fmt.Sprintf("HTTP status %d", *o.Code)
	}
	return ""
}

func connack(code int) string {
	if name := connackNames[code]; name != "" {
		return fmt.Sprintf("CONNACK %d (%s)", code, name)
	}
	return fmt.Sprintf("CONNACK %d", code)
}

func ending(rest []journal.Event) string {
	for i := range rest {
		if rest[i].Kind == journal.Closed {
			return ", then " + closed
		}
	}
	return ""
}

// errorCode returns the errorCode of a JSON error body, as Azure's services write it.
func errorCode(payload []byte) string {
	var body struct {
		ErrorCode json.Number `json:"errorCode"`
	}
	if json.Unmarshal(payload, &body) != nil {
		return ""
	}
	return body.ErrorCode.String()
}
