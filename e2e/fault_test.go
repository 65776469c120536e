package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

func inject(t *testing.T, cloud *fakecloud.Cloud, faults ...fakecloud.Fault) {
	t.Helper()
	_, err := cloud.Inject(faults...)
	require.NoError(t, err)
}

const dev01Events = "devices/dev-01/messages/events/"

func TestFaultsOfAConnection(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	code := 3
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "connect", Device: "dev-*"}, Action: fakecloud.FaultAction{Code: &code}, Count: 1})
	c := knock(t, cloud, dev01())
	wantConnack(t, c, 3)
	wantClosed(t, c)

	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "connect"}, Action: fakecloud.FaultAction{Reset: true}, Count: 1})
	wantClosed(t, knock(t, cloud, dev01()))

	c = knock(t, cloud, dev01())
	wantConnack(t, c, 0)
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "subscribe"}, Action: fakecloud.FaultAction{Code: ptrInt(128)}, Count: 1})
	send(t, c, rawmqtt.Subscribe(1, 1, "devices/dev-01/messages/devicebound/#"))
	wantBytes(t, c, 0x90, 3, 0, 1, 0x80)

	// A lost PUBACK: the message is there, the acknowledgement is not; the next one is.
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "puback"}, Action: fakecloud.FaultAction{Drop: true}, Count: 1})
	send(t, c, rawmqtt.Publish(dev01Events, "one", 1, 1, false))
	send(t, c, rawmqtt.Publish(dev01Events, "two", 1, 2, false))
	wantBytes(t, c, 0x40, 2, 0, 2)
	require.Len(t, telemetry(t, cloud, "dev-01", 2), 2)

	// A lost message: neither.
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Drop: true}, Count: 1})
	send(t, c, rawmqtt.Publish(dev01Events, "three", 1, 3, false))
	send(t, c, rawmqtt.Publish(dev01Events, "four", 1, 4, false))
	wantBytes(t, c, 0x40, 2, 0, 4)
	got := telemetry(t, cloud, "dev-01", 3)
	require.Equal(t, "four", string(got[2].Payload))

	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Duplicate: true}, Count: 1})
	send(t, c, rawmqtt.Publish(dev01Events, "five", 1, 5, false))
	wantBytes(t, c, 0x40, 2, 0, 5)
	require.Equal(t, "five", string(telemetry(t, cloud, "dev-01", 5)[4].Payload))

	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Close: true}})
	send(t, c, rawmqtt.Publish(dev01Events, "six", 1, 6, false))
	wantClosed(t, c)
	require.Len(t, cloud.Faults(), 1, "a fault without count stays")
	cloud.ClearFaults()
	require.Len(t, cloud.Events(fakecloud.Filter{Kind: "fault"}), 7)
}

// A delay follows the timers clock: advance ends it.
func TestFaultDelayFollowsTheClock(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	delay := fakecloud.FaultDuration(time.Minute)
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "connect"}, Action: fakecloud.FaultAction{Delay: &delay}, Count: 1})
	c := knock(t, cloud, dev01())
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "fault"}, 1)
	require.NoError(t, err)
	require.NoError(t, cloud.Advance(2*time.Minute))
	wantConnack(t, c, 0)
}

// DPS throttles twice and then serves; the answers are as the real ones.
func TestDPSThrottles(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "dps.register"}, Action: fakecloud.FaultAction{Throttle: ptrInt(5)}, Count: 2})
	c := dial(t, cloud, via{name: globalDPS, cert: device(t, cloud, "dev-9")})
	send(t, c, rawmqtt.Connect{ClientID: "dev-9", Username: ptr(idScope + "/registrations/dev-9/api-version=2019-03-31")}.Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Subscribe(1, 1, "$dps/registrations/res/#"))
	wantBytes(t, c, 0x90, 3, 0, 1, 1)
	for i, want := range []string{"$dps/registrations/res/429/?$rid=1&retry-after=5", "$dps/registrations/res/429/?$rid=1&retry-after=5", "$dps/registrations/res/202/?$rid=1&retry-after=3"} {
		send(t, c, rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "", 1, uint16(i+1), false))
		wantBytes(t, c, 0x40, 2, 0, byte(i+1))
		answer := receive(t, c)
		require.Equal(t, want, answer.Topic())
		if i < 2 {
			require.Contains(t, answer.Payload(), `"errorCode":429001`)
		}
	}
}

func ptrInt(n int) *int { return &n }
