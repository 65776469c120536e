package world

import (
	"errors"
	"strings"

	"github.com/fakecloud/fakecloud/internal/fault"
)

// Fault is something that goes wrong on request; its keys are those of the admin API. A later fault of the
// same id replaces an earlier one as a whole; one without an id gets one when it is set.
type Fault struct {
	ID          string      `yaml:"id" world:"id optional" doc:"name, made when left out; a fault of a name that is set replaces it"`
	Match       FaultMatch  `yaml:"match" doc:"the steps that it is about"`
	Action      FaultAction `yaml:"action" doc:"what goes wrong: one of the keys, or delay alone, or delay before one of them"`
	Probability float64     `yaml:"probability" doc:"share of the steps that match, more than 0 and at most 1; default all"`
	Count       int         `yaml:"count" doc:"so many times, then it is gone; default no limit"`
	Seed        uint64      `yaml:"seed" doc:"of the probability: two runs with one seed break the same steps"`
}

// FaultMatch chooses the steps of a fault.
type FaultMatch struct {
	Platform string `yaml:"platform" doc:"dps, iothub, mindsphere, iotda or edge; default all"`
	Endpoint string `yaml:"endpoint" doc:"one instance; default all"`
	Device   string `yaml:"device" doc:"device ids, a glob; default all"`
	Host     string `yaml:"host" doc:"name that a handshake is for, a glob; step tls alone knows it"`
	Step     string `yaml:"step" enum:"connect deliver dps.poll dps.register edge.upstream hub method puback publish subscribe tls token twin.get twin.patch" world:"judged" doc:"named point of a flow"`
}

// FaultAction is what goes wrong.
type FaultAction struct {
	Code       *int      `yaml:"code" doc:"answer with this return code or status"`
	Throttle   *int      `yaml:"throttle" doc:"answer 429 with this retry-after in seconds"`
	Rounds     *int      `yaml:"rounds" doc:"let a registration come through after so many polls that say assigning"`
	Expire     *Duration `yaml:"expire" doc:"end what was accepted so soon, whatever the credential says"`
	Close      bool      `yaml:"close" doc:"close the connection without an answer"`
	Reset      bool      `yaml:"reset" doc:"reset the connection"`
	Drop       bool      `yaml:"drop" doc:"lose the packet, keep the connection"`
	Duplicate  bool      `yaml:"duplicate" doc:"let the packet come twice"`
	HalfOpen   bool      `yaml:"halfopen" doc:"lose all that comes from the step on, both ways, and keep the socket open"`
	Slow       *int      `yaml:"slow" doc:"let so many bytes a second through from the step on, each way"`
	Reorder    *Duration `yaml:"reorder" doc:"hold the message back until the next one has gone, at most this long"`
	ServerCert string    `yaml:"servercert" enum:"expired not-yet-valid wrong-name unknown-ca missing-intermediate" world:"judged" doc:"present a server certificate that is wrong"`
	Failover   *Duration `yaml:"failover" doc:"close every connection of the hub and make it unavailable for this long, from the start on"`
	Delay      *Duration `yaml:"delay" doc:"wait first"`
}

// FaultOf writes a fault as a world has it.
func FaultOf(f fault.Fault) Fault {
	return Fault{
		ID: f.ID, Probability: f.Probability, Count: f.Count, Seed: f.Seed,
		Match: FaultMatch{Platform: f.Match.Platform, Endpoint: f.Match.Endpoint, Device: f.Match.Device, Host: f.Match.Host,
			Step: string(f.Match.Step)},
		Action: FaultAction{Code: f.Action.Code, Throttle: f.Action.Throttle, Rounds: f.Action.Rounds,
			Expire: (*Duration)(f.Action.Expire), Close: f.Action.Close, Reset: f.Action.Reset,
			Drop: f.Action.Drop, Duplicate: f.Action.Duplicate, HalfOpen: f.Action.HalfOpen, Slow: f.Action.Slow,
			Reorder: (*Duration)(f.Action.Reorder), ServerCert: f.Action.ServerCert, Failover: (*Duration)(f.Action.Failover),
			Delay: (*Duration)(f.Action.Delay)},
	}
}

// Fault is the opposite of FaultOf.
func (f Fault) Fault() fault.Fault {
	return fault.Fault{
		ID: f.ID, Probability: f.Probability, Count: f.Count, Seed: f.Seed,
		Match: fault.Match{Platform: f.Match.Platform, Endpoint: f.Match.Endpoint, Device: f.Match.Device, Host: f.Match.Host,
			Step: fault.Step(f.Match.Step)},
		Action: fault.Action{Code: f.Action.Code, Throttle: f.Action.Throttle, Rounds: f.Action.Rounds,
			Expire: (*fault.Duration)(f.Action.Expire), Close: f.Action.Close, Reset: f.Action.Reset,
			Drop: f.Action.Drop, Duplicate: f.Action.Duplicate, HalfOpen: f.Action.HalfOpen, Slow: f.Action.Slow,
			Reorder: (*fault.Duration)(f.Action.Reorder), ServerCert: f.Action.ServerCert, Failover: (*fault.Duration)(f.Action.Failover),
			Delay: (*fault.Duration)(f.Action.Delay)},
	}
}

// fault judges a fault, whose own keys are given, as the admin API does, unless a part of it could not be read. Empty keys
// of its match have been reported when they were read.
func (r *reader) fault(f *Fault, path string, given map[string]bool) {
	for _, p := range r.problems {
		if strings.HasPrefix(p.Key, path) {
			return
		}
	}
	var wrong *fault.Error
	if !errors.As(f.Fault().ValidateWritten(func(key string) bool { return given[key] }), &wrong) {
		return
	}
	key := join(path, wrong.Key)
	at := key
	for r.seen[at] == (Position{}) && len(at) > len(path) {
		at = at[:strings.LastIndexByte(at, '.')]
	}
	r.problems = append(r.problems, Problem{Position: r.at(at), Key: key, Text: wrong.Text})
}

// faults bounds their number.
func (v *validator) faults() {
	if n := len(v.w.Faults); n > fault.Most {
		v.report("faults", "there are %d; at most %d are taken", n, fault.Most)
	}
}
