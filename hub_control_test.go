package fakecloud

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// Files that devices have uploaded are listed by device and read back by name.
func TestHubFiles(t *testing.T) {
	t.Parallel()
	cloud := Start(t)
	hubs := cloud.Plane().Hubs
	const hub = "fakecloud-hub.azure-devices.net"
	for _, name := range []string{"demo-sas/logs/a.txt", "demo-sas-2/b.txt"} {
		_, refused := cloud.gen().cores.hub.PutBlob(iothub.Blob{Hub: hub, Container: iothub.UploadContainer, Name: name,
			ContentType: "text/plain", Body: []byte(name)}, false, "")
		require.Nil(t, refused)
	}
	files, err := hubs.Files("fakecloud-hub", "demo-sas")
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, "demo-sas/logs/a.txt", files[0].Name)
	require.WithinDuration(t, time.Now(), files[0].Modified, time.Minute)
	files, err = hubs.Files(hub, "")
	require.NoError(t, err)
	require.Len(t, files, 2)

	file, body, err := hubs.File(hub, "demo-sas/logs/a.txt")
	require.NoError(t, err)
	require.Equal(t, "demo-sas/logs/a.txt", string(body))
	require.Equal(t, plane.HubFile{Name: "demo-sas/logs/a.txt", Size: 19, ContentType: "text/plain", Modified: file.Modified}, file)
	_, _, err = hubs.File(hub, "demo-sas/logs")
	require.ErrorIs(t, err, plane.ErrNoFile)
	_, err = hubs.Files("nowhere", "")
	require.ErrorIs(t, err, plane.ErrNoHub)
}

// A message over 64 KiB and one too many are refused by the hub's own rule.
func TestHubRefusesC2D(t *testing.T) {
	t.Parallel()
	cloud := Start(t)
	hubs := cloud.Plane().Hubs
	_, err := hubs.SendC2D("fakecloud-hub", "demo-sas", plane.C2D{BodyBase64: make([]byte, 64<<10+1)})
	require.ErrorContains(t, err, "HUB-43/size")
	for range 50 {
		_, err := hubs.SendC2D("fakecloud-hub", "demo-sas", plane.C2D{Body: "x"})
		require.NoError(t, err)
	}
	_, err = hubs.SendC2D("fakecloud-hub", "demo-sas", plane.C2D{Body: "x"})
	require.ErrorContains(t, err, "HUB-43/full")
	n, err := hubs.PurgeC2D("fakecloud-hub", "demo-sas")
	require.NoError(t, err)
	require.Equal(t, 50, n)
}
