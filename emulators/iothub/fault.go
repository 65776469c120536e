package iothub

import (
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/rule"
)

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
