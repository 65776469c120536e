package iotda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Service is the properties of one service of the product model.
type Service struct {
	ID         string
	Properties map[string]any
	Time       time.Time // zero is now in a report; the zero time when the platform sent none
}

// Report reports properties and returns once the platform has acknowledged the message. What does not fit the
// product model is dropped by the platform in silence.
//
// Errors: ErrTooLarge, ErrClosed, the end of ctx, after which the report may still have arrived, or that the
// connection was lost five times under it, or cut for want of the acknowledgement (*clientkit.AckError).
func (d *Device) Report(ctx context.Context, services ...Service) error {
	list, err := d.serviceData(services)
	if err != nil {
		return err
	}
	return d.report(ctx, wire.Report, wire.Encode(wire.PropertyReport{Services: list}))
}

// serviceData returns services in the form of the wire, and says which cannot be JSON.
func (d *Device) serviceData(services []Service) ([]wire.ServiceData, error) {
	list := make([]wire.ServiceData, len(services))
	for i, s := range services {
		if s.ID == "" {
			return nil, errors.New("iotda: a service needs an ID")
		}
		if _, err := json.Marshal(s.Properties); err != nil {
			return nil, fmt.Errorf("iotda: service %s: %w", s.ID, err)
		}
		if s.Properties == nil {
			s.Properties = map[string]any{}
		}
		list[i] = wire.ServiceData{ServiceID: s.ID, Properties: s.Properties, EventTime: d.stamp(s.Time)}
	}
	return list, nil
}

// services is the way back. Numbers are json.Number.
func services(list []wire.ServiceData) []Service {
	out := make([]Service, len(list))
	for i, s := range list {
		at, _ := wire.ParseTime(s.EventTime) // zero where there is none
		out[i] = Service{ID: s.ServiceID, Properties: s.Properties, Time: at}
	}
	return out
}

// SetHandler sets properties that the application wants. deviceID is the device's own, or that of a gateway's
// child. An error is told to the application: as its code where it is a *Failure, else as 1.
type SetHandler func(ctx context.Context, deviceID string, services []Service) error

// GetHandler returns the properties of a service, of all services when serviceID is empty. deviceID as of
// SetHandler. With an error the application gets an empty answer.
type GetHandler func(ctx context.Context, deviceID, serviceID string) ([]Service, error)

// OnSet has handle called when the application sets properties. Calls run beside each other, a hundred at most.
// The application waits 20 seconds. ctx of handle ends with Close, which waits for handle; handle must not call
// Close. A handler set before is replaced; without one, a request is answered with result code 1.
func (d *Device) OnSet(handle SetHandler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = handle
}

// OnGet has handle called when the application asks for properties; as OnSet.
func (d *Device) OnGet(handle GetHandler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.get = handle
}

// errNoHandler is what the application is told when nothing serves it.
var errNoHandler = errors.New("not supported by the device")

func (d *Device) runSet(ctx context.Context, payload []byte) any {
	d.mu.Lock()
	handle := d.set
	d.mu.Unlock()
	var set wire.PropertySet
	err := wire.Decode(payload, &set)
	switch {
	case err == nil && handle == nil:
		err = errNoHandler
	case err == nil:
		err = handle(ctx, d.object(set.ObjectDeviceID), services(set.Services))
	}
	var r wire.SetResult
	r.ResultCode, r.ResultDesc = resultOf(err)
	return r
}

func (d *Device) runGet(ctx context.Context, payload []byte) any {
	d.mu.Lock()
	handle := d.get
	d.mu.Unlock()
	var get wire.PropertyGet
	err := wire.Decode(payload, &get)
	var found []Service
	if err == nil && handle != nil {
		found, err = handle(ctx, d.object(get.ObjectDeviceID), get.ServiceID)
	}
	list, bad := d.serviceData(found)
	if err = errors.Join(err, bad); err != nil {
		d.cfg.Log.Warn("properties not read", "device", d.cfg.DeviceID, "cause", err)
		list = nil
	}
	if list == nil {
		list = []wire.ServiceData{}
	}
	return wire.PropertyReport{Services: list}
}

// object is the device that a message is for.
func (d *Device) object(id string) string {
	if id == "" {
		return d.cfg.DeviceID
	}
	return id
}
