package dps

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Caller is a device as its connection presents it.
type Caller struct {
	Scope          string // ID scope, may be unknown
	RegistrationID string
	APIVersion     string
	Token          string              // SAS token; empty when none was sent
	Certificates   []*x509.Certificate // as presented, leaf first; the handshake proved the leaf's key
	// TPM are the keys in the body of a register request; Register sets it.
	TPM *azure.DPSTPM
	// Door is the host name to hand over as assigned hub; empty hands over the hub's own.
	Door string
	// HTTPS says that the device does not speak MQTT: some errors have another code there.
	HTTPS bool
	// Conn and Address are those of the connection, for the journal.
	Conn    uint64
	Address string
}

// Session serves the requests of one connection. Its methods may be called concurrently.
type Session struct {
	service *Service
	caller  Caller
	proven  atomic.Bool // a register on this connection has passed attestation
}

// Open returns the session of a connection. Nothing is judged yet: the real service accepts CONNECT and
// SUBSCRIBE with any credential and refuses at register.
func (s *Service) Open(c Caller) *Session { return &Session{service: s, caller: c} }

// Answer is the reply to a request.
type Answer struct {
	Status     int    // 200, 202 or an error's status
	RetryAfter int    // seconds, 0 for none
	Body       []byte // JSON
	Lost       bool   // a fault: the device gets no answer at all
	// Refusal says why the device did not get what it asked for: with every error, and with the final
	// poll of a registration that failed or is disabled. Else nil. The head journals it.
	Refusal *rule.Refusal
}

// Register starts the provisioning of the caller: it attests, assigns a hub, records the registration
// and answers 202 with a new operation. The outcome is told by Poll.
func (x *Session) Register(ctx context.Context, body []byte) Answer {
	out, rounds, hit := x.broken(fault.DPSRegister)
	if hit {
		return out
	}
	s, c := x.service, x.caller
	i, a, d := x.admit(body)
	if d != nil {
		return s.errorAnswer(d)
	}
	if rounds != nil {
		i.Rounds = rounds
	}
	if s.Faults.Disabled(x.step(fault.DPSRegister)) {
		a.terms.Disabled = true
	}
	x.proven.Store(true)
	if d := checkBody(body, c.RegistrationID); d != nil {
		return s.errorAnswer(d)
	}
	k := key(i.Name, c.RegistrationID)
	old, _ := s.registrations.Get(k)
	if a.terms.asks(c.APIVersion, old) {
		return x.registerCustom(i, a, body)
	}
	unlock := s.lock(k)
	reg := s.assign(ctx, i, c, a)
	op := s.begin(k, i, reg, nil)
	unlock()
	return answer(202, i.retryAfter(), azure.DPSOperation{OperationID: op.ID, Status: azure.DPSAssigning})
}

// registerCustom begins an operation that ends when a webhook has said where the device shall go.
func (x *Session) registerCustom(i Instance, a admission, body []byte) Answer {
	s, c := x.service, x.caller
	if !s.errands.reserve() {
		return s.busy()
	}
	k := key(i.Name, c.RegistrationID)
	e := s.newErrand(i, c, a, body)
	unlock := s.lock(k)
	op := s.begin(k, i, Registration{RegistrationID: c.RegistrationID, GroupID: a.groupID, Attestation: a.kind, Status: azure.DPSAssigning}, e)
	unlock()
	go s.run(i, c.RegistrationID, op.ID, e)
	return answer(202, i.retryAfter(), azure.DPSOperation{OperationID: op.ID, Status: azure.DPSAssigning})
}

// admit finds the caller's instance and attests it. A TPM's keys stand in the body.
func (x *Session) admit(body []byte) (Instance, admission, *denial) {
	s, c := x.service, x.caller
	if said, err := azure.ParseDPSRegistration(body); err == nil {
		c.TPM = said.TPM
	}
	i, ok := s.InstanceOf(c.Scope)
	if !ok {
		return i, admission{}, s.unknownScope(c)
	}
	a, d := x.attested(i, c)
	return i, a, d
}

// attested attests the caller, and gives a refusal the error code that its protocol has: what is wrong with
// a token is 401000 over MQTT (azure-docs issues 43157 and 48511), 401002 over HTTPS (azure-iot-sdk-node
// issue 721).
func (x *Session) attested(i Instance, c Caller) (admission, *denial) {
	a, d := x.service.attest(i, c)
	if d != nil && c.HTTPS && d.code == codeUnauthorized {
		d.code = codeCertificate
	}
	return a, d
}

// checkBody judges a register body: empty, blank, or an object that does not name another device.
func checkBody(body []byte, registrationID string) *denial {
	req, err := azure.ParseDPSRegistration(body)
	const form = `an empty body, or {"registrationId":"…","payload":…}`
	switch {
	case errors.Is(err, azure.ErrDPSBodySize):
		return deny(codeBadRequest, "The request is too large.", rule.Refusal{Rule: "DPS-11/size",
			Seen: fmt.Sprintf("%d bytes", len(body)), Expected: fmt.Sprintf("at most %d bytes", azure.MaxDPSMessage)})
	case err != nil:
		return deny(codeBadRequest, "The request body could not be parsed.", rule.Refusal{Rule: "DPS-11/json",
			Detail: err.Error(), Seen: fmt.Sprintf("%d bytes that do not parse", len(body)), Expected: form})
	case req.RegistrationID != "" && !strings.EqualFold(req.RegistrationID, registrationID):
		return deny(codeBadRequest, "The registration id of the body does not match the connection.", rule.Refusal{Rule: "DPS-11/registration-id",
			Seen: fmt.Sprintf("registrationId %q", clip(req.RegistrationID)), Expected: fmt.Sprintf("registrationId %q, or none", registrationID)})
	}
	return nil
}

// Poll answers with the state of an operation: 202 while assigning, 200 when it is final. Operations of
// other devices are unknown to the caller. A connection that has not registered is attested first.
func (x *Session) Poll(_ context.Context, operationID string) Answer {
	if out, _, hit := x.broken(fault.DPSPoll); hit {
		return out
	}
	s, c := x.service, x.caller
	i, ok := s.InstanceOf(c.Scope)
	if !ok {
		return s.errorAnswer(s.unknownScope(c))
	}
	if !x.proven.Load() {
		if _, d := x.attested(i, c); d != nil {
			return s.errorAnswer(d)
		}
	}
	if operationID == "" {
		return s.errorAnswer(deny(codeBadRequest, "The operation id is missing.", rule.Refusal{Rule: "DPS-14/missing",
			Seen: "no operation id", Expected: s.openOperations(key(i.Name, c.RegistrationID))}))
	}
	if i.PollLimit {
		if wait := s.throttle(key(i.Name, c.RegistrationID)); wait > 0 {
			return s.tooManyPolls(wait)
		}
	}
	op, final, known := s.advance(key(i.Name, c.RegistrationID), operationID)
	switch {
	case !known:
		return s.errorAnswer(deny(codeNoOperation, messageNoOperation, rule.Refusal{Rule: "DPS-14/operation",
			Seen: fmt.Sprintf("operationId %q", clip(operationID)), Expected: s.openOperations(key(i.Name, c.RegistrationID))}))
	case !final:
		return answer(202, i.retryAfter(), azure.DPSOperation{OperationID: op.ID, Status: azure.DPSAssigning,
			State: &azure.DPSState{RegistrationID: op.Result.RegistrationID, Status: azure.DPSAssigning}})
	}
	out := answer(200, 0, azure.DPSOperation{OperationID: op.ID, Status: op.Result.Status, State: op.Result.state(c.Door)})
	out.Refusal = op.Result.refusal()
	return out
}

// State is the registrationState as back ends read it.
func (r Registration) State() *azure.DPSState { return r.state("") }

// state is the registrationState of a final answer. door, where set, stands for the hub.
func (r Registration) state(door string) *azure.DPSState {
	st := &azure.DPSState{RegistrationID: r.RegistrationID, Created: azure.FormatDPSTime(r.Created), Status: r.Status,
		LastUpdated: azure.FormatDPSTime(r.LastUpdated), ETag: azure.FormatDPSETag(r.ETag)}
	attested := &azure.DPSAttested{EnrollmentGroupID: r.GroupID}
	switch r.Attestation {
	case kindX509:
		st.X509 = attested
	case kindTPM:
		st.TPM = &azure.DPSActivation{AuthenticationKey: r.AuthenticationKey}
	default:
		st.SymmetricKey = attested
	}
	switch r.Status {
	case azure.DPSAssigned:
		st.AssignedHub, st.DeviceID, st.Substatus, st.Payload = r.AssignedHub, r.DeviceID, r.Substatus, r.Payload
		if door != "" {
			st.AssignedHub = door
		}
	case azure.DPSFailed:
		st.ErrorCode, st.ErrorMessage = r.ErrorCode, r.ErrorMessage
	}
	return st
}

// refusal says why a final registration is not assigned.
func (r Registration) refusal() *rule.Refusal {
	switch r.Status {
	case azure.DPSDisabled:
		where := "individual enrollment " + r.RegistrationID
		if r.GroupID != "" {
			where = "enrollment group " + r.GroupID
		}
		return &rule.Refusal{Rule: "DPS-24/disabled", Code: 200, Seen: where + " is disabled", Expected: "an enabled enrollment"}
	case azure.DPSFailed:
		if r.Refusal != nil {
			told := *r.Refusal
			told.Code, told.Silent = 200, false
			return &told
		}
		return &rule.Refusal{Rule: "DPS-13/no-hub", Code: 200, Detail: r.ErrorMessage,
			Seen: "status failed, errorCode " + fmt.Sprint(r.ErrorCode), Expected: "a linked hub that the enrollment allows"}
	}
	return nil
}

func answer(status, retryAfter int, body any) Answer {
	text, _ := json.Marshal(body) // these types always marshal
	return Answer{Status: status, RetryAfter: retryAfter, Body: text}
}

// errorAnswer is the answer for a denial.
func (s *Service) errorAnswer(d *denial) Answer {
	if d.challenge != nil {
		return answer(401, 0, d.challenge)
	}
	body := azure.DPSError{ErrorCode: d.code, TrackingID: s.IDs.GUID(), Message: d.message, TimestampUTC: azure.FormatDPSTime(s.Clock.Wall())}
	out := answer(body.Status(), 0, body)
	refusal := d.refusal
	out.Refusal = &refusal
	return out
}
