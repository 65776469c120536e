package explain

import (
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/near"
)

// Closest returns the up to three names that name was probably meant to be, best first: spelt the same
// but for case and surrounding spaces, else within a third of its length in edits.
func Closest(name string, known []string) []string {
	const longest = 256
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
	for _, k := range known[:min(len(known), near.Most)] {
		if k == name || seen[k] || len(k) > longest {
			continue
		}
		seen[k] = true
		if d := near.Edits(plain, strings.ToLower(k), limit+1); d <= limit {
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
