package dps

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// maxCompared bounds how many ids a refusal is compared with, so that a wrong client stays cheap.
const maxCompared = 1000

// unknownScope refuses an ID scope that no instance has.
func (s *Service) unknownScope(c Caller) *denial {
	var scopes []string
	for _, i := range s.Instances() {
		scopes = append(scopes, i.IDScope)
	}
	expected := "the ID scope of an instance; there is none yet"
	if len(scopes) > 0 {
		expected = "the ID scope of an instance, such as " + nearest(c.Scope, scopes)
	}
	return deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-26/scope",
		Seen: fmt.Sprintf("ID scope %q", clip(c.Scope)), Expected: expected})
}

// notEnrolled refuses a device that no enrollment and no group admits.
func (s *Service) notEnrolled(i Instance, c Caller, why string) *denial {
	expected := "an individual enrollment for this registration id, or a group that admits it"
	if n := s.enrollments.Len(); n > 0 && n <= maxCompared {
		var enrolled []string
		for _, e := range s.Enrollments(i.Name) {
			enrolled = append(enrolled, e.RegistrationID)
		}
		if len(enrolled) > 0 {
			expected += "; the nearest individual enrollment is " + nearest(c.RegistrationID, enrolled)
		}
	}
	return deny(codeNotFound, messageNotEnrolled, rule.Refusal{Rule: "DPS-26/enrollment",
		Detail:   fmt.Sprintf("instance %s has no enrollment for %s: %s", i.Name, c.RegistrationID, why),
		Seen:     fmt.Sprintf("registration id %q with %s", c.RegistrationID, c.credential()),
		Expected: expected})
}

// nearest returns the name with the fewest edits to text; upper and lower case count as equal.
func nearest(text string, names []string) string {
	best, fewest := "", -1
	for _, name := range names {
		if d := edits(strings.ToLower(clip(text)), strings.ToLower(name)); fewest < 0 || d < fewest {
			best, fewest = name, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
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
