package iothub

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Property is a named value of a message.
type Property struct {
	Name  string
	Value string
}

// The properties that the hub stamps on messages ("Understand IoT Hub message format").
const (
	PropEnqueued     = "iothub-enqueuedtime"
	PropDeviceID     = "iothub-connection-device-id"
	PropModuleID     = "iothub-connection-module-id"
	PropGenerationID = "iothub-connection-auth-generation-id"
	PropAuthMethod   = "iothub-connection-auth-method"
	PropSource       = "iothub-message-source"
	PropModel        = "dt-dataschema"
)

// SourceTelemetry is the message source of what devices send.
const SourceTelemetry = "Telemetry"

// MaxMessage is the largest device-to-cloud message: body, values of system properties, names and values
// of application properties.
const MaxMessage = 262144

// enqueuedFormat shows a message's arrival to the millisecond, as the hub's events do.
const enqueuedFormat = "2006-01-02T15:04:05.000Z"

// D2C is a device-to-cloud message as a head hands it over.
type D2C struct {
	Body []byte // kept; must not be changed
	// System are the client's system properties under the names that readers see (message-id, …). What
	// the hub stamps itself is ignored here.
	System []Property
	// App are the application properties. Of two with one name the last counts.
	App []Property
	// Will marks a last will: it counts although its connection has ended.
	Will bool
}

// size is what counts towards MaxMessage.
func (m D2C) size() int {
	n := len(m.Body)
	for _, p := range m.System {
		n += len(p.Value)
	}
	for _, p := range m.App {
		n += len(p.Name) + len(p.Value)
	}
	return n
}

// Message is a stored device-to-cloud message. Its maps and body are shared and must not be changed.
type Message struct {
	Seq        uint64 // grows over all hubs, the first is 1
	Hub        string
	DeviceID   string
	ModuleID   string
	EnqueuedAt time.Time
	Body       []byte
	System     map[string]string // the client's system properties and the hub's stamps
	Properties map[string]string // application properties, nil when there are none
}

// Telemetry judges, stamps, stores and journals one message of the session. When it returns nil the
// message is stored; otherwise nothing of it is kept.
func (c *Session) Telemetry(_ context.Context, m D2C) *rule.Refusal {
	if state := c.state.Load(); state == void || state == ended && !m.Will {
		return refusal("HUB-21/takeover", "a message on a connection that was closed already", "a message", "a new connection")
	}
	if n := m.size(); n > MaxMessage {
		return tooLarge(fmt.Sprintf("%d bytes: body %d, properties %d", n, len(m.Body), n-len(m.Body)))
	}
	if r := c.admit(meterTelemetry, 1); r != nil {
		return r
	}
	c.keep(m)
	return nil
}

// TelemetryBatch is Telemetry for several messages at once, all or none. Together they may be as large as
// one.
func (c *Session) TelemetryBatch(ctx context.Context, batch []D2C) *rule.Refusal {
	if len(batch) == 1 {
		return c.Telemetry(ctx, batch[0])
	}
	n := 0
	for _, m := range batch {
		n += m.size()
	}
	if n > MaxMessage {
		return tooLarge(fmt.Sprintf("%d bytes in %d messages", n, len(batch)))
	}
	if r := c.admit(meterTelemetry, len(batch)); r != nil {
		return r
	}
	for _, m := range batch {
		c.keep(m)
	}
	return nil
}

// keep stamps, stores and journals a message that was judged.
func (c *Session) keep(m D2C) {
	now := c.svc.clock.Wall().UTC()
	c.active.Store(now.UnixNano())
	msg := Message{Hub: c.id.Hub, DeviceID: c.id.DeviceID, ModuleID: c.id.ModuleID, EnqueuedAt: now, Body: m.Body}
	msg.System = c.stamp(m.System, now)
	shown := msg.System
	if len(m.App) > 0 {
		msg.Properties = make(map[string]string, len(m.App))
		for _, p := range m.App {
			msg.Properties[p.Name] = p.Value
		}
		shown = make(map[string]string, len(msg.Properties)+len(msg.System))
		maps.Copy(shown, msg.Properties)
		maps.Copy(shown, msg.System)
	}
	c.svc.telemetry.Append(msg)
	e := c.Event(journal.Telemetry)
	e.Payload, e.Properties = m.Body, shown
	c.svc.journal.Append(e)
	c.noteFault(m)
	c.consume(msg, m.Will)
}

func tooLarge(seen string) *rule.Refusal {
	return &rule.Refusal{Rule: "HUB-33/size", Code: CodeMessageTooLarge, Detail: "the message is too large", Seen: seen,
		Expected: fmt.Sprintf("at most %d bytes", MaxMessage)}
}

// stamp joins the client's system properties with the hub's; the hub's win.
func (c *Session) stamp(client []Property, now time.Time) map[string]string {
	system := make(map[string]string, len(client)+len(c.stamps)+1)
	for _, p := range client {
		if !stamped(p.Name) {
			system[p.Name] = p.Value
		}
	}
	for _, p := range c.stamps {
		system[p.Name] = p.Value
	}
	system[PropEnqueued] = c.svc.enqueuedText(now)
	return system
}

// enqueued is a millisecond with its text. Formatting it is a fifth of a message's cost, and a busy hub
// has many messages in each.
type enqueued struct {
	milli int64
	text  string
}

func (s *Service) enqueuedText(now time.Time) string {
	milli := now.UnixMilli()
	if last := s.lastEnqueued.Load(); last != nil && last.milli == milli {
		return last.text
	}
	e := &enqueued{milli, now.Format(enqueuedFormat)}
	s.lastEnqueued.Store(e)
	return e.text
}

// stamped reports whether only the hub may set a property.
func stamped(name string) bool {
	switch name {
	case PropEnqueued, PropDeviceID, PropModuleID, PropGenerationID, PropAuthMethod, PropSource, PropModel:
		return true
	}
	return false
}

// Telemetry returns the stored messages of a hub after the sequence number since, oldest first, at most
// limit of them (0 is no limit), and the number to continue after. An empty device takes all devices.
func (s *Service) Telemetry(hub, device string, since uint64, limit int) (messages []Message, next uint64) {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil, since
	}
	remembered := s.remembered()
	return s.telemetry.Read(since, func(m *Message) bool {
		return m.Hub == h.Host && (device == "" || m.DeviceID == device) && (remembered == nil || remembered(m))
	}, limit)
}

// TelemetryDropped returns how many messages the limits have pushed out.
func (s *Service) TelemetryDropped() uint64 { return s.telemetry.Dropped() }

// The telemetry log's default limits.
const (
	defaultMessages = 100_000
	defaultBytes    = 64 << 20
)

func telemetryLog(c Config) store.LogSpec[Message] {
	spec := store.LogSpec[Message]{Name: "iothub.telemetry", Count: c.TelemetryMessages, Bytes: c.TelemetryBytes, Cost: (*Message).cost,
		Number: func(m *Message, n uint64) { m.Seq = n }, Codec: keptMessage()}
	if spec.Count <= 0 {
		spec.Count = defaultMessages
	}
	if spec.Bytes <= 0 {
		spec.Bytes = defaultBytes
	}
	return spec
}

// messageOverhead is what a message costs beside body and properties.
const messageOverhead = 768

func (m *Message) cost() int {
	n := messageOverhead + len(m.Body)
	for k, v := range m.Properties {
		n += len(k) + len(v) + 32
	}
	return n
}
