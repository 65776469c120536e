package fault

import (
	"encoding/json"
	"time"
)

// Fault is one fault. The zero Probability and Count mean always; who writes one to the admin API has
// to leave them out for that: what a script has left empty must not mean everything.
type Fault struct {
	ID          string  `json:"id,omitempty" minLength:"1"`                 // made when left out
	Match       Match   `json:"match"`                                      //
	Action      Action  `json:"action"`                                     //
	Probability float64 `json:"probability,omitempty" exclusiveMinimum:"0"` // 0 < p ≤ 1 of the steps that match; 0 is 1
	Count       int     `json:"count,omitempty" minimum:"1"`                // so many times, then it is gone; 0 is no limit
	Seed        uint64  `json:"seed,omitempty"`                             // of the probability; two runs with one seed break the same steps
}

// Match chooses steps. Empty fields match everything; as with a Fault's numbers, who writes them leaves them out.
type Match struct {
	Platform string `json:"platform,omitempty" minLength:"1"`
	Endpoint string `json:"endpoint,omitempty" minLength:"1"`
	Device   string `json:"device,omitempty" minLength:"1"` // a glob
	Host     string `json:"host,omitempty" minLength:"1"`   // a glob of the name that the client asks for; step tls alone knows it
	Step     Step   `json:"step"`
}

// Action is what goes wrong: exactly one of the kinds, or a delay alone, or a delay before a kind. The patterns are
// for the admin API, which so names the key of a duration that it cannot read.
type Action struct {
	Code     *int `json:"code,omitempty"`     // the step answers with this return code or status
	Throttle *int `json:"throttle,omitempty"` // status 429 with this retry-after in seconds
	// Rounds lets a registration come through; so many of its polls are answered with status assigning.
	Rounds *int `json:"rounds,omitempty"`
	// Expire ends what was accepted so soon, whatever the credential itself says.
	Expire    *Duration `json:"expire,omitempty" pattern:"^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$" patternDescription:"a duration such as 1.5s or 2m"`
	Close     bool      `json:"close,omitempty"`     // the connection closes without an answer
	Reset     bool      `json:"reset,omitempty"`     // the connection is reset (RST)
	Drop      bool      `json:"drop,omitempty"`      // the packet is lost, the connection stays
	Duplicate bool      `json:"duplicate,omitempty"` // the packet is seen twice
	// HalfOpen loses all that comes from the step on, both ways, and keeps the socket open: the other side has
	// died without a word. Keep alive ends it as it ends any silent connection.
	HalfOpen bool `json:"halfopen,omitempty"`
	// Slow lets so many bytes a second through from the step on, each way.
	Slow *int `json:"slow,omitempty"`
	// Reorder holds a message back until the next one has gone, but no longer than this by the timers clock.
	Reorder *Duration `json:"reorder,omitempty" pattern:"^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$" patternDescription:"a duration such as 1.5s or 2m"`
	// ServerCert presents a server certificate that is wrong: one of ServerCerts.
	ServerCert string `json:"servercert,omitempty"`
	// Failover closes every connection of a hub and makes it unavailable for this long by the timers clock.
	Failover *Duration `json:"failover,omitempty" pattern:"^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$" patternDescription:"a duration such as 1.5s or 2m"`
	Delay    *Duration `json:"delay,omitempty" pattern:"^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$" patternDescription:"a duration such as 1.5s or 2m"` // waits first, by the timers clock; at step tls by real time
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

// String names the action for the journal.
func (a Action) String() string {
	text, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// The keys of an action, as in its JSON.
const (
	code       = "code"
	throttle   = "throttle"
	rounds     = "rounds"
	expire     = "expire"
	closing    = "close"
	reset      = "reset"
	drop       = "drop"
	duplicate  = "duplicate"
	halfOpen   = "halfopen"
	slow       = "slow"
	reorder    = "reorder"
	serverCert = "servercert"
	failover   = "failover"
	delay      = "delay"
)

// kinds names what is set beside the delay.
func (a Action) kinds() []string {
	var set []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{code, a.Code != nil}, {throttle, a.Throttle != nil}, {rounds, a.Rounds != nil}, {expire, a.Expire != nil}, {closing, a.Close}, {reset, a.Reset}, {drop, a.Drop},
		{duplicate, a.Duplicate}, {halfOpen, a.HalfOpen}, {slow, a.Slow != nil}, {reorder, a.Reorder != nil},
		{serverCert, a.ServerCert != ""}, {failover, a.Failover != nil},
	} {
		if k.set {
			set = append(set, k.name)
		}
	}
	return set
}
