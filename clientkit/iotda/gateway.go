package iotda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Limits of a gateway's messages.
const (
	maxChildReports  = 100
	maxChildStatuses = 100
)

// Child is a child of a gateway, as the platform knows it.
type Child struct {
	DeviceID    string          `json:"device_id"`
	NodeID      string          `json:"node_id"`
	ProductID   string          `json:"product_id"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	ParentID    string          `json:"parent_device_id"`
	Status      string          `json:"status"`
	Extension   json.RawMessage `json:"extension_info"`
}

// NewChild asks for a child.
type NewChild struct {
	NodeID      string          `json:"node_id"`
	ProductID   string          `json:"product_id"`
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	DeviceID    string          `json:"device_id,omitempty"` // default {product ID}_{node ID}
	Extension   json.RawMessage `json:"extension_info,omitempty"`
}

// ChildFailure says what the platform did not do.
type ChildFailure struct {
	DeviceID  string `json:"device_id"`
	NodeID    string `json:"node_id"`
	ProductID string `json:"product_id"`
	Code      string `json:"error_code"` // such as IOTDA.014000
	Text      string `json:"error_msg"`
}

func (f ChildFailure) String() string {
	id := f.DeviceID
	if id == "" {
		id = f.NodeID
	}
	return fmt.Sprintf("%s: %s (%s)", id, f.Text, f.Code)
}

// ChildReport is what a gateway reports for one child.
type ChildReport struct {
	DeviceID string
	Services []Service
}

// ReportChildren reports properties of children. A child of another gateway is skipped by the platform in
// silence. Errors as of Report.
func (d *Device) ReportChildren(ctx context.Context, reports ...ChildReport) error {
	if len(reports) > maxChildReports {
		return fmt.Errorf("iotda: %d children in one report, IoTDA takes %d", len(reports), maxChildReports)
	}
	body := wire.GatewayData{Devices: make([]wire.ChildReport, len(reports))}
	for i, r := range reports {
		list, err := d.serviceData(r.Services)
		if err != nil {
			return err
		}
		body.Devices[i] = wire.ChildReport{DeviceID: r.DeviceID, Services: list}
	}
	return d.report(ctx, wire.GatewayReport, wire.Encode(body))
}

// children sends a gateway's request.
func (d *Device) children(ctx context.Context, kind string, paras any, answerKind string, answer any) error {
	text, err := json.Marshal(paras)
	if err != nil {
		return fmt.Errorf("iotda: %s: %w", kind, err)
	}
	return d.ask(ctx, Event{ServiceID: childrenService, Type: kind, Paras: text}, answerKind, answer)
}

// AddChildren registers children of the gateway and returns those that the platform has made, and why not the
// others. Errors: those of Report, or ErrNoAnswer.
func (d *Device) AddChildren(ctx context.Context, children ...NewChild) ([]Child, []ChildFailure, error) {
	var answer struct {
		Done   []Child        `json:"successful_devices"`
		Failed []ChildFailure `json:"failed_devices"`
	}
	err := d.children(ctx, "add_sub_device_request", map[string]any{"devices": children}, addedAnswer, &answer)
	return answer.Done, answer.Failed, err
}

// DeleteChildren removes children of the gateway; as AddChildren.
func (d *Device) DeleteChildren(ctx context.Context, ids ...string) ([]string, []ChildFailure, error) {
	var answer struct {
		Done   []string       `json:"successful_devices"`
		Failed []ChildFailure `json:"failed_devices"`
	}
	err := d.children(ctx, "delete_sub_device_request", map[string]any{"devices": ids}, deletedAnswer, &answer)
	return answer.Done, answer.Failed, err
}

// SetChildrenOnline tells the platform whether children can be reached, a hundred at most; as AddChildren.
func (d *Device) SetChildrenOnline(ctx context.Context, online bool, ids ...string) ([]ChildFailure, error) {
	if len(ids) == 0 || len(ids) > maxChildStatuses {
		return nil, fmt.Errorf("iotda: %d children, expected 1 to %d", len(ids), maxChildStatuses)
	}
	type status struct {
		DeviceID string `json:"device_id"`
		Status   string `json:"status"`
	}
	list := make([]status, len(ids))
	for i, id := range ids {
		list[i] = status{id, "OFFLINE"}
		if online {
			list[i].Status = "ONLINE"
		}
	}
	var answer struct {
		Failed []ChildFailure `json:"failed_devices"`
	}
	err := d.children(ctx, "sub_device_update_status", map[string]any{"device_statuses": list}, childStateAnswer, &answer)
	return answer.Failed, err
}

// SyncChildren asks for the children that were added after version, all when it is 0, and returns the version
// that the list has now.
func (d *Device) SyncChildren(ctx context.Context, version int64) ([]Child, int64, error) {
	var answer struct {
		Devices []Child `json:"devices"`
		Version int64   `json:"version"`
	}
	paras := map[string]any{}
	if version > 0 {
		paras["version"] = version
	}
	err := d.children(ctx, "sub_device_sync_request", paras, addedNotice, &answer)
	return answer.Devices, answer.Version, err
}

// ChildrenChange is news of a gateway's children.
type ChildrenChange struct {
	Deleted  bool // otherwise added
	Children []Child
	Version  int64 // of the list
}

// OnChildren has handle called when the application adds or deletes children; as OnEvent.
func (d *Device) OnChildren(handle func(context.Context, ChildrenChange)) error {
	if handle == nil {
		return errNilHandler
	}
	return d.OnEvent(childrenService, func(ctx context.Context, e Event) {
		change, err := readChange(e)
		if err != nil {
			d.cfg.Log.Warn("news of children cannot be read", "device", d.cfg.DeviceID, "cause", err)
			return
		}
		handle(ctx, change)
	})
}

func readChange(e Event) (ChildrenChange, error) {
	if e.Type != addedNotice && e.Type != deletedNotice {
		return ChildrenChange{}, errors.New("unknown event " + e.Type)
	}
	var p struct {
		Devices []Child `json:"devices"`
		Version int64   `json:"version"`
	}
	err := wire.Decode(e.Paras, &p)
	return ChildrenChange{e.Type == deletedNotice, p.Devices, p.Version}, err
}
