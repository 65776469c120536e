package fakecloud

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/store/storetest"
)

const demoHub = "fakecloud-hub.azure-devices.net"

func TestEveryRowComesBackAsItWas(t *testing.T) {
	t.Parallel()
	c := Start(t, WithDataDir(t.TempDir()))
	storetest.RoundTrip(t, c.state, "Event.QoS", "Event.Time") // shown where it belongs, to the microsecond
	storetest.RoundTrip(t, c.gen().state, "C2DMessage.deadline", "C2DMessage.lockedUntil",
		"Device.ConnectionState", "Module.ConnectionState", "Message.Seq", "Feedback.Seq")
}

// live runs one life of an instance in a directory and returns its log.
func live(t *testing.T, dir, world string, life func(*Cloud)) string {
	t.Helper()
	var log bytes.Buffer
	c, err := New(t.Context(), WithServerKey("ecdsa"), WithDataDir(dir), WithWorld(world), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	life(c)
	require.NoError(t, c.Close())
	return log.String()
}

func deviceIDs(c *Cloud) (all []string) {
	for _, d := range c.gen().cores.hub.Devices(demoHub) {
		all = append(all, d.DeviceID)
	}
	return all
}

const oneMore = "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: from-the-world}]}]}"

func TestStateOutlivesTheInstance(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	var root []byte
	var key string
	live(t, dir, "", func(c *Cloud) {
		root = c.RootsPEM()
		require.Equal(t, []string{"demo-leaf", "demo-sas", "mygateway"}, deviceIDs(c))
		require.NoError(t, c.PatchWorld(t.Context(), "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: patched}]}]}"))
		d, err := c.gen().cores.hub.GetDevice(demoHub, "patched")
		require.NoError(t, err)
		key = d.Authentication.SymmetricKey.PrimaryKey
		require.NoError(t, c.gen().cores.hub.SetStatus(demoHub, "demo-sas", iothub.Disabled, "lost"))
	})
	log := live(t, dir, "", func(c *Cloud) {
		require.Equal(t, root, c.RootsPEM())
		require.Equal(t, []string{"demo-leaf", "demo-sas", "mygateway", "patched"}, deviceIDs(c))
		d, err := c.gen().cores.hub.GetDevice(demoHub, "patched")
		require.NoError(t, err)
		require.Equal(t, key, d.Authentication.SymmetricKey.PrimaryKey)
		d, err = c.gen().cores.hub.GetDevice(demoHub, "demo-sas")
		require.NoError(t, err)
		require.Equal(t, iothub.Disabled, d.Status, "the world does not overwrite")
		require.NoError(t, c.gen().cores.hub.DeleteDevice(demoHub, "demo-sas", ""))
	})
	require.NotContains(t, log, "world has changed")
	live(t, dir, "", func(c *Cloud) {
		require.Equal(t, []string{"demo-leaf", "mygateway", "patched"}, deviceIDs(c), "what was deleted stays so while the world is the same")
	})
	log = live(t, dir, oneMore, func(c *Cloud) {
		require.Equal(t, []string{"demo-leaf", "demo-sas", "from-the-world", "mygateway", "patched"}, deviceIDs(c))
	})
	require.Equal(t, 1, bytes.Count([]byte(log), []byte("world has changed")))
	require.Contains(t, log, `added="device demo-sas, device from-the-world"`)
	require.NotContains(t, live(t, dir, oneMore, func(*Cloud) {}), "world has changed", "said once")
	require.Contains(t, live(t, dir, "", func(*Cloud) {}), "added=nothing")

	info, err := os.Stat(filepath.Join(dir, "state", "state.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestJournalGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last, conn uint64
	live(t, dir, "", func(c *Cloud) {
		connection, err := net.Dial("tcp", c.MQTTSAddr())
		require.NoError(t, err)
		_, err = connection.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		require.NoError(t, err)
		events, err := c.Await(t.Context(), Filter{Kind: "refused"}, 1)
		require.NoError(t, err)
		require.NoError(t, connection.Close())
		conn = events[0].Conn
	})
	live(t, dir, "", func(c *Cloud) {
		events, err := c.Await(t.Context(), Filter{Kind: "refused"}, 1)
		require.NoError(t, err, "what happened before is still explained")
		require.Equal(t, conn, events[0].Conn)
		require.NotEmpty(t, events[0].Fix)
		require.Equal(t, conn, c.door.LastConn())
		last = c.journal.Append(Event{Kind: "world"})
		require.Greater(t, last, events[0].Seq)
		require.Less(t, last, uint64(100))
	})
	state, err := store.Open(filepath.Join(dir, "state"), nil)
	require.NoError(t, err)
	marks := store.NewTable[journalMark](state, "fakecloud.journal", nil)
	m, ok := marks.Get(theMark)
	require.True(t, ok)
	require.Equal(t, journalMark{Seq: last, Conn: conn, Closed: true}, m)
	m.Closed = false // as a kill leaves it
	marks.Put(theMark, m)
	require.NoError(t, state.Close())
	live(t, dir, "", func(c *Cloud) {
		require.Equal(t, last+lostNumbers+1, c.journal.Append(Event{Kind: "world"}), "numbers that were lost do not come again")
		require.Equal(t, conn+lostConnections, c.door.LastConn())
	})
}

func TestTailUnderLoadKeepsTheNewest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live(t, dir, "", func(c *Cloud) {
		for range 3 * tailEvents {
			c.journal.Append(Event{Kind: "publish"})
		}
	})
	live(t, dir, "", func(c *Cloud) {
		events, err := c.Await(t.Context(), Filter{Kind: "publish"}, tailBurst)
		require.NoError(t, err)
		require.Len(t, events, tailBurst)
		require.EqualValues(t, c.journal.Last(), c.Events(Filter{Kind: "publish"})[len(c.Events(Filter{Kind: "publish"}))-1].Seq)
	})
}

func TestIDsOfAnEarlierLifeDoNotComeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seen := map[string]bool{}
	for range 3 {
		c, err := New(t.Context(), WithServerKey("ecdsa"), WithDataDir(dir), WithSeed(7))
		require.NoError(t, err)
		id, _ := c.gen().cores.hub.Tracking()
		require.False(t, seen[id])
		seen[id] = true
		require.NoError(t, c.Close())
	}
}

func TestTwoInstancesCannotShareADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live(t, dir, "", func(*Cloud) {
		_, err := New(t.Context(), WithDataDir(dir))
		require.ErrorIs(t, err, store.ErrInUse)
	})
	live(t, dir, "", func(*Cloud) {})
}

func TestDamagedStateIsSeededAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live(t, dir, "", func(*Cloud) {})
	path := filepath.Join(dir, "state", "state.db")
	require.NoError(t, os.Truncate(path, 5000))
	log := live(t, dir, "", func(c *Cloud) { require.Equal(t, []string{"demo-leaf", "demo-sas", "mygateway"}, deviceIDs(c)) })
	require.Contains(t, log, "damaged")
	require.Contains(t, log, path+".corrupt-")
}
