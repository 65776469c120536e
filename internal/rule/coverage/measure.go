package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// result is what the proofs prove.
type result struct {
	rows, enforced, proven int
	causes, provenCauses   int
	missing                []string         // enforced rows and causes without proof
	unknown                []string         // proofs of rules or causes that are not enforced
	ahead                  map[rule.ID]bool // rows of the sheets that tests prove and no instance serves yet
}

func (r *result) complete() bool { return len(r.missing) == 0 && len(r.unknown) == 0 }

// String gives the line that CI prints, and what is missing.
func (r *result) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "rules: %d in the sheets, %d enforced, %d proven\n", r.rows, r.enforced, r.proven)
	fmt.Fprintf(&out, "causes: %d declared, %d proven\n", r.causes, r.provenCauses)
	for _, m := range r.missing {
		fmt.Fprintf(&out, "not proven: %s\n", m)
	}
	if len(r.ahead) > 0 {
		fmt.Fprintf(&out, "%d further rows are proven in packages that are not part of an instance yet\n", len(r.ahead))
	}
	for _, u := range r.unknown {
		fmt.Fprintf(&out, "proof of what is not enforced: %s\n", u)
	}
	return out.String()
}

// measure compares the table with proofs: lines of id, tab and test name. A platform that is built but
// not part of an instance yet has proofs and no rules in the table: they are counted apart. A row is proven by a proof of
// itself or of one of its causes; a cause only by its own.
func measure(t *rule.Table, proofs io.Reader) (*result, error) {
	proven, r := map[rule.ID]bool{}, &result{ahead: map[rule.ID]bool{}}
	sheet := map[rule.ID]bool{}
	for _, row := range rule.Sheet() {
		sheet[row.ID] = true
	}
	lines := bufio.NewScanner(proofs)
	for n := 1; lines.Scan(); n++ {
		if lines.Text() == "" {
			continue
		}
		name, test, ok := strings.Cut(lines.Text(), "\t")
		if !ok || name == "" || test == "" {
			return nil, fmt.Errorf("line %d is no rule id, tab and test name", n)
		}
		id := rule.ID(name)
		row, _, cause := t.Cause(id)
		if row.ID == "" && sheet[id.Row()] {
			r.ahead[id.Row()] = true
			continue
		}
		if row.ID == "" || (id.Cause() != "" && !cause) {
			r.unknown = append(r.unknown, name+" ("+test+")")
			continue
		}
		proven[id], proven[id.Row()] = true, true
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	for _, row := range rule.Rows(t) {
		r.rows++
		if !row.Enforced {
			continue
		}
		r.enforced++
		if proven[row.ID] {
			r.proven++
		} else {
			r.missing = append(r.missing, fmt.Sprintf("%s  %s", row.ID, row.Title))
		}
		for _, c := range row.Causes {
			r.causes++
			id := row.ID + "/" + rule.ID(c.ID)
			if proven[id] {
				r.provenCauses++
			} else {
				r.missing = append(r.missing, fmt.Sprintf("%s  %s", id, c.Why))
			}
		}
	}
	return r, nil
}
