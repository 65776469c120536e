package dps

import (
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// throttled is the error code of an answer under too much load (429xxx, how-to-troubleshoot-dps).
const throttled = 429001

// broken answers a request as a fault at step says; hit is false where none is set.
func (x *Session) broken(step fault.Step) (out Answer, hit bool) {
	s := x.service
	endpoint := ""
	if i, ok := s.InstanceOf(x.caller.Scope); ok {
		endpoint = i.Name
	}
	a, hit := s.Faults.At(fault.Where{Step: step, Platform: Platform, Endpoint: endpoint, Device: x.caller.RegistrationID,
		Conn: x.caller.Conn, Address: x.caller.Address})
	switch {
	case !hit:
		return Answer{}, false
	case a.Drop:
		return Answer{Lost: true}, true
	}
	body := azure.DPSError{ErrorCode: throttled, TrackingID: s.IDs.GUID(), Message: "A fault that was set.", TimestampUTC: azure.FormatDPSTime(s.Clock.Wall())}
	retryAfter := 0
	if a.Code != nil {
		body.ErrorCode = *a.Code * 1000
	}
	if a.Throttle != nil {
		retryAfter = *a.Throttle
	}
	return answer(body.Status(), retryAfter, body), true
}
