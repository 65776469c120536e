package service

import (
	"errors"
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// feedbackType is the content type of feedback ("Understand cloud-to-device messaging from an IoT hub").
const feedbackType = "application/vnd.microsoft.iothub.feedback.json; charset=utf-8"

// feedbackRecord is a record as the wire has it: its time has seven decimals, as all the hub's times.
type feedbackRecord struct {
	OriginalMessageID  string         `json:"originalMessageId"`
	EnqueuedTime       azure.Time     `json:"enqueuedTimeUtc"`
	StatusCode         iothub.Outcome `json:"statusCode"`
	Description        string         `json:"description"`
	DeviceID           string         `json:"deviceId"`
	DeviceGenerationID string         `json:"deviceGenerationId"`
}

func feedbackRecords(batch iothub.FeedbackBatch) []feedbackRecord {
	out := make([]feedbackRecord, len(batch.Records))
	for i, r := range batch.Records {
		out[i] = feedbackRecord{OriginalMessageID: r.OriginalMessageID, EnqueuedTime: azure.Time(r.EnqueuedTimeUTC), StatusCode: r.StatusCode,
			Description: r.Description, DeviceID: r.DeviceID, DeviceGenerationID: r.DeviceGenerationID}
	}
	return out
}

func (c *call) receiveFeedback() (answer, error) {
	batch, ok := c.Handler.hub.ReceiveFeedback(c.hub.Host)
	if !ok {
		return answer{status: http.StatusNoContent}, nil
	}
	return answer{body: feedbackRecords(batch), etag: batch.Lock, header: map[string]string{
		"Content-Type": feedbackType, "iothub-userid": c.hub.Name,
		"iothub-enqueuedtime": azure.ServiceTime(batch.Records[len(batch.Records)-1].EnqueuedTimeUTC),
	}}, nil
}

func (c *call) completeFeedback() (answer, error) { return c.settleFeedback(true) }

func (c *call) abandonFeedback() (answer, error) { return c.settleFeedback(false) }

func (c *call) settleFeedback(complete bool) (answer, error) {
	err := c.Handler.hub.SettleFeedback(c.hub.Host, c.ids[0], complete)
	if errors.Is(err, iothub.ErrPrecondition) {
		return answer{}, &failure{code: azure.MessageLockLost, message: "The lock on the message is lost", refusal: &rule.Refusal{Rule: "SVC-24/lock",
			Detail: err.Error(), Seen: show(c.ids[0]), Expected: "the lock token of a GET within the last minute"}}
	}
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{status: http.StatusNoContent}, nil
}
