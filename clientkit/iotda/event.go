package iotda

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The platform's own services.
const (
	timeSyncService  = "$time_sync"
	sdkInfoService   = "$sdk_info"
	otaService       = "$ota"
	childrenService  = "$sub_device_manager"
	sdkVersion       = "fakecloud-clientkit"
	timeSyncAnswer   = "time_sync_response"
	addedAnswer      = "add_sub_device_response"
	deletedAnswer    = "delete_sub_device_response"
	childStateAnswer = "sub_device_update_status_response"
	addedNotice      = "add_sub_device_notify"
	deletedNotice    = "delete_sub_device_notify"
)

// Event is an event of a service.
type Event struct {
	DeviceID  string // the device's own, or that of a gateway's child
	ServiceID string // of the product model, or one of the platform's own that begin with $
	Type      string
	ID        string
	Time      time.Time       // zero is now when sent
	Paras     json.RawMessage // a JSON object
}

// ask is an event that waits for its answer.
type ask struct {
	service, kind string // of the answer
	answered      chan wire.Event
}

// eventHandler takes an event of the platform.
type eventHandler func(context.Context, Event)

// SendEvent sends an event. Errors as of Report.
func (d *Device) SendEvent(ctx context.Context, e Event) error {
	body, err := d.eventBody(e)
	if err != nil {
		return err
	}
	return d.publish(ctx, d.own(wire.EventsUp).Format(), body)
}

func (d *Device) eventBody(e Event) ([]byte, error) {
	if e.ServiceID == "" || e.Type == "" {
		return nil, fmt.Errorf("iotda: an event needs a service ID and a type")
	}
	if e.Paras == nil {
		e.Paras = json.RawMessage("{}")
	}
	if !json.Valid(e.Paras) {
		return nil, fmt.Errorf("iotda: the paras of event %s are not JSON", e.Type)
	}
	return wire.Encode(wire.Events{ObjectDeviceID: d.object(e.DeviceID), Services: []wire.Event{{
		ServiceID: e.ServiceID, EventType: e.Type, EventTime: d.stamp(e.Time), EventID: e.ID, Paras: e.Paras,
	}}}), nil
}

// ask sends an event and reads the paras of the answer of that kind into answer.
func (d *Device) ask(ctx context.Context, e Event, kind string, answer any) error {
	e.ID = d.ids()
	body, err := d.eventBody(e)
	if err != nil {
		return err
	}
	var reply wire.Event
	err = d.session.Again(ctx, e.Type+" not sent", e.Type+" not answered", func(l *session.Link) (err error) {
		reply, err = d.askOn(ctx, l, e, kind, body)
		return err
	})
	if err != nil {
		return err
	}
	if err := wire.Decode(reply.Paras, answer); err != nil {
		return fmt.Errorf("iotda: %s cannot be read: %w", kind, err)
	}
	return nil
}

func (d *Device) askOn(ctx context.Context, l *session.Link, e Event, kind string, body []byte) (wire.Event, error) {
	a := &ask{e.ServiceID, kind, make(chan wire.Event, 1)}
	d.mu.Lock()
	d.asks[e.ID] = a
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.asks, e.ID)
		d.mu.Unlock()
	}()
	if err := l.Publish(ctx, d.own(wire.EventsUp).Format(), body); err != nil {
		return wire.Event{}, err
	}
	select {
	case reply := <-a.answered:
		return reply, nil
	case <-l.Lost():
		return wire.Event{}, session.ErrLost
	case <-ctx.Done():
		return wire.Event{}, ctx.Err()
	case <-d.cfg.Timing.After(answerTimeout):
		return wire.Event{}, fmt.Errorf("%w within %s", ErrNoAnswer, answerTimeout)
	}
}

// eventsArrived hands events to who asked for them, or to the service's handler; it never blocks.
func (d *Device) eventsArrived(payload []byte) {
	var body wire.Events
	if err := wire.Decode(payload, &body); err != nil {
		d.cfg.Log.Warn("events cannot be read", "device", d.cfg.DeviceID, "cause", err)
		return
	}
	for _, e := range body.Services {
		if a := d.asker(e); a != nil {
			a.answered <- e
			continue
		}
		at, _ := wire.ParseTime(e.EventTime) // zero where there is none
		d.mu.Lock()
		d.take(Event{d.object(body.ObjectDeviceID), e.ServiceID, e.EventType, e.EventID, at, e.Paras})
		d.mu.Unlock()
	}
}

// take queues an event for its handler, or keeps it for one that comes later. The caller holds mu.
func (d *Device) take(e Event) {
	handle := d.handlers[e.ServiceID]
	if handle == nil {
		if len(d.early) == maxEvents {
			d.early = d.early[1:]
		}
		d.early = append(d.early, e)
		return
	}
	select {
	case d.events <- func() { handle(d.session.Context(), e) }:
	default:
		d.cfg.Log.Warn("more events than can wait", "device", d.cfg.DeviceID)
	}
}

// asker takes away who waits for e: by the event's id, or as the only one that waits for its kind.
func (d *Device) asker(e wire.Event) *ask {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := ""
	if a := d.asks[e.EventID]; a != nil && a.kind == e.EventType {
		found = e.EventID
	} else {
		for id, a := range d.asks {
			if a.service != e.ServiceID || a.kind != e.EventType || e.EventType == addedNotice {
				continue
			}
			if found != "" {
				return nil
			}
			found = id
		}
	}
	a := d.asks[found]
	delete(d.asks, found)
	return a
}

// OnEvent has handle called with each event of a service that is not the answer to a request of the kit, such
// as $log, $file_manager or $device_config; events come one after the other. Events that came before, 64 at most,
// are handed over too. ctx of handle ends with Close, which waits for handle; handle must not call Close. The error is that the service has a handler already, or
// ErrClosed.
func (d *Device) OnEvent(serviceID string, handle func(context.Context, Event)) error {
	if handle == nil {
		return errNilHandler
	}
	d.mu.Lock()
	if d.handlers[serviceID] != nil {
		d.mu.Unlock()
		return errTaken
	}
	d.handlers[serviceID] = handle
	start := !d.pumping
	d.pumping = true
	early := d.early
	d.early = nil
	for _, e := range early {
		d.take(e)
	}
	d.mu.Unlock()
	if start && !d.session.Spawn(d.takeEvents) {
		return ErrClosed
	}
	return nil
}

// takeEvents runs the handlers of events until the device ends.
func (d *Device) takeEvents() {
	for {
		select {
		case <-d.session.Context().Done():
			return
		case run := <-d.events:
			run()
		}
	}
}

// SyncTime asks the platform for its time and returns how far the device's clock is behind it: half of the
// message's way there and back is taken off.
func (d *Device) SyncTime(ctx context.Context) (behind time.Duration, err error) {
	sent := d.cfg.Timing.Now()
	var t struct {
		Received int64 `json:"server_recv_time"`
		Sent     int64 `json:"server_send_time"`
	}
	paras := wire.Encode(map[string]int64{"device_send_time": sent.UnixMilli()})
	err = d.ask(ctx, Event{ServiceID: timeSyncService, Type: "time_sync_request", Paras: paras}, timeSyncAnswer, &t)
	if err != nil {
		return 0, err
	}
	back := d.cfg.Timing.Now()
	platform := time.UnixMilli(t.Received).Add(time.UnixMilli(t.Sent).Sub(time.UnixMilli(t.Received)) / 2)
	return platform.Sub(sent.Add(back.Sub(sent) / 2)), nil
}

// Info is what a device tells of itself; the page of the device shows it.
type Info struct {
	SDKVersion      string // default: the kit's
	SoftwareVersion string
	FirmwareVersion string
}

// ReportInfo tells the platform the device's versions. Errors as of Report.
func (d *Device) ReportInfo(ctx context.Context, i Info) error {
	if i.SDKVersion == "" {
		i.SDKVersion = sdkVersion
	}
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return d.SendEvent(ctx, Event{ServiceID: sdkInfoService, Type: "sdk_info_report", Paras: wire.Encode(map[string]*string{
		"device_sdk_version": &i.SDKVersion, "sw_version": text(i.SoftwareVersion), "fw_version": text(i.FirmwareVersion),
	})})
}
