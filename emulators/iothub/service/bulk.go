package service

import (
	"fmt"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// mostBulk is how many identities one bulk operation takes ("Understand the identity registry").
const mostBulk = 100

// bulkResult is the answer to a bulk operation, also where it failed (azure-iothub, pl/models).
type bulkResult struct {
	Successful bool          `json:"isSuccessful"`
	Errors     []bulkError   `json:"errors"`
	Warnings   []bulkWarning `json:"warnings"`
}

type bulkError struct {
	DeviceID string  `json:"deviceId"`
	ModuleID *string `json:"moduleId"`
	Code     int     `json:"errorCode"`
	Status   string  `json:"errorStatus"`
	Mode     string  `json:"operation"`
}

type bulkWarning struct {
	DeviceID string `json:"deviceId"`
	Code     string `json:"warningCode"`
	Status   string `json:"warningStatus"`
}

func (c *call) bulk() (answer, error) {
	var in []azure.BulkRequest
	if err := c.decode(&in, maxBulk); err != nil {
		return answer{}, err
	}
	if len(in) > mostBulk {
		return answer{}, failed("SVC-9/count", azure.ArgumentInvalid, "too many identities in one bulk operation", fmt.Sprint(len(in)), fmt.Sprintf("at most %d", mostBulk))
	}
	items := make([]iothub.BulkItem, len(in))
	for i, r := range in {
		items[i] = bulkItem(r)
	}
	errs, err := c.Handler.hub.Bulk(c.hub.Host, items)
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	c.Handler.hub.ApplyConfigurations(c.hub.Host, "")
	return c.bulkAnswer(errs)
}

func (c *call) bulkAnswer(errs []iothub.BulkError) (answer, error) {
	result := bulkResult{Successful: true, Errors: []bulkError{}, Warnings: []bulkWarning{}}
	var first *iothub.BulkError
	for i, e := range errs {
		if e.Warning {
			result.Warnings = append(result.Warnings, bulkWarning{e.DeviceID, "DeviceRegisteredWithoutTwin", e.Detail})
			continue
		}
		if first == nil {
			first = &errs[i]
		}
		shown := bulkError{DeviceID: e.DeviceID, Code: e.Code, Status: e.Detail, Mode: e.Mode}
		if e.ModuleID != "" {
			shown.ModuleID = &e.ModuleID
		}
		result.Errors = append(result.Errors, shown)
	}
	if first == nil {
		return answer{body: result}, nil
	}
	result.Successful = false
	return answer{}, &failure{code: azure.BulkFailure, message: "Bulk registry operation failure", body: result, refusal: &rule.Refusal{Rule: "SVC-8/identity",
		Detail: fmt.Sprintf("%d of the identities failed, the first with: %s", len(result.Errors), show(first.Detail)), Seen: show(first.Mode + " " + first.DeviceID),
		Expected: "identities that can be changed as their importMode says"}}
}

// bulkItem reads one element of a bulk operation.
func bulkItem(r azure.BulkRequest) iothub.BulkItem {
	delete(r.Properties.Desired, "$version")
	delete(r.Properties.Desired, "$metadata")
	item := iothub.BulkItem{Mode: r.ImportMode, ETag: unquoted(r.ETag), TwinETag: unquoted(r.TwinETag), Tags: r.Tags, Desired: r.Properties.Desired,
		Device: iothub.Device{DeviceID: r.ID, Status: statusOf(r.Status), StatusReason: r.StatusReason,
			Authentication: authOf(r.Authentication), DeviceScope: r.DeviceScope, ParentScopes: r.ParentScopes}}
	if r.Capabilities != nil {
		item.Device.Capabilities.IoTEdge = r.Capabilities.IoTEdge
	}
	if r.ModuleID != "" {
		item.Module = &iothub.Module{DeviceID: r.ID, ModuleID: r.ModuleID, ManagedBy: r.ManagedBy, Authentication: authOf(r.Authentication)}
	}
	return item
}
