package explain

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Events is where a report comes from; *journal.Journal is one.
type Events interface {
	Select(f journal.Filter) (events []journal.Event, next uint64)
}

// Query says whom or what to explain: one of Device, Address, Error or Last. The empty query explains the
// newest refusals of everybody.
type Query struct {
	Device  string   // device, or a glob in which * crosses slashes
	Address string   // the client's host, or host:port
	Error   string   // what the client itself printed
	Last    bool     // the newest refusal of anybody
	Known   []string // ids of registered devices, for near misses
}

// Report is the answer to a Query.
type Report struct {
	Summary      string          `json:"summary" doc:"one sentence"`
	Refused      bool            `json:"refused" doc:"whether a refusal explains what was asked"`
	Explanations []Explanation   `json:"explanations" doc:"newest first"`
	Scenarios    []string        `json:"scenarios,omitempty" doc:"of scenario devices: what they meet because of their ids, and what a correct client does"`
	Story        []string        `json:"story,omitempty" doc:"what did happen"`
	Advice       []string        `json:"advice,omitempty" doc:"what the client's own error text means, and what to check"`
	NearMisses   []string        `json:"nearMisses,omitempty" doc:"devices, registered or seen, with a name like the one asked for"`
	Events       []journal.Event `json:"events,omitempty" doc:"the newest events of what was asked, where nothing was refused"`
}

// Explanation is one refusal. Times counts it together with earlier ones of the same rule and device.
type Explanation struct {
	Seq        uint64          `json:"seq"`
	Kind       journal.Kind    `json:"kind" doc:"refused, or closed where a rule ended a connection that was accepted"`
	Time       time.Time       `json:"time"`
	First      time.Time       `json:"first" doc:"the first of Times"`
	Times      int             `json:"times"`
	Platform   string          `json:"platform"`
	Endpoint   string          `json:"endpoint,omitempty"`
	Conn       uint64          `json:"conn,omitempty"`
	Address    string          `json:"address,omitempty"`
	Device     string          `json:"device,omitempty"`
	Rule       rule.ID         `json:"rule"`
	Title      string          `json:"title"`
	Grade      rule.Grade      `json:"grade,omitempty"`
	Assumption string          `json:"assumption,omitempty"`
	Source     string          `json:"source,omitempty"`
	DeviceSaw  string          `json:"deviceSaw" doc:"what the wire showed"`
	Seen       string          `json:"seen,omitempty"`
	Expected   string          `json:"expected,omitempty"`
	Detail     string          `json:"detail,omitempty" doc:"what was wrong this time"`
	Why        string          `json:"why,omitempty" doc:"what is wrong whenever this cause is named"`
	Fix        string          `json:"fix,omitempty"`
	Events     []journal.Event `json:"events,omitempty" doc:"the same connection, around it"`
}

// A report shows so many different refusals, out of so many that are looked at.
const (
	most   = 5
	looked = 100
)

// Explain answers q from the events held by j.
func Explain(j Events, rules *rule.Table, q Query) Report {
	var meaning *symptom
	if q.Error != "" {
		meaning = symptomOf(q.Error)
	}
	groups := gather(j, q, rules, meaning)
	if q.Last && len(groups) > 1 {
		groups = groups[:1]
	}
	r := Report{Explanations: []Explanation{}}
	for _, g := range groups[:min(len(groups), looked)] {
		if len(r.Explanations) == most {
			break
		}
		x := g.explain(j, rules)
		if meaning != nil && meaning.ends && !strings.Contains(x.DeviceSaw, closed) && x.DeviceSaw != tlsFailure {
			continue
		}
		r.Explanations = append(r.Explanations, x)
	}
	r.Refused = len(r.Explanations) > 0
	if q.Error != "" {
		r.aboutText(meaning)
		return r
	}
	s := tell(j, q)
	if !r.Refused || q.Device != "" || q.Address != "" {
		r.Story, r.Scenarios, r.Advice = s.lines(), s.scenarios(q), s.advice(rules)
	}
	if r.Refused {
		r.Summary = headline(&r.Explanations[0])
		if s.connectedSince(r.Explanations[0].Seq) {
			r.Summary += "; it has connected since, and is connected now"
		}
		return r
	}
	r.Summary = s.summary(q)
	if len(r.Scenarios) > 0 {
		r.Summary += "; what has gone wrong was meant to: it is a scenario device"
	}
	r.Events = s.newest
	if q.Device != "" && s.events == 0 {
		r.NearMisses = Closest(q.Device, append(seenDevices(j), q.Known...))
	}
	return r
}

func headline(e *Explanation) string {
	who := e.Device
	if who == "" {
		who = e.Address
	}
	if who == "" {
		who = "a client"
	}
	what := e.Detail
	if what == "" {
		what = e.Why
	}
	if what == "" {
		what = e.Title
	}
	verb := "refused"
	if e.Kind == journal.Closed {
		verb = "disconnected"
	}
	return fmt.Sprintf("%s was %s by %s (%s): %s", who, verb, e.Platform, e.Rule, strings.TrimSuffix(what, "."))
}

// aboutText gives the report on an error text.
func (r *Report) aboutText(meaning *symptom) {
	switch {
	case meaning == nil && r.Refused:
		r.Summary = "this text is not one that is known by its words; the newest refusals are below"
	case meaning == nil:
		r.Summary = "this text is not one that is known by its words, and nothing has been refused"
	case r.Refused:
		r.Summary = meaning.means + "; what may have caused it: " + headline(&r.Explanations[0])
		r.Advice = []string{meaning.check}
	default:
		r.Summary = meaning.means + "; nothing has been refused in a way that shows so"
		r.Advice = []string{meaning.check}
	}
}

// group is a refusal with earlier ones of the same kind.
type group struct {
	newest journal.Event
	first  time.Time
	times  int
}

type groupKey struct {
	rule                             rule.ID
	platform, endpoint, device, host string
}

// gather returns the verdicts that q asks for, newest first.
func gather(j Events, q Query, rules *rule.Table, meaning *symptom) []*group {
	groups := map[groupKey]*group{}
	for _, kind := range []journal.Kind{journal.Refused, journal.Closed} {
		each(j, journal.Filter{Kind: kind, Address: q.Address}, func(e *journal.Event) {
			if e.Rule == "" || (q.Device != "" && !concerns(e, q.Device)) {
				return
			}
			if meaning != nil && !meaning.fits(e) {
				return
			}
			key := groupKey{e.Rule, e.Platform, e.Endpoint, e.Device, ""}
			if e.Device == "" {
				key.host = hostOf(e.Address)
			}
			g := groups[key]
			if g == nil {
				g = &group{first: e.Time}
				groups[key] = g
			}
			g.newest = *e
			g.times++
		})
	}
	list := make([]*group, 0, len(groups))
	for _, g := range groups {
		list = append(list, g)
	}
	sort.Slice(list, func(i, k int) bool { return list[i].newest.Seq > list[k].newest.Seq })
	return list
}

// each calls f for every event that matches, oldest first, holding no more than a page of them.
func each(j Events, f journal.Filter, do func(*journal.Event)) {
	f.Limit = 512
	for {
		events, next := j.Select(f)
		for i := range events {
			do(&events[i])
		}
		if len(events) < f.Limit {
			return
		}
		f.Since = next
	}
}

// seenDevices are the names of devices in the journal: one that is refused need not be registered.
func seenDevices(j Events) []string {
	const most = 1000
	seen := map[string]bool{}
	each(j, journal.Filter{}, func(e *journal.Event) {
		if e.Device != "" && len(seen) < most {
			seen[e.Device] = true
		}
	})
	return slices.Sorted(maps.Keys(seen))
}

// concerns reports whether e is about device: by its own name, as a module of it, or because the name
// stands in what was seen (a client id that differs from the username's device, say).
func concerns(e *journal.Event, device string) bool {
	return journal.Glob(device, e.Device) || strings.HasPrefix(e.Device, device+"/") || hasWord(e.Seen, device)
}

// hasWord finds word in text where no letter, digit or dash joins it.
func hasWord(text, word string) bool {
	if len(word) < 3 {
		return false
	}
	joined := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' || r == '.'
	}
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		i += at
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(word):])
		if (i == 0 || !joined(before)) && (i+len(word) == len(text) || !joined(after)) {
			return true
		}
		at = i + len(word)
	}
}

func hostOf(address string) string {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return address
	}
	return strings.Trim(address[:i], "[]")
}

func (g *group) explain(j Events, rules *rule.Table) Explanation {
	e := &g.newest
	r, c, _ := rules.Cause(e.Rule)
	around := surround(j, e)
	x := Explanation{
		Seq: e.Seq, Kind: e.Kind, Time: e.Time, First: g.first, Times: g.times, Platform: e.Platform, Endpoint: e.Endpoint,
		Conn: e.Conn, Address: e.Address, Device: e.Device, Rule: e.Rule, Title: r.Title, Grade: r.Grade,
		Assumption: r.Assumption, Source: e.Source, Seen: e.Seen, Expected: e.Expected, Fix: e.Fix, Why: c.Why,
		DeviceSaw: DeviceSaw(e, around), Events: around,
	}
	if x.Title == "" {
		x.Title = e.Detail
	}
	if x.Source == "" {
		x.Source = r.Source
	}
	if x.Fix == "" {
		x.Fix = c.Fix
	}
	if e.Detail != c.Why {
		x.Detail = e.Detail
	}
	return x
}

// How much of a connection is shown around a refusal, and how far it is looked for.
const (
	before = 10
	after  = 6
	reach  = 4096
)

// surround returns the events of e's connection around it.
func surround(j Events, e *journal.Event) []journal.Event {
	if e.Conn == 0 {
		return []journal.Event{*e}
	}
	f := journal.Filter{Conn: e.Conn, Limit: 512}
	if e.Seq > reach {
		f.Since = e.Seq - reach
	}
	var around []journal.Event
	for {
		events, next := j.Select(f)
		for i := range events {
			if events[i].Seq <= e.Seq && len(around) == before+1 {
				around = append(around[:0], around[1:]...)
			}
			around = append(around, events[i])
			if later(around, e.Seq) == after {
				return around
			}
		}
		if len(events) < f.Limit || next > e.Seq+reach {
			return around
		}
		f.Since = next
	}
}

func later(events []journal.Event, seq uint64) int {
	n := 0
	for i := range events {
		if events[i].Seq > seq {
			n++
		}
	}
	return n
}
