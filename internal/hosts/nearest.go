package hosts

import (
	"strings"

	"github.com/fakecloud/fakecloud/internal/near"
)

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
		if d := near.Edits(name, known, distance); d < distance {
			best, distance = known, d
		}
	}
	return best
}
