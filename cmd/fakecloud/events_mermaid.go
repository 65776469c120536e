package main

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// mermaid draws the events as a sequence diagram: devices on the left, platforms on the right.
func mermaid(events []journal.Event) string {
	d := &diagram{names: map[string]string{}, device: map[uint64]string{}}
	for i := range events {
		if e := &events[i]; e.Conn != 0 && e.Device != "" && d.device[e.Conn] == "" {
			d.device[e.Conn] = e.Device
		}
	}
	for i := range events {
		d.add(&events[i])
	}
	return "sequenceDiagram\n" + d.left.String() + d.right.String() + d.body.String()
}

type diagram struct {
	names             map[string]string // shown name to participant
	device            map[uint64]string // of a connection
	left, right, body strings.Builder
}

// participant returns the short name of one side, declaring it when it is new.
func (d *diagram) participant(side *strings.Builder, letter, shown string) string {
	key := letter + shown
	if name, ok := d.names[key]; ok {
		return name
	}
	name := fmt.Sprintf("%s%d", letter, len(d.names)+1)
	d.names[key] = name
	fmt.Fprintf(side, "    participant %s as %s\n", name, mermaidText(shown))
	return name
}

func (d *diagram) add(e *journal.Event) {
	who := e.Device
	if who == "" {
		who = d.device[e.Conn]
	}
	if who == "" {
		who = e.Address
	}
	if who == "" || e.Platform == "" {
		return
	}
	device := d.participant(&d.left, "d", who)
	cloud := d.participant(&d.right, "p", strings.TrimSpace(e.Platform+" "+e.Endpoint))
	text := mermaidText(mermaidLabel(e))
	switch {
	case e.Kind == journal.Refused:
		fmt.Fprintf(&d.body, "    Note over %s,%s: %s\n", device, cloud, text)
	case e.Kind == journal.Closed:
		fmt.Fprintf(&d.body, "    %s--x%s: %s\n", cloud, device, text)
	case e.Dir == journal.Out:
		fmt.Fprintf(&d.body, "    %s-->>%s: %s\n", cloud, device, text)
	case e.Dir == journal.In:
		fmt.Fprintf(&d.body, "    %s->>%s: %s\n", device, cloud, text)
	default:
		fmt.Fprintf(&d.body, "    Note right of %s: %s\n", cloud, text)
	}
}

func mermaidLabel(e *journal.Event) string {
	label := strings.ToUpper(string(e.Kind))
	if e.Kind == journal.Refused {
		label = "refused by " + string(e.Rule)
	}
	if e.Code != nil {
		label += fmt.Sprintf(" %d", *e.Code)
	}
	for _, part := range []string{e.Topic, e.Detail} {
		if part != "" {
			label += " " + part
		}
	}
	if len(e.Payload) > 0 {
		label += " " + payloadText(e.Payload)
	}
	return label
}

// mermaidText writes the characters that mermaid takes for its own as entities.
func mermaidText(text string) string {
	return strings.NewReplacer("#", "#35;", ";", "#59;", "<", "#lt;", ">", "#gt;", "%%", "#37;#37;").Replace(explain.Clean(text))
}
