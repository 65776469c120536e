package fault

import "slices"

// Step is a named point of a flow.
type Step string

// The steps.
const (
	TLS         Step = "tls" // the handshake, when the client has said which name it wants
	Connect     Step = "connect"
	Subscribe   Step = "subscribe"
	Publish     Step = "publish" // a message from the device, before it is judged
	Puback      Step = "puback"  // its acknowledgement: the message is committed already
	Deliver     Step = "deliver" // a message to the device
	DPSRegister Step = "dps.register"
	DPSPoll     Step = "dps.poll"
	TwinGet     Step = "twin.get"
	TwinPatch   Step = "twin.patch"
	Method      Step = "method"
	// Token is where a credential's end is fixed: a connection by SAS token at a hub, or the access token
	// that a MindSphere agent is given.
	Token Step = "token"
	// EdgeUpstream is what an Edge gateway sends to its hub: a dropped batch is tried again later.
	EdgeUpstream Step = "edge.upstream"
	// Hub is all that comes to an IoT Hub, whatever its protocol: the hub as a whole.
	Hub Step = "hub"
)

// place is what can go wrong at a step, and where the step is.
type place struct {
	kinds     []string
	platforms []string // that have the step; nil: all of them
}

var places = map[Step]place{
	TLS:          {kinds: []string{serverCert, closing, reset, drop, halfOpen, slow, delay}},
	Connect:      {kinds: []string{code, closing, reset, drop, halfOpen, slow, delay}},
	Subscribe:    {kinds: []string{code, closing, reset, drop, halfOpen, slow, delay}},
	Publish:      {kinds: []string{closing, reset, drop, duplicate, reorder, halfOpen, slow, delay}},
	Puback:       {kinds: []string{closing, reset, drop, halfOpen, slow, delay}},
	Deliver:      {kinds: []string{closing, reset, drop, duplicate, reorder, halfOpen, slow, delay}},
	DPSRegister:  {[]string{code, throttle, rounds, drop}, []string{dps}},
	DPSPoll:      {[]string{code, throttle, drop}, []string{dps}},
	TwinGet:      {[]string{code, throttle, drop}, []string{iotHub}},
	TwinPatch:    {[]string{code, throttle, drop}, []string{iotHub}},
	Method:       {[]string{drop}, []string{iotHub}},
	Token:        {[]string{expire}, []string{iotHub, mindSphere}},
	EdgeUpstream: {[]string{drop}, []string{edge}},
	Hub:          {[]string{failover}, []string{iotHub}},
}

// arm is the Azure Resource Manager's host name, which step tls knows beside the platforms.
const arm = "arm"

// happensOn reports whether a platform has a step.
func happensOn(s Step, platform string) bool {
	on := places[s].platforms
	return on == nil || slices.Contains(on, platform)
}

// Steps lists the steps in order.
func Steps() []string {
	steps := make([]string, 0, len(places))
	for s := range places {
		steps = append(steps, string(s))
	}
	slices.Sort(steps)
	return steps
}

// Actions lists what can go wrong at a step, nil for one that is none.
func Actions(s Step) []string { return slices.Clone(places[s].kinds) }
