package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// SVC-40: what a back end has made is there after a restart, etags and waiting messages included.
func TestServiceStateOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() (*fakecloud.Cloud, *backend) {
		cloud, err := fakecloud.New(t.Context(), fakecloud.WithServerKey("ecdsa"), fakecloud.WithDataDir(dir), fakecloud.WithWorld(contoso))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, cloud.Close()) })
		return cloud, newBackend(t, cloud, contosoHost)
	}
	cloud, b := open()
	answer, device := b.do("PUT", "/devices/kept-1", `{"deviceId":"kept-1","statusReason":"made before"}`)
	require.Equal(t, 200, answer.StatusCode)
	answer, _ = b.do("PATCH", "/twins/kept-1", `{"tags":{"site":"here"},"properties":{"desired":{"rate":5}}}`)
	require.Equal(t, 200, answer.StatusCode)
	_, twin := b.do("GET", "/twins/kept-1", "")
	require.NoError(t, cloud.SendC2D(contosoHost, "kept-1", fakecloud.C2D{Body: []byte("waits")}))
	_, waiting := b.do("GET", "/devices/kept-1", "")
	require.EqualValues(t, 1, waiting["cloudToDeviceMessageCount"])
	require.NoError(t, cloud.Close())

	_, b = open()
	_, again := b.do("GET", "/devices/kept-1", "")
	require.Equal(t, device["etag"], again["etag"])
	require.Equal(t, device["generationId"], again["generationId"])
	require.Equal(t, device["authentication"], again["authentication"])
	require.EqualValues(t, 1, again["cloudToDeviceMessageCount"])
	_, twinAgain := b.do("GET", "/twins/kept-1", "")
	require.Equal(t, twin["etag"], twinAgain["etag"])
	require.Equal(t, twin["properties"], twinAgain["properties"])
	answer, _ = b.do("PATCH", "/twins/kept-1", `{"tags":{"site":"there"}}`, "If-Match", `"`+twin["etag"].(string)+`"`)
	require.Equal(t, 200, answer.StatusCode, "an etag from before is still good")
	rule.Proves(t, "SVC-40")
}

// A device that is deleted while it is connected is gone at once, and cannot come back.
func TestServiceDeletesAConnectedDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	b := newBackend(t, cloud, contosoHost)
	conn := signIn(t, cloud, dev01())
	answer, _ := b.do("DELETE", "/devices/dev-01", "", "If-Match", `"*"`)
	require.Equal(t, 204, answer.StatusCode)
	wantClosed(t, conn)
	wantConnack(t, knock(t, cloud, dev01()), 5)
	answer, body := b.do("GET", "/twins/dev-01", "")
	require.Equal(t, 404, answer.StatusCode)
	require.Equal(t, "DeviceNotFound", answer.Header.Get("iothub-errorcode"), body)
	refused(t, cloud, "SVC-4/device")
}
