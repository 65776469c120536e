package fakecloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
)

// C2D is a cloud-to-device message.
type C2D = iothub.C2D

// C2DProperty is an application property of a C2D.
type C2DProperty = iothub.C2DProperty

// MethodResult is a device's answer to a direct method.
type MethodResult = iothub.MethodResult

// In these calls hub is a host name, and device a device id or device/module.
//
// Errors name an unknown hub or identity, an argument that the hub does not take, or are the hub's own
// refusal, which is in the journal with its rule as well.

// SendC2D puts a message into the queue of a device, which has 50 places, and on its way if the device is
// connected and subscribed. It may have 64 KiB and lives for an hour unless it says otherwise.
func (c *Cloud) SendC2D(hub, device string, m C2D) error {
	id, module, _ := strings.Cut(device, "/")
	_, err := c.gen().cores.hub.SendC2D(hub, id, module, m)
	return err
}

// InvokeMethod calls a direct method and returns the device's answer. payload is JSON or empty, 128 KiB at
// most. timeout is how long to wait for a device that can answer (0 to 300 s), and again for its answer
// (5 to 300 s; less is taken as 5 s), both by the timers reading; ctx ends the call earlier.
func (c *Cloud) InvokeMethod(ctx context.Context, hub, device, name string, payload json.RawMessage, timeout time.Duration) (MethodResult, error) {
	id, module, _ := strings.Cut(device, "/")
	g := c.gen()
	ctx, done := g.within(ctx)
	defer done()
	return g.cores.hub.InvokeMethod(ctx, hub, id, module, iothub.MethodCall{
		Name: name, Payload: payload, ConnectTimeout: timeout, ResponseTimeout: max(timeout, 5*time.Second),
	})
}

// PatchDesired merges patch, a JSON object, into the desired properties of a twin, tells the device if it
// is connected and subscribed, and returns their new version. A null removes its key.
func (c *Cloud) PatchDesired(hub, device string, patch json.RawMessage) (version int64, err error) {
	var values map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(patch)))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil || values == nil {
		return 0, fmt.Errorf("desired properties are %.40s, expected a JSON object", patch)
	}
	id, module, _ := strings.Cut(device, "/")
	t, err := c.gen().cores.hub.ChangeTwin(hub, id, module, iothub.TwinPatch{Desired: values}, "")
	return t.Desired.Version, err
}

// Twin returns a twin as the service side reads it: the identity's state, tags, and desired and reported
// properties with their $metadata and $version.
func (c *Cloud) Twin(hub, device string) (json.RawMessage, error) {
	id, module, _ := strings.Cut(device, "/")
	document, err := c.gen().cores.hub.TwinDocument(hub, id, module)
	if err != nil {
		return nil, err
	}
	return json.Marshal(document)
}

// BlobContainer returns the address of a container of a hub's own blob store, with a signature that may read,
// write, list and delete in it for life, at most a day: what import and export jobs want.
func (c *Cloud) BlobContainer(hub, container string, life time.Duration) (string, error) {
	if life <= 0 || life > maxContainerLife {
		return "", fmt.Errorf("a signature for %s, expected up to %s", life, maxContainerLife)
	}
	core := c.gen().cores.hub
	sas, err := core.BlobSAS(hub, container, "", "rcwdl", life)
	if err != nil {
		return "", err
	}
	h, err := core.GetHub(hub)
	return "https://" + h.Host + "/" + url.PathEscape(container) + sas, err
}

// maxContainerLife bounds the signature of a container.
const maxContainerLife = 24 * time.Hour
