package plane

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Errors of Hubs, beside ErrNoDevice and *rule.Refusal.
var (
	ErrNoHub    = errors.New("no such hub")
	ErrNoFile   = errors.New("no such file")
	ErrArgument = errors.New("not as the hub takes it") // wrapped with what is wrong
)

// Hubs is the back end's side of the IoT hubs, for testers without a service SDK. A hub is named by its
// name or host name, a device by its id, or device/module.
type Hubs interface {
	SendC2D(hub, device string, m C2D) (Queued, error)
	PurgeC2D(hub, device string) (int, error)
	// Invoke returns the device's answer; ctx ends the call earlier than its timeouts.
	Invoke(ctx context.Context, hub, device string, call MethodCall) (MethodResult, error)
	// Twin returns the twin as the service side reads it.
	Twin(hub, device string) (json.RawMessage, error)
	// ChangeTwin merges the change into the twin, or replaces the parts that it names, and returns the
	// twin afterwards.
	ChangeTwin(hub, device string, change TwinChange, replace bool) (json.RawMessage, error)
	// Telemetry returns messages after the number since, oldest first, at most limit of them, and the
	// number to go on after. An empty device takes all.
	Telemetry(hub, device string, since uint64, limit int) ([]HubMessage, uint64, error)
	// Files lists what devices have uploaded; an empty device takes all.
	Files(hub, device string) ([]HubFile, error)
	// File returns one file by its name, which begins with the device's id.
	File(hub, name string) (HubFile, []byte, error)
}

// C2D is a cloud-to-device message.
type C2D struct {
	MessageID       string             `json:"messageId,omitempty" maxLength:"128"`
	CorrelationID   string             `json:"correlationId,omitempty"`
	UserID          string             `json:"userId,omitempty"`
	ContentType     string             `json:"contentType,omitempty" doc:"e.g. application/json"`
	ContentEncoding string             `json:"contentEncoding,omitempty" doc:"e.g. utf-8"`
	Ack             string             `json:"ack,omitempty" enum:"none,positive,negative,full" doc:"outcomes that the sender wants feedback about"`
	TTL             string             `json:"ttl,omitempty" doc:"time to live, like 10m; an hour when not given, 48h at most"`
	Properties      map[string]*string `json:"properties,omitempty" doc:"application properties; null is a name without value"`
	Body            string             `json:"body,omitempty" doc:"text; excludes bodyBase64"`
	BodyBase64      []byte             `json:"bodyBase64,omitempty" doc:"bytes; 64 KiB at most with the properties"`
}

// Queued tells what became of a C2D that was accepted.
type Queued struct {
	SequenceNumber uint64    `json:"sequenceNumber"`
	Expires        time.Time `json:"expires"`
	Waiting        int       `json:"waiting" doc:"messages in the device's queue, of 50 at most; one that is under way waits until it is acknowledged"`
	Connected      bool      `json:"connected" doc:"whether the device is connected"`
}

// MethodCall is a direct method.
type MethodCall struct {
	Name            string          `json:"methodName" minLength:"1" maxLength:"100"`
	Payload         json.RawMessage `json:"payload,omitempty" doc:"any JSON; null when not given"`
	ConnectTimeout  int             `json:"connectTimeoutInSeconds,omitempty" minimum:"0" maximum:"300" doc:"how long to wait for the device to be there and subscribed"`
	ResponseTimeout int             `json:"responseTimeoutInSeconds,omitempty" minimum:"5" maximum:"300" doc:"how long to wait for its answer; 30 when not given"`
}

// MethodResult is a device's answer to a direct method.
type MethodResult struct {
	Status  int             `json:"status" doc:"the device's own"`
	Payload json.RawMessage `json:"payload" doc:"JSON, null where the device sent none"`
}

// TwinChange is what a back end may change of a twin; what is absent is left alone.
type TwinChange struct {
	Tags       map[string]any `json:"tags,omitempty" doc:"a null removes its key"`
	Properties struct {
		Desired map[string]any `json:"desired,omitempty" doc:"a null removes its key"`
	} `json:"properties,omitempty" required:"false"`
}

// HubMessage is stored telemetry.
type HubMessage struct {
	Seq        uint64            `json:"seq"`
	Device     string            `json:"device" doc:"device, or device/module"`
	Enqueued   time.Time         `json:"enqueued"`
	Body       string            `json:"body,omitempty" doc:"where it is UTF-8"`
	BodyBase64 []byte            `json:"bodyBase64,omitempty" doc:"where it is not"`
	System     map[string]string `json:"system" doc:"the device's system properties and the hub's stamps"`
	Properties map[string]string `json:"properties,omitempty" doc:"application properties"`
}

// HubFile is a file that a device has uploaded.
type HubFile struct {
	Name        string    `json:"name" doc:"begins with the device's id"`
	Size        int       `json:"size" doc:"bytes"`
	ContentType string    `json:"contentType,omitempty"`
	Modified    time.Time `json:"modified"`
}
