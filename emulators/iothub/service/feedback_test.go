package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// SVC-7: the feedback of a device that nobody has read yet goes with the device, and its successor has none of it.
func TestFeedbackOfDeletedDevice(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	const path = "/messages/serviceBound/feedback"
	for _, id := range []string{"gone", "stays"} {
		b.create(id)
		_, err := b.hub.SendC2D(contoso, id, "", iothub.C2D{MessageID: "m", Ack: iothub.AckFull})
		require.NoError(t, err)
		b.do("DELETE", "/devices/"+id+"/commands", "").ok(200)
	}
	b.do("DELETE", "/devices/gone", "").ok(204)
	b.create("gone")
	records := b.do("GET", path, "").list()
	require.Len(t, records, 1)
	require.Equal(t, "stays", records[0]["deviceId"])
	rule.Proves(t, "SVC-7")
}

func TestFeedback(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	const path = "/messages/serviceBound/feedback"
	b.do("GET", path, "").ok(204)
	for i := range 50 {
		_, err := b.hub.SendC2D(contoso, "d", "", iothub.C2D{MessageID: fmt.Sprint("m", i), Ack: iothub.AckFull})
		require.NoError(t, err)
	}
	b.do("DELETE", "/devices/d/commands", "").ok(200)
	for i := range 20 {
		_, err := b.hub.SendC2D(contoso, "d", "", iothub.C2D{MessageID: fmt.Sprint("n", i), Ack: iothub.AckFull})
		require.NoError(t, err)
	}
	b.do("DELETE", "/devices/d/commands", "").ok(200)

	receive := func() (lock string, records []map[string]any) {
		r := b.do("GET", path, "")
		require.Equal(t, 200, r.status)
		require.Equal(t, "application/vnd.microsoft.iothub.feedback.json; charset=utf-8", r.header.Get("Content-Type"))
		require.Equal(t, "contoso", r.header.Get("iothub-userid"))
		require.NoError(t, json.Unmarshal(r.body, &records))
		return strings.Trim(r.header.Get("ETag"), `"`), records
	}
	lock, records := receive()
	require.Len(t, records, 64)
	require.Equal(t, "m0", records[0]["originalMessageId"])
	require.Equal(t, "Purged", records[0]["statusCode"])
	require.Equal(t, "d", records[0]["deviceId"])
	require.NotEmpty(t, records[0]["deviceGenerationId"])
	require.Regexp(t, `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`, records[0]["enqueuedTimeUtc"])
	b.do("GET", path, "").ok(204)
	b.do("POST", path+"/"+lock+"/abandon", "").ok(204)
	again, records := receive()
	require.Equal(t, "m0", records[0]["originalMessageId"])
	require.NoError(t, b.clock.Advance(61*time.Second))
	b.do("DELETE", path+"/"+again, "").fails(412, "DeviceMessageLockLost")
	b.do("DELETE", path+"/nonsense", "").fails(412, "DeviceMessageLockLost")
	b.refused("SVC-24/lock")
	lock, _ = receive()
	b.do("DELETE", path+"/"+lock, "").ok(204)
	lock, records = receive()
	require.Len(t, records, 6)
	b.do("DELETE", path+"/"+lock, "").ok(204)
	b.do("GET", path, "").ok(204)
}
