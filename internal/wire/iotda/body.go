package iotda

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// The forms of event_time (iot_06_v5_3010). TimeLayout is also the form that the platform writes.
const (
	TimeLayout   = "20060102T150405Z"
	MillisLayout = "2006-01-02T15:04:05.000Z"
)

// ParseTime reads an event_time in one of its two forms.
func ParseTime(text string) (time.Time, bool) {
	layout := TimeLayout
	switch len(text) {
	case len(TimeLayout):
	case len(MillisLayout):
		layout = MillisLayout
	default:
		return time.Time{}, false
	}
	t, err := time.Parse(layout, text)
	return t, err == nil && t.Format(layout) == text // Parse takes a comma for the point, too
}

// FormatTime returns the platform's form of an instant.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeLayout) }

// ServiceData is one service of a property report, of a property set and of an answer. Numbers are
// json.Number after Decode.
type ServiceData struct {
	ServiceID  string         `json:"service_id"`
	Properties map[string]any `json:"properties"`
	EventTime  string         `json:"event_time,omitempty"`
}

// PropertyReport is the body of properties/report and of a properties/get response.
type PropertyReport struct {
	Services []ServiceData `json:"services"`
}

// GatewayData is the body of a gateway's report for its children.
type GatewayData struct {
	Devices []ChildReport `json:"devices"`
}

// ChildReport is what a gateway reports for one child.
type ChildReport struct {
	DeviceID string        `json:"device_id"`
	Services []ServiceData `json:"services"`
}

// PropertySet is the body of properties/set.
type PropertySet struct {
	ObjectDeviceID string        `json:"object_device_id"`
	Services       []ServiceData `json:"services"`
}

// PropertyGet is the body of properties/get and shadow/get; an empty ServiceID asks for all services.
type PropertyGet struct {
	ObjectDeviceID string `json:"object_device_id,omitempty"`
	ServiceID      string `json:"service_id,omitempty"`
}

// CommandCall is the body of commands.
type CommandCall struct {
	ObjectDeviceID string         `json:"object_device_id"`
	ServiceID      string         `json:"service_id"`
	CommandName    string         `json:"command_name"`
	Paras          map[string]any `json:"paras"`
}

// CommandResponse is the body of commands/response.
type CommandResponse struct {
	ResultCode   int            `json:"result_code"` // 0 is success
	ResponseName string         `json:"response_name,omitempty"`
	Paras        map[string]any `json:"paras,omitempty"`
}

// SetResult is the body of properties/set/response.
type SetResult struct {
	ResultCode int    `json:"result_code"` // 0 is success
	ResultDesc string `json:"result_desc,omitempty"`
}

// Message is the system form of messages/up and messages/down. Content is text, or any JSON.
type Message struct {
	ObjectDeviceID string          `json:"object_device_id,omitempty"`
	Name           string          `json:"name,omitempty"`
	ID             string          `json:"id,omitempty"`
	Content        json.RawMessage `json:"content"`
}

// Events is the body of events/up and events/down.
type Events struct {
	ObjectDeviceID string  `json:"object_device_id,omitempty"`
	Services       []Event `json:"services"`
}

// Event is one event; Paras is an object of the event type's own.
type Event struct {
	ServiceID string          `json:"service_id"`
	EventType string          `json:"event_type"`
	EventTime string          `json:"event_time,omitempty"`
	EventID   string          `json:"event_id,omitempty"`
	Paras     json.RawMessage `json:"paras"`
}

// ShadowAnswer is the body of shadow/get/response.
type ShadowAnswer struct {
	ObjectDeviceID string          `json:"object_device_id"`
	Shadow         []ShadowService `json:"shadow"`
}

// ShadowService is the shadow of one service.
type ShadowService struct {
	ServiceID string     `json:"service_id"`
	Desired   ShadowPart `json:"desired"`
	Reported  ShadowPart `json:"reported"`
	Version   int64      `json:"version"`
}

// ShadowPart is what is desired, or what was reported, with the time of its last change.
type ShadowPart struct {
	Properties map[string]any `json:"properties"`
	EventTime  string         `json:"event_time,omitempty"`
}

// LegacyData is the body of the older /huawei/v1/devices/{id}/data/json topic.
type LegacyData struct {
	MsgType string          `json:"msgType"` // deviceReq or deviceRsp
	Data    []LegacyService `json:"data,omitempty"`
	Mid     int             `json:"mid,omitempty"`
	ErrCode int             `json:"errcode,omitempty"`
	Body    map[string]any  `json:"body,omitempty"`
}

// LegacyCommand is the body of the older /huawei/v1/devices/{id}/command/json topic.
type LegacyCommand struct {
	MsgType   string         `json:"msgType"` // cloudReq
	ServiceID string         `json:"serviceId"`
	Command   string         `json:"cmd"`
	Paras     map[string]any `json:"paras"`
	Mid       int            `json:"mid"` // 1 to 65535
}

// LegacyService is one service of an older report.
type LegacyService struct {
	ServiceID   string         `json:"serviceId"`
	ServiceData map[string]any `json:"serviceData"`
	EventTime   string         `json:"eventTime,omitempty"`
}

// ErrJSON is wrapped by the errors of Decode.
var ErrJSON = errors.New("the payload is not the JSON that the topic wants")

// Decode reads one JSON value into v; numbers in free parts become json.Number. What follows the value is
// an error, unknown keys are not.
func Decode(payload []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %s", ErrJSON, plain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the value", ErrJSON)
	}
	return nil
}

func plain(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends in the middle"
	case errors.As(err, &syntax):
		return fmt.Sprintf("at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &kind):
		return mismatch(kind)
	}
	return err.Error()
}

// mismatch says of a value which kind it has and which is wanted.
func mismatch(e *json.UnmarshalTypeError) string {
	where := "the value"
	if e.Field != "" {
		where = strconv.Quote(e.Field)
	}
	want := wanted(e.Type.Kind())
	number, isNumber := strings.CutPrefix(e.Value, "number ")
	switch {
	case isNumber && want == whole && strings.ContainsAny(number, ".eE"):
		return fmt.Sprintf("%s is the number %s, not %s", where, number, want)
	case isNumber:
		return fmt.Sprintf("%s is the number %s, which is out of range", where, number)
	}
	return fmt.Sprintf("%s is a JSON %s, not %s", where, e.Value, want)
}

const whole = "a whole number"

func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return whole
}

// Encode returns v as JSON without escaping < > &; it panics on what cannot be JSON, which is a bug.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
