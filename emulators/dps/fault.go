package dps

import (
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// throttled is the error code of an answer under too much load (429xxx, how-to-troubleshoot-dps).
const throttled = 429001

// step is a step of this session.
func (x *Session) step(s fault.Step) fault.Where {
	endpoint := ""
	if i, ok := x.service.InstanceOf(x.caller.Scope); ok {
		endpoint = i.Name
	}
	return fault.Where{Step: s, Platform: Platform, Endpoint: endpoint, Device: x.caller.RegistrationID, Conn: x.caller.Conn,
		Address: x.caller.Address}
}

// broken answers a request as a fault at step says; hit is false where none is set, or where the request
// is served all the same: rounds, where not nil, is then how many polls its operation takes.
func (x *Session) broken(step fault.Step) (out Answer, rounds *int, hit bool) {
	s := x.service
	a, hit := s.Faults.At(x.step(step))
	switch {
	case !hit:
		return Answer{}, nil, false
	case a.Rounds != nil:
		return Answer{}, a.Rounds, false
	case a.Drop:
		return Answer{Lost: true}, nil, true
	}
	body := azure.DPSError{ErrorCode: throttled, TrackingID: s.IDs.GUID(), Message: "A fault that was set.", TimestampUTC: azure.FormatDPSTime(s.Clock.Wall())}
	retryAfter := 0
	if a.Code != nil {
		body.ErrorCode = *a.Code * 1000
	}
	if a.Throttle != nil {
		retryAfter = *a.Throttle
	}
	return answer(body.Status(), retryAfter, body), nil, true
}
