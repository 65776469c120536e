package rule

import (
	_ "embed"
	"sort"
	"strings"
)

//go:embed sheet.tsv
var sheetText string

// SheetRow is a row of a conformance table, built or not.
type SheetRow struct {
	ID    ID
	Title string
}

// Sheet returns every row of the conformance tables, in reading order: DPS, IoT Hub on the device's and
// on the service's side, AMQP, MindSphere, IoT Edge and IoTDA.
func Sheet() []SheetRow {
	var rows []SheetRow
	for line := range strings.Lines(sheetText) {
		id, title, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			panic("rule sheet: a line is no id and title")
		}
		rows = append(rows, SheetRow{ID: ID(id), Title: title})
	}
	sort.Slice(rows, func(i, j int) bool { return Less(rows[i].ID, rows[j].ID) })
	return rows
}

// Row is a rule as it is listed: with all it has when it is enforced, with id and title when it is not
// built yet.
type Row struct {
	Rule
	Enforced bool
}

// Rows returns the rules of t and, as not enforced, the rows of the sheets that t does not have.
func Rows(t *Table) []Row {
	var rows []Row
	for _, r := range t.All() {
		rows = append(rows, Row{Rule: r, Enforced: true})
	}
	for _, s := range Sheet() {
		if _, ok := t.Get(s.ID); !ok {
			rows = append(rows, Row{Rule: Rule{ID: s.ID, Title: s.Title}})
		}
	}
	sort.Slice(rows, func(i, j int) bool { return Less(rows[i].ID, rows[j].ID) })
	return rows
}

// FindRow returns the row of an id, which may name a cause and be in lower case.
func FindRow(t *Table, id ID) (Row, bool) {
	want := ID(strings.ToUpper(string(id.Row())))
	for _, row := range Rows(t) {
		if row.ID == want {
			return row, true
		}
	}
	return Row{}, false
}
