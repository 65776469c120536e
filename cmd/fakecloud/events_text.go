package main

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// maxShown is how much of a payload a line of text shows, in characters.
const maxShown = 160

// eventLine is an event in one line: number, time, platform, connection, device, direction, kind, and
// what there is to tell of it.
func eventLine(e *journal.Event, colour bool) string {
	who := e.Device
	if who == "" {
		who = e.Address
	}
	conn := ""
	if e.Conn != 0 {
		conn = fmt.Sprintf("#%d", e.Conn)
	}
	arrow := map[string]string{journal.In: "->", journal.Out: "<-"}[e.Dir]
	line := fmt.Sprintf("%5d %s %-10s %-4s %-22s %-2s %-11s %s", e.Seq, e.Time.UTC().Format("15:04:05.000"), e.Platform, conn,
		explain.Clean(who), arrow, e.Kind, eventDetail(e))
	line = strings.TrimRight(line, " ")
	if colour && e.Kind == journal.Refused {
		return "\x1b[31m" + line + "\x1b[0m"
	}
	return line
}

func eventDetail(e *journal.Event) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, explain.Clean(fmt.Sprintf(format, args...))) }
	if e.Code != nil {
		add("%d", *e.Code)
	}
	if e.Rule != "" {
		add("%s", e.Rule)
	}
	if e.Topic != "" {
		add("%s", e.Topic)
	}
	if e.Kind == journal.Publish || e.Kind == journal.Subscribe || e.Kind == journal.Suback {
		add("QoS %d", e.QoS)
	}
	if e.Detail != "" {
		add("%s", e.Detail)
	}
	if e.Seen != "" {
		add("| seen: %s", e.Seen)
	}
	if e.Expected != "" {
		add("| expected: %s", e.Expected)
	}
	if e.Kind != journal.Refused { // a refusal's are those of the event before it
		for _, k := range sortedKeys(e.Properties) {
			add("%s=%s", k, cut(e.Properties[k]))
		}
	}
	if len(e.Payload) > 0 {
		add("%s", payloadText(e.Payload))
	}
	return strings.Join(parts, " ")
}

func payloadText(payload []byte) string {
	if !utf8.Valid(payload) {
		return fmt.Sprintf("(%d bytes)", len(payload))
	}
	return cut(string(payload))
}

func cut(text string) string {
	if utf8.RuneCountInString(text) <= maxShown {
		return text
	}
	return string([]rune(text)[:maxShown]) + "…"
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
