package dps_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// hook is a webhook that answers as it is told, one request at a time.
type hook struct {
	asked  chan dps.AllocationRequest
	answer chan func() (dps.AllocationAnswer, error)
}

func newHook() *hook {
	return &hook{make(chan dps.AllocationRequest, 16), make(chan func() (dps.AllocationAnswer, error), 16)}
}

func (h *hook) Ask(ctx context.Context, r dps.AllocationRequest) (dps.AllocationAnswer, error) {
	h.asked <- r
	select {
	case say := <-h.answer:
		return say()
	case <-ctx.Done():
		return dps.AllocationAnswer{}, ctx.Err()
	}
}

func (h *hook) say(a dps.AllocationAnswer, err error) {
	h.answer <- func() (dps.AllocationAnswer, error) { return a, err }
}

// newCustom is a world whose group of device-001 asks the hook.
func newCustom(t *testing.T, policy *dps.ReprovisionPolicy) (*world, *hook) {
	t.Helper()
	w, h := newWorld(t), newHook()
	w.Webhook = h
	t.Cleanup(w.Close)
	w.customGroup(t, policy)
	return w, h
}

func (w *world) customGroup(t *testing.T, policy *dps.ReprovisionPolicy) {
	t.Helper()
	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hubA, hubB}}))
	_, err := w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}},
		Terms: dps.Terms{AllocationPolicy: dps.Custom, CustomAllocation: &dps.CustomAllocation{WebhookURL: "https://hooks.example/api?code=geheim"},
			InitialTwin: startTwin, ReprovisionPolicy: policy}})
	require.NoError(t, err)
}

// outcome polls an operation that is settled until it is told.
func (w *world) outcome(t *testing.T, s *dps.Session, op string) (dps.Answer, map[string]any) {
	t.Helper()
	for range 3 {
		if a := s.Poll(t.Context(), op); a.Status != 202 {
			state, ok := fields(t, a)["registrationState"].(map[string]any)
			require.True(t, ok, string(a.Body))
			return a, state
		}
	}
	t.Fatal("still assigning")
	return dps.Answer{}, nil
}

// allocate registers, answers the hook's request and returns it with the final answer.
func (w *world) allocate(t *testing.T, h *hook, c dps.Caller, body string, a dps.AllocationAnswer, err error) (dps.AllocationRequest, dps.Answer, map[string]any) {
	t.Helper()
	s := w.Open(c)
	op := operationID(t, s.Register(t.Context(), []byte(body)))
	r := <-h.asked
	require.Equal(t, 202, s.Poll(t.Context(), op).Status)
	require.Equal(t, 202, s.Poll(t.Context(), op).Status, "assigning as long as the webhook thinks")
	require.JSONEq(t, `{"registrationId":"device-001","status":"assigning"}`, string(s.Lookup(t.Context(), nil).Body))
	h.say(a, err)
	w.Settled(t.Context(), instance, "device-001")
	final, state := w.outcome(t, s, op)
	return r, final, state
}

func TestCustomAllocation(t *testing.T) {
	t.Parallel()
	w, h := newCustom(t, nil)
	device := withToken("device-001", tokenV3)
	r, final, state := w.allocate(t, h, device, `{"payload":{"model":"toaster"}}`,
		dps.AllocationAnswer{Status: 200, Hub: strings.ToUpper(hubB), InitialTwin: json.RawMessage(`{"tags":{"x":1}}`), Payload: json.RawMessage(`{"hall":3}`)}, nil)
	require.Nil(t, final.Refusal)
	require.Equal(t, "assigned", state["status"])
	require.Equal(t, hubB, state["assignedHub"])
	require.Equal(t, map[string]any{"hall": 3.0}, state["payload"])
	require.Equal(t, "https://hooks.example/api?code=geheim", r.URL)
	require.Equal(t, "g", r.Group.ID)
	require.Nil(t, r.Enrollment)
	require.Equal(t, []string{hubA, hubB}, r.LinkedHubs)
	require.JSONEq(t, `{"model":"toaster"}`, string(r.Payload))
	require.Equal(t, [3]string{"device-001", "", ""}, [3]string{r.RegistrationID, r.CurrentHub, r.CurrentDeviceID})
	require.JSONEq(t, `{"tags":{"x":1}}`, string(w.hubs.last(t).InitialTwin))
	require.Equal(t, derivedKey, w.hubs.last(t).Auth.PrimaryKey)
	events, _ := w.journal.Select(journal.Filter{Kind: journal.HTTP, Device: "device-001"})
	require.Len(t, events, 1)
	require.Equal(t, "POST https://hooks.example/api", events[0].Topic)

	// The same device again: the webhook hears where it is, and moves it; without a twin the data goes along.
	r, _, state = w.allocate(t, h, device, "", dps.AllocationAnswer{Status: 201, Hub: hubA}, nil)
	require.Equal(t, [2]string{hubB, "device-001"}, [2]string{r.CurrentHub, r.CurrentDeviceID})
	require.Nil(t, r.Payload)
	require.Equal(t, "deviceDataMigrated", state["substatus"])
	require.NotContains(t, state, "payload")
	require.Equal(t, hubB, w.hubs.last(t).From)
	require.False(t, w.hubs.last(t).Reset)
	// A twin overrides migration, on another hub and on the same one.
	_, _, state = w.allocate(t, h, device, "", dps.AllocationAnswer{Status: 200, Hub: hubB, InitialTwin: json.RawMessage(`{}`)}, nil)
	require.Equal(t, "reprovisionedToInitialAssignment", state["substatus"])
	require.True(t, w.hubs.last(t).Reset)
	_, _, state = w.allocate(t, h, device, "", dps.AllocationAnswer{Status: 200, Hub: hubB, InitialTwin: json.RawMessage(`{}`)}, nil)
	require.Equal(t, hubB, state["assignedHub"])
	require.True(t, w.hubs.last(t).Reset)
	require.Empty(t, w.hubs.last(t).From)
	rule.Proves(t, "DPS-31")
}

func TestCustomAllocationFails(t *testing.T) {
	t.Parallel()
	outbound := &rule.Refusal{Rule: "OUT-1/host", Silent: true, Seen: "hooks.example", Expected: "loopback"}
	for name, c := range map[string]struct {
		answer  dps.AllocationAnswer
		err     error
		id      rule.ID
		message string
	}{
		"status":      {dps.AllocationAnswer{Status: 500}, nil, "DPS-31/status", "Custom allocation failed with status code: 500"},
		"redirect":    {dps.AllocationAnswer{Status: 307}, nil, "DPS-31/status", "Custom allocation failed with status code: 307"},
		"unreachable": {dps.AllocationAnswer{}, errors.New("connection refused"), "DPS-31/unreachable", "did not answer"},
		"outbound":    {dps.AllocationAnswer{}, outbound, "DPS-31/outbound", "was not called"},
		"no JSON":     {dps.AllocationAnswer{Status: 200}, dps.ErrAllocationAnswer, "DPS-31/answer", "not valid"},
		"twin":        {dps.AllocationAnswer{Status: 200, Hub: hubA, InitialTwin: json.RawMessage(`{"reported":1}`)}, nil, "DPS-31/answer", "not valid"},
		"payload":     {dps.AllocationAnswer{Status: 200, Hub: hubA, Payload: json.RawMessage(`"` + strings.Repeat("x", 97<<10) + `"`)}, nil, "DPS-31/answer", "not valid"},
		"hub":         {dps.AllocationAnswer{Status: 200, Hub: "elsewhere.azure-devices.net"}, nil, "DPS-31/hub", "not linked"},
		"no hub":      {dps.AllocationAnswer{Status: 200}, nil, "DPS-31/hub", "not linked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, h := newCustom(t, nil)
			_, final, state := w.allocate(t, h, withToken("device-001", tokenV3), "", c.answer, c.err)
			require.Equal(t, 200, final.Status)
			require.Equal(t, "failed", state["status"])
			require.EqualValues(t, 400209, state["errorCode"])
			require.Contains(t, state["errorMessage"], c.message)
			require.NotContains(t, state, "assignedHub")
			require.Equal(t, c.id, final.Refusal.Rule)
			require.NotEmpty(t, final.Refusal.Seen)
			require.NotEmpty(t, final.Refusal.Expected)
			require.Zero(t, w.hubs.count())
			events, _ := w.journal.Select(journal.Filter{})
			text, err := json.Marshal(events)
			require.NoError(t, err)
			require.NotContains(t, string(text), "geheim")
			require.Contains(t, string(text), "POST https://hooks.example/api", "each call is an event")
		})
	}
}

// A policy that keeps the hub, and a disabled enrollment, ask nobody.
func TestCustomAllocationIsNotAsked(t *testing.T) {
	t.Parallel()
	w, h := newCustom(t, &dps.ReprovisionPolicy{})
	device := withToken("device-001", tokenV3)
	w.allocate(t, h, device, "", dps.AllocationAnswer{Status: 200, Hub: hubB}, nil)
	_, state := w.provision(t, device)
	require.Equal(t, hubB, state["assignedHub"])
	g, _ := w.Group(instance, "g")
	g.Disabled = true
	_, err := w.PutGroup(instance, g)
	require.NoError(t, err)
	_, state = w.provision(t, device)
	require.Equal(t, "disabled", state["status"])
	require.Empty(t, h.asked)
}

func TestCustomAllocationTellsTheAttestation(t *testing.T) {
	t.Parallel()
	w, h := newCustom(t, nil)
	leaf := issue(t, "device-001", nil)
	_, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: "device-001", DeviceID: "d1", Attestation: dps.Attestation{X509: &dps.X509{Primary: leaf.pem()}},
		Terms: dps.Terms{AllocationPolicy: dps.Custom, CustomAllocation: &dps.CustomAllocation{WebhookURL: "http://localhost/x"}, IoTHubs: []string{hubB}}})
	require.NoError(t, err)
	r, _, state := w.allocate(t, h, withChain("device-001", leaf.cert), "", dps.AllocationAnswer{Status: 200, Hub: hubB}, nil)
	require.Equal(t, "d1", state["deviceId"])
	require.Equal(t, "device-001", r.Enrollment.RegistrationID)
	require.Nil(t, r.Group)
	require.True(t, r.Leaf.Equal(leaf.cert))
	require.Equal(t, []string{hubB}, r.LinkedHubs)
}

// What waits for a webhook when the process ends is asked for again after the next start.
func TestCustomAllocationSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil))
	open := func(h *hook) (*world, *store.Store) {
		state, err := store.Open(dir, log)
		require.NoError(t, err)
		w := &world{clock: clock.New(), hubs: &hubs{lost: map[string]bool{}}, store: state}
		w.journal = journal.New(w.clock, rule.NewTable(dps.Rules), journal.Options{})
		w.Service = dps.New(dps.Config{Clock: w.clock, IDs: ids.New(1), Journal: w.journal, Store: state, Allocator: w.hubs, Webhook: h, Log: log})
		require.NoError(t, state.Err())
		return w, state
	}
	h := newHook()
	w, state := open(h)
	w.customGroup(t, nil)
	device := withToken("device-001", tokenV3)
	op := operationID(t, w.Open(device).Register(t.Context(), []byte(`{"payload":5}`)))
	<-h.asked
	w.Close()
	require.Equal(t, 429, w.Open(device).Register(t.Context(), nil).Status, "closed: nobody asks")
	require.NoError(t, state.Close())
	again, state := open(h)
	defer state.Close()
	defer again.Close()
	r := <-h.asked
	require.Equal(t, "5", string(r.Payload))
	h.say(dps.AllocationAnswer{Status: 200, Hub: hubA}, nil)
	again.Settled(t.Context(), instance, "device-001")
	_, end := again.outcome(t, again.Open(device), op)
	require.Equal(t, hubA, end["assignedHub"])
}

// Too many devices that wait are told to come later.
func TestCustomAllocationHasALimit(t *testing.T) {
	t.Parallel()
	w, h := newCustom(t, nil)
	h.asked = make(chan dps.AllocationRequest, 1000)
	device := withToken("device-001", tokenV3)
	for range 1000 {
		require.Equal(t, 202, w.Open(device).Register(t.Context(), nil).Status)
	}
	for {
		a := w.Open(device).Register(t.Context(), nil)
		if a.Status == 202 {
			continue // one whose operation is forgotten waits no more
		}
		require.Equal(t, 429, a.Status)
		require.Equal(t, 5, a.RetryAfter)
		require.Equal(t, rule.ID("DPS-31/busy"), a.Refusal.Rule)
		rule.Proves(t, "DPS-31/busy")
		break
	}
}
