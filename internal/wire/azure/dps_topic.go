package azure

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// DPSFilter is the only filter that a DPS device may subscribe to.
const DPSFilter = "$dps/registrations/res/#"

const (
	dpsRegister = "$dps/registrations/PUT/iotdps-register/"
	dpsPoll     = "$dps/registrations/GET/iotdps-get-operationstatus/"
	dpsAnswer   = "$dps/registrations/res/"
)

// maxDPSTopic bounds a request's topic; real ones stay below 200 bytes.
const maxDPSTopic = 2 << 10

// Errors of ParseDPSRequest.
var (
	ErrDPSTopic = errors.New("not a topic that a DPS device may publish to")
	ErrDPSRID   = errors.New("no $rid in the topic")
)

// DPSRequest is what a device asks for with the topic of a PUBLISH.
type DPSRequest struct {
	Poll        bool   // false is register
	RID         string // $rid as received: opaque, echoed byte for byte
	OperationID string // of a poll, decoded; empty when the topic has none
}

// ParseDPSRequest reads "$dps/registrations/PUT/iotdps-register/?$rid={rid}" and
// "$dps/registrations/GET/iotdps-get-operationstatus/?$rid={rid}&operationId={id}".
func ParseDPSRequest(topic string) (DPSRequest, error) {
	var r DPSRequest
	if len(topic) > maxDPSTopic {
		return r, fmt.Errorf("%w: longer than %d bytes", ErrDPSTopic, maxDPSTopic)
	}
	path, query, _ := strings.Cut(topic, "?")
	switch path {
	case dpsRegister:
	case dpsPoll:
		r.Poll = true
	default:
		return r, ErrDPSTopic
	}
	for field := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "$rid":
			r.RID = value
		case "operationId":
			r.OperationID = value
			if plain, err := url.PathUnescape(value); err == nil {
				r.OperationID = plain
			}
		}
	}
	if r.RID == "" {
		return r, ErrDPSRID
	}
	return r, nil
}

// FormatDPSRequest writes a request's topic; rid must be free of & and #, + and /.
func FormatDPSRequest(r DPSRequest) string {
	if !r.Poll {
		return dpsRegister + "?$rid=" + r.RID
	}
	return dpsPoll + "?$rid=" + r.RID + "&operationId=" + url.PathEscape(r.OperationID)
}

// NearDPSTopic returns the closest legal topic to one that was refused.
func NearDPSTopic(topic string) string {
	lower := strings.ToLower(topic)
	_, query, _ := strings.Cut(topic, "?")
	r := DPSRequest{RID: "{rid}", Poll: strings.Contains(lower, "operation") || strings.Contains(lower, "/get/")}
	if r.Poll {
		r.OperationID = "{operationId}"
	}
	for field := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(field, "=")
		switch {
		case value == "" || len(topic) > maxDPSTopic:
		case strings.EqualFold(strings.TrimLeft(name, "$"), "rid"):
			r.RID = value
		case strings.EqualFold(name, "operationId"):
			r.OperationID = value
		}
	}
	if !r.Poll {
		return FormatDPSRequest(r)
	}
	return dpsPoll + "?$rid=" + r.RID + "&operationId=" + r.OperationID
}

// DPSAnswer is the topic of an answer.
type DPSAnswer struct {
	Status     int
	RID        string
	RetryAfter int // seconds; 0 when the topic has none
}

// FormatDPSAnswer writes "$dps/registrations/res/{status}/?$rid={rid}[&retry-after={seconds}]". SDKs rely
// on this order: the Python SDK splits at $ and takes the third part, the C# SDK has $rid in its pattern.
func FormatDPSAnswer(a DPSAnswer) string {
	topic := dpsAnswer + strconv.Itoa(a.Status) + "/?$rid=" + a.RID
	if a.RetryAfter > 0 {
		topic += "&retry-after=" + strconv.Itoa(a.RetryAfter)
	}
	return topic
}

// ParseDPSAnswer reads the topic of an answer.
func ParseDPSAnswer(topic string) (DPSAnswer, error) {
	var a DPSAnswer
	rest, ok := strings.CutPrefix(topic, dpsAnswer)
	status, query, found := strings.Cut(rest, "/?")
	n, err := strconv.Atoi(status)
	if !ok || !found || err != nil || n < 100 || n > 599 {
		return a, fmt.Errorf("%q is no answer of DPS", topic)
	}
	a.Status = n
	for field := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "$rid":
			a.RID = value
		case "retry-after":
			if a.RetryAfter, err = strconv.Atoi(value); err != nil || a.RetryAfter < 0 {
				return a, fmt.Errorf("%q: retry-after is no number of seconds", topic)
			}
		}
	}
	return a, nil
}
