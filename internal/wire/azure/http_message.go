package azure

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// HubBatch is the content type of a batch of messages in one request.
const HubBatch = "application/vnd.microsoft.iothub.json"

// appPrefix stands before the name of an application property in a header field.
const appPrefix = "iothub-app-"

// headerNames are the header fields of system properties with the names that an event carries to its
// readers (azure-iot-sdk-csharp CustomHeaderConstants).
var headerNames = map[string]string{
	"iothub-to":              "to",
	"iothub-messageid":       "message-id",
	"iothub-correlationid":   "correlation-id",
	"iothub-userid":          "user-id",
	"iothub-expiry":          "absolute-expiry-time",
	"iothub-ack":             "iothub-ack",
	"iothub-contenttype":     "content-type",
	"iothub-contentencoding": "content-encoding",
	"iothub-creationtimeutc": "iothub-creation-time-utc",
	"iothub-messageschema":   "iothub-message-schema",
	"iothub-interface-id":    "iothub-interface-id",
	"iothub-outputname":      "iothub-outputname",
	"dt-subject":             "dt-subject",
}

// HubHeader says what a header field of a message means: the event property that it sets, or the name of an
// application property. ok is false for a field that is no part of the message. Names have no case.
func HubHeader(name string) (property string, app, ok bool) {
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, appPrefix) && len(name) > len(appPrefix) {
		return name[len(appPrefix):], true, true
	}
	property, ok = headerNames[lower]
	return property, false, ok
}

// HubMessage is a message in a batch: its properties by header name.
type HubMessage struct {
	Body       []byte
	Properties []Property
}

// Limits of a batch.
const (
	MaxHubBatch    = 1 << 20 // bytes of the request; 256 KB of messages stay below in base64
	maxHubMessages = 500     // as in AMQP batches of the SDKs
)

// ErrHubBatch marks a batch that cannot be read.
var ErrHubBatch = errors.New("not a batch of messages")

// ParseHubBatch reads [{"body":"…","base64Encoded":true,"properties":{"iothub-app-name":"value"}}, …].
// A body is base64 unless base64Encoded is false (the C SDK leaves it out for base64). The error says
// which message is wrong and never repeats its body.
func ParseHubBatch(text []byte) ([]HubMessage, error) {
	var list []struct {
		Body       *string           `json:"body"`
		Base64     *bool             `json:"base64Encoded"`
		Properties map[string]string `json:"properties"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrHubBatch, describeJSON(err))
	}
	switch {
	case d.More():
		return nil, fmt.Errorf("%w: there is something behind the array", ErrHubBatch)
	case len(list) == 0:
		return nil, fmt.Errorf("%w: the array is empty", ErrHubBatch)
	case len(list) > maxHubMessages:
		return nil, fmt.Errorf("%w: %d messages, at most %d", ErrHubBatch, len(list), maxHubMessages)
	}
	batch := make([]HubMessage, len(list))
	for i, m := range list {
		if m.Body == nil {
			return nil, fmt.Errorf("%w: message %d has no body", ErrHubBatch, i+1)
		}
		batch[i].Body = []byte(*m.Body)
		if m.Base64 == nil || *m.Base64 {
			body, err := base64.StdEncoding.DecodeString(*m.Body)
			if err != nil {
				return nil, fmt.Errorf("%w: the body of message %d is not base64; set base64Encoded to false for text", ErrHubBatch, i+1)
			}
			batch[i].Body = body
		}
		for name, value := range m.Properties {
			batch[i].Properties = append(batch[i].Properties, Property{Name: name, Value: value})
		}
		sort.Slice(batch[i].Properties, func(a, b int) bool { return batch[i].Properties[a].Name < batch[i].Properties[b].Name })
	}
	return batch, nil
}

// HubAppHeader returns the header field of an application property; what cannot stand in a field's name is
// percent-encoded.
func HubAppHeader(name string) string {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return appPrefix + Escape(name)
		}
	}
	return appPrefix + name
}
