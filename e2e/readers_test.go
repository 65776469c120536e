package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// A device that never reads, over a socket whose buffers are full, costs nobody a wait: whoever changes its twin
// is answered, and whoever else is connected is served. internal/broker bounds what waits for it, and ends it.
func TestDeviceThatNeverReads(t *testing.T) {
	t.Parallel()
	const rounds = 400 // of 30 kB each: more than the buffers of both sockets hold
	cloud := fakecloud.Start(t)
	enter := func(id string) *rawmqtt.Conn {
		c := dial(t, cloud, via{name: demoHub})
		send(t, c, child(id).Bytes())
		wantConnack(t, c, 0)
		return c
	}
	deaf, other := enter("scenario-twin-throttled-deaf"), enter("demo-sas")
	require.NoError(t, deaf.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4096))
	send(t, deaf, rawmqtt.Subscribe(1, 0, "$iothub/twin/PATCH/properties/desired/#"))
	wantBytes(t, deaf, 0x90, 3, 0, 1, 0) // from here on it does not read
	for n := range rounds {
		patch := fmt.Appendf(nil, `{"a":"%04000d","b":"%04000d","c":"%04000d","d":"%04000d","e":"%04000d","f":"%04000d","g":"%04000d"}`, n, n, n, n, n, n, n)
		_, err := cloud.PatchDesired(demoHub, "scenario-twin-throttled-deaf", patch)
		require.NoError(t, err)
		say(t, other, "devices/demo-sas/messages/events/", "21.5")
	}
	require.Len(t, telemetry(t, cloud, "demo-sas", rounds), rounds)
}
