package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// Time does not go back: the library says so, and what was due once stays done, what is not due stays so.
func TestTimeMovedBackwardsIsRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	token := sign(demoHub+"/devices/demo-sas", demoKey, time.Now().Add(time.Hour).Unix(), "")
	c := dial(t, cloud, via{name: demoHub})
	packet := child("demo-sas")
	packet.Password = &token
	send(t, c, packet.Bytes())
	wantConnack(t, c, 0)
	require.ErrorContains(t, cloud.Advance(-time.Second), "time cannot move backwards")
	require.ErrorContains(t, cloud.Advance(-2*time.Hour), "Skew moves the wall reading")
	wantAlive(t, c)
	require.NoError(t, cloud.Advance(2*time.Hour))
	wantCut(t, cloud, c, "HUB-24/expired")

	// The wall reading may go either way: a token of an hour has not begun to end for who is two hours behind.
	again := dial(t, cloud, via{name: demoHub})
	old := sign(demoHub+"/devices/demo-sas", demoKey, time.Now().Add(-time.Hour).Unix(), "")
	packet.Password = &old
	send(t, again, packet.Bytes())
	wantConnack(t, again, 5)
	cloud.Skew(-2 * time.Hour)
	again = dial(t, cloud, via{name: demoHub})
	send(t, again, packet.Bytes())
	wantConnack(t, again, 0)
}
