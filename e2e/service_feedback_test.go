package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// feedbackPath is where a back end reads feedback.
const feedbackPath = "/messages/serviceBound/feedback"

// feedbackRecord is what a back end reads of one message.
type feedbackRecord struct {
	OriginalMessageID, DeviceID, DeviceGenerationID, StatusCode, Description, EnqueuedTimeUTC string
}

// takeFeedback reads the one record that waits, and completes it.
func takeFeedback(t *testing.T, cloud *fakecloud.Cloud) feedbackRecord {
	t.Helper()
	r := asOwner(t, cloud, "GET "+feedbackPath+version, "")
	require.Equal(t, 200, r.StatusCode, r.body)
	var records []feedbackRecord
	require.NoError(t, json.Unmarshal([]byte(r.body), &records))
	require.Len(t, records, 1)
	done := asOwner(t, cloud, "DELETE "+feedbackPath+"/"+strings.Trim(r.Header.Get("ETag"), `"`)+version, "")
	require.Equal(t, 204, done.StatusCode, done.body)
	return records[0]
}

// SVC-25: what became of messages that no device took, read by a back end over HTTPS; the device abandons over
// HTTPS too. Only who asked for it hears of it.
func TestServiceFeedbackOfUndelivered(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	_, identity := newBackend(t, cloud, contosoHost).do("GET", "/devices/dev-01", "")
	generation := identity["generationId"].(string)
	post := func(id string, ack fakecloud.C2D) {
		t.Helper()
		ack.MessageID, ack.Body = id, []byte("x")
		require.NoError(t, cloud.SendC2D(contosoHost, "dev-01", ack))
	}

	for _, ack := range []fakecloud.C2D{{Ack: "negative"}, {Ack: "full"}, {Ack: "positive"}, {Ack: "none"}, {}} {
		post("abandoned", ack)
		for range 10 {
			r := contosoSays(t, cloud, "GET /devices/dev-01/messages/deviceBound"+version, "")
			require.Equal(t, 200, r.StatusCode, r.body)
			r = contosoSays(t, cloud, "POST /devices/dev-01/messages/deviceBound/"+strings.Trim(r.Header.Get("ETag"), `"`)+"/abandon"+version, "")
			require.Equal(t, 204, r.StatusCode, r.body)
		}
		require.Equal(t, 204, contosoSays(t, cloud, "GET /devices/dev-01/messages/deviceBound"+version, "").StatusCode, "it is gone")
		if ack.Ack == "negative" || ack.Ack == "full" {
			got := takeFeedback(t, cloud)
			require.Equal(t, "abandoned", got.OriginalMessageID)
			require.Equal(t, "DeliveryCountExceeded", got.StatusCode)
			require.Equal(t, "dev-01", got.DeviceID)
			require.Equal(t, generation, got.DeviceGenerationID)
			require.NotEmpty(t, got.EnqueuedTimeUTC)
		}
		require.Equal(t, 204, asOwner(t, cloud, "GET "+feedbackPath+version, "").StatusCode, "no feedback but what was asked for")
	}

	post("silent", fakecloud.C2D{Expiry: time.Now().Add(time.Minute)})
	post("expired", fakecloud.C2D{Ack: "negative", Expiry: time.Now().Add(time.Minute)})
	require.Equal(t, 204, asOwner(t, cloud, "GET "+feedbackPath+version, "").StatusCode, "both still wait")
	require.NoError(t, cloud.Advance(2*time.Minute))
	got := takeFeedback(t, cloud)
	require.Equal(t, "expired", got.OriginalMessageID)
	require.Equal(t, "Expired", got.StatusCode)
	require.Equal(t, "dev-01", got.DeviceID)
	require.Equal(t, 204, contosoSays(t, cloud, "GET /devices/dev-01/messages/deviceBound"+version, "").StatusCode, "both are gone")
	rule.Proves(t, "SVC-25")
}
