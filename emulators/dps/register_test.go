package dps_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// DPS-9, DPS-12, DPS-13: the three answers of a flow, with every field in the service's order.
func TestFlowAnswersAsMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "demo-symmetric", groupKey)
	s := w.Open(withToken("device-001", tokenV3))

	first := s.Register(t.Context(), nil)
	require.Equal(t, 202, first.Status)
	require.Equal(t, 3, first.RetryAfter)
	require.Nil(t, first.Refusal)
	require.Len(t, first.Body, 94)
	op := operationID(t, first)
	require.Regexp(t, `^4\.[0-9a-f]{16}\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, op)
	require.Equal(t, `{"operationId":"`+op+`","status":"assigning"}`, string(first.Body))

	second := s.Poll(t.Context(), op)
	require.Equal(t, 202, second.Status)
	require.Equal(t, 3, second.RetryAfter)
	require.Equal(t, `{"operationId":"`+op+`","status":"assigning","registrationState":{"registrationId":"device-001","status":"assigning"}}`, string(second.Body))

	third := s.Poll(t.Context(), op)
	require.Equal(t, 200, third.Status)
	require.Zero(t, third.RetryAfter)
	const at = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z`
	require.Regexp(t, `^\{"operationId":"`+regexp.QuoteMeta(op)+`","status":"assigned","registrationState":\{`+
		`"symmetricKey":\{"enrollmentGroupId":"demo-symmetric"\},"registrationId":"device-001","createdDateTimeUtc":"`+at+`",`+
		`"assignedHub":"fakecloud-hub\.azure-devices\.net","deviceId":"device-001","status":"assigned","substatus":"initialAssignment",`+
		`"lastUpdatedDateTimeUtc":"`+at+`","etag":"([A-Za-z0-9+/=]+)"\}\}$`, string(third.Body))
	state := fields(t, third)["registrationState"].(map[string]any)
	tag, err := base64.StdEncoding.DecodeString(state["etag"].(string))
	require.NoError(t, err)
	require.Regexp(t, `^"[0-9a-f]{8}-0000-0100-0000-[0-9a-f]{12}"$`, string(tag))

	again := s.Poll(t.Context(), op)
	require.Equal(t, third.Body, again.Body, "a final answer stays")

	events, _ := w.journal.Select(journal.Filter{Kind: journal.Provisioned})
	require.Len(t, events, 1)
	require.Equal(t, "fakecloud-dps", events[0].Endpoint)
	require.Equal(t, "device-001", events[0].Device)
	require.EqualValues(t, 7, events[0].Conn)
	require.Equal(t, hub, events[0].Properties["hub"])
	require.Equal(t, "demo-symmetric", events[0].Properties["enrollmentGroupId"])
	require.Contains(t, events[0].Detail, "enrollment group demo-symmetric")
}

// DPS-12: how long assigning lasts is the instance's, by polls and by the clock.
func TestRounds(t *testing.T) {
	t.Parallel()
	for _, rounds := range []int{0, 1, 4} {
		w := newWorld(t)
		w.enrollGroupKey(t, "g", groupKey)
		require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hub}, Rounds: &rounds, RetryAfter: 1}))
		s := w.Open(withToken("device-001", tokenV3))
		op := operationID(t, s.Register(t.Context(), nil))
		for n := range rounds {
			a := s.Poll(t.Context(), op)
			require.Equal(t, 202, a.Status, "poll %d of %d", n, rounds)
			require.Equal(t, 1, a.RetryAfter)
		}
		require.Equal(t, 200, s.Poll(t.Context(), op).Status)
	}
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	s := w.Open(withToken("device-001", tokenV3))
	op := operationID(t, s.Register(t.Context(), nil))
	require.NoError(t, w.clock.Advance(30*time.Second))
	require.Equal(t, 200, s.Poll(t.Context(), op).Status, "after a while the first poll is final")
}

// DPS-10 and DPS-11.
func TestRegisterBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	s := w.Open(withToken("device-001", tokenV3))
	for _, body := range []string{"", " ", "{}", `{"registrationId":"device-001"}`, `{"registrationId":"DEVICE-001","payload":[1,{"a":null}]}`,
		`{"payload":"x"}`, `{ "registrationId":"device-001", "tpm":{} }`} {
		a := s.Register(t.Context(), []byte(body))
		require.Equal(t, 202, a.Status, body)
		require.Nil(t, a.Refusal)
	}
	for body, id := range map[string]rule.ID{
		"{":        "DPS-11/json",
		"hello":    "DPS-11/json",
		"[]":       "DPS-11/json",
		"\xff\xfe": "DPS-11/json",
		`{"payload":` + strings.Repeat("[", 5000): "DPS-11/json",
		`{"registrationId":"device-002"}`:         "DPS-11/registration-id",
		strings.Repeat(" ", 96<<10+1):             "DPS-11/size",
	} {
		a := s.Register(t.Context(), []byte(body))
		require.Equal(t, 400, a.Status)
		require.Equal(t, id, a.Refusal.Rule)
		requireErrorBody(t, a, 400000)
	}
	require.Equal(t, 202, s.Register(t.Context(), []byte(strings.Repeat(" ", 96<<10))).Status, "96 KB are allowed")
}

// requireErrorBody is DPS-45.
func requireErrorBody(t *testing.T, a dps.Answer, code int) {
	t.Helper()
	require.Regexp(t, fmt.Sprintf(`^\{"errorCode":%d,"trackingId":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}","message":"[^"]+",`+
		`"timestampUtc":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"\}$`, code), string(a.Body))
	require.Equal(t, code/1000, a.Status)
}

// DPS-14, DPS-33: operations are known to their device only, for a time, and not without end.
func TestPollUnknownOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	w.enrollKeys(t, "Meter-01", individualKey, "")
	s := w.Open(withToken("device-001", tokenV3))
	other := w.Open(withToken("Meter-01", tokenV5))
	op := operationID(t, s.Register(t.Context(), nil))
	require.Equal(t, 202, other.Register(t.Context(), nil).Status)

	unknown := func(a dps.Answer) {
		t.Helper()
		requireErrorBody(t, a, 404203)
		require.Equal(t, "Operation not found.", fields(t, a)["message"])
		require.EqualValues(t, "DPS-14/operation", a.Refusal.Rule)
	}
	unknown(s.Poll(t.Context(), "4.0000000000000000.00000000-0000-4000-8000-000000000000"))
	unknown(other.Poll(t.Context(), op))
	missing := s.Poll(t.Context(), "")
	requireErrorBody(t, missing, 400000)
	require.EqualValues(t, "DPS-14/missing", missing.Refusal.Rule)

	require.Equal(t, 202, s.Poll(t.Context(), op).Status)
	for range 8 {
		require.NotEqual(t, op, operationID(t, s.Register(t.Context(), nil)), "every register starts a new operation")
	}
	unknown(s.Poll(t.Context(), op))
	latest := operationID(t, s.Register(t.Context(), nil))
	require.NoError(t, w.clock.Advance(time.Hour))
	unknown(s.Poll(t.Context(), latest))
}

// A connection that has not registered proves itself at its first poll.
func TestPollFromAnotherConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	op := operationID(t, w.Open(withToken("device-001", tokenV3)).Register(t.Context(), nil))
	require.Equal(t, 202, w.Open(withToken("device-001", tokenV3)).Poll(t.Context(), op).Status)
	a := w.Open(withToken("device-001", tokenV4)).Poll(t.Context(), op)
	require.Equal(t, 401, a.Status)
	require.EqualValues(t, "DPS-16/expired", a.Refusal.Rule)
	stranger := withToken("device-001", tokenV3)
	stranger.Scope = "0neOTHER"
	require.EqualValues(t, "DPS-26/scope", w.Open(stranger).Poll(t.Context(), op).Refusal.Rule)
}

// DPS-27, and the initial twin: given once, and again when the hub has lost the device.
func TestRegisterAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twin := json.RawMessage(`{"tags":{"site":"A"},"properties":{"desired":{"rate":5}}}`)
	_, err := w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}},
		Terms: dps.Terms{InitialTwin: twin, Capabilities: dps.Capabilities{IoTEdge: true}}})
	require.NoError(t, err)
	_, before := w.provision(t, withToken("device-001", tokenV3))
	first := w.hubs.last(t)
	require.JSONEq(t, string(twin), string(first.InitialTwin))
	require.True(t, first.Capabilities.IoTEdge)
	require.Equal(t, hub, first.Hub)
	require.Equal(t, derivedKey, first.Auth.PrimaryKey)
	require.Empty(t, first.Auth.SHA256)

	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hub, "b.azure-devices.net", "c.azure-devices.net", "d.azure-devices.net"}}))
	_, after := w.provision(t, withToken("device-001", tokenV3))
	require.Equal(t, before["createdDateTimeUtc"], after["createdDateTimeUtc"])
	require.Equal(t, hub, after["assignedHub"])
	require.Equal(t, before["deviceId"], after["deviceId"])
	require.Equal(t, "initialAssignment", after["substatus"])
	require.NotEqual(t, before["etag"], after["etag"])
	require.Nil(t, w.hubs.last(t).InitialTwin)

	w.hubs.lost["device-001"] = true
	w.provision(t, withToken("device-001", tokenV3))
	require.JSONEq(t, string(twin), string(w.hubs.last(t).InitialTwin))

	require.True(t, w.DeleteRegistration(instance, "DEVICE-001"))
	_, fresh := w.provision(t, withToken("device-001", tokenV3))
	require.NotEqual(t, before["createdDateTimeUtc"], fresh["createdDateTimeUtc"])
}

// DPS-13/no-hub: the poll is 200 with status failed.
func TestNoHub(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*world){
		"none linked": func(w *world) { _ = w.PutInstance(dps.Instance{Name: instance, IDScope: scope}) },
		"none allowed": func(w *world) {
			_, _ = w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}}, Terms: dps.Terms{IoTHubs: []string{"other.azure-devices.net"}}})
		},
		"hub refuses": func(w *world) { w.hubs.fail = errBroken },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.enrollGroupKey(t, "g", groupKey)
			breakIt(w)
			final, state := w.provision(t, withToken("device-001", tokenV3))
			require.EqualValues(t, "DPS-13/no-hub", final.Refusal.Rule)
			require.Equal(t, "failed", fields(t, final)["status"])
			require.Equal(t, "failed", state["status"])
			require.EqualValues(t, 400208, state["errorCode"])
			require.NotEmpty(t, state["errorMessage"])
			require.NotContains(t, state, "assignedHub")
			require.NotContains(t, state, "deviceId")
			reg, ok := w.Registration(instance, "device-001")
			require.True(t, ok)
			require.Equal(t, "failed", reg.Status)
		})
	}
}

// DPS-24: disabled, individual and group.
func TestDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	_, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: "device-001", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: derivedKey}}, Terms: dps.Terms{Disabled: true}})
	require.NoError(t, err)
	final, state := w.provision(t, withToken("device-001", tokenV3))
	require.EqualValues(t, "DPS-24/disabled", final.Refusal.Rule)
	require.Equal(t, "disabled", fields(t, final)["status"])
	require.Equal(t, "disabled", state["status"])
	require.NotContains(t, state, "assignedHub")
	require.Zero(t, w.hubs.count(), "the enabled group must not admit it")
	require.Len(t, w.Registrations(instance), 1, "the record is visible")

	w.refused(t, withToken("device-001", tokenV5), 401000, "DPS-15/resource")

	require.True(t, w.DeleteEnrollment(instance, "device-001"))
	final, _ = w.provision(t, withToken("device-001", tokenV3))
	require.Nil(t, final.Refusal, "now the group decides")
	_, err = w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}}, Terms: dps.Terms{Disabled: true}})
	require.NoError(t, err)
	final, _ = w.provision(t, withToken("device-001", tokenV3))
	require.Contains(t, final.Refusal.Seen, "enrollment group g")
}

// The door one came through is handed over instead of the hub's name, to that caller only.
func TestAssignedHubFollowsTheDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	local := withToken("device-001", tokenV3)
	local.Door = "127.0.0.1"
	_, state := w.provision(t, local)
	require.Equal(t, "127.0.0.1", state["assignedHub"])
	reg, _ := w.Registration(instance, "device-001")
	require.Equal(t, hub, reg.AssignedHub)
	_, state = w.provision(t, withToken("device-001", tokenV3))
	require.Equal(t, hub, state["assignedHub"])
}

func TestAllocation(t *testing.T) {
	t.Parallel()
	names := []string{"a.azure-devices.net", "b.azure-devices.net", "c.azure-devices.net"}
	w := newWorld(t)
	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: names}))
	where := map[string]int{}
	for n := range 60 {
		id := fmt.Sprintf("dev-%d", n)
		leaf := issue(t, id, nil)
		_, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: id, Attestation: dps.Attestation{X509: &dps.X509{Primary: leaf.pem()}}})
		require.NoError(t, err)
		_, state := w.provision(t, withChain(id, leaf.cert))
		where[state["assignedHub"].(string)]++
		require.True(t, w.DeleteRegistration(instance, id))
		_, again := w.provision(t, withChain(id, leaf.cert))
		require.Equal(t, state["assignedHub"], again["assignedHub"], "hashing is stable")
	}
	require.Len(t, where, 3)
	for _, name := range names {
		require.Greater(t, where[name], 8, "evenly")
	}

	leaf := issue(t, "dev-s", nil)
	for policy, want := range map[dps.AllocationPolicy]string{dps.Static: "c.azure-devices.net", dps.GeoLatency: ""} {
		_, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: "dev-s", Attestation: dps.Attestation{X509: &dps.X509{Primary: leaf.pem()}},
			Terms: dps.Terms{AllocationPolicy: policy, IoTHubs: []string{"C.azure-devices.net", "b.azure-devices.net"}}})
		require.NoError(t, err)
		w.DeleteRegistration(instance, "dev-s")
		_, state := w.provision(t, withChain("dev-s", leaf.cert))
		got := strings.ToLower(state["assignedHub"].(string))
		require.NotEqual(t, "a.azure-devices.net", got)
		if want != "" {
			require.Equal(t, want, got)
		}
	}
}

// Many devices, and one device many times, at once.
func TestConcurrentRegistrations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	w.enrollKeys(t, "Meter-01", individualKey, "")
	var wait sync.WaitGroup
	for _, c := range []dps.Caller{withToken("device-001", tokenV3), withToken("Meter-01", tokenV5), withToken("Meter-01", tokenV6)} {
		for range 4 {
			wait.Go(func() {
				s := w.Open(c)
				for range 20 {
					s.Poll(t.Context(), operationOf(s.Register(t.Context(), nil)))
				}
			})
		}
	}
	wait.Wait()
	require.Len(t, w.Registrations(instance), 2)
	require.Equal(t, 240, w.hubs.count())
}

func operationOf(a dps.Answer) string {
	var body struct{ OperationID string }
	_ = json.Unmarshal(a.Body, &body)
	return body.OperationID
}

// A device that the Allocator refuses by a rule is told of a failure, and the journal of the rule.
func TestAllocatorRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	w.hubs.fail = &rule.Refusal{Rule: "MS-14/prefix", Silent: true, Detail: "another's name", Seen: "x", Expected: "y"}
	final, state := w.provision(t, withToken("device-001", tokenV3))
	require.Equal(t, &rule.Refusal{Rule: "MS-14/prefix", Code: 200, Detail: "another's name", Seen: "x", Expected: "y"}, final.Refusal)
	require.Equal(t, "failed", state["status"])
	require.Equal(t, "The device was not allocated to an IoT hub.", state["errorMessage"], "the rule is no device's business")
	w.hubs.fail = nil
	_, state = w.provision(t, withToken("device-001", tokenV3))
	require.Equal(t, "assigned", state["status"])
}
