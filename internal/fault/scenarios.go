package fault

import "time"

// The platforms, as the journal names them.
const (
	dps        = "dps"
	iotHub     = "iothub"
	mindSphere = "mindsphere"
	iotDA      = "iotda"
	edge       = "edge"
)

var everywhere = []string{dps, iotHub, edge, mindSphere, iotDA}

// What the scenarios use.
const (
	slowStart    = 5 * time.Second
	shortToken   = 5 * time.Second
	throttleWait = 2
)

// with makes one fault of a scenario; no count is always.
func with(step Step, count int, a Action) Fault {
	return Fault{Match: Match{Step: step}, Action: a, Count: count}
}

func number(n int) *int { return &n }

func span(d time.Duration) *Duration { v := Duration(d); return &v }

// scenarios is the one list: the command, the admin API, explain and docs/scenarios.md read it.
var scenarios = []Scenario{
	{
		Name: "three-polls", Platforms: []string{dps},
		Happens: "each registration is assigning for two polls and assigned at the third",
		Correct: "polls the operation again after each retry-after until the status is no longer assigning",
		Try:     "fakecloud device azure --id scenario-three-polls --count 1",
		Faults:  []Fault{with(DPSRegister, 0, Action{Rounds: number(2)})},
	},
	{
		Name: "throttled", Platforms: []string{dps},
		Happens: "the first two register requests are answered 429 with retry-after 2, then it goes on as usual",
		Correct: "waits the retry-after and sends the request again",
		Try:     "fakecloud device azure --id scenario-throttled --count 1",
		Faults:  []Fault{with(DPSRegister, 2, Action{Throttle: number(throttleWait)})},
	},
	{
		Name: "polls-throttled", Platforms: []string{dps},
		Happens: "the first two polls are answered 429 with retry-after 2",
		Correct: "keeps the operation id, waits the retry-after and polls again; it does not register anew",
		Try:     "fakecloud device azure --id scenario-polls-throttled --count 1",
		Faults:  []Fault{with(DPSPoll, 2, Action{Throttle: number(throttleWait)})},
	},
	{
		Name: "server-error", Platforms: []string{dps, iotHub},
		Happens: "the first two register requests are answered 500, and at the hub the first two reads and reports of the twin",
		Correct: "takes a 5xx for a passing error and sends the request again, later each time",
		Try:     "fakecloud device azure --id scenario-server-error --count 1",
		Faults:  []Fault{with(DPSRegister, 2, Action{Code: number(500)}), with(TwinGet, 2, Action{Code: number(500)}), with(TwinPatch, 2, Action{Code: number(500)})},
	},
	{
		Name: "answer-lost", Platforms: []string{dps, iotHub},
		Happens: "the first register request is acknowledged and never answered, and at the hub the first read and the first report of the twin",
		Correct: "does not wait for an answer for ever, and sends the request again",
		Try:     "fakecloud device azure --id scenario-answer-lost --count 1",
		Faults:  []Fault{with(DPSRegister, 1, Action{Drop: true}), with(TwinGet, 1, Action{Drop: true}), with(TwinPatch, 1, Action{Drop: true})},
	},
	{
		Name: "twin-throttled", Platforms: []string{iotHub},
		Happens: "the first two reads and the first two reports of the twin are answered 429",
		Correct: "repeats the request later, and goes on sending telemetry meanwhile",
		Try:     "fakecloud device azure --id scenario-twin-throttled --count 1",
		Faults:  []Fault{with(TwinGet, 2, Action{Throttle: number(throttleWait)}), with(TwinPatch, 2, Action{Throttle: number(throttleWait)})},
	},
	{
		Name: "method-lost", Platforms: []string{iotHub},
		Happens: "the first call of a direct method is lost on its way to the device; the caller sees a time-out",
		Correct: "has nothing to do: the caller calls again",
		Try:     "fakecloud device azure --id scenario-method-lost --count 0",
		Faults:  []Fault{with(Method, 1, Action{Drop: true})},
	},
	{
		Name: "disabled", Platforms: []string{dps, iotHub, edge, iotDA},
		Happens:  "it is registered and disabled: DPS ends the registration with status disabled, IoT Hub answers CONNECT with 3, an Edge gateway with 5, IoTDA with 5 (frozen)",
		Correct:  "reports it, and tries again seldom: somebody may enable the device",
		Try:      "fakecloud device azure --id scenario-disabled --count 1",
		Disabled: true,
	},
	{
		Name: "refused", Platforms: []string{iotHub, edge, iotDA},
		Happens: "every CONNECT is answered 5, not authorized",
		Correct: "does not hammer: later each time, and it says so where somebody sees it",
		Try:     "fakecloud device iotda --id demo_scenario-refused --count 1",
		Faults:  []Fault{with(Connect, 0, Action{Code: number(5)})},
	},
	{
		Name: "unavailable", Platforms: []string{dps, iotHub, edge, iotDA},
		Happens: "the first two CONNECTs are answered 3, server unavailable",
		Correct: "connects again, later each time",
		Try:     "fakecloud device iotda --id demo_scenario-unavailable --count 1",
		Faults:  []Fault{with(Connect, 2, Action{Code: number(3)})},
	},
	{
		Name: "no-connack", Platforms: everywhere,
		Happens: "the first two connections close without a CONNACK",
		Correct: "connects again, later each time",
		Try:     "fakecloud device mindsphere --id scenario-no-connack --count 1",
		Faults:  []Fault{with(Connect, 2, Action{Close: true})},
	},
	{
		Name: "slow-start", Platforms: everywhere,
		Happens: "the first CONNECT is answered five seconds late",
		Correct: "waits for the answer, and does not open a second connection meanwhile",
		Try:     "fakecloud device edge --id scenario-slow-start --count 1",
		Faults:  []Fault{with(Connect, 1, Action{Delay: span(slowStart)})},
	},
	{
		Name: "dropped-twice", Platforms: everywhere,
		Happens: "the connection closes at its first message, which is not taken; twice (at DPS that is the register request)",
		Correct: "connects again and sends the message again",
		Try:     "fakecloud device azure --id scenario-dropped-twice --count 1",
		Faults:  []Fault{with(Publish, 2, Action{Close: true})},
	},
	{
		Name: "cut-off", Platforms: everywhere,
		Happens: "the first message is taken, and the connection closes instead of its PUBACK; twice",
		Correct: "sends it again on the next connection: it arrives more than once, and never not at all",
		Try:     "fakecloud device edge --id scenario-cut-off --count 1",
		Faults:  []Fault{with(Puback, 2, Action{Close: true})},
	},
	{
		Name: "lost-puback", Platforms: everywhere,
		Happens: "the first message is taken and its PUBACK never comes; the connection stays",
		Correct: "does not wait for ever: it connects again after a while, and sends the message again",
		Try:     "fakecloud device iotda --id demo_scenario-lost-puback --count 1",
		Faults:  []Fault{with(Puback, 1, Action{Drop: true})},
	},
	{
		Name: "twice", Platforms: everywhere,
		Happens: "every message to the device comes twice: answers, commands, cloud-to-device messages",
		Correct: "acknowledges both, acts once, and overlooks an answer that it does not wait for",
		Try:     "fakecloud device azure --id scenario-twice --count 1",
		Faults:  []Fault{with(Deliver, 0, Action{Duplicate: true})},
	},
	{
		Name: "expires-5s", Platforms: []string{iotHub, mindSphere},
		Happens: "at the hub a connection by SAS token ends after five seconds as at its token's end; a MindSphere agent's access token is good for five seconds",
		Correct: "makes a new token and connects with it; reads expires_in and asks for the next token in time",
		Try:     "fakecloud device azure --connection-string 'HostName=fakecloud-hub.azure-devices.net;DeviceId=scenario-expires-5s;SharedAccessKey=" + ScenarioKey + "' --count 10",
		Faults:  []Fault{with(Token, 0, Action{Expire: span(shortToken)})},
	},
	{
		Name: "upstream-lost", Platforms: []string{edge},
		Happens: "the first three batches from the gateway to its hub are lost on the way",
		Correct: "has nothing to do: the gateway has acknowledged, and sends again; the hub gets every message in order",
		Try:     "fakecloud device edge --id scenario-upstream-lost",
		Faults:  []Fault{with(EdgeUpstream, 3, Action{Drop: true})},
	},
}
