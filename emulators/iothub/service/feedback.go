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

func (c *call) receiveFeedback() (answer, error) {
	batch, ok := c.Handler.hub.ReceiveFeedback(c.hub.Host)
	if !ok {
		return answer{status: http.StatusNoContent}, nil
	}
	return answer{body: batch.Records, etag: batch.Lock, header: map[string]string{
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
