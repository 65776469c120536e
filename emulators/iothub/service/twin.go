package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

func (c *call) getTwin() (answer, error) {
	device, module := c.identity()
	doc, err := c.Handler.hub.TwinDocument(c.hub.Host, device, module)
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{body: doc, etag: doc["etag"].(string)}, nil
}

func (c *call) patchTwin() (answer, error) { return c.changeTwin(false) }

func (c *call) putTwin() (answer, error) { return c.changeTwin(true) }

// changeTwin merges into a twin or replaces its tags and desired properties. What is the hub's own in the
// body is ignored, reported properties too: clients send back the twin that they have read.
func (c *call) changeTwin(replace bool) (answer, error) {
	var in twinRequest
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	patch, err := in.patch(replace)
	if err != nil {
		return answer{}, err
	}
	device, module := c.identity()
	match, _ := c.ifMatch()
	if _, err := c.Handler.hub.ChangeTwin(c.hub.Host, device, module, patch, match); err != nil {
		return answer{}, c.fault(err, faults{invalid: "SVC-10/invalid", etag: "SVC-11/etag"})
	}
	c.Handler.hub.ApplyConfigurations(c.hub.Host, device)
	return c.getTwin()
}

// twinRequest is a change of a twin as clients send it. A part that is null is not one that is absent: it loses
// all its keys (azure-iot-sdk-node, twin_e2e_tests.js "can null out all desired properties").
type twinRequest struct {
	azure.TwinRequest
	Tags       json.RawMessage `json:"tags"`
	Properties struct {
		Desired json.RawMessage `json:"desired"`
	} `json:"properties"`
}

// patch reads the parts.
func (r twinRequest) patch(replace bool) (iothub.TwinPatch, error) {
	var tags, desired map[string]any
	for _, part := range []struct {
		text json.RawMessage
		into *map[string]any
	}{{r.Tags, &tags}, {r.Properties.Desired, &desired}} {
		if part.text == nil {
			continue
		}
		if err := readJSON(part.text, part.into); err != nil {
			return iothub.TwinPatch{}, err
		}
	}
	p := twinPatch(tags, desired, replace)
	p.ClearTags = !replace && string(r.Tags) == "null"
	p.ClearDesired = !replace && string(r.Properties.Desired) == "null"
	return p, nil
}

// twinPatch is a change without what is the hub's own in it.
func twinPatch(tags, desired map[string]any, replace bool) iothub.TwinPatch {
	delete(desired, "$version")
	delete(desired, "$metadata")
	p := iothub.TwinPatch{Tags: tags, Desired: desired, Replace: replace}
	if replace && p.Tags == nil {
		p.Tags = map[string]any{}
	}
	if replace && p.Desired == nil {
		p.Desired = map[string]any{}
	}
	return p
}

// methodRequest is a direct method as clients send it. An old spelling of the response timeout,
// timeoutInSeconds, is ignored as by the hub (azure-iot-sdks issue 979).
type methodRequest struct {
	Name            string          `json:"methodName"`
	Payload         json.RawMessage `json:"payload"`
	ResponseTimeout int             `json:"responseTimeoutInSeconds"`
	ConnectTimeout  int             `json:"connectTimeoutInSeconds"`
}

func (m methodRequest) call() iothub.MethodCall {
	if len(m.Payload) == 0 {
		m.Payload = json.RawMessage("null") // the SDKs' devices read a method's payload as JSON
	}
	return iothub.MethodCall{Name: m.Name, Payload: m.Payload, ResponseTimeout: seconds(m.ResponseTimeout), ConnectTimeout: seconds(m.ConnectTimeout)}
}

// methodResult is a device's answer.
type methodResult struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

func (c *call) invoke() (answer, error) {
	var in methodRequest
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	device, module := c.identity()
	call := in.call()
	got, err := c.Handler.hub.InvokeMethod(c.r.Context(), c.hub.Host, device, module, call)
	if err != nil {
		return answer{}, c.methodFault(err, call)
	}
	if len(got.Payload) == 0 {
		got.Payload = json.RawMessage("null")
	}
	return answer{body: methodResult{Status: got.Status, Payload: got.Payload}}, nil
}

// methodFault translates the core's verdict; the core has journalled its own refusals.
func (c *call) methodFault(err error, m iothub.MethodCall) error {
	var r *rule.Refusal
	if !errors.As(err, &r) {
		if !errors.Is(err, iothub.ErrInvalid) {
			return c.fault(err, faults{invalid: "SVC-13/call"})
		}
		return failed("SVC-13/call", azure.ArgumentInvalid, err.Error(), shownCall(m),
			"a methodName of 1 to 100 characters without / + # ?, a payload of at most 131072 bytes, responseTimeoutInSeconds 5 to 300, connectTimeoutInSeconds 0 to 300")
	}
	f := &failure{refusal: r, code: r.Code, message: plain(r.Detail), journalled: true}
	switch r.Code {
	case azure.DeviceNotOnline:
		f.message = "Timed out waiting for device to connect."
		f.info = map[string]string{"timeout": clockText(m.ConnectTimeout)}
	case azure.GatewayTimeout:
		f.message = "Timed out waiting for the response from device."
	}
	return f
}

// shownCall tells of a call what may be wrong with it; its payload is not repeated.
func shownCall(m iothub.MethodCall) string {
	return fmt.Sprintf("methodName %q, a payload of %d bytes, responseTimeoutInSeconds %g, connectTimeoutInSeconds %g",
		show(m.Name), len(m.Payload), m.ResponseTimeout.Seconds(), m.ConnectTimeout.Seconds())
}

// clockText writes a duration as the hub does: 00:01:00.
func clockText(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}
