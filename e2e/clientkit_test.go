package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// kitDevice is demo-sas, or a module of it, on the client kit.
type kitDevice struct {
	*testing.T
	ctx   context.Context
	cloud *fakecloud.Cloud
	hub   *azure.Hub
	id    string
	// changes, messages and states are what the callbacks saw.
	changes  chan string
	messages chan azure.Received
	states   chan azure.State
}

func newKitDevice(t *testing.T, module string, worlds ...fakecloud.Option) *kitDevice {
	t.Helper()
	cloud := fakecloud.Start(t, worlds...)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	credential, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*rawmqtt.Patience)
	t.Cleanup(cancel)
	d := &kitDevice{T: t, ctx: ctx, cloud: cloud, id: "demo-sas", changes: make(chan string, 16),
		messages: make(chan azure.Received, 16), states: make(chan azure.State, 64)}
	if module != "" {
		d.id += "/" + module
	}
	d.hub, err = azure.Dial(ctx, azure.HubConfig{
		Host: demoHub, DeviceID: "demo-sas", ModuleID: module, Credential: credential,
		TLS: &tls.Config{RootCAs: roots}, Dial: cloud.DialContext, OnState: func(s azure.State, _ error) { d.states <- s },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.hub.Close(context.Background())) })
	return d
}

// listen sets all handlers.
func (d *kitDevice) listen() {
	d.Helper()
	require.NoError(d, d.hub.OnDesired(d.ctx, func(_ context.Context, c azure.DesiredChange) {
		d.changes <- fmt.Sprintf("%d %t %s", c.Version, c.Complete, c.Properties)
	}))
	require.NoError(d, d.hub.OnMessage(d.ctx, func(_ context.Context, m azure.Received) { d.messages <- m }))
	require.NoError(d, d.hub.HandleMethod(d.ctx, "double", func(_ context.Context, m azure.MethodCall) (int, json.RawMessage) {
		var n int
		if json.Unmarshal(m.Payload, &n) != nil {
			return 400, nil
		}
		return 200, json.RawMessage(fmt.Sprint(2 * n))
	}))
}

// exchange uses everything that a hub offers beside telemetry. desired is the version before.
func (d *kitDevice) exchange(desired, reported int64) {
	d.Helper()
	version, err := d.cloud.PatchDesired(demoHub, d.id, json.RawMessage(fmt.Sprintf(`{"period":%d}`, desired)))
	require.NoError(d, err)
	require.Equal(d, desired+1, version)
	// Right after a reconnect the change may be told as a patch or within the whole document.
	require.Regexp(d, fmt.Sprintf(`^%d (true|false) {"\$version":%d,"period":%d}$`, version, version, desired), d.change())

	version, err = d.hub.UpdateReported(d.ctx, map[string]any{"firmware": fmt.Sprint(reported)})
	require.NoError(d, err)
	require.Equal(d, reported+1, version)
	twin, err := d.hub.GetTwin(d.ctx)
	require.NoError(d, err)
	require.JSONEq(d, fmt.Sprintf(`{"firmware":"%d","$version":%d}`, reported, version), string(twin.Reported))
	require.Equal(d, desired+1, twin.DesiredVersion)
	document, err := d.cloud.Twin(demoHub, d.id)
	require.NoError(d, err)
	require.Contains(d, string(document), fmt.Sprintf(`"firmware":"%d"`, reported))

	result, err := d.cloud.InvokeMethod(d.ctx, demoHub, d.id, "double", json.RawMessage("21"), 5*time.Second)
	require.NoError(d, err)
	require.Equal(d, fakecloud.MethodResult{Status: 200, Payload: json.RawMessage("42")}, result)
	result, err = d.cloud.InvokeMethod(d.ctx, demoHub, d.id, "other", nil, 0)
	require.NoError(d, err)
	require.Equal(d, 501, result.Status)

	require.NoError(d, d.cloud.SendC2D(demoHub, d.id, fakecloud.C2D{MessageID: "m-1", Ack: "full", ContentType: "text/plain",
		Properties: []fakecloud.C2DProperty{{Name: "a b", Value: "ä/&="}}, Body: []byte("hello")}))
	m := d.message()
	require.Equal(d, "hello", string(m.Body))
	require.Equal(d, "m-1 full text/plain", m.ID+" "+m.Ack+" "+m.ContentType)
	require.Equal(d, map[string]string{"a b": "ä/&="}, m.Properties)
}

func (d *kitDevice) change() string          { d.Helper(); return next(d.T, d.ctx, d.changes) }
func (d *kitDevice) message() azure.Received { d.Helper(); return next(d.T, d.ctx, d.messages) }

func (d *kitDevice) state(want azure.State) {
	d.Helper()
	for next(d.T, d.ctx, d.states) != want {
	}
}

func next[T any](t *testing.T, ctx context.Context, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-ctx.Done():
		require.NoError(t, ctx.Err())
		panic("not reached")
	}
}

func TestClientKitDevice(t *testing.T) {
	t.Parallel()
	d := newKitDevice(t, "")
	d.listen()
	require.Equal(t, `1 true {"$version":1}`, d.change())
	d.exchange(1, 1)
	_, err := d.hub.UpdateReported(d.ctx, map[string]any{"a.b": 1})
	var refused *azure.TwinError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 400, refused.Status)
	require.NotEmpty(t, refused.Message)

	// The token runs out, the hub cuts the connection; what changed meanwhile is told on the next one.
	d.state(azure.Connected)
	require.NoError(t, d.cloud.Advance(time.Hour+15*time.Minute))
	d.state(azure.Disconnected)
	d.state(azure.Connected)
	d.exchange(2, 2)
	require.NoError(t, d.hub.Send(d.ctx, azure.Message{Body: []byte("still here")}))
}

func TestClientKitMissesNothing(t *testing.T) {
	t.Parallel()
	d := newKitDevice(t, "")
	d.listen()
	require.Equal(t, `1 true {"$version":1}`, d.change())
	d.state(azure.Connected)
	inject(t, d.cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "connect"}, Action: fakecloud.FaultAction{Code: ptrInt(3)}, Count: 1})
	require.NoError(t, d.cloud.Advance(2*time.Hour))
	d.state(azure.Disconnected)
	_, err := d.cloud.PatchDesired(demoHub, d.id, json.RawMessage(`{"mode":"night"}`))
	require.NoError(t, err)
	require.NoError(t, d.cloud.SendC2D(demoHub, d.id, fakecloud.C2D{Body: []byte("kept")}))
	require.Contains(t, d.change(), `"mode":"night"`)
	require.Equal(t, "kept", string(d.message().Body))
}

func TestClientKitModule(t *testing.T) {
	t.Parallel()
	d := newKitDevice(t, "mod-a", fakecloud.WithWorld(
		"azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: demo-sas, modules: [{moduleId: mod-a, authentication: {symmetricKey: {primaryKey: "+demoKey+"}}}]}]}]}"))
	d.listen()
	require.Equal(t, `1 true {"$version":1}`, d.change())
	d.exchange(1, 1)
}
