package explain

import (
	"fmt"
	"io"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// ANSI colours; used on a terminal only.
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// Text writes the report for a person. Colour is for terminals.
func Text(w io.Writer, r Report, colour bool) error {
	p := &printer{colour: colour}
	p.line(p.paint(bold, Clean(r.Summary)))
	for i := range r.Explanations {
		p.line("")
		p.explanation(&r.Explanations[i])
	}
	p.list("Scenario devices", r.Scenarios)
	p.list("What did happen", r.Story)
	p.list("Near misses", r.NearMisses)
	p.list("Check", r.Advice)
	if len(r.Events) > 0 {
		p.line("")
		p.line("The newest events")
		p.events(r.Events, 0)
	}
	_, err := io.WriteString(w, p.text.String())
	return err
}

type printer struct {
	text   strings.Builder
	colour bool
}

func (p *printer) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return colour + text + plain
}

func (p *printer) line(text string) {
	p.text.WriteString(strings.TrimRight(text, " "))
	p.text.WriteByte('\n')
}

func (p *printer) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.line("")
	p.line(title)
	for _, l := range lines {
		p.line("  " + Clean(l))
	}
}

func (p *printer) field(name, value string) {
	if value != "" {
		p.line(fmt.Sprintf("  %-11s %s", name, Clean(value)))
	}
}

func (p *printer) explanation(e *Explanation) {
	p.line(p.paint(red, string(e.Rule)) + "  " + p.paint(bold, Clean(e.Title)))
	p.field("when", e.When())
	p.field("device saw", e.DeviceSaw)
	p.field("seen", e.Seen)
	p.field("expected", e.Expected)
	p.field("what", e.Detail)
	p.field("why", e.Why)
	if e.Fix != "" {
		p.line(p.paint(green, "  fix         "+Clean(e.Fix)))
	}
	if e.Source != "" {
		p.field("source", e.Source+" ("+string(e.Grade)+")")
	}
	p.field("assumed", e.Assumption)
	if len(e.Events) > 1 {
		p.line(p.paint(dim, "  around it"))
		p.events(e.Events, e.Seq)
	}
}

func (p *printer) events(events []journal.Event, mark uint64) {
	for i := range events {
		sign := " "
		if events[i].Seq == mark {
			sign = ">"
		}
		p.line(p.paint(dim, "  "+sign+" "+Line(&events[i])))
	}
}

// When says when, on which connection, from where and how often.
func (e *Explanation) When() string {
	text := clockTime(e.Time)
	if e.Conn != 0 {
		text += fmt.Sprintf(", connection %d", e.Conn)
	}
	if e.Address != "" {
		text += " from " + e.Address
	}
	if e.Endpoint != "" {
		text += " to " + e.Endpoint
	}
	if e.Times > 1 {
		text += fmt.Sprintf("; %d times since %s", e.Times, clockTime(e.First))
	}
	return text
}

// Line is an event in one line: time, direction, kind, code, rule, topic and detail.
func Line(e *journal.Event) string {
	arrow := "  "
	switch e.Dir {
	case journal.In:
		arrow = "->"
	case journal.Out:
		arrow = "<-"
	}
	parts := []string{e.Time.UTC().Format("15:04:05.000"), arrow, fmt.Sprintf("%-11s", e.Kind)}
	if e.Code != nil {
		parts = append(parts, fmt.Sprint(*e.Code))
	}
	for _, text := range []string{string(e.Rule), e.Topic, e.Detail} {
		if text != "" {
			parts = append(parts, Clean(text))
		}
	}
	return strings.TrimRight(strings.Join(parts, " "), " ")
}

// Clean makes text from a client fit for a terminal: one line, and no control character that could move
// the cursor or colour what follows.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '\ufffd'
		}
		return r
	}, text)
}
