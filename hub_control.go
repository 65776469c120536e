package fakecloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// backEnd is the control plane's service side of the hubs.
type backEnd struct{ cloud *Cloud }

var _ plane.Hubs = backEnd{}

// hub finds a hub by its name or host name.
func (b backEnd) hub(name string) (iothub.Hub, error) {
	core := b.cloud.gen().cores.hub
	if h, err := core.GetHub(name); err == nil {
		return h, nil
	}
	for _, h := range core.Hubs() {
		if short, _, _ := strings.Cut(h.Host, "."); strings.EqualFold(short, name) {
			return h, nil
		}
	}
	return iothub.Hub{}, plane.ErrNoHub
}

// containerLife is how long the control plane's containers are open.
const containerLife = time.Hour

// container implements plane.Plane's Container.
func (b backEnd) container(hub, name string) (string, error) {
	h, err := b.hub(hub)
	if err != nil {
		return "", err
	}
	return b.cloud.BlobContainer(h.Host, name, containerLife)
}

// identity finds a hub and a device or module of it.
func (b backEnd) identity(hub, device string) (h iothub.Hub, id, module string, err error) {
	if h, err = b.hub(hub); err != nil {
		return h, "", "", err
	}
	id, module, isModule := strings.Cut(device, "/")
	if isModule {
		_, err = b.cloud.gen().cores.hub.GetModule(h.Host, id, module)
	} else {
		_, err = b.cloud.gen().cores.hub.GetDevice(h.Host, id)
	}
	return h, id, module, backEndError(err)
}

// backEndError gives the core's errors the control plane's names.
func backEndError(err error) error {
	switch {
	case errors.Is(err, iothub.ErrNotFound):
		return plane.ErrNoDevice
	case errors.Is(err, iothub.ErrInvalid):
		text := err.Error()
		if _, after, ok := strings.Cut(text, iothub.ErrInvalid.Error()+": "); ok {
			text = after
		}
		return fmt.Errorf("%w: %s", plane.ErrArgument, text)
	}
	return err
}

// SendC2D implements plane.Hubs.
func (b backEnd) SendC2D(hub, device string, m plane.C2D) (plane.Queued, error) {
	h, id, module, err := b.identity(hub, device)
	if err != nil {
		return plane.Queued{}, err
	}
	out := C2D{MessageID: m.MessageID, CorrelationID: m.CorrelationID, UserID: m.UserID, ContentType: m.ContentType,
		ContentEncoding: m.ContentEncoding, Ack: iothub.Ack(m.Ack), Body: m.BodyBase64}
	if m.Body != "" {
		if m.BodyBase64 != nil {
			return plane.Queued{}, fmt.Errorf("%w: body and bodyBase64 exclude each other", plane.ErrArgument)
		}
		out.Body = []byte(m.Body)
	}
	if m.TTL != "" {
		ttl, err := time.ParseDuration(m.TTL)
		if err != nil {
			return plane.Queued{}, fmt.Errorf("%w: ttl has to be a duration with its unit, like 10m", plane.ErrArgument)
		}
		out.Expiry = b.cloud.clock.Wall().Add(ttl)
	}
	for name, value := range m.Properties {
		p := C2DProperty{Name: name, Null: value == nil}
		if value != nil {
			p.Value = *value
		}
		out.Properties = append(out.Properties, p)
	}
	sort.Slice(out.Properties, func(i, j int) bool { return out.Properties[i].Name < out.Properties[j].Name })
	queued, err := b.cloud.gen().cores.hub.SendC2D(h.Host, id, module, out)
	if err != nil {
		return plane.Queued{}, backEndError(err)
	}
	d, err := registry(b).Get(iothub.Platform, h.Host, device)
	if err != nil {
		return plane.Queued{}, err
	}
	waiting, _ := d.State["cloudToDeviceMessageCount"].(float64)
	return plane.Queued{SequenceNumber: queued.Seq, Expires: queued.Expiry, Connected: d.Connected, Waiting: int(waiting)}, nil
}

// PurgeC2D implements plane.Hubs.
func (b backEnd) PurgeC2D(hub, device string) (int, error) {
	h, id, module, err := b.identity(hub, device)
	if err != nil {
		return 0, err
	}
	return b.cloud.gen().cores.hub.PurgeC2D(h.Host, id, module)
}

// Invoke implements plane.Hubs.
func (b backEnd) Invoke(ctx context.Context, hub, device string, call plane.MethodCall) (plane.MethodResult, error) {
	h, id, module, err := b.identity(hub, device)
	if err != nil {
		return plane.MethodResult{}, err
	}
	if len(call.Payload) == 0 {
		call.Payload = json.RawMessage("null") // the SDKs' devices read a method's payload as JSON
	}
	g := b.cloud.gen()
	ctx, done := g.within(ctx)
	defer done()
	result, err := g.cores.hub.InvokeMethod(ctx, h.Host, id, module, iothub.MethodCall{Name: call.Name, Payload: call.Payload,
		ConnectTimeout: time.Duration(call.ConnectTimeout) * time.Second, ResponseTimeout: time.Duration(call.ResponseTimeout) * time.Second})
	if err != nil {
		return plane.MethodResult{}, backEndError(err)
	}
	if len(result.Payload) == 0 {
		result.Payload = json.RawMessage("null")
	}
	return plane.MethodResult{Status: result.Status, Payload: result.Payload}, nil
}

// Twin implements plane.Hubs.
func (b backEnd) Twin(hub, device string) (json.RawMessage, error) {
	h, id, module, err := b.identity(hub, device)
	if err != nil {
		return nil, err
	}
	document, err := b.cloud.gen().cores.hub.TwinDocument(h.Host, id, module)
	if err != nil {
		return nil, backEndError(err)
	}
	return json.Marshal(document)
}

// ChangeTwin implements plane.Hubs. What is the hub's own in the change is ignored, as a twin that was read
// may come back.
func (b backEnd) ChangeTwin(hub, device string, change plane.TwinChange, replace bool) (json.RawMessage, error) {
	h, id, module, err := b.identity(hub, device)
	if err != nil {
		return nil, err
	}
	desired := change.Properties.Desired
	delete(desired, "$version")
	delete(desired, "$metadata")
	if change.Tags == nil && desired == nil {
		return nil, fmt.Errorf(`%w: nothing to change: tags, or properties with desired in it`, plane.ErrArgument)
	}
	if _, err := b.cloud.gen().cores.hub.ChangeTwin(h.Host, id, module, iothub.TwinPatch{Tags: change.Tags, Desired: desired, Replace: replace}, ""); err != nil {
		return nil, backEndError(err)
	}
	b.cloud.gen().cores.hub.ApplyConfigurations(h.Host, id)
	return b.Twin(h.Host, device)
}

// Telemetry implements plane.Hubs.
func (b backEnd) Telemetry(hub, device string, since uint64, limit int) ([]plane.HubMessage, uint64, error) {
	h, err := b.hub(hub)
	if err != nil {
		return nil, 0, err
	}
	found, next := b.cloud.gen().cores.hub.Telemetry(h.Host, device, since, limit)
	messages := make([]plane.HubMessage, len(found))
	for i, m := range found {
		shown := plane.HubMessage{Seq: m.Seq, Device: m.DeviceID, Enqueued: m.EnqueuedAt, System: m.System, Properties: m.Properties}
		if m.ModuleID != "" {
			shown.Device += "/" + m.ModuleID
		}
		if utf8.Valid(m.Body) {
			shown.Body = string(m.Body)
		} else {
			shown.BodyBase64 = m.Body
		}
		messages[i] = shown
	}
	return messages, next, nil
}

// Files implements plane.Hubs.
func (b backEnd) Files(hub, device string) ([]plane.HubFile, error) {
	h, err := b.hub(hub)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if device != "" {
		prefix = device + "/"
	}
	files := []plane.HubFile{}
	for _, blob := range b.cloud.gen().cores.hub.Blobs(h.Host, iothub.UploadContainer, prefix) {
		files = append(files, hubFile(blob))
	}
	return files, nil
}

func hubFile(b iothub.Blob) plane.HubFile {
	return plane.HubFile{Name: b.Name, Size: len(b.Body), ContentType: b.ContentType, Modified: b.Modified}
}

// File implements plane.Hubs.
func (b backEnd) File(hub, name string) (plane.HubFile, []byte, error) {
	h, err := b.hub(hub)
	if err != nil {
		return plane.HubFile{}, nil, err
	}
	blob, err := b.cloud.gen().cores.hub.GetBlob(h.Host, iothub.UploadContainer, name)
	if err != nil {
		return plane.HubFile{}, nil, plane.ErrNoFile
	}
	return hubFile(blob), blob.Body, nil
}
