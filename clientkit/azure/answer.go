package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is one message on $dps/registrations/res/{status}/?$rid={rid}[&retry-after={seconds}].
type answer struct {
	status     int
	rid        string
	retryAfter time.Duration // 0 when the service names none
	body       []byte
}

const answerPrefix = "$dps/registrations/res/"

func parseAnswer(topic string, body []byte) (answer, error) {
	rest, ok := strings.CutPrefix(topic, answerPrefix)
	if !ok {
		return answer{}, errors.New("not under " + answerPrefix)
	}
	status, query, ok := strings.Cut(rest, "/?")
	if !ok {
		return answer{}, errors.New("no query")
	}
	a := answer{body: body}
	var err error
	if a.status, err = strconv.Atoi(status); err != nil || a.status < 100 || a.status > 999 {
		return answer{}, errors.New("status is not a number of three digits")
	}
	for member := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(member, "=")
		switch name {
		case "$rid":
			a.rid = value
		case "retry-after":
			seconds, err := strconv.Atoi(value)
			if err != nil || seconds < 0 {
				return answer{}, errors.New("retry-after is not a number of seconds")
			}
			a.retryAfter = min(max(time.Duration(min(seconds, 1<<20))*time.Second, time.Second), maxRetryAfter)
		}
	}
	return a, nil
}

// operation is the body of a register or poll answer below 300.
type operation struct {
	OperationID string `json:"operationId"`
	Status      string `json:"status"`
	State       struct {
		RegistrationID string          `json:"registrationId"`
		AssignedHub    string          `json:"assignedHub"`
		DeviceID       string          `json:"deviceId"`
		Status         string          `json:"status"`
		Substatus      string          `json:"substatus"`
		CreatedAt      time.Time       `json:"createdDateTimeUtc"`
		UpdatedAt      time.Time       `json:"lastUpdatedDateTimeUtc"`
		ETag           string          `json:"etag"`
		Payload        json.RawMessage `json:"payload"`
		ErrorCode      int             `json:"errorCode"`
		ErrorMessage   string          `json:"errorMessage"`
	} `json:"registrationState"`
}

// judge reads an answer: an assignment, or a pause before the next request, or an error. A pause of 0
// with an error leaves the delay to the back-off.
func (p *provisioning) judge(a answer) (*Assignment, time.Duration, error) {
	if a.status >= http.StatusMultipleChoices {
		return nil, a.retryAfter, errorAnswer(a)
	}
	var op operation
	if err := json.Unmarshal(a.body, &op); err != nil {
		return nil, 0, fmt.Errorf("%w: status %d with a body that is not JSON: %w", errProtocol, a.status, err)
	}
	status := op.Status
	if status == "" {
		status = op.State.Status
	}
	switch status {
	case "assigned":
		return p.assigned(op)
	case "assigning", "unassigned":
		if op.OperationID != "" {
			p.operationID = op.OperationID
		}
		if p.operationID == "" {
			return nil, 0, fmt.Errorf("%w: status %s without an operation ID", errProtocol, status)
		}
		pause := a.retryAfter
		if pause == 0 {
			pause = defaultRetryAfter
		}
		return nil, pause, nil
	case "":
		return nil, 0, fmt.Errorf("%w: no status in the body", errProtocol)
	}
	message := op.State.ErrorMessage
	if message == "" && status == "disabled" {
		message = "the enrollment of this device is disabled"
	}
	return nil, 0, &ProvisionError{
		Status: a.status, State: status, ErrorCode: op.State.ErrorCode, Message: message, Final: true,
	}
}

func (p *provisioning) assigned(op operation) (*Assignment, time.Duration, error) {
	s := op.State
	if s.AssignedHub == "" || s.DeviceID == "" {
		return nil, 0, fmt.Errorf("%w: assigned without a hub and a device ID", errProtocol)
	}
	id := op.OperationID
	if id == "" {
		id = p.operationID
	}
	return &Assignment{
		Hub: s.AssignedHub, DeviceID: s.DeviceID, RegistrationID: p.cfg.RegistrationID, Substatus: s.Substatus,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, ETag: s.ETag, OperationID: id, Payload: s.Payload,
	}, 0, nil
}

// errorAnswer reads the error body of the service; a body of another form is not an error of its own.
func errorAnswer(a answer) error {
	var body struct {
		ErrorCode  int    `json:"errorCode"`
		TrackingID string `json:"trackingId"`
		Message    string `json:"message"`
	}
	_ = json.Unmarshal(a.body, &body) // without a readable body the status has to do
	return &ProvisionError{
		Status: a.status, ErrorCode: body.ErrorCode, TrackingID: body.TrackingID, Message: body.Message,
		Final: a.status < http.StatusInternalServerError && a.status != http.StatusTooManyRequests,
	}
}
