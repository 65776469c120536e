package explain

import (
	"sort"
	"strings"
)

// Closest returns the up to three names that name was probably meant to be, best first: spelt the same
// but for case and surrounding spaces, else within a third of its length in edits.
func Closest(name string, known []string) []string {
	const compared, longest = 5000, 256
	if name == "" || len(name) > longest {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	limit := min(len(name)/3+1, 3)
	plain := strings.ToLower(strings.TrimSpace(name))
	seen := map[string]bool{}
	for _, k := range known[:min(len(known), compared)] {
		if k == name || seen[k] || len(k) > longest {
			continue
		}
		seen[k] = true
		if d := edits(plain, strings.ToLower(k)); d <= limit {
			found = append(found, candidate{k, d})
		}
	}
	sort.Slice(found, func(i, j int) bool {
		if found[i].distance != found[j].distance {
			return found[i].distance < found[j].distance
		}
		return found[i].name < found[j].name
	})
	var names []string
	for _, c := range found[:min(len(found), 3)] {
		names = append(names, c.name)
	}
	return names
}

// edits is the number of single-byte insertions, deletions and replacements that make a into b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
