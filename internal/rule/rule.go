package rule

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// ID names a rule ("HUB-16") or one cause of it ("HUB-16/cn").
type ID string

// Row returns the id without its cause.
func (id ID) Row() ID {
	row, _, _ := strings.Cut(string(id), "/")
	return ID(row)
}

// Cause returns the part after the slash, empty for a row.
func (id ID) Cause() string {
	_, cause, _ := strings.Cut(string(id), "/")
	return cause
}

// Grade says how well a rule is known.
type Grade string

// The grades.
const (
	Documented Grade = "documented" // the vendor's documents or SDK sources say so
	Measured   Grade = "measured"   // seen on the real service
	Assumed    Grade = "assumed"    // no source found: our default, named in Assumption
)

// Rule is one row of a conformance table, as it is enforced.
type Rule struct {
	ID         ID      // row id without cause
	Title      string  // one line: what a client sees
	Source     string  // vendor page or SDK file
	Grade      Grade   //
	Assumption string  // what is assumed where the sources are silent; required for Assumed
	Causes     []Cause // the ways to break it; empty for rules that only accept
}

// Cause is one way to break a rule.
type Cause struct {
	ID  string // the part after the slash, e.g. "cn"
	Why string // what went wrong, for a person
	Fix string // how to mend it
}

// Table is all rules of a running instance.
type Table struct {
	rules map[ID]Rule
}

// NewTable joins the platforms' rules. It panics on a duplicate or incomplete rule, which is a bug.
func NewTable(sets ...[]Rule) *Table {
	t := &Table{rules: map[ID]Rule{}}
	for _, set := range sets {
		for _, r := range set {
			if _, dup := t.rules[r.ID]; dup {
				panic("rule declared twice: " + string(r.ID))
			}
			if r.ID.Cause() != "" || r.Title == "" || r.Source == "" || r.Grade == "" {
				panic("incomplete rule: " + string(r.ID))
			}
			if r.Grade == Assumed && r.Assumption == "" {
				panic("assumed rule without its assumption: " + string(r.ID))
			}
			t.rules[r.ID] = r
		}
	}
	return t
}

// Get returns the rule of a row or cause id.
func (t *Table) Get(id ID) (Rule, bool) {
	r, ok := t.rules[id.Row()]
	return r, ok
}

// Cause returns rule and cause for a full id.
func (t *Table) Cause(id ID) (Rule, Cause, bool) {
	r, ok := t.rules[id.Row()]
	if !ok {
		return Rule{}, Cause{}, false
	}
	for _, c := range r.Causes {
		if c.ID == id.Cause() {
			return r, c, true
		}
	}
	return r, Cause{}, false
}

// All returns the rules in reading order: by prefix, then by number.
func (t *Table) All() []Rule {
	all := make([]Rule, 0, len(t.rules))
	for _, r := range t.rules {
		all = append(all, r)
	}
	sort.Slice(all, func(i, j int) bool { return Less(all[i].ID, all[j].ID) })
	return all
}

// Less orders ids by prefix, number and cause.
func Less(a, b ID) bool {
	ap, an := split(a)
	bp, bn := split(b)
	if ap != bp {
		return ap < bp
	}
	if an != bn {
		return an < bn
	}
	return a.Cause() < b.Cause()
}

func split(id ID) (prefix string, number int) {
	prefix, n, _ := strings.Cut(string(id.Row()), "-")
	number, _ = strconv.Atoi(n)
	return prefix, number
}

// Refusal is a verdict against a client: which rule, what was seen, what would have been right.
// The wire shows only what the real cloud shows; the rest goes to the journal.
type Refusal struct {
	Rule     ID     // with its cause, e.g. "HUB-16/cn"
	Code     int    // what the wire shows: CONNACK return code, HTTP or operation status; 0 when nothing is shown
	Silent   bool   // the connection closes without an answer
	Detail   string // one sentence for a person; never a secret
	Seen     string // what the client presented, secrets masked
	Expected string // what would have been accepted
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %s", r.Rule, r.Detail)
}
