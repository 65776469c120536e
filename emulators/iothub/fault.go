package iothub

import (
	"errors"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// CodeUnavailable is the error code of a hub that cannot be reached ("Troubleshoot IoT Hub error codes").
const CodeUnavailable = 503001

var errFailover = errors.New(FailsOver)

// FailsOver says why a hub has no time for anybody. It is no refusal by a rule: no rule was broken.
const FailsOver = "the hub fails over: a fault that was set"

// Away reports whether a hub fails over.
func (s *Service) Away(hub string) bool {
	if !s.faults.AnyFailover() {
		return false
	}
	h, err := s.GetHub(hub)
	return err == nil && s.faults.FailingOver(h.Host)
}

// Unavailable reports whether somebody who comes to a hub meets it while it fails over, and journals that.
func (s *Service) Unavailable(hub, device string, o Origin) bool {
	h, err := s.GetHub(hub)
	if err != nil || !s.Away(hub) {
		return false
	}
	_, hit := s.faults.At(fault.Where{Step: fault.Hub, Platform: Platform, Endpoint: h.Host, Device: device, Conn: o.Conn, Address: o.Address})
	return hit
}

// HubChanged closes every connection to hubs that fail over. What was acknowledged stays.
func (s *Service) HubChanged() {
	s.mu.Lock()
	sessions := make([]*Session, 0, len(s.live))
	for _, c := range s.live {
		sessions = append(sessions, c)
	}
	s.mu.Unlock()
	for _, c := range sessions {
		if s.Away(c.id.Hub) {
			c.cut(errFailover)
		}
	}
}

// codeThrottled is the error code of requests beyond the limit ("Troubleshoot IoT Hub error codes").
const codeThrottled = 429001

// step is a step of this session.
func (c *Session) step(s fault.Step) fault.Where {
	return fault.Where{Step: s, Platform: Platform, Endpoint: c.id.Hub, Device: c.id.Name(), Conn: c.origin.Conn, Address: c.origin.Address}
}

// broken asks for a fault at a step of this session. The refusal has no rule, because no rule was broken;
// a silent one means that the request is lost. nil: nothing is set.
func (c *Session) broken(step fault.Step) *rule.Refusal {
	a, hit := c.svc.faults.At(c.step(step))
	if !hit {
		return nil
	}
	r := &rule.Refusal{Code: codeThrottled, Silent: a.Drop, Detail: "a fault that was set"}
	if a.Code != nil {
		r.Code = *a.Code * 1000
	}
	return r
}
