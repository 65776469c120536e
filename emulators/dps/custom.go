package dps

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// CustomAllocation names the webhook of the policy Custom.
type CustomAllocation struct {
	WebhookURL string `json:"webhookUrl"` // http or https; its query may carry a function key
	APIVersion string `json:"apiVersion,omitempty"`
}

// AllocationRequest is what a webhook is asked. One of Enrollment and Group is set.
type AllocationRequest struct {
	URL             string
	Enrollment      *Enrollment
	Group           *Group
	RegistrationID  string
	CurrentHub      string // host name; empty before the first assignment
	CurrentDeviceID string
	Attestation     string            // x509, symmetricKey or tpm
	Leaf            *x509.Certificate // of X.509
	TPM             *TPM              // of TPM
	Payload         json.RawMessage   // of the device's request; nil for none
	LinkedHubs      []string
}

// AllocationAnswer is what a webhook says. Only Status is set where it is no success.
type AllocationAnswer struct {
	Status      int
	Hub         string
	InitialTwin json.RawMessage // overrides migration; nil for none
	Payload     json.RawMessage // for the device; nil for none
}

// Webhook asks where a device shall go.
type Webhook interface {
	// Ask ends within a time limit of its own. ErrAllocationAnswer is a success that cannot be read, a
	// *rule.Refusal a call that was not made; any other error is one of the network.
	Ask(ctx context.Context, r AllocationRequest) (AllocationAnswer, error)
}

// ErrAllocationAnswer is returned for a success that is no answer of the form that is wanted.
var ErrAllocationAnswer = errors.New("not an allocation response")

// codeAllocation is the registrationState errorCode of a device whose webhook failed (Node SDK's log).
const codeAllocation = 400209

// Limits of webhooks; our own.
const (
	maxErrands = 1000 // devices that wait for one
	maxAtOnce  = 16   // calls under way
	busyRetry  = 5    // seconds
)

// errand is what an operation waits for: the answer of a webhook. It outlives a restart.
type errand struct {
	Enrollment *Enrollment `json:",omitempty"`
	Group      *Group      `json:",omitempty"`
	APIVersion string
	DeviceID   string
	Kind       string
	Auth       Auth
	Activation string          `json:",omitempty"`
	Leaf       []byte          `json:",omitempty"` // DER
	TPM        *azure.DPSTPM   `json:",omitempty"`
	Payload    json.RawMessage `json:",omitempty"`
	Conn       uint64
	Address    string
}

func (e *errand) terms() Terms {
	if e.Group != nil {
		return e.Group.Terms
	}
	return e.Enrollment.Terms
}

func (e *errand) admission() admission {
	a := admission{kind: e.Kind, deviceID: e.DeviceID, terms: e.terms(), auth: e.Auth, activation: e.Activation}
	if e.Group != nil {
		a.groupID = e.Group.ID
	}
	return a
}

// errands are the webhook calls under way.
type errands struct {
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	waiting int
	closed  bool
	changed chan struct{} // closed and made anew whenever one has ended
	slots   chan struct{}
	working sync.WaitGroup
}

func newErrands() *errands {
	e := &errands{slots: make(chan struct{}, maxAtOnce), changed: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Close ends calls of webhooks. Devices that wait for one are served after the next start, from the same store.
func (s *Service) Close() {
	s.errands.mu.Lock()
	s.errands.closed = true
	s.errands.mu.Unlock()
	s.errands.cancel()
	s.errands.working.Wait()
}

// asks reports whether a webhook decides for a device that is at old.
func (t Terms) asks(apiVersion string, old Registration) bool {
	return t.AllocationPolicy == Custom && !t.Disabled &&
		(old.AssignedHub == "" || t.reprovisioning(apiVersion).UpdateHubAssignment)
}

// newErrand is what has to be asked for a caller that was admitted.
func (s *Service) newErrand(i Instance, c Caller, a admission, body []byte) *errand {
	e := &errand{APIVersion: c.APIVersion, DeviceID: a.deviceID, Kind: a.kind, Auth: a.auth, Activation: a.activation, TPM: c.TPM, Conn: c.Conn, Address: c.Address}
	if a.groupID != "" {
		g, _ := s.Group(i.Name, a.groupID)
		g.ID, g.Terms = a.groupID, a.terms
		e.Group = &g
	} else {
		enrollment, _ := s.Enrollment(i.Name, c.RegistrationID)
		enrollment.Terms = a.terms
		e.Enrollment = &enrollment
	}
	if a.kind == kindX509 && len(c.Certificates) > 0 {
		e.Leaf = c.Certificates[0].Raw
	}
	if said, err := azure.ParseDPSRegistration(body); err == nil {
		e.Payload = said.Payload
		if said.TPM != nil {
			e.TPM = said.TPM
		}
	}
	return e
}

// reserve takes a place for a webhook call; false where too many wait.
func (e *errands) reserve() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.waiting >= maxErrands {
		return false
	}
	e.waiting++
	e.working.Add(1)
	return true
}

// busy is the answer where too many devices wait for webhooks.
func (s *Service) busy() Answer {
	out := s.errorAnswer(deny(throttled, "Too many requests.", rule.Refusal{Rule: "DPS-31/busy",
		Seen: fmt.Sprintf("%d devices wait for webhooks", maxErrands), Expected: "fewer, or a webhook that answers sooner"}))
	out.RetryAfter = busyRetry
	return out
}

// run does an errand that has a place, and settles the operation that waits for it.
func (s *Service) run(i Instance, registrationID, operationID string, e *errand) {
	x := s.errands
	defer func() {
		x.mu.Lock()
		x.waiting--
		close(x.changed)
		x.changed = make(chan struct{})
		x.mu.Unlock()
		x.working.Done()
	}()
	select {
	case x.slots <- struct{}{}:
		defer func() { <-x.slots }()
	case <-x.ctx.Done():
		return
	}
	k := key(i.Name, registrationID)
	if s.outstanding(k, operationID) == nil {
		return // forgotten meanwhile
	}
	old, _ := s.registrations.Get(k)
	hub, answer, refusal := s.ask(i, registrationID, e, old)
	if x.ctx.Err() != nil {
		return
	}
	defer s.lock(k)()
	c := Caller{RegistrationID: registrationID, APIVersion: e.APIVersion, Conn: e.Conn, Address: e.Address}
	a := e.admission()
	reg := s.commit(x.ctx, i, c, a, verdict{refusal: refusal, payload: answer.Payload, plan: func(old Registration) (Assignment, string, error) {
		return s.follow(hub, answer, c, a, old)
	}})
	s.settle(k, operationID, reg)
}

// ask calls the webhook and judges its answer.
func (s *Service) ask(i Instance, registrationID string, e *errand, old Registration) (hub string, answer AllocationAnswer, refusal *rule.Refusal) {
	r := AllocationRequest{URL: e.terms().CustomAllocation.WebhookURL, Enrollment: e.Enrollment, Group: e.Group, RegistrationID: registrationID,
		CurrentHub: old.AssignedHub, Attestation: e.Kind, Payload: e.Payload, LinkedHubs: usable(i.LinkedHubs, e.terms().IoTHubs)}
	if old.AssignedHub != "" {
		r.CurrentDeviceID = old.DeviceID
	}
	if cert, err := x509.ParseCertificate(e.Leaf); err == nil {
		r.Leaf = cert
	}
	if e.TPM != nil {
		r.TPM = &TPM{EndorsementKey: e.TPM.EndorsementKey, StorageRootKey: e.TPM.StorageRootKey}
	}
	where := journal.Event{Platform: Platform, Endpoint: i.Name, Conn: e.Conn, Device: registrationID, Dir: journal.Out, Topic: "POST " + bareURL(r.URL)}
	answer, err := s.Webhook.Ask(s.errands.ctx, r)
	if s.errands.ctx.Err() != nil {
		return "", answer, nil
	}
	var refused *rule.Refusal
	switch {
	case errors.As(err, &refused):
		s.Journal.Refuse(where, refused)
		return "", answer, allocation("DPS-31/outbound", "Custom allocation failed: the webhook was not called.", "rule "+string(refused.Rule)+": "+refused.Seen, refused.Expected)
	case err != nil && !errors.Is(err, ErrAllocationAnswer):
		where.Kind, where.Detail = journal.HTTP, clip(err.Error())
		s.Journal.Append(where)
		return "", answer, allocation("DPS-31/unreachable", "Custom allocation failed: the webhook did not answer.", clip(err.Error()), "an answer of "+bareURL(r.URL))
	}
	where.Kind, where.Code = journal.HTTP, journal.Code(answer.Status)
	s.Journal.Append(where)
	if refusal := judgeAnswer(r, answer, err); refusal != nil {
		return "", answer, refusal
	}
	n := slices.IndexFunc(r.LinkedHubs, func(h string) bool { return strings.EqualFold(h, answer.Hub) })
	return r.LinkedHubs[n], answer, nil // in the spelling that it is linked with
}

// judgeAnswer judges what a webhook said; err is nil or ErrAllocationAnswer.
func judgeAnswer(r AllocationRequest, a AllocationAnswer, err error) *rule.Refusal {
	const unreadable, form = "Custom allocation failed: the response is not valid.", `{"iotHubHostName":"…","initialTwin":{"tags":{…},"properties":{"desired":{…}}},"payload":{…}}`
	switch {
	case err != nil:
		return allocation("DPS-31/answer", unreadable, clip(err.Error()), form)
	case a.Status < 200 || a.Status > 299:
		return allocation("DPS-31/status", fmt.Sprintf("Custom allocation failed with status code: %d", a.Status), fmt.Sprintf("status %d", a.Status), "a status of 200 to 299")
	case !contains(r.LinkedHubs, a.Hub):
		return allocation("DPS-31/hub", "Custom allocation failed: the IoT hub is not linked.", fmt.Sprintf("iotHubHostName %q", clip(a.Hub)), "one of "+strings.Join(r.LinkedHubs, ", "))
	case len(a.Payload) > azure.MaxDPSMessage:
		return allocation("DPS-31/answer", unreadable, fmt.Sprintf("a payload of %d bytes", len(a.Payload)), fmt.Sprintf("at most %d bytes", azure.MaxDPSMessage))
	}
	if err := validTwin(a.InitialTwin); err != nil {
		return allocation("DPS-31/answer", unreadable, clip(err.Error()), form)
	}
	return nil
}

// allocation is the failure of a custom allocation; the message is the device's.
func allocation(id rule.ID, message, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Code: http.StatusOK, Detail: message, Seen: seen, Expected: expected}
}

// follow plans what the webhook wants. Its twin is taken whatever the re-provisioning policy says.
func (s *Service) follow(hub string, answer AllocationAnswer, c Caller, a admission, old Registration) (Assignment, string, error) {
	as, substatus := s.move(hub, c, a, old)
	if answer.InitialTwin == nil {
		return as, substatus, nil
	}
	as.InitialTwin = answer.InitialTwin
	if old.AssignedHub != "" && strings.EqualFold(old.DeviceID, a.deviceID) {
		as.Reset = s.Allocator.Holds(old.AssignedHub, old.DeviceID)
		if substatus == azure.DPSDeviceDataMigrated {
			substatus = azure.DPSDeviceDataReset
		}
	}
	return as, substatus, nil
}

// outstanding returns what an operation waits for, nil where it does not.
func (s *Service) outstanding(k, operationID string) *errand {
	all, _ := s.operations.Get(k)
	for _, o := range all.List {
		if o.ID == operationID {
			return o.Errand
		}
	}
	return nil
}

// settle gives an operation its result.
func (s *Service) settle(k, operationID string, reg Registration) {
	_, _ = s.operations.Update(k, func(all operations) (operations, error) { // one that is gone has no result
		for n := range all.List {
			if o := &all.List[n]; o.ID == operationID {
				o.Result, o.Errand = reg, nil
			}
		}
		return all, nil
	})
}

// Settled waits until no operation of a device waits for a webhook, or ctx ends.
func (s *Service) Settled(ctx context.Context, instance, registrationID string) {
	k := key(instance, registrationID)
	for {
		s.errands.mu.Lock()
		changed := s.errands.changed
		s.errands.mu.Unlock()
		all, _ := s.operations.Get(k)
		if !slices.ContainsFunc(all.List, func(o operation) bool { return o.Errand != nil }) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// resume takes up the errands of an earlier life.
func (s *Service) resume() {
	for _, k := range s.operations.Keys("") {
		all, _ := s.operations.Get(k)
		name, _, _ := strings.Cut(k, "/")
		i, ok := s.instances.Get(name)
		for _, o := range all.List {
			if o.Errand != nil && ok && s.Webhook != nil && s.errands.reserve() {
				go s.run(i, o.Result.RegistrationID, o.ID, o.Errand)
			}
		}
	}
}

// bareURL leaves out what may be secret.
func bareURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

func (c *CustomAllocation) validate() error {
	const field = "customAllocationDefinition.webhookUrl"
	u, err := url.Parse(c.WebhookURL)
	switch {
	case len(c.WebhookURL) > maxWebhookURL:
		return wrong(field, "%d characters; the limit is %d", len(c.WebhookURL), maxWebhookURL)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return wrong(field, "is no URL of http or https, such as https://my-functions.azurewebsites.net/api/allocate?code=…")
	}
	return nil
}

// maxWebhookURL bounds the URL of a webhook; our own.
const maxWebhookURL = 2048
