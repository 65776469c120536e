package explain

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// story is what did happen: counts and the last of each kind, platform by platform.
type story struct {
	events    int
	newest    []journal.Event
	notices   []journal.Event // what was taken although a rule is not kept, the newest of each rule
	platforms map[string]*chapter
	fired     map[string]*firing // by device
}

// chapter is a platform's part of a story.
type chapter struct {
	platform    string
	seen        map[uint64]bool // connections
	connects    int
	accepted    *journal.Event // the last CONNACK 0
	ended       *journal.Event // the last end of an accepted connection
	provisioned *journal.Event
	telemetry   int
	last        journal.Event
}

// shown is how many of the newest events a report without refusal holds.
const shown = 12

// tell reads the events of whom q asks for.
func tell(j Events, q Query) *story {
	s := &story{platforms: map[string]*chapter{}}
	each(j, journal.Filter{Address: q.Address}, func(e *journal.Event) {
		if q.Device != "" && !journal.Glob(q.Device, e.Device) && !strings.HasPrefix(e.Device, q.Device+"/") {
			return
		}
		if e.Platform == "" { // the instance's own doings
			return
		}
		s.events++
		s.met(e)
		if s.newest = append(s.newest, *e); len(s.newest) > shown {
			s.newest = append(s.newest[:0], s.newest[1:]...)
		}
		s.notice(e)
		s.chapter(e.Platform).add(e)
	})
	return s
}

// notice keeps an event that names the cause of a rule and is no refusal.
func (s *story) notice(e *journal.Event) {
	if e.Rule.Cause() == "" || e.Kind == journal.Refused || e.Kind == journal.Closed {
		return
	}
	s.notices = slices.DeleteFunc(s.notices, func(old journal.Event) bool { return old.Rule == e.Rule })
	s.notices = append(s.notices, *e)
}

// advice says how to mend what was taken all the same, newest first.
func (s *story) advice(rules *rule.Table) []string {
	var lines []string
	for i := len(s.notices) - 1; i >= 0 && len(lines) < most; i-- {
		e := &s.notices[i]
		_, cause, ok := rules.Cause(e.Rule)
		if !ok {
			continue
		}
		line := fmt.Sprintf("%s: %s", e.Rule, strings.TrimSuffix(cause.Why, "."))
		if e.Seen != "" {
			line += "; seen: " + e.Seen
		}
		lines = append(lines, line+"; fix: "+cause.Fix)
	}
	return lines
}

func (s *story) chapter(platform string) *chapter {
	c := s.platforms[platform]
	if c == nil {
		c = &chapter{platform: platform, seen: map[uint64]bool{}}
		s.platforms[platform] = c
	}
	return c
}

func (c *chapter) add(e *journal.Event) {
	c.last = *e
	if e.Conn != 0 {
		c.seen[e.Conn] = true
	}
	switch e.Kind {
	case journal.Connect:
		c.connects++
	case journal.Connack:
		if e.Code != nil && *e.Code == 0 {
			c.accepted, c.ended = ref(e), nil
		}
	case journal.Closed, journal.Disconnect:
		if c.accepted != nil && e.Conn == c.accepted.Conn {
			c.ended = ref(e)
		}
	case journal.Provisioned:
		c.provisioned = ref(e)
	case journal.Telemetry:
		c.telemetry++
	}
}

func ref(e *journal.Event) *journal.Event { copied := *e; return &copied }

func (c *chapter) connected() bool { return c.accepted != nil && c.ended == nil }

// connectedSince reports whether a connection that was accepted after seq is open.
func (s *story) connectedSince(seq uint64) bool {
	for _, c := range s.platforms {
		if c.connected() && c.accepted.Seq > seq {
			return true
		}
	}
	return false
}

// ordered returns the chapters in the order of their last events.
func (s *story) ordered() []*chapter {
	list := make([]*chapter, 0, len(s.platforms))
	for _, c := range s.platforms {
		list = append(list, c)
	}
	sort.Slice(list, func(i, k int) bool { return list[i].last.Seq < list[k].last.Seq })
	return list
}

// door is the platform of events before it is known which platform a connection is for.
const door = "door"

// forgetServed leaves the connections that have reached a platform to that platform's chapter.
func (s *story) forgetServed(c *chapter) {
	for _, other := range s.platforms {
		if other != c {
			for conn := range other.seen {
				delete(c.seen, conn)
			}
		}
	}
}

// lines tells the story, a platform a line.
func (s *story) lines() []string {
	var lines []string
	for _, c := range s.ordered() {
		if c.platform == door {
			s.forgetServed(c)
		}
		if text := c.line(); text != "" {
			lines = append(lines, c.platform+": "+text)
		}
	}
	return lines
}

func (c *chapter) line() string {
	var parts []string
	if c.provisioned != nil {
		text := "provisioned at " + clockTime(c.provisioned.Time)
		if c.provisioned.Detail != "" {
			text += " (" + c.provisioned.Detail + ")"
		}
		parts = append(parts, text)
	}
	switch {
	case c.connected():
		parts = append(parts, "connected since "+clockTime(c.accepted.Time))
	case c.accepted != nil && c.ended.Kind == journal.Disconnect:
		parts = append(parts, "was connected, and disconnected by itself at "+clockTime(c.ended.Time))
	case c.accepted != nil:
		text := "was connected, and the connection ended at " + clockTime(c.ended.Time)
		if c.ended.Detail != "" {
			text += " (" + c.ended.Detail + ")"
		}
		parts = append(parts, text)
	case c.connects > 0:
		parts = append(parts, fmt.Sprintf("%s, none accepted", count(c.connects, "CONNECT")))
	case len(c.seen) > 0 && c.provisioned == nil:
		parts = append(parts, count(len(c.seen), "connection")+" without a CONNECT that was taken")
	}
	if c.telemetry > 0 {
		parts = append(parts, count(c.telemetry, "telemetry message"))
	}
	return strings.Join(parts, ", ")
}

// summary is the sentence for a query that no refusal answers.
func (s *story) summary(q Query) string {
	switch {
	case s.events == 0 && q.Device != "" && known(q):
		return "no connection of this device has been seen, though it is registered: check the host and the port that it dials"
	case s.events == 0 && q.Device != "":
		return "no device of this name is registered, and none has been seen: check the name, and the host and the port that it dials"
	case s.events == 0 && q.Address != "":
		return "no connection from this address has been seen: check the host and the port that the client dials"
	case s.events == 0:
		return "nothing has been refused, and nothing has connected yet"
	}
	list := s.ordered()
	last, provisioned := list[len(list)-1], false
	for _, c := range list {
		if c.connected() {
			last = c
		}
		provisioned = c.provisioned != nil || (provisioned && c.accepted == nil)
	}
	if q.Device == "" && q.Address == "" {
		return "nothing has been refused"
	}
	switch {
	case last.connected() && last.provisioned == nil:
		return "nothing was refused: it is connected to " + last.platform + " and is fine"
	case provisioned:
		return "nothing was refused: it was provisioned, and has not connected to its hub since"
	case last.accepted != nil:
		return "nothing was refused: it was connected to " + last.platform + ", and the connection has ended"
	default:
		return "nothing was refused, and no connection has got as far as being accepted"
	}
}

func known(q Query) bool {
	for _, id := range q.Known {
		if journal.Glob(q.Device, id) {
			return true
		}
	}
	return false
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func clockTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
