package world

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/fault"
)

// What the schema lists is what the judge takes.
func TestFaultsAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	for _, f := range fieldsOf(reflect.TypeFor[FaultMatch]()) {
		if f.key == "step" {
			require.Equal(t, fault.Steps(), f.enum)
		}
	}
	for _, f := range fieldsOf(reflect.TypeFor[FaultAction]()) {
		if f.key == "servercert" {
			require.Equal(t, fault.ServerCerts, f.enum)
		}
	}
}

// A fault of an id that is there already takes its place as a whole; those without an id add up.
func TestFaultsMergeWhole(t *testing.T) {
	t.Parallel()
	w, err := Parse("w", []byte(`faults: [{id: a, match: {step: publish, device: x}, action: {drop: true}, count: 2}, {match: {step: puback}, action: {drop: true}}]
---
faults: [{id: a, match: {step: publish}, action: {close: true}}, {match: {step: puback}, action: {close: true}}]`))
	require.NoError(t, err)
	require.Equal(t, []Fault{
		{ID: "a", Match: FaultMatch{Step: "publish"}, Action: FaultAction{Close: true}},
		{Match: FaultMatch{Step: "puback"}, Action: FaultAction{Drop: true}},
		{Match: FaultMatch{Step: "puback"}, Action: FaultAction{Close: true}},
	}, w.Faults)
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	w, err := Parse("w", []byte("faults:\n"+strings.Repeat("  - {match: {step: puback}, action: {drop: true}}\n", fault.Most+1)))
	require.NoError(t, err)
	require.ErrorContains(t, Validate(w), "faults: there are 1001; at most 1000 are taken")
}

// What Format writes of a fault without limits is read again: it leaves out what Parse refuses as a zero that is written.
func TestFaultsWithoutLimitsAreReadAgain(t *testing.T) {
	t.Parallel()
	const text = "faults: [{id: a, match: {step: publish}, action: {drop: true}}]"
	w, err := Parse("w", []byte(text))
	require.NoError(t, err)
	again, err := Parse("again", Format(w))
	require.NoError(t, err)
	require.Equal(t, w.Faults, again.Faults)
	_, err = Parse("w", []byte(strings.Replace(text, "}}]", "}, count: &none 0}]", 1)))
	require.ErrorContains(t, err, "w:1:71: faults[a].count: it is at least 1, or left out for no limit")
}
