package dps

import (
	"fmt"
	"math"

	"github.com/fakecloud/fakecloud/internal/near"
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
		expected = "the ID scope of an instance, such as " + near.Name(clip(c.Scope), scopes, math.MaxInt)
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
			expected += "; the nearest individual enrollment is " + near.Name(clip(c.RegistrationID), enrolled, math.MaxInt)
		}
	}
	return deny(codeNotFound, messageNotEnrolled, rule.Refusal{Rule: "DPS-26/enrollment",
		Detail:   fmt.Sprintf("instance %s has no enrollment for %s: %s", i.Name, c.RegistrationID, why),
		Seen:     fmt.Sprintf("registration id %q with %s", c.RegistrationID, c.credential()),
		Expected: expected})
}
