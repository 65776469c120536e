package dps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// codeNoHub is the registrationState errorCode of a device that no hub takes (DPS_HUB_ERROR_NO_HUB of
// the C SDK).
const codeNoHub = 400208

// assign decides the outcome of a register, commits it to the hub and to the registration record, and
// returns the record. The caller holds the device's lock.
func (s *Service) assign(ctx context.Context, i Instance, c Caller, a admission) Registration {
	return s.commit(ctx, i, c, a, verdict{plan: func(old Registration) (Assignment, string, error) { return s.plan(i, c, a, old) }})
}

// verdict is what was decided of a device: where it goes, or why nowhere.
type verdict struct {
	plan    func(old Registration) (Assignment, string, error)
	refusal *rule.Refusal   // of a custom allocation; plan is not asked then
	payload json.RawMessage // for the device
}

// commit carries a verdict out. The caller holds the device's lock.
func (s *Service) commit(ctx context.Context, i Instance, c Caller, a admission, v verdict) Registration {
	k := key(i.Name, c.RegistrationID)
	now := s.Clock.Wall().UTC()
	old, again := s.registrations.Get(k)
	reg := Registration{RegistrationID: c.RegistrationID, GroupID: a.groupID, Attestation: a.kind, DeviceID: a.deviceID,
		Created: now, LastUpdated: now, ETag: s.tag()}
	if a.groupID != "" && strings.EqualFold(old.DeviceID, a.deviceID) {
		// Ids are compared without case; the hub's device keeps the spelling that it was made with.
		a.deviceID, reg.DeviceID = old.DeviceID, old.DeviceID
	}
	if again {
		reg.Created, reg.AssignedHub, reg.Substatus, reg.FormerHubs = old.Created, old.AssignedHub, old.Substatus, old.FormerHubs
	}
	if a.terms.Disabled {
		reg.Status = azure.DPSDisabled
		s.registrations.Put(k, reg)
		return reg
	}
	if r := v.refusal; r != nil {
		reg.ErrorCode, reg.ErrorMessage, reg.Refusal = codeAllocation, r.Detail, r
		return s.fail(i, k, reg)
	}
	as, substatus, err := v.plan(old)
	if err == nil {
		as.DeviceID = a.deviceID
		err = s.Allocator.Assign(ctx, as)
	}
	if err != nil {
		reg.ErrorCode, reg.ErrorMessage = codeNoHub, failure(err)
		if r, ok := errors.AsType[*rule.Refusal](err); ok {
			reg.Refusal = r
		}
		return s.fail(i, k, reg)
	}
	reg.AssignedHub, reg.Substatus, reg.Status, reg.Payload = as.Hub, substatus, azure.DPSAssigned, v.payload
	reg.FormerHubs, reg.AuthenticationKey = formerHubs(old, as.Hub), a.activation
	s.registrations.Put(k, reg)
	s.journalProvisioned(i, c, a, reg, as)
	return reg
}

// fail records that a device was not assigned.
func (s *Service) fail(i Instance, k string, reg Registration) Registration {
	reg.Status = azure.DPSFailed
	s.Log.Warn("no hub assigned", "endpoint", i.Name, "registration_id", reg.RegistrationID, "cause", reg.ErrorMessage)
	s.registrations.Put(k, reg)
	return reg
}

// failure is the errorMessage of a failed registration. The service's own text is not known.
func failure(err error) string {
	if errors.Is(err, ErrNoHub) {
		return "No IoT hub is available for the device."
	}
	if _, refused := errors.AsType[*rule.Refusal](err); refused {
		return "The device was not allocated to an IoT hub."
	}
	return "The IoT hub did not take the device: " + clip(err.Error())
}

func (s *Service) journalProvisioned(i Instance, c Caller, a admission, reg Registration, as Assignment) {
	properties := map[string]string{"hub": reg.AssignedHub, "deviceId": reg.DeviceID, "substatus": reg.Substatus, "attestation": reg.Attestation}
	if reg.GroupID != "" {
		properties["enrollmentGroupId"] = reg.GroupID
	}
	detail := fmt.Sprintf("%s admits %s by %s; assigned to %s as device %s", a.name(), reg.RegistrationID, reg.Attestation, reg.AssignedHub, reg.DeviceID)
	if as.From != "" {
		properties["from"] = as.From
		detail += ", where it came from " + as.From
	}
	if as.Reset {
		detail += "; its twin starts over"
	}
	if s.HandOver != "" {
		detail += "; " + s.HandOver
	}
	s.Journal.Append(journal.Event{Platform: Platform, Endpoint: i.Name, Conn: c.Conn, Address: c.Address, Device: reg.RegistrationID,
		Kind: journal.Provisioned, Properties: properties, Detail: detail})
}

// tag makes an etag of the service's form; the third part is the time.
func (s *Service) tag() string {
	return fmt.Sprintf("%s-0000-0100-0000-%08x0000", s.IDs.Hex(8), uint32(s.Clock.Wall().Unix()))
}

// Limits of operations. How long the real service keeps them is not known.
const (
	maxOperations = 8                // of one device; the oldest is forgotten
	operationLife = time.Hour        // by the timers reading
	settled       = 30 * time.Second // by then an operation is final however seldom it was polled
)

// operations are those of one device, oldest first.
type operations struct {
	List  []operation
	Polls []time.Time `json:",omitempty"` // timers readings of the latest, where the instance limits them
}

// operation is one register request. Its result stands from the start and is told after some rounds,
// as the real service takes a while.
type operation struct {
	ID      string
	Started time.Time // timers reading
	Rounds  int       // polls still to be answered with status assigning
	Result  Registration
	Errand  *errand `json:",omitempty"` // what Result waits for
}

func (o operations) clone() operations {
	o.List, o.Polls = slices.Clone(o.List), slices.Clone(o.Polls)
	return o
}

// begin records a new operation under the registration's key.
func (s *Service) begin(k string, i Instance, reg Registration, e *errand) operation {
	op := operation{ID: fmt.Sprintf("4.%s.%s", s.IDs.Hex(16), s.IDs.GUID()), Started: s.Clock.Now(), Rounds: i.rounds(), Result: reg, Errand: e}
	all, _ := s.operations.Get(k)
	kept := operations{Polls: all.Polls}
	for _, o := range all.List {
		if s.alive(o) {
			kept.List = append(kept.List, o)
		}
	}
	if over := len(kept.List) - (maxOperations - 1); over > 0 {
		kept.List = kept.List[over:]
	}
	kept.List = append(kept.List, op)
	s.operations.Put(k, kept)
	return op
}

func (s *Service) alive(o operation) bool { return s.Clock.Now().Sub(o.Started) < operationLife }

// advance counts one poll of an operation and reports whether its result is to be told.
func (s *Service) advance(k, id string) (op operation, final, known bool) {
	_, err := s.operations.Update(k, func(all operations) (operations, error) {
		for n := range all.List {
			o := &all.List[n]
			if o.ID != id || !s.alive(*o) {
				continue
			}
			known, final = true, o.Errand == nil && (o.Rounds == 0 || s.Clock.Now().Sub(o.Started) >= settled)
			if !final && o.Rounds > 0 {
				o.Rounds--
			}
			op = *o
		}
		return all, nil
	})
	return op, final, known && err == nil
}

// openOperations names the operations of a device, for a message.
func (s *Service) openOperations(k string) string {
	all, _ := s.operations.Get(k)
	var open []string
	for _, o := range all.List {
		if s.alive(o) {
			open = append(open, o.ID)
		}
	}
	if len(open) == 0 {
		return "the operationId of a register request; this device has none open"
	}
	return "the operationId of a register request of this device: " + strings.Join(open, ", ")
}
