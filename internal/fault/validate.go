package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/near"
)

// ServerCerts are the ways in which a server certificate can be wrong.
var ServerCerts = []string{"expired", "not-yet-valid", "wrong-name", "unknown-ca", "missing-intermediate"}

// Bounds of what an action takes.
const (
	mostDelay    = 10 * time.Minute // also of a message that is held back
	mostFailover = 24 * time.Hour
	mostExpire   = 24 * time.Hour // how soon something may end
	mostRounds   = 100
	mostSlow     = 1 << 20 // bytes a second
	mostGlob     = 512     // bytes of a name
)

// ErrInvalid is wrapped by every error of Validate.
var ErrInvalid = errors.New("invalid fault")

// Error is the error of Validate: which key is wrong, such as match.step, and what would be right.
type Error struct{ Key, Text string }

func (e *Error) Error() string { return ErrInvalid.Error() + ": " + e.Key + ": " + e.Text }

// Unwrap makes it an ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

const (
	wantedProbability = "it is more than 0 and at most 1"
	wantedCount       = "it is at least 1, or left out for no limit"
)

// ValidateWritten is Validate for a fault that somebody has written, key by key: a zero that stands there is refused, lest
// what a script has left empty meant everything.
func (f Fault) ValidateWritten(written func(key string) bool) error {
	for _, k := range []struct {
		key  string
		zero bool
		want string
	}{
		{"id", f.ID == "", "it is empty; left out, one is made"},
		{"match.platform", f.Match.Platform == "", "it is empty; left out, all match"},
		{"match.endpoint", f.Match.Endpoint == "", "it is empty; left out, all match"},
		{"match.device", f.Match.Device == "", "it is empty; left out, all match"},
		{"match.host", f.Match.Host == "", "it is empty; left out, all match"},
		{"probability", f.Probability == 0, wantedProbability},
		{"count", f.Count == 0, wantedCount},
	} {
		if k.zero && written(k.key) {
			return wrong(k.key, "%s", k.want)
		}
	}
	return f.Validate()
}

func wrong(key, format string, args ...any) error {
	return &Error{Key: key, Text: fmt.Sprintf(format, args...)}
}

// Validate says which key is wrong and what would be right. The error is an *Error.
func (f Fault) Validate() error {
	if _, known := places[f.Match.Step]; !known {
		return wrong("match.step", "%s", oneOf(Steps(), string(f.Match.Step)))
	}
	if err := f.Match.validate(); err != nil {
		return err
	}
	switch {
	case len(f.ID) > 64:
		return wrong("id", "at most 64 characters")
	case !(f.Probability >= 0 && f.Probability <= 1): // NaN is neither
		return wrong("probability", wantedProbability)
	case f.Count < 0:
		return wrong("count", wantedCount)
	}
	if err := f.Action.validateKind(f.Match.Step); err != nil {
		return err
	}
	if err := f.Action.validateNumbers(f.Match.Step); err != nil {
		return err
	}
	return f.validateFailover()
}

func (m Match) validate() error {
	known := everywhere
	if m.Step == TLS {
		known = append(slices.Clone(known), arm)
	}
	switch {
	case m.Platform != "" && !happensOn(m.Step, m.Platform):
		return wrong("match.platform", "step %s is one of platform %s", m.Step, strings.Join(places[m.Step].platforms, " and "))
	case m.Platform != "" && !slices.Contains(known, m.Platform):
		return wrong("match.platform", "%s", oneOf(known, m.Platform))
	case m.Step == TLS && m.Device != "":
		return wrong("match.device", "nobody has said a device's name at step tls yet; host or endpoint can match")
	case m.Step != TLS && m.Host != "":
		return wrong("match.host", "only step tls knows it")
	}
	for key, glob := range map[string]string{"match.device": m.Device, "match.host": m.Host} {
		if len(glob) > mostGlob {
			return wrong(key, "at most %d characters", mostGlob)
		}
		if err := journal.CheckGlob(glob); err != nil {
			return wrong(key, "%s", err)
		}
	}
	return nil
}

// validateKind checks what is set of an action, not its values.
func (a Action) validateKind(step Step) error {
	kinds := places[step].kinds
	set := a.kinds()
	allowed := "at step " + string(step) + " it is " + either(kinds)
	switch {
	case len(set) > 1:
		return wrong("action", "%s exclude each other", strings.Join(set, " and "))
	case a.Delay != nil && !slices.Contains(kinds, delay):
		return wrong("action.delay", "%s", allowed)
	case len(set) == 1 && !slices.Contains(kinds, set[0]):
		return wrong("action."+set[0], "%s%s", allowed, hint(step, set[0]))
	case len(set) == 0 && a.Delay == nil:
		return wrong("action", "%s", allowed)
	case a.ServerCert != "" && !slices.Contains(ServerCerts, a.ServerCert):
		return wrong("action.servercert", "%s", oneOf(ServerCerts, a.ServerCert))
	}
	return nil
}

// hint tells where an action has its place that is wrong at a step.
func hint(step Step, kind string) string {
	var steps []string
	for _, s := range Steps() {
		if slices.Contains(places[Step(s)].kinds, kind) {
			steps = append(steps, s)
		}
	}
	if step == Hub && kind != failover {
		return "; single connections break at steps such as connect"
	}
	return "; " + kind + " works at " + strings.Join(steps, ", ")
}

// oneOf says what would be right, and what was probably meant by what was given.
func oneOf(legal []string, given string) string {
	text := "it is one of " + strings.Join(legal, ", ")
	if name := near.Name(given, legal, len(given)/3+2); name != "" {
		text += "; did you mean " + name + "?"
	}
	return text
}

func either(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}

func (a Action) validateNumbers(step Step) error {
	spans := []struct {
		key  string
		span *Duration
		most time.Duration
	}{{delay, a.Delay, mostDelay}, {reorder, a.Reorder, mostDelay}, {expire, a.Expire, mostExpire}, {failover, a.Failover, mostFailover}}
	for _, s := range spans {
		if s.span != nil && (*s.span <= 0 || time.Duration(*s.span) > s.most) {
			return wrong("action."+s.key, "it is more than 0 and at most %s", s.most)
		}
	}
	switch {
	case a.Slow != nil && (*a.Slow < 1 || *a.Slow > mostSlow):
		return wrong("action.slow", "it is 1 to %d bytes a second", mostSlow)
	case a.Rounds != nil && (*a.Rounds < 0 || *a.Rounds > mostRounds):
		return wrong("action.rounds", "it is a number of polls from 0 to %d", mostRounds)
	case a.Throttle != nil && (*a.Throttle < 0 || *a.Throttle > 3600):
		return wrong("action.throttle", "it is a retry-after from 0 to 3600 seconds")
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

// validateFailover refuses what has no meaning for something that happens to a whole hub, once.
func (f Fault) validateFailover() error {
	const once = "a failover happens once, when it is set, and to every connection of the hub"
	switch {
	case f.Action.Failover == nil:
	case f.Match.Device != "":
		return wrong("match.device", once)
	case f.Probability != 0:
		return wrong("probability", once)
	case f.Count != 0:
		return wrong("count", once)
	case f.Seed != 0:
		return wrong("seed", once)
	}
	return nil
}
