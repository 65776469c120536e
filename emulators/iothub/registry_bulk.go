package iothub

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// BulkModes are what a bulk operation can do with an identity (azure-iothub, pl/models: importMode). The
// createOrUpdate forms are those of import jobs.
var BulkModes = []string{"create", "createOrUpdate", "createOrUpdateIfMatchETag", "update", "updateIfMatchETag",
	"delete", "deleteIfMatchETag", "updateTwin", "updateTwinIfMatchETag"}

// BulkItem is one identity of a bulk operation. Module is for a module, its DeviceID being Device's.
type BulkItem struct {
	Mode     string // one of BulkModes, in any case
	Device   Device
	Module   *Module
	ETag     string
	TwinETag string
	Tags     map[string]any // of the twin, nil leaves it alone
	Desired  map[string]any
}

// BulkError says what went wrong with one identity; Code is the hub's own.
type BulkError struct {
	DeviceID, ModuleID string
	Code               int
	Detail             string
	Mode               string
	// Warning says that the identity was registered, but its twin was not set.
	Warning bool
}

func (i *BulkItem) ids() (device, module string) {
	if i.Module != nil {
		module = i.Module.ModuleID
	}
	return i.Device.DeviceID, module
}

// Bulk changes many identities, one after the other; what fails does not keep the others from it.
func (s *Service) Bulk(hub string, items []BulkItem) ([]BulkError, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil, err
	}
	var failed []BulkError
	seen, coming := map[string]bool{}, map[string]bool{}
	for _, item := range items {
		if item.Device.Capabilities.IoTEdge && item.Device.DeviceScope != "" {
			coming[item.Device.DeviceScope] = true // an export lists children before their parents too
		}
	}
	for i := range items {
		item := &items[i]
		device, module := item.ids()
		fail := BulkError{DeviceID: device, ModuleID: module, Mode: item.Mode}
		if n := name(device, module); seen[n] {
			fail.Code, fail.Detail = azure.DeviceDefinedTwice, "the identity stands in the list more than once"
			failed = append(failed, fail)
			continue
		} else {
			seen[n] = true
		}
		registered, err := s.bulkOne(h.Host, item, coming)
		if err == nil {
			continue
		}
		if module != "" && errors.Is(err, ErrNotFound) {
			if _, missing := s.GetDevice(h.Host, device); missing != nil {
				module = "" // it is the module's device that is not there
			}
		}
		fail.Code, fail.Detail, fail.Warning = bulkCode(err, module), err.Error(), registered
		failed = append(failed, fail)
	}
	return failed, nil
}

// bulkCode returns the hub's code for an error of the registry; module is empty where the error is of a device.
func bulkCode(err error, module string) int {
	switch {
	case errors.Is(err, ErrExists) && module != "":
		return azure.ModuleAlreadyExists
	case errors.Is(err, ErrExists):
		return azure.DeviceAlreadyExists
	case errors.Is(err, ErrNotFound) && module != "":
		return azure.ModuleNotFound
	case errors.Is(err, ErrNotFound):
		return azure.DeviceNotFound
	case errors.Is(err, ErrPrecondition):
		return azure.PreconditionFailed
	}
	return azure.ArgumentInvalid
}

// bulkOne changes one identity. registered tells that an error is of its twin only.
func (s *Service) bulkOne(hub string, item *BulkItem, coming map[string]bool) (registered bool, err error) {
	at := slices.IndexFunc(BulkModes, func(m string) bool { return strings.EqualFold(m, item.Mode) })
	if at < 0 {
		return false, fmt.Errorf("%w: importMode %s; known are %s", ErrInvalid, quote(item.Mode), strings.Join(BulkModes, ", "))
	}
	mode, guarded := strings.CutSuffix(BulkModes[at], "IfMatchETag")
	match, twinMatch := "", ""
	if guarded {
		match, twinMatch = item.ETag, item.TwinETag
		if mode == "updateTwin" && twinMatch == "" || mode != "updateTwin" && match == "" {
			return false, fmt.Errorf("%w: importMode %s needs an ETag", ErrInvalid, BulkModes[at])
		}
	}
	device, module := item.ids()
	switch mode {
	case "delete":
		if module != "" {
			return false, s.DeleteModule(hub, device, module, match)
		}
		return false, s.DeleteDevice(hub, device, match)
	case "updateTwin":
		_, err := s.ChangeTwin(hub, device, module, TwinPatch{Tags: item.Tags, Desired: item.Desired}, twinMatch)
		return false, err
	case "createOrUpdate":
		mode = "update"
		if _, err := s.GetTwin(hub, device, module); err != nil {
			mode = "create"
		}
	}
	if err := s.bulkPut(hub, item, mode == "create", match, coming); err != nil {
		return false, err
	}
	if item.Tags == nil && item.Desired == nil {
		return false, nil
	}
	_, err = s.ChangeTwin(hub, device, module, TwinPatch{Tags: item.Tags, Desired: item.Desired}, "")
	return true, err
}

func (s *Service) bulkPut(hub string, item *BulkItem, fresh bool, match string, coming map[string]bool) error {
	var err error
	switch {
	case item.Module != nil && fresh:
		_, err = s.CreateModule(hub, *item.Module)
	case item.Module != nil:
		_, err = s.UpdateModule(hub, *item.Module, match)
	case fresh:
		_, err = s.createDevice(hub, item.Device, coming)
	default:
		_, err = s.updateDevice(hub, item.Device, match, coming)
	}
	return err
}
