package near

import "strings"

// Most is how many names are worth comparing: a wrong name costs the same however many there are.
const Most = 5000

// Name returns the one of names, the first Most of them, that differs least from text, in fewer than limit edits;
// empty when there is none. Case does not count.
func Name(text string, names []string, limit int) string {
	best := ""
	text = strings.ToLower(text)
	for _, name := range names[:min(len(names), Most)] {
		if d := Edits(text, strings.ToLower(name), limit); d < limit {
			best, limit = name, d
		}
	}
	return best
}

// Edits counts the bytes to insert, remove or change, and the neighbours to swap, that make b of a; it returns limit
// when it is not less.
func Edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	// Three rows of the table of distances between the beginnings of a and b (optimal string alignment).
	older, old, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		older, old, row = old, row, older
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			cost := old[j]
			if a[i] != b[j] {
				cost = 1 + min(old[j], old[j+1], row[j])
				if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
					cost = min(cost, older[j-1]+1)
				}
			}
			row[j+1] = cost
			least = min(least, cost)
		}
		if least > limit { // at the limit a swap may still gain one on the row before
			return limit
		}
	}
	return min(row[len(b)], limit)
}
