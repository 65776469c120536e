package world

import (
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
)

// Profiles are the names of the profiles; docs/profiles.md says what each of them is for.
var Profiles = []string{"default", "ci", "strict", "hostile", "classroom"}

// CheckProfile says what is wrong with the name of a profile; empty is default.
func CheckProfile(name string) string {
	if name == "" || slices.Contains(Profiles, name) {
		return ""
	}
	return "it is " + oneOf(Profiles) + suggestion(name, Profiles)
}

// ProfileServe returns the settings that a profile has instead of the defaults.
func ProfileServe(name string) Serve {
	yes := true
	switch name {
	case "ci":
		return Serve{Ephemeral: &yes, ServerKey: "ecdsa", LogFormat: "json"}
	case "classroom":
		return Serve{LAN: &yes, LogLevel: "debug"}
	}
	return Serve{}
}

// WithProfile returns w with what a profile adds; what w says itself stays. seed is that of hostile's faults.
func WithProfile(w *World, name string, seed uint64) *World {
	switch name {
	case "strict":
		w = Merge(w, &World{})
		strict(w)
	case "hostile":
		return Merge(&World{Faults: hostile(seed)}, w)
	}
	return w
}

// strict turns on the limits that are off by default.
func strict(w *World) {
	yes := true
	for i := range w.Azure.Hubs {
		if w.Azure.Hubs[i].Throttle == "" {
			w.Azure.Hubs[i].Throttle = "S1"
		}
	}
	for i := range w.Azure.DPS {
		if w.Azure.DPS[i].PollLimit == nil {
			w.Azure.DPS[i].PollLimit = &yes
		}
	}
	for i := range w.MindSphere.Tenants {
		if w.MindSphere.Tenants[i].RateLimits == nil {
			w.MindSphere.Tenants[i].RateLimits = &yes
		}
	}
}

// Hostile's share of the steps, the delay, and DPS's retry-after in seconds.
const (
	hostileShare      = 0.05
	hostileDelay      = Duration(50 * time.Millisecond)
	hostileRetryAfter = 1
)

// hostile are the faults that a correct client survives: each of them happens on real networks, or is an
// answer that the services document. A PUBACK is lost with its connection, as TCP loses nothing alone.
func hostile(seed uint64) []Fault {
	delay, retryAfter := hostileDelay, hostileRetryAfter
	late, throttled := FaultAction{Delay: &delay}, FaultAction{Throttle: &retryAfter}
	var faults []Fault
	add := func(step fault.Step, kind string, action FaultAction) {
		faults = append(faults, Fault{ID: "hostile-" + strings.ReplaceAll(string(step), ".", "-") + "-" + kind,
			Match: FaultMatch{Step: string(step)}, Action: action, Probability: hostileShare, Seed: seed + uint64(len(faults))})
	}
	add(fault.Connect, "close", FaultAction{Close: true})
	add(fault.Connect, "delay", late)
	add(fault.Publish, "close", FaultAction{Close: true})
	add(fault.Publish, "delay", late)
	add(fault.Publish, "duplicate", FaultAction{Duplicate: true})
	add(fault.Puback, "close", FaultAction{Close: true})
	add(fault.DPSRegister, "throttle", throttled)
	add(fault.DPSPoll, "throttle", throttled)
	add(fault.TwinGet, "throttle", throttled)
	add(fault.TwinPatch, "throttle", throttled)
	add(fault.Method, "drop", FaultAction{Drop: true})
	return faults
}
