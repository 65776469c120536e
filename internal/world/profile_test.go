package world

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/fault"
)

func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, f := range fieldsOf(reflect.TypeFor[Serve]()) {
		if f.key == "profile" {
			require.Equal(t, Profiles, f.enum)
		}
	}
	require.Empty(t, CheckProfile(""))
	require.Empty(t, CheckProfile("ci"))
	require.Equal(t, "it is one of default, ci, strict, hostile, classroom; did you mean strict?", CheckProfile("stric"))
	before := string(Format(Default()))
	for _, same := range []string{"", "default", "ci", "classroom"} {
		require.Equal(t, before, string(Format(WithProfile(Default(), same, 1))), same)
	}
}

func TestStrictKeepsWhatTheWorldSays(t *testing.T) {
	t.Parallel()
	given, err := Parse("w", []byte("azure: {hubs: [{name: a}, {name: b, throttle: S3}], dps: [{name: c}, {name: d, pollLimit: false}]}\n"+
		"mindsphere: {tenants: [{name: e}, {name: f, rateLimits: false}]}"))
	require.NoError(t, err)
	before := string(Format(given))
	w := WithProfile(given, "strict", 1)
	require.Equal(t, before, string(Format(given)), "the world that was given is left alone")
	require.Equal(t, []string{"S1", "S3"}, []string{w.Azure.Hubs[0].Throttle, w.Azure.Hubs[1].Throttle})
	require.Equal(t, []bool{true, false}, []bool{*w.Azure.DPS[0].PollLimit, *w.Azure.DPS[1].PollLimit})
	require.Equal(t, []bool{true, false}, []bool{*w.MindSphere.Tenants[0].RateLimits, *w.MindSphere.Tenants[1].RateLimits})
}

// Every fault of hostile is one that the admin API would take, and the world's own of the same id wins.
func TestHostileFaults(t *testing.T) {
	t.Parallel()
	given, err := Parse("w", []byte("faults: [{id: hostile-publish-close, match: {step: publish}, action: {drop: true}, count: 1}]"))
	require.NoError(t, err)
	w := WithProfile(given, "hostile", 7)
	require.Len(t, w.Faults, len(hostile(7)))
	steps := map[fault.Step]bool{}
	for i, f := range w.Faults {
		require.NoError(t, f.Fault().Validate(), f.ID)
		steps[fault.Step(f.Match.Step)] = true
		if f.ID == "hostile-publish-close" {
			require.Equal(t, given.Faults[0], f)
			continue
		}
		require.Equal(t, uint64(7+i), f.Seed)
	}
	for _, step := range []fault.Step{fault.Connect, fault.Publish, fault.Puback, fault.DPSRegister, fault.Method, fault.TwinPatch} {
		require.True(t, steps[step], step)
	}
}
