package dps

import (
	"context"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Lookup answers the caller's registration as it stands, a bare registrationState.
func (x *Session) Lookup(_ context.Context, body []byte) Answer {
	s, c := x.service, x.caller
	i, _, d := x.admit(body)
	if d == nil {
		d = checkBody(body, c.RegistrationID)
	}
	if d != nil {
		return s.errorAnswer(d)
	}
	k := key(i.Name, c.RegistrationID)
	reg, ok := s.registrations.Get(k)
	if s.unsettled(k) {
		return answer(200, 0, azure.DPSState{RegistrationID: c.RegistrationID, Status: azure.DPSAssigning})
	}
	if !ok {
		return s.errorAnswer(deny(codeNotFound, "Registration not found.", rule.Refusal{Rule: "DPS-35/registration",
			Seen: fmt.Sprintf("registration id %q, which has not registered", clip(c.RegistrationID)), Expected: "a register request first"}))
	}
	return answer(200, 0, reg.state(c.Door))
}

// unsettled reports whether the newest operation of a device is still to be told as assigning.
func (s *Service) unsettled(k string) bool {
	all, _ := s.operations.Get(k)
	if len(all.List) == 0 {
		return false
	}
	o := all.List[len(all.List)-1]
	return o.Errand != nil || s.alive(o) && o.Rounds > 0 && s.Clock.Now().Sub(o.Started) < settled
}

// Reject returns the error answer for a request that a head refuses by itself, with r's status.
func (s *Service) Reject(message string, r rule.Refusal) Answer {
	return s.errorAnswer(deny(r.Code*1000, message, r))
}

// usualInstance is the one that the default world has.
const usualInstance = "fakecloud-dps"

// DefaultInstance is the instance behind a name that is no instance's own: the default world's, else the
// first. It is empty where there is no instance at all.
func (s *Service) DefaultInstance() string {
	all := s.Instances()
	for _, i := range all {
		if i.Name == usualInstance {
			return i.Name
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[0].Name
}

// HolderOf returns the instance that has an enrollment, a group or a registration of this id, the default
// one before others; it is empty where none has.
func (s *Service) HolderOf(id string) string {
	holds := func(instance string) bool {
		k := key(instance, id)
		_, enrolled := s.enrollments.Get(k)
		_, group := s.groups.Get(k)
		_, registered := s.registrations.Get(k)
		return enrolled || group || registered
	}
	if usual := s.DefaultInstance(); usual == "" || holds(usual) {
		return usual
	}
	for _, i := range s.Instances() {
		if holds(i.Name) {
			return i.Name
		}
	}
	return ""
}
