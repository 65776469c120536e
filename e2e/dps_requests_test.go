package e2e

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func enrolled(t *testing.T, cloud *fakecloud.Cloud, id string) enrollee {
	t.Helper()
	return enrollee{id: id, via: via{cert: device(t, cloud, id)}}
}

func TestDPSSubscribe(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := dial(t, cloud, via{name: globalDPS})
	send(t, c, enrollee{id: "dev-1", token: ptr("x")}.connect().Bytes())
	wantConnack(t, c, 0)
	for asked, granted := range map[byte]byte{0: 0, 1: 1, 2: 1} {
		send(t, c, rawmqtt.Subscribe(3, asked, answers))
		wantBytes(t, c, 0x90, 0x03, 0x00, 0x03, granted)
	}
	rule.Proves(t, "DPS-6")
	filters := []string{"#", "$dps/registrations/res/200/#", "$dps/#", "$dps/registrations/res/+/#", "$dps/registrations/res", "+/registrations/res/#", "devices/dev-1/#"}
	for _, filter := range filters {
		send(t, c, rawmqtt.Subscribe(4, 1, filter))
		wantBytes(t, c, 0x90, 0x03, 0x00, 0x04, 0x80)
		wantAlive(t, c)
	}
	refused(t, cloud, "DPS-7/filter")
	require.Len(t, cloud.Events(fakecloud.Filter{Rule: "DPS-7/filter"}), len(filters))
	// A refused filter does not cost the good one beside it.
	send(t, c, rawmqtt.Subscribe(5, 1, "#", answers))
	wantBytes(t, c, 0x90, 0x04, 0x00, 0x05, 0x80, 0x01)
	send(t, c, rawmqtt.Unsubscribe(6, answers)) // as the Node SDK does before it leaves
	wantBytes(t, c, 0xb0, 0x02, 0x00, 0x06)
}

func TestDPSRegisterBeforeSubscribe(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := dial(t, cloud, via{name: globalDPS, cert: device(t, cloud, "eager")})
	send(t, c, enrollee{id: "eager"}.connect().Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "", 1, 9, false))
	wantBytes(t, c, 0x40, 0x02, 0x00, 0x09)
	wantAlive(t, c) // the answer would have come first
	refused(t, cloud, "DPS-6/unsubscribed")
	require.Len(t, cloud.Events(fakecloud.Filter{Kind: "provisioned", Device: "eager"}), 1, "the request was carried out")
}

// The trace in Microsoft's IoT Central tutorial gives the sizes of both bodies for this registration id.
func TestDPSFlow(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := enrolled(t, cloud, "sample-device-01").open(t, cloud)

	p := request(t, c, "$dps/registrations/PUT/iotdps-register/?$rid=abc-1", `{"registrationId":"sample-device-01"}`) // DPS-8: PUBACK first
	require.Equal(t, "$dps/registrations/res/202/?$rid=abc-1&retry-after=3", p.Topic())
	require.Regexp(t, assigning, p.Payload())
	require.Len(t, p.Payload(), 94)
	rule.Proves(t, "DPS-8", "DPS-9")

	operation := assigning.FindStringSubmatch(p.Payload())[1]
	p = request(t, c, "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=%41-2&operationId="+operation, " ")
	require.Equal(t, "$dps/registrations/res/202/?$rid=%41-2&retry-after=3", p.Topic(), "rid is echoed byte for byte")
	require.Equal(t, `{"operationId":"`+operation+`","status":"assigning","registrationState":{"registrationId":"sample-device-01","status":"assigning"}}`, p.Payload())
	require.Len(t, p.Payload(), 173)
	rule.Proves(t, "DPS-12")

	for range 2 { // the final answer stands
		p = poll(t, c, operation)
		require.Equal(t, "$dps/registrations/res/200/?$rid=p-1", p.Topic())
		const utc = `"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"`
		require.Regexp(t, `^\{"operationId":"`+operation+`","status":"assigned","registrationState":\{`+
			`"x509":\{"enrollmentGroupId":"demo-x509"\},"registrationId":"sample-device-01","createdDateTimeUtc":`+utc+
			`,"assignedHub":"fakecloud-hub.azure-devices.net","deviceId":"sample-device-01","status":"assigned"`+
			`,"substatus":"initialAssignment","lastUpdatedDateTimeUtc":`+utc+`,"etag":"([A-Za-z0-9+/=]+)"\}\}$`, p.Payload())
	}
	_, etag, _ := strings.Cut(p.Payload(), `"etag":"`)
	tag, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(etag, `"}}`))
	require.NoError(t, err)
	require.Regexp(t, `^"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"$`, string(tag))
	rule.Proves(t, "DPS-13")
}

// The C SDK publishes with QoS 0 and repeats the body in its polls.
func TestDPSFlowWithQoS0(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := enrolled(t, cloud, "c-sdk").open(t, cloud)
	const body = `{ "registrationId":"c-sdk", "payload":{"modelId":"dtmi:a;1"} }`
	send(t, c, rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=1", body, 0, 0, false))
	p := answer(t, c)
	require.Equal(t, "$dps/registrations/res/202/?$rid=1&retry-after=3", p.Topic())
	send(t, c, rawmqtt.Publish("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId="+assigning.FindStringSubmatch(p.Payload())[1], body, 0, 0, false))
	require.Equal(t, "$dps/registrations/res/202/?$rid=2&retry-after=3", answer(t, c).Topic())
}

func TestDPSRegisterBodies(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := enrolled(t, cloud, "Bodies-1").open(t, cloud)
	for _, body := range []string{"", " ", "\r\n", "{}", `{"registrationId":"Bodies-1"}`, `{"registrationId":"bodies-1"}`, `{"payload":[1,{"a":null}]}`,
		`{"payload":"text"}`, `{ "registrationId":"Bodies-1", "payload":{"a":1}, "more":true }`} {
		wantAssigning(t, register(t, c, body))
	}
	rule.Proves(t, "DPS-10")

	for body, cause := range map[string]rule.ID{
		"{":                             "DPS-11/json",
		"registrationId=Bodies-1":       "DPS-11/json",
		"[]":                            "DPS-11/json",
		"{}{}":                          "DPS-11/json",
		`{"registrationId":7}`:          "DPS-11/json",
		`{"registrationId":"Bodies-2"}`: "DPS-11/registration-id",
		strings.Repeat(" ", 96<<10+1):   "DPS-11/size",
		`{"payload":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`: "DPS-11/json",
	} {
		wantError(t, register(t, c, body), 400000, ".+")
		refused(t, cloud, cause)
	}
	rule.Proves(t, "DPS-45")
	wantAlive(t, c)
}

func TestDPSPacketBeyondAllMeasureCloses(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := enrolled(t, cloud, "huge").open(t, cloud)
	send(t, c, []byte{0x32, 0x80, 0x80, 0x40}) // announces 1 MiB
	wantClosed(t, c)
	refused(t, cloud, "DPS-11/size")
}

func TestDPSPollOfAnUnknownOperation(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := enrolled(t, cloud, "polls").open(t, cloud)
	wantError(t, poll(t, c, "4.0123456789abcdef.01234567-89ab-cdef-0123-456789abcdef"), 404203, "Operation not found\\.")
	refused(t, cloud, "DPS-14/operation")
	wantError(t, request(t, c, "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=p-1", ""), 400000, ".+")
	refused(t, cloud, "DPS-14/missing")

	// Another device's operation is unknown to this one.
	other := wantAssigning(t, register(t, enrolled(t, cloud, "other").open(t, cloud), ""))
	wantError(t, poll(t, c, other), 404203, "Operation not found\\.")
	wantAlive(t, c)
}

func TestDPSPublishesThatClose(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		packet []byte
		rule   rule.ID
	}{
		"telemetry":             {rawmqtt.Publish("devices/dev-1/messages/events/", "x", 1, 2, false), "DPS-9/topic"},
		"an empty shell's $dps": {rawmqtt.Publish("/registrations/PUT/iotdps-register/?=1", "", 1, 2, false), "DPS-9/topic"},
		"the answer's topic":    {rawmqtt.Publish("$dps/registrations/res/202/?$rid=1", "", 1, 2, false), "DPS-9/topic"},
		"no rid":                {rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/", "", 1, 2, false), "DPS-9/rid"},
		"an empty shell's $rid": {rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?=1", "", 1, 2, false), "DPS-9/rid"},
		"QoS 2":                 {rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "", 2, 2, false), "DPS-8/qos2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			c := enrolled(t, cloud, "dev-1").open(t, cloud)
			send(t, c, row.packet)
			wantClosed(t, c)
			refused(t, cloud, row.rule)
		})
	}
}
