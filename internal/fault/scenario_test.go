package fault

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

func TestScenariosAreFaultsThatCanBeSet(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		require.NotEmpty(t, s.Platforms, s.Name)
		for _, text := range []string{s.Happens, s.Correct, s.Try} {
			require.NotEmpty(t, text, s.Name)
		}
		require.Contains(t, s.Try, ScenarioPrefix+s.Name, "the line is about this scenario")
		require.Equal(t, s.Disabled, len(s.Faults) == 0, s.Name)
		for _, f := range s.Faults {
			require.NoError(t, f.Validate(), s.Name)
			require.Equal(t, Fault{Match: Match{Step: f.Match.Step}, Action: f.Action, Count: f.Count}, f, "the id and the list of platforms choose")
		}
		found, ok := FindScenario(ScenarioPrefix + s.Name)
		require.True(t, ok)
		require.Equal(t, s.Name, found.Name)
	}
}

func TestFindScenario(t *testing.T) {
	t.Parallel()
	for device, want := range map[string]string{
		"scenario-throttled": "throttled", "scenario-throttled-7": "throttled", "scenario-twin-throttled-a-b": "twin-throttled",
		"scenario-twice/module": "twice", "demo_scenario-slow-start-3": "slow-start", "demo2_scenario-cut-off": "cut-off",
		"scenario-throttled7": "", "scenario-": "", "scenario": "", "": "", "my-scenario-throttled": "", "Scenario-throttled": "",
		"scenario-throttle": "", "scenario-throttled_0_0_2026": "",
	} {
		require.Equal(t, want, ScenarioName(device), device)
	}
}

// at reports whether something goes wrong for a device of the hub.
func at(s *Set, step Step, device string) bool {
	_, hit := s.At(Where{Step: step, Platform: iotHub, Endpoint: "hub", Device: device})
	return hit
}

func TestScenarioDevicesCountForThemselves(t *testing.T) {
	t.Parallel()
	s, j := newSet()
	for _, device := range []string{"scenario-dropped-twice", "scenario-dropped-twice-2"} {
		require.False(t, at(s, Connect, device))
		require.True(t, at(s, Publish, device))
		require.True(t, at(s, Publish, device))
		require.False(t, at(s, Publish, device), "twice")
		require.False(t, at(s, Publish, "meter-1"))
	}
	_, hit := s.At(Where{Step: Publish, Platform: edge, Endpoint: "gw", Device: "scenario-dropped-twice"})
	require.True(t, hit, "another platform begins anew")
	events, _ := j.Select(journal.Filter{Kind: journal.Fault})
	require.Len(t, events, 5)
	require.Equal(t, `scenario dropped-twice, time 2 of 2 at publish: {"close":true}`, events[1].Detail)
	require.Equal(t, map[string]string{"scenario": "dropped-twice"}, events[1].Properties)

	s.Clear()
	require.Len(t, s.ScenarioDevices(), 3, "what was set is cleared, what an id means is not")
	s.Restart(func(device string) bool { return device == "scenario-dropped-twice-2" })
	require.False(t, at(s, Connect, "scenario-dropped-twice-2"))
	require.True(t, at(s, Publish, "scenario-dropped-twice-2"))
	require.False(t, at(s, Publish, "scenario-dropped-twice"))
}

// A fault that was set comes before what the id means.
func TestFaultsThatAreSetComeFirst(t *testing.T) {
	t.Parallel()
	s, _ := newSet()
	_, err := s.Put(parse(t, `{"match":{"step":"publish"},"action":{"drop":true},"count":1}`))
	require.NoError(t, err)
	require.False(t, at(s, Connect, "scenario-dropped-twice"))
	a, _ := s.At(Where{Step: Publish, Platform: iotHub, Device: "scenario-dropped-twice"})
	require.True(t, a.Drop)
	a, _ = s.At(Where{Step: Publish, Platform: iotHub, Device: "scenario-dropped-twice"})
	require.True(t, a.Close)
}

// Nobody else pays: as long as no scenario device has come, nothing is looked at but a flag.
func TestScenariosCostOthersNothing(t *testing.T) {
	s, _ := newSet()
	at(s, Connect, "meter-1")
	require.True(t, s.Idle())
	require.True(t, s.Spares("scenario-dropped-twice"), "it has not connected")
	at(s, Connect, "scenario-dropped-twice")
	require.False(t, s.Idle())
	require.True(t, s.Spares("meter-1"))
	require.False(t, s.Spares("scenario-dropped-twice"))
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Spares("a-meter-with-a-rather-long-name/module") }))
	s.Restart(func(string) bool { return true })
	require.True(t, s.Idle())
}

// However many ids clients make up, what is remembered is bounded.
func TestScenarioDevicesAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := newSet()
	for i := range maxMet + 100 {
		at(s, Connect, fmt.Sprintf("scenario-twice-%d", i))
	}
	require.Len(t, s.ScenarioDevices(), maxMet)
}

func BenchmarkSpares(b *testing.B) {
	for _, met := range []bool{false, true} {
		b.Run(fmt.Sprintf("met=%t", met), func(b *testing.B) {
			s, _ := newSet()
			if met {
				at(s, Connect, "scenario-twice")
			}
			for b.Loop() {
				s.Spares("meter-00042")
			}
		})
	}
}
