package hosts

import "strings"

// longest is the longest name that Nearest compares; DNS allows 253 bytes.
const longest = 253

// Nearest returns the known name that differs least from name, or empty where none is close enough to
// be what was meant: at most a third of it may differ.
func (t *Table) Nearest(name string) string {
	name = Canonical(name)
	if name == "" || len(name) > longest {
		return ""
	}
	best, distance := "", len(name)/3+1
	for _, known := range t.Names() {
		if strings.HasPrefix(known, name+".") {
			return known // the short name of a host
		}
		if d := edits(name, known, distance); d < distance {
			best, distance = known, d
		}
	}
	return best
}

// edits counts the bytes to insert, remove or change to make b of a, or returns limit when it is not less.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
			least = min(least, cost)
		}
		if least >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}
