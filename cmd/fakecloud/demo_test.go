package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// testApp is an app without environment, with its output captured.
func testApp(t *testing.T) (a *app, out, errOut *bytes.Buffer) {
	t.Helper()
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", out, errOut)
		}
	})
	return &app{in: &bytes.Buffer{}, out: out, err: errOut, env: func(string) string { return "" }}, out, errOut
}

func TestDemo(t *testing.T) {
	t.Parallel()
	a, out, errOut := testApp(t)
	require.Equal(t, 0, a.run(t.Context(), []string{"demo"}))
	require.Empty(t, errOut.String())
	for _, line := range []string{
		"user name 0ne00FAKE01/registrations/demo-device-1/api-version=2019-03-31",
		"$dps/registrations/res/202/?$rid=1&retry-after=1",
		`"assignedHub":"fakecloud-hub.azure-devices.net"`,
		"user name fakecloud-hub.azure-devices.net/demo-device-1/?api-version=2021-04-12",
		"devices/demo-device-1/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&alert=false",
		"REFUSED by rule DPS-21/cn",
		`seen      CN="demo-device-1"`,
		`expected  CN="demo-device-2"`,
		"server name mygateway.contoso.com",
		"user name fakecloud-hub.azure-devices.net/demo-leaf/?api-version=2021-04-12",
		"the upstream is down",
		"the stored message arrived at the hub",
		"REFUSED by rule EDGE-11/parent",
		"REFUSED by rule MS-1/first: first connection of demo_pump-7: the agent is provisioned now, which takes 1s",
		"the agent's certificate is active: its next connection is accepted",
		"tc/demo/demo_pump-7/i/amo_v4/mip",
		"/climate, status 200",
		"user name 0ne00FAKE02/registrations/demo2_pump-7/api-version=2019-03-31",
		"devices/demo2_pump-7/messages/devicebound/%24.to=%2Fdevices%2Fdemo2_pump-7%2Fmessages%2FdeviceBound&amo_v4=mip",
		"client id demo_node1_0_0_",
		`"batteryLevel":80`,
		"REFUSED by rule DA-33/range",
		"$oc/devices/demo_node1/sys/commands/response/request_id=",
		"REFUSED by rule DA-2/password",
		"All 17 steps happened, by the journal.",
	} {
		require.Contains(t, out.String(), line)
	}
}

// A step that the device believes in, but the journal does not show, fails the demo.
func TestDemoTrustsTheJournalOnly(t *testing.T) {
	t.Parallel()
	l := &lesson{cloud: fakecloud.Start(t), out: &bytes.Buffer{}, told: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	err := l.take(ctx, 1, demoStep{
		title: "hope",
		act:   func(context.Context) error { cancel(); return nil },
		proofs: []demoFact{
			{"telemetry was stored", fakecloud.Filter{Kind: "telemetry"}},
		},
	})
	require.EqualError(t, err, "the journal does not show: telemetry was stored")
}

func TestWrapText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "  one two", wrapText(" one\n two ", "  "))
	long := bytes.Repeat([]byte("word "), 40)
	for line := range bytes.Lines([]byte(wrapText(string(long), "   "))) {
		require.LessOrEqual(t, len(bytes.TrimSpace(line))+3, demoWidth)
	}
}
