package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Step is a named point of a flow.
type Step string

// The steps.
const (
	TLS         Step = "tls" // the handshake, when the client has said which name it wants
	Connect     Step = "connect"
	Subscribe   Step = "subscribe"
	Publish     Step = "publish" // a message from the device, before it is judged
	Puback      Step = "puback"  // its acknowledgement: the message is committed already
	Deliver     Step = "deliver" // a message to the device
	DPSRegister Step = "dps.register"
	DPSPoll     Step = "dps.poll"
	TwinGet     Step = "twin.get"
	TwinPatch   Step = "twin.patch"
	Method      Step = "method"
	// Token is where a credential's end is fixed: a connection by SAS token at a hub, or the access token
	// that a MindSphere agent is given.
	Token Step = "token"
	// EdgeUpstream is what an Edge gateway sends to its hub: a dropped batch is tried again later.
	EdgeUpstream Step = "edge.upstream"
)

// allowed are the kinds of action by step; connectionSteps may also be delayed.
var allowed = map[Step][]string{
	TLS:          {"servercert", "close", "reset", "drop"},
	Connect:      {"code", "close", "reset", "drop"},
	Subscribe:    {"code", "close", "reset", "drop"},
	Publish:      {"close", "reset", "drop", "duplicate"},
	Puback:       {"close", "reset", "drop"},
	Deliver:      {"close", "reset", "drop", "duplicate"},
	DPSRegister:  {"code", "throttle", "rounds", "drop"},
	DPSPoll:      {"code", "throttle", "drop"},
	TwinGet:      {"code", "throttle", "drop"},
	TwinPatch:    {"code", "throttle", "drop"},
	Method:       {"drop"},
	Token:        {"expire"},
	EdgeUpstream: {"drop"},
}

// connectionSteps are those at which a connection may also be kept waiting.
var connectionSteps = []Step{TLS, Connect, Subscribe, Publish, Puback, Deliver}

// Fault is one fault. The zero Probability and Count mean always.
type Fault struct {
	ID          string  `json:"id,omitempty"`          // made when left out
	Match       Match   `json:"match"`                 //
	Action      Action  `json:"action"`                //
	Probability float64 `json:"probability,omitempty"` // 0 < p ≤ 1 of the steps that match; 0 is 1
	Count       int     `json:"count,omitempty"`       // so many times, then it is gone; 0 is no limit
	Seed        uint64  `json:"seed,omitempty"`        // of the probability; two runs with one seed break the same steps
}

// Match chooses steps. Empty fields match everything.
type Match struct {
	Platform string `json:"platform,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Device   string `json:"device,omitempty"` // a glob
	Host     string `json:"host,omitempty"`   // a glob of the name that the client asks for; step tls alone knows it
	Step     Step   `json:"step"`
}

// Action is what goes wrong: exactly one of the kinds, or a delay alone, or a delay before a kind.
type Action struct {
	Code     *int `json:"code,omitempty"`     // the step answers with this return code or status
	Throttle *int `json:"throttle,omitempty"` // status 429 with this retry-after in seconds
	// Rounds lets a registration come through; so many of its polls are answered with status assigning.
	Rounds *int `json:"rounds,omitempty"`
	// Expire ends what was accepted so soon, whatever the credential itself says.
	Expire    *Duration `json:"expire,omitempty"`
	Close     bool      `json:"close,omitempty"`     // the connection closes without an answer
	Reset     bool      `json:"reset,omitempty"`     // the connection is reset (RST)
	Drop      bool      `json:"drop,omitempty"`      // the packet is lost, the connection stays
	Duplicate bool      `json:"duplicate,omitempty"` // the packet is seen twice
	// ServerCert presents a server certificate that is wrong: one of ServerCerts.
	ServerCert string    `json:"servercert,omitempty"`
	Delay      *Duration `json:"delay,omitempty"` // waits first, by the timers clock; at step tls by real time
}

// Duration is a time span, "1.5s" in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// ServerCerts are the ways in which a server certificate can be wrong.
var ServerCerts = []string{"expired", "not-yet-valid", "wrong-name", "unknown-ca", "missing-intermediate"}

// mostDelay bounds a delay, mostExpire how soon something may end.
const (
	mostDelay  = 10 * time.Minute
	mostExpire = 24 * time.Hour
)

// ErrInvalid is wrapped by every error of Validate.
var ErrInvalid = errors.New("invalid fault")

// Error is the error of Validate: which key is wrong, such as match.step, and what would be right.
type Error struct{ Key, Text string }

func (e *Error) Error() string { return ErrInvalid.Error() + ": " + e.Key + ": " + e.Text }

// Unwrap makes it an ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// Validate says which key is wrong and what would be right. The error is an *Error.
func (f Fault) Validate() error {
	wrong := func(key, format string, args ...any) error {
		return &Error{Key: key, Text: fmt.Sprintf(format, args...)}
	}
	kinds, known := allowed[f.Match.Step]
	if !known {
		return wrong("match.step", "it is one of %s", strings.Join(Steps(), ", "))
	}
	set := f.Action.kinds()
	switch {
	case f.Match.Step == TLS && f.Match.Device != "":
		return wrong("match.device", "nobody has said a device's name at step tls yet; host or endpoint can match")
	case f.Match.Step != TLS && f.Match.Host != "":
		return wrong("match.host", "only step tls knows it")
	case f.Action.ServerCert != "" && !slices.Contains(ServerCerts, f.Action.ServerCert):
		return wrong("action.servercert", "it is one of %s", strings.Join(ServerCerts, ", "))
	case len(f.ID) > 64:
		return wrong("id", "at most 64 characters")
	case f.Probability < 0 || f.Probability > 1:
		return wrong("probability", "it is more than 0 and at most 1")
	case f.Count < 0:
		return wrong("count", "it is at least 1, or left out for no limit")
	case len(set) > 1:
		return wrong("action", "%s exclude each other", strings.Join(set, " and "))
	case f.Action.Delay != nil && !slices.Contains(connectionSteps, f.Match.Step):
		return wrong("action.delay", "at step %s it is one of %s", f.Match.Step, strings.Join(kinds, ", "))
	case len(set) == 0 && f.Action.Delay == nil:
		return wrong("action", "at step %s it is one of %s%s", f.Match.Step, strings.Join(kinds, ", "), orDelay(f.Match.Step))
	case len(set) == 1 && !slices.Contains(kinds, set[0]):
		return wrong("action."+set[0], "at step %s it is one of %s%s", f.Match.Step, strings.Join(kinds, ", "), orDelay(f.Match.Step))
	case f.Action.Delay != nil && (*f.Action.Delay <= 0 || time.Duration(*f.Action.Delay) > mostDelay):
		return wrong("action.delay", "it is more than 0 and at most %s", mostDelay)
	}
	return f.Action.validateNumbers(f.Match.Step, wrong)
}

// orDelay is what else may happen at a step of a connection.
func orDelay(s Step) string {
	if slices.Contains(connectionSteps, s) {
		return ", or delay"
	}
	return ""
}

func (a Action) validateNumbers(step Step, wrong func(string, string, ...any) error) error {
	switch {
	case a.Throttle != nil && (*a.Throttle < 0 || *a.Throttle > 3600):
		return wrong("action.throttle", "it is a retry-after from 0 to 3600 seconds")
	case a.Rounds != nil && (*a.Rounds < 0 || *a.Rounds > 100):
		return wrong("action.rounds", "it is a number of polls from 0 to 100")
	case a.Expire != nil && (*a.Expire <= 0 || time.Duration(*a.Expire) > mostExpire):
		return wrong("action.expire", "it is more than 0 and at most %s", mostExpire)
	case a.Code == nil:
		return nil
	case step == Connect && (*a.Code < 1 || *a.Code > 5):
		return wrong("action.code", "a CONNACK return code is 1 to 5")
	case step == Subscribe && *a.Code != 128:
		return wrong("action.code", "a refused SUBSCRIBE answers 128")
	case step != Connect && step != Subscribe && (*a.Code < 400 || *a.Code > 599):
		return wrong("action.code", "a status is 400 to 599")
	}
	return nil
}

// kinds names what is set beside the delay.
func (a Action) kinds() []string {
	var set []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"code", a.Code != nil}, {"throttle", a.Throttle != nil}, {"rounds", a.Rounds != nil}, {"expire", a.Expire != nil}, {"close", a.Close}, {"reset", a.Reset},
		{"drop", a.Drop}, {"duplicate", a.Duplicate}, {"servercert", a.ServerCert != ""},
	} {
		if k.set {
			set = append(set, k.name)
		}
	}
	return set
}

// String names the action for the journal.
func (a Action) String() string {
	text, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Steps lists the steps in order.
func Steps() []string {
	steps := make([]string, 0, len(allowed))
	for s := range allowed {
		steps = append(steps, string(s))
	}
	slices.Sort(steps)
	return steps
}
