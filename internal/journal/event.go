package journal

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// Kind is what an event tells of. Readers ignore kinds they do not know.
type Kind string

// The kinds.
const (
	TLS         Kind = "tls"
	Connect     Kind = "connect"
	Connack     Kind = "connack"
	Subscribe   Kind = "subscribe"
	Suback      Kind = "suback"
	Unsubscribe Kind = "unsubscribe"
	Publish     Kind = "publish"
	Puback      Kind = "puback"
	Disconnect  Kind = "disconnect"
	Refused     Kind = "refused" // always has a rule
	Closed      Kind = "closed"
	Provisioned Kind = "provisioned"
	Telemetry   Kind = "telemetry"
	Property    Kind = "property"
	Twin        Kind = "twin"
	Method      Kind = "method"
	Command     Kind = "command"
	C2D         Kind = "c2d"
	File        Kind = "file"
	HTTP        Kind = "http"
	WS          Kind = "ws"
	AMQP        Kind = "amqp"
	Fault       Kind = "fault"
	Clock       Kind = "clock"
	Reset       Kind = "reset"
	World       Kind = "world"
	State       Kind = "state" // it cannot be kept, or can again
)

// Kinds are all kinds.
var Kinds = []Kind{TLS, Connect, Connack, Subscribe, Suback, Unsubscribe, Publish, Puback, Disconnect, Refused, Closed, Provisioned, Telemetry,
	Property, Twin, Method, Command, C2D, File, HTTP, WS, AMQP, Fault, Clock, Reset, World, State}

// Platforms are what an event's platform may be: the emulated ones, the resource manager's host, and the door for
// connections whose platform is not known.
var Platforms = []string{"dps", "iothub", "edge", "mindsphere", "iotda", "arm", "door"}

// The directions of a packet, seen from fakecloud.
const (
	In  = "in"
	Out = "out"
)

// Event is one step. Zero fields are left out of the JSON.
type Event struct {
	Seq        uint64
	Time       time.Time // wall reading, UTC
	Platform   string    // dps, iothub, mindsphere, iotda, edge; door where no platform is known yet
	Endpoint   string    // host name, or instance name where a host serves several
	Conn       uint64    // connection number, unique in an instance's life
	Address    string    // the client's address:port
	Device     string    // device, module (device/module) or registration id
	Kind       Kind      //
	Dir        string    // In or Out
	Topic      string    //
	QoS        int       // of a publish, subscribe or suback
	Payload    []byte    // as on the wire; the journal keeps the slice, so do not change it afterwards
	Code       *int      // return code, status
	Rule       rule.ID   //
	Detail     string    //
	Expected   string    //
	Seen       string    //
	Fix        string    //
	Source     string    //
	Properties map[string]string
}

// Code returns a pointer to n, for Event.Code.
func Code(n int) *int { return &n }

// wire is the JSON form of an Event.
type wire struct {
	Seq           uint64            `json:"seq"`
	Time          string            `json:"time"`
	Platform      string            `json:"platform,omitempty"`
	Endpoint      string            `json:"endpoint,omitempty"`
	Conn          uint64            `json:"conn,omitempty"`
	Address       string            `json:"address,omitempty"`
	Device        string            `json:"device,omitempty"`
	Kind          Kind              `json:"kind"`
	Dir           string            `json:"dir,omitempty"`
	Topic         string            `json:"topic,omitempty"`
	QoS           *int              `json:"qos,omitempty"`
	Payload       *string           `json:"payload,omitempty"`
	PayloadBase64 []byte            `json:"payloadBase64,omitempty"`
	Code          *int              `json:"code,omitempty"`
	Rule          rule.ID           `json:"rule,omitempty"`
	Detail        string            `json:"detail,omitempty"`
	Expected      string            `json:"expected,omitempty"`
	Seen          string            `json:"seen,omitempty"`
	Fix           string            `json:"fix,omitempty"`
	Source        string            `json:"source,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"`
}

// TimeFormat is the form of an event's time in JSON.
const TimeFormat = "2006-01-02T15:04:05.000000Z"

// carriesQoS names the kinds whose QoS is shown even when it is 0.
func carriesQoS(k Kind) bool {
	return k == Publish || k == Subscribe || k == Suback
}

// MarshalJSON gives the public form: payload as text where it is UTF-8, else payloadBase64.
func (e Event) MarshalJSON() ([]byte, error) {
	w := wire{
		Seq: e.Seq, Time: e.Time.UTC().Format(TimeFormat), Platform: e.Platform, Endpoint: e.Endpoint,
		Conn: e.Conn, Address: e.Address, Device: e.Device, Kind: e.Kind, Dir: e.Dir, Topic: e.Topic,
		Code: e.Code, Rule: e.Rule, Detail: e.Detail, Expected: e.Expected, Seen: e.Seen, Fix: e.Fix,
		Source: e.Source, Properties: e.Properties,
	}
	if carriesQoS(e.Kind) {
		w.QoS = &e.QoS
	}
	switch {
	case e.Payload == nil:
	case utf8.Valid(e.Payload):
		text := string(e.Payload)
		w.Payload = &text
	default:
		w.PayloadBase64 = e.Payload
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads the public form.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, w.Time)
	if err != nil {
		return err
	}
	*e = Event{
		Seq: w.Seq, Time: at, Platform: w.Platform, Endpoint: w.Endpoint, Conn: w.Conn, Address: w.Address,
		Device: w.Device, Kind: w.Kind, Dir: w.Dir, Topic: w.Topic, Payload: w.PayloadBase64, Code: w.Code,
		Rule: w.Rule, Detail: w.Detail, Expected: w.Expected, Seen: w.Seen, Fix: w.Fix, Source: w.Source,
		Properties: w.Properties,
	}
	if w.QoS != nil {
		e.QoS = *w.QoS
	}
	if w.Payload != nil {
		e.Payload = []byte(*w.Payload)
	}
	return nil
}
