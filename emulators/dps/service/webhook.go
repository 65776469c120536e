package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Caller makes outbound calls, as outbound.Policy does.
type Caller interface {
	Call(ctx context.Context, url string, body []byte) (status int, answer []byte, err error)
}

// Webhook asks webhooks of custom allocation over HTTP.
type Webhook struct{ Caller }

var _ dps.Webhook = Webhook{}

// allocationRequest is the body that a webhook gets (concepts-custom-allocation.md).
type allocationRequest struct {
	Enrollment *record        `json:"individualEnrollment,omitempty"`
	Group      *record        `json:"enrollmentGroup,omitempty"`
	Device     runtimeContext `json:"deviceRuntimeContext"`
	LinkedHubs []string       `json:"linkedHubs"`
}

type runtimeContext struct {
	RegistrationID  string           `json:"registrationId"`
	CurrentHub      string           `json:"currentIotHubHostName,omitempty"`
	CurrentDeviceID string           `json:"currentDeviceId,omitempty"`
	X509            *x509Attestation `json:"x509,omitempty"`
	SymmetricKey    *struct{}        `json:"symmetricKey,omitempty"`
	TPM             *dps.TPM         `json:"tpm,omitempty"`
	Payload         json.RawMessage  `json:"payload,omitempty"`
}

// Ask implements dps.Webhook.
func (w Webhook) Ask(ctx context.Context, r dps.AllocationRequest) (dps.AllocationAnswer, error) {
	status, text, err := w.Call(ctx, r.URL, azure.MarshalJSON(requestOf(r)))
	out := dps.AllocationAnswer{Status: status}
	if err != nil || status < http.StatusOK || status >= http.StatusMultipleChoices {
		return out, err
	}
	var said struct {
		Hub         string          `json:"iotHubHostName"`
		InitialTwin json.RawMessage `json:"initialTwin"`
		Payload     json.RawMessage `json:"payload"`
	}
	if err := azure.ReadJSON(text, &said); err != nil {
		return out, fmt.Errorf("%w: %s", dps.ErrAllocationAnswer, show(err.Error()))
	}
	out.Hub, out.InitialTwin, out.Payload = said.Hub, given(said.InitialTwin), given(said.Payload)
	return out, nil
}

func requestOf(r dps.AllocationRequest) allocationRequest {
	out := allocationRequest{LinkedHubs: r.LinkedHubs, Device: runtimeContext{RegistrationID: r.RegistrationID,
		CurrentHub: r.CurrentHub, CurrentDeviceID: r.CurrentDeviceID, Payload: r.Payload}}
	if r.Group != nil {
		g := masked(ofGroup(*r.Group))
		out.Group = &g
	}
	if r.Enrollment != nil {
		e := masked(ofEnrollment(*r.Enrollment))
		out.Enrollment = &e
	}
	switch {
	case r.Leaf != nil:
		out.Device.X509 = &x509Attestation{Client: &certificates{Primary: &certificate{Info: infoOf(r.Leaf)}}}
	case r.TPM != nil:
		out.Device.TPM = r.TPM
	default:
		out.Device.SymmetricKey = &struct{}{}
	}
	return out
}

// masked hides the function key, as the service does.
func masked(r record) record {
	if r.CustomAllocation == nil {
		return r
	}
	custom := *r.CustomAllocation
	if address, _, query := strings.Cut(custom.WebhookURL, "?"); query {
		custom.WebhookURL = address + "?****"
	}
	r.CustomAllocation = &custom
	return r
}
