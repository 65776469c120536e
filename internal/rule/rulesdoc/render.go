package main

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// families are the prefixes of rule ids, in reading order, with what they are about.
var families = []struct{ prefix, title string }{
	{"DOOR", "The door: ports, first packets and routing"},
	{"TLS", "The door: TLS"},
	{"OUT", "Outbound calls"},
	{"DPS", "Azure Device Provisioning Service"},
	{"HUB", "Azure IoT Hub, the device's side"},
	{"SVC", "Azure IoT Hub, the service's side"},
	{"AMQP", "Azure over AMQP"},
	{"MS", "Siemens MindSphere MindConnect MQTT"},
	{"EDGE", "Azure IoT Edge transparent gateway"},
	{"DA", "Huawei Cloud IoTDA"},
}

const intro = `# Rules

Generated from the rule tables by ` + "`go run ./internal/rule/rulesdoc`" + `; do not edit.

Each rule has the id of its row in the conformance tables, which never changes, and its causes, one for
each way to break it: ` + "`HUB-16/cn`" + ` is a cause of ` + "`HUB-16`" + `. A refused event in the journal names the
cause; ` + "`fakecloud rules HUB-16/cn`" + ` and ` + "`fakecloud explain`" + ` show what is written here.

Grades: *documented*, the vendor's documents or SDK sources say so; *measured*, seen on the real service;
*assumed*, no source was found, and what is assumed stands with the rule.

`

// render returns docs/rules.md.
func render(t *rule.Table) string {
	var out strings.Builder
	out.WriteString(intro)
	byFamily := map[string][]rule.Row{}
	enforced := 0
	rows := rule.Rows(t)
	for _, row := range rows {
		prefix, _, _ := strings.Cut(string(row.ID), "-")
		byFamily[prefix] = append(byFamily[prefix], row)
		if row.Enforced {
			enforced++
		}
	}
	fmt.Fprintf(&out, "%d rules, %d of them enforced by this version.\n", len(rows), enforced)
	for _, f := range families {
		family(&out, f.title, byFamily[f.prefix])
		delete(byFamily, f.prefix)
	}
	for prefix := range byFamily {
		panic("rulesdoc: no title for the rules " + prefix)
	}
	return out.String()
}

func family(out *strings.Builder, title string, rows []rule.Row) {
	fmt.Fprintf(out, "\n## %s\n", title)
	var later []rule.Row
	for _, row := range rows {
		if !row.Enforced {
			later = append(later, row)
			continue
		}
		fmt.Fprintf(out, "\n### %s: %s\n\n*%s*, %s\n", row.ID, line(row.Title), row.Grade, line(row.Source))
		if row.Assumption != "" {
			fmt.Fprintf(out, "\nAssumed: %s\n", line(row.Assumption))
		}
		if len(row.Causes) == 0 {
			continue
		}
		out.WriteString("\n| cause | why | fix |\n|---|---|---|\n")
		for _, c := range row.Causes {
			fmt.Fprintf(out, "| `%s/%s` | %s | %s |\n", row.ID, c.ID, cell(c.Why), cell(c.Fix))
		}
	}
	if len(later) == 0 {
		return
	}
	out.WriteString("\n### Not built yet\n\n| rule | |\n|---|---|\n")
	for _, row := range later {
		fmt.Fprintf(out, "| %s | %s |\n", row.ID, cell(row.Title))
	}
}

func line(text string) string { return strings.Join(strings.Fields(text), " ") }

// cell keeps a table's bars from being read as its borders, also within code.
func cell(text string) string { return strings.ReplaceAll(line(text), "|", `\|`) }
