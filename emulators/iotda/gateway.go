package iotda

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The limits of a gateway's requests; the first is not confirmed by any page.
const (
	maxAdded    = 50
	maxStatuses = 100
)

// childInfo is a child as its gateway sees it.
type childInfo struct {
	ParentDeviceID string          `json:"parent_device_id"`
	NodeID         string          `json:"node_id"`
	DeviceID       string          `json:"device_id"`
	Name           string          `json:"name"`
	Description    string          `json:"description,omitempty"`
	ManufacturerID string          `json:"manufacturer_id"`
	Model          string          `json:"model"`
	ProductID      string          `json:"product_id"`
	FWVersion      string          `json:"fw_version"`
	SWVersion      string          `json:"sw_version"`
	Status         string          `json:"status"`
	ExtensionInfo  json.RawMessage `json:"extension_info,omitempty"`
}

func (s *Service) childInfo(instance string, d Device) childInfo {
	p, _ := s.Product(instance, d.ProductID)
	return childInfo{ParentDeviceID: d.GatewayID, NodeID: d.NodeID, DeviceID: d.DeviceID, Name: d.Name, Description: d.Description,
		ManufacturerID: p.ManufacturerName, Model: p.Name, ProductID: d.ProductID, FWVersion: d.FWVersion, SWVersion: d.SWVersion,
		Status: d.State(), ExtensionInfo: d.ExtensionInfo}
}

// family is a gateway's list of children: how many there are, and the version that counts its changes.
type family struct {
	Version int64
	Count   int
}

func (s *Service) family(instance, gateway string) family {
	f, _ := s.families.Get(key(instance, gateway))
	return f
}

// nextVersion counts a change of a gateway's list of children: one more, or one less.
func (s *Service) nextVersion(instance, gateway string, more int) int64 {
	k := key(instance, gateway)
	_ = s.families.Create(k, family{}) // it may be there already
	f, _ := s.families.Update(k, func(f family) (family, error) {
		return family{f.Version + 1, f.Count + more}, nil
	})
	return f.Version
}

func (s *Service) childAdded(instance string, d Device, quiet bool) {
	v := s.nextVersion(instance, d.GatewayID, 1)
	d, err := s.updateDevice(instance, d.DeviceID, func(d *Device) error {
		d.Listed = v
		return nil
	})
	if err == nil && !quiet {
		s.tellGateway(instance, d, "add_sub_device_notify", v, []childInfo{s.childInfo(instance, d)})
	}
}

func (s *Service) childDeleted(instance string, d Device) {
	v := s.nextVersion(instance, d.GatewayID, -1)
	s.tellGateway(instance, d, "delete_sub_device_notify", v, []map[string]string{{"parent_device_id": d.GatewayID, "node_id": d.NodeID, "device_id": d.DeviceID}})
}

func (s *Service) tellGateway(instance string, child Device, kind string, version int64, devices any) {
	c := s.session(instance, child.GatewayID)
	if c == nil {
		return
	}
	e := c.reply(iotda.Event{}, subDevices, kind, map[string]any{"devices": devices, "version": version})
	c.down.Deliver(iotda.Topic{Kind: iotda.EventsDown, DeviceID: c.id.DeviceID}.Format(),
		iotda.Encode(iotda.Events{ObjectDeviceID: c.id.DeviceID, Services: []iotda.Event{*e}}), true)
}

// childrenOffline follows a gateway that has gone.
func (s *Service) childrenOffline(instance, gateway string) {
	for _, child := range s.Children(instance, gateway) {
		if child.Status == Online {
			_, _ = s.setStatus(instance, child.DeviceID, Offline) // it may be gone
		}
	}
}

// children answers a gateway's requests about its children.
func (c *Session) children(from source, e iotda.Event) *iotda.Event {
	switch e.EventType {
	case "sub_device_sync_request":
		return c.syncChildren(from, e)
	case "add_sub_device_request":
		return c.addChildren(from, e)
	case "delete_sub_device_request":
		return c.deleteChildren(from, e)
	case "sub_device_update_status":
		return c.childStatuses(from, e)
	case "scan_result":
		return nil
	}
	c.explain(from.name, &rule.Refusal{Rule: "DA-34/event", Seen: "service_id " + clip(e.ServiceID) + ", event_type " + clip(e.EventType),
		Expected: closest(e.EventType, []string{"sub_device_sync_request", "add_sub_device_request", "delete_sub_device_request", "sub_device_update_status"})})
	return nil
}

func (c *Session) syncChildren(from source, e iotda.Event) *iotda.Event {
	var ask struct {
		Version int64 `json:"version"`
	}
	if len(e.Paras) > 0 && !c.parasOf(from, e, &ask) {
		return nil
	}
	devices := []childInfo{}
	for _, child := range c.svc.Children(c.id.Instance, c.id.DeviceID) {
		if child.Listed > ask.Version || ask.Version == 0 {
			devices = append(devices, c.svc.childInfo(c.id.Instance, child))
		}
	}
	version := c.svc.family(c.id.Instance, c.id.DeviceID).Version
	return c.reply(e, subDevices, "add_sub_device_notify", map[string]any{"devices": devices, "version": version})
}

// failure is one of the failed_devices of an answer.
type failure struct {
	NodeID    string `json:"node_id,omitempty"`
	DeviceID  string `json:"device_id,omitempty"`
	ProductID string `json:"product_id,omitempty"`
	Code      Code   `json:"error_code"`
	Text      string `json:"error_msg"`
}

func (c *Session) failed(topic, cause, seen string, err error) failure {
	code := CodeInvalid
	var known *Error
	if errors.As(err, &known) {
		code = known.Code
		err = errors.New(known.Text)
	}
	c.explain(topic, &rule.Refusal{Rule: rule.ID(cause), Detail: err.Error(), Seen: seen, Expected: "see the detail"})
	return failure{Code: code, Text: err.Error()}
}

func (c *Session) addChildren(from source, e iotda.Event) *iotda.Event {
	var ask struct {
		Devices []struct {
			Parent    string          `json:"parent_device_id"`
			NodeID    string          `json:"node_id"`
			ProductID string          `json:"product_id"`
			Name      string          `json:"name"`
			Text      string          `json:"description"`
			DeviceID  string          `json:"device_id"`
			Extension json.RawMessage `json:"extension_info"`
		} `json:"devices"`
	}
	if !c.parasOf(from, e, &ask) {
		return nil
	}
	added, failed := []childInfo{}, []failure{}
	for i, d := range ask.Devices {
		var child Device
		var err error
		switch {
		case i >= maxAdded:
			err = invalid("more than %d devices in one request", maxAdded)
		case d.Parent != "" && d.Parent != c.id.DeviceID:
			err = invalid("parent_device_id %q is not this gateway", clip(d.Parent))
		default:
			child, err = c.svc.CreateDevice(c.id.Instance, NewDevice{Device: Device{DeviceID: d.DeviceID, NodeID: d.NodeID, ProductID: d.ProductID,
				Name: d.Name, Description: d.Text, GatewayID: c.id.DeviceID, ExtensionInfo: d.Extension}, quiet: true})
		}
		if err != nil {
			f := c.failed(from.name, "DA-47/child", fmt.Sprintf("node_id %s, product_id %s", clip(d.NodeID), clip(d.ProductID)), err)
			f.NodeID, f.ProductID = d.NodeID, d.ProductID
			failed = append(failed, f)
			continue
		}
		added = append(added, c.svc.childInfo(c.id.Instance, child))
	}
	return c.reply(e, subDevices, "add_sub_device_response", map[string]any{"successful_devices": added, "failed_devices": failed})
}

// ownChild returns a child of this gateway by id.
func (c *Session) ownChild(id string) (Device, error) {
	d, err := c.svc.Device(c.id.Instance, id)
	if err == nil && d.GatewayID != c.id.DeviceID {
		err = &Error{Code: CodeForeignChild, Text: fmt.Sprintf("device %q is no child of this gateway", clip(id))}
	}
	return d, err
}

func (c *Session) deleteChildren(from source, e iotda.Event) *iotda.Event {
	var ask struct {
		Devices []string `json:"devices"`
	}
	if !c.parasOf(from, e, &ask) {
		return nil
	}
	deleted, failed := []string{}, []failure{}
	for _, id := range ask.Devices {
		_, err := c.ownChild(id)
		if err == nil {
			err = c.svc.DeleteDevice(c.id.Instance, id)
		}
		if err != nil {
			f := c.failed(from.name, "DA-47/child", "device_id "+clip(id), err)
			f.DeviceID = id
			failed = append(failed, f)
			continue
		}
		deleted = append(deleted, id)
	}
	return c.reply(e, subDevices, "delete_sub_device_response", map[string]any{"successful_devices": deleted, "failed_devices": failed})
}

// childStatus is a child's state as its gateway tells it.
type childStatus struct {
	DeviceID string `json:"device_id"`
	Status   string `json:"status"`
}

func (c *Session) childStatuses(from source, e iotda.Event) *iotda.Event {
	var ask struct {
		Statuses []childStatus `json:"device_statuses"`
	}
	if !c.parasOf(from, e, &ask) {
		return nil
	}
	done, failed := []childStatus{}, []failure{}
	for i, told := range ask.Statuses {
		_, err := c.ownChild(told.DeviceID)
		switch {
		case err != nil:
		case i >= maxStatuses:
			err = invalid("more than %d devices in one request", maxStatuses)
		case told.Status != Online && told.Status != Offline:
			err = invalid("status %q: ONLINE or OFFLINE", clip(told.Status))
		default:
			_, err = c.svc.setStatus(c.id.Instance, told.DeviceID, told.Status)
		}
		if err != nil {
			f := c.failed(from.name, "DA-50/child", fmt.Sprintf("device_id %s, status %s", clip(told.DeviceID), clip(told.Status)), err)
			f.DeviceID = told.DeviceID
			failed = append(failed, f)
			continue
		}
		done = append(done, told)
	}
	return c.reply(e, subDevices, "sub_device_update_status_response", map[string]any{"successful_devices": done, "failed_devices": failed})
}
