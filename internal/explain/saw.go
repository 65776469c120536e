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
	tlsFailure = "the TLS handshake failed"
)

// DeviceSaw says what the wire showed of a refusal, from the events of its connection around it.
func DeviceSaw(e *journal.Event, around []journal.Event) string {
	accepted := false
	for i := range around {
		o := &around[i]
		if o.Seq < e.Seq {
			accepted = accepted || (o.Kind == journal.Connack && o.Code != nil && *o.Code == 0)
			continue
		}
		if o.Seq == e.Seq || o.Dir != journal.Out {
			continue
		}
		if text := answer(o, around[i+1:]); text != "" {
			return text
		}
	}
	row := e.Rule.Row()
	switch {
	case row == "TLS-4", row == "TLS-9": // no TLS to speak of
		return noConnack
	case strings.HasPrefix(string(row), "TLS-"):
		return tlsFailure
	case e.Kind == journal.Closed || (accepted && e.Code == nil):
		return bareClose
	case e.Code == nil:
		return noConnack
	case !accepted && e.Topic == "" && *e.Code > 0 && *e.Code <= 5:
		return connack(*e.Code) + ", then " + closed
	case e.Topic != "":
		return fmt.Sprintf("an answer with status %d", *e.Code)
	default:
		return fmt.Sprintf("status %d", *e.Code)
	}
}

// answer describes the first packet sent after a refusal; empty when it is none that tells of it.
func answer(o *journal.Event, rest []journal.Event) string {
	switch {
	case o.Kind == journal.Connack && o.Code != nil:
		return connack(*o.Code) + ", then " + closed
	case o.Kind == journal.Suback && o.Code != nil:
		return fmt.Sprintf("SUBACK 0x%02x", *o.Code) + ending(rest)
	case o.Kind == journal.Suback:
		return "SUBACK 0x80" + ending(rest)
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
