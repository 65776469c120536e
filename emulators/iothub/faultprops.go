package iothub

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The application properties by which the Azure SDKs' own end-to-end suites ask for a fault.
const (
	faultPrefix   = "AzIoTHub_FaultOperation"
	faultType     = faultPrefix + "Type"
	faultReason   = faultPrefix + "CloseReason"
	faultDelay    = faultPrefix + "DelayInSecs"
	faultDuration = faultPrefix + "DurationInSecs"
)

// The faults that mean something without AMQP.
const (
	faultKillTCP  = "KillTcp"
	faultShutDown = "ShutDownMqtt"
	faultThrottle = "InvokeThrottling"
	faultQuota    = "InvokeMaxMessageQuota"
	faultAuth     = "InvokeAuthError"
)

// Bounds of what a device may ask for. The duration is what the suites write where they write one.
const (
	mostFaultDelay       = 10 * time.Minute
	defaultFaultDuration = 5 * time.Second
)

// request is a fault that a device asked for.
type request struct {
	operation string
	reason    string
	delay     time.Duration
	duration  time.Duration
}

// asksForFault reads the fault out of a message's properties. Names have no case, as over HTTPS they have
// none.
func asksForFault(app []Property) *request {
	q := request{duration: defaultFaultDuration}
	for _, p := range app {
		if len(p.Name) < len(faultPrefix) || !strings.EqualFold(p.Name[:len(faultPrefix)], faultPrefix) {
			continue
		}
		switch {
		case strings.EqualFold(p.Name, faultType):
			q.operation = p.Value
		case strings.EqualFold(p.Name, faultReason):
			q.reason = p.Value
		case strings.EqualFold(p.Name, faultDelay):
			q.delay = seconds(p.Value, 0)
		case strings.EqualFold(p.Name, faultDuration):
			q.duration = seconds(p.Value, defaultFaultDuration)
		}
	}
	if q.operation == "" {
		return nil
	}
	return &q
}

func seconds(text string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || n < 0 || n > mostFaultDelay.Seconds() {
		return otherwise
	}
	return time.Duration(n * float64(time.Second))
}

// noteFault keeps what a stored message asks for until it is acknowledged.
func (c *Session) noteFault(m D2C) {
	if len(m.App) == 0 || c.id.Switches.IgnoreFaultProperties {
		return
	}
	if q := asksForFault(m.App); q != nil {
		c.wanted.Store(q)
	}
}

// Acknowledged tells that the client has been told that its messages are stored; a fault that they ask for
// is counted from here on, and consumers go on. It does not block.
func (c *Session) Acknowledged() {
	for _, do := range c.follow.take() {
		do()
	}
	if q := c.wanted.Swap(nil); q != nil {
		c.svc.clock.AfterFunc(q.delay, func() { c.svc.carryOut(c, q) })
	}
}

// carryOut makes the fault happen (HUB-68 to HUB-71).
func (s *Service) carryOut(c *Session, q *request) {
	if c.state.Load() == void {
		return
	}
	e := c.Event(journal.Fault)
	e.Detail, e.Properties = "the device asked for "+clip(q.operation), map[string]string{"reason": clip(q.reason), "duration": q.duration.String()}
	seen := "telemetry with " + faultType + "=" + clip(q.operation)
	asked := func(id rule.ID, code int, detail string) *rule.Refusal {
		return &rule.Refusal{Rule: id, Code: code, Detail: detail, Seen: seen, Expected: "the device's own way of recovering"}
	}
	var cut *rule.Refusal
	switch q.operation {
	case faultKillTCP:
		cut = asked("HUB-68/kill", 0, "the connection breaks, as the device asked")
	case faultShutDown:
		cut = asked("HUB-69/shutdown", 0, "the connection is closed, as the device asked")
	case faultThrottle:
		s.troubles.begin(c.id, q.operation, s.clock.Now().Add(q.duration), asked("HUB-70/throttling", codeThrottled, "throttled, as the device asked"))
	case faultQuota:
		s.troubles.begin(c.id, q.operation, s.clock.Now().Add(q.duration), asked("HUB-70/quota", codeQuota, "the daily quota is used up, as the device asked"))
	case faultAuth:
		cut = asked("HUB-71/auth-error", CodeUnauthorized, "the device is not authorized, as it asked")
		s.troubles.begin(c.id, q.operation, s.clock.Now().Add(q.duration), cut)
	default:
		e.Detail += ", which is not emulated here"
	}
	s.journal.Append(e)
	if cut != nil && !c.Ended() {
		c.cut(cut)
	}
}

// troubles are the faults that last for a while, by identity.
type troubles struct {
	any  atomic.Bool // most of the time there is none
	mu   sync.Mutex
	list map[string]trouble
}

type trouble struct {
	operation string
	until     time.Time // timers reading
	refusal   *rule.Refusal
}

// mostTroubles bounds the list; beyond it a new fault is not carried out.
const mostTroubles = 10_000

func (t *troubles) begin(id Identity, operation string, until time.Time, r *rule.Refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.list == nil {
		t.list = map[string]trouble{}
	}
	if len(t.list) < mostTroubles {
		t.list[sessionKey(id.Hub, id.DeviceID, id.ModuleID)] = trouble{operation, until, r}
		t.any.Store(true)
	}
}

func (t *troubles) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = nil
	t.any.Store(false)
}

func (t *troubles) of(id Identity, now time.Time) (trouble, bool) {
	if !t.any.Load() {
		return trouble{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := sessionKey(id.Hub, id.DeviceID, id.ModuleID)
	found, ok := t.list[k]
	if ok && !found.until.After(now) {
		delete(t.list, k)
		t.any.Store(len(t.list) > 0)
		return trouble{}, false
	}
	return found, ok
}

// troubled refuses what a fault hits: telemetry and twins while throttled, telemetry without quota.
func (s *Service) troubled(id Identity, m meter) *rule.Refusal {
	t, ok := s.troubles.of(id, s.clock.Now())
	switch {
	case !ok:
	case t.operation == faultThrottle && m <= meterTwinUpdates, t.operation == faultQuota && m == meterTelemetry:
		r := *t.refusal
		return &r
	}
	return nil
}

// authTrouble refuses an identity that asked not to be let in.
func (s *Service) authTrouble(id Identity) *rule.Refusal {
	if t, ok := s.troubles.of(id, s.clock.Now()); ok && t.operation == faultAuth {
		r := *t.refusal
		return &r
	}
	return nil
}
