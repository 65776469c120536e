package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/edgeroute"
)

// twin is what a gateway keeps of an identity's twin. Numbers are json.Number.
type twin struct {
	Desired         map[string]any
	DesiredVersion  int64
	Reported        map[string]any
	ReportedVersion int64
	// Pending is the merged patch that the hub does not have yet, nil for none. Its nulls remove keys.
	Pending map[string]any
}

func (t twin) clone() twin {
	t.Desired, t.Reported, t.Pending = cloneObject(t.Desired), cloneObject(t.Reported), cloneObject(t.Pending)
	return t
}

func (g *gateway) twinKey(id Identity) string { return key(g.name, id.Name()) }

// document is {"desired":{…,"$version":n},"reported":{…,"$version":n}}.
func (t twin) document() []byte {
	return mustJSON(map[string]any{"desired": withVersion(t.Desired, t.DesiredVersion), "reported": withVersion(t.Reported, t.ReportedVersion)})
}

func withVersion(values map[string]any, version int64) map[string]any {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]any{}
	}
	if version > 0 {
		out["$version"] = version
	}
	return out
}

// Twin answers a child's request: from the hub, or while that is away from what was kept of it (EDGE-25,
// EDGE-32).
func (c *Session) Twin() []byte {
	g := c.gw
	g.twinning.Lock()
	defer g.twinning.Unlock()
	t, from := g.freshTwin(c.id, c.service())
	body := t.document()
	e := c.Event(journal.Twin)
	e.Detail, e.Payload = "twin read from "+from, body
	g.svc.journal.Append(e)
	return body
}

// freshTwin reads a twin from the hub and keeps it, or returns what was kept. The caller holds twinning.
func (g *gateway) freshTwin(id Identity, cloud Cloud) (t twin, from string) {
	t, _ = g.svc.twins.Get(g.twinKey(id))
	if cloud == nil || g.lost(id.Name()) {
		return t, "the gateway"
	}
	body, err := cloud.Twin()
	if err != nil {
		return t, "the gateway"
	}
	if fresh, err := readTwin(body); err == nil {
		fresh.Pending = t.Pending
		g.svc.twins.Put(g.twinKey(id), fresh)
		return fresh, "the hub"
	}
	return t, "the gateway"
}

func readTwin(body []byte) (twin, error) {
	var doc struct{ Desired, Reported map[string]any }
	if err := decode(body, &doc); err != nil {
		return twin{}, err
	}
	t := twin{Desired: doc.Desired, Reported: doc.Reported}
	t.DesiredVersion, t.ReportedVersion = takeVersion(t.Desired), takeVersion(t.Reported)
	return t, nil
}

// takeVersion takes $version out of a section.
func takeVersion(values map[string]any) int64 {
	n, _ := values["$version"].(json.Number)
	version, _ := n.Int64()
	delete(values, "$version")
	delete(values, "$metadata")
	return version
}

// The statuses of a reported patch.
const (
	statusPatched  = 204
	statusInvalid  = 400
	statusNoObject = 500
)

// Report takes a patch of reported properties: it is kept and handed to the hub, now or when that is back.
// The status is 204, or 400 and 500 with the reason.
func (c *Session) Report(patch []byte) (status int, r *rule.Refusal) {
	if c.Ended() {
		return 0, nil
	}
	values, status, r := readPatch(patch)
	if r != nil {
		return status, r
	}
	c.gw.report(c.id, values, c.service())
	e := c.Event(journal.Twin)
	e.Detail, e.Payload = "reported properties changed", patch
	c.gw.svc.journal.Append(e)
	c.gw.notifyTwinChange(c.id, patch)
	return statusPatched, nil
}

// report merges a patch into what is kept of a twin, and hands it to the hub.
func (g *gateway) report(id Identity, patch map[string]any, cloud Cloud) {
	g.twinning.Lock()
	defer g.twinning.Unlock()
	t, _ := g.svc.twins.Get(g.twinKey(id))
	t.Reported, t.Pending = merged(t.Reported, patch, false), merged(t.Pending, patch, true)
	g.svc.twins.Put(g.twinKey(id), t)
	g.syncReported(id, cloud)
}

// syncReported hands the hub the reported properties that it does not have. The caller holds twinning.
func (g *gateway) syncReported(id Identity, cloud Cloud) {
	t, ok := g.svc.twins.Get(g.twinKey(id))
	if !ok || t.Pending == nil || cloud == nil || g.lost(id.Name()) {
		return
	}
	err := cloud.Report(mustJSON(t.Pending))
	if err != nil && !errors.Is(err, ErrRejected) {
		return // tried again with the next change, or when the hub is back
	}
	if err != nil {
		e := g.event(journal.Twin, id.Name(), "")
		e.Dir = journal.Out
		g.svc.journal.Refuse(e, refusal("EDGE-26/rejected", "the hub does not take the reported properties: "+err.Error(), clipped(t.Pending), "reported properties that the hub takes"))
	}
	t.Pending = nil
	g.svc.twins.Put(g.twinKey(id), t)
}

// syncTwins hands over what changed on either side while the hub was away (EDGE-32, EDGE-35).
func (g *gateway) syncTwins() {
	live := map[string]bool{}
	for _, s := range g.sessions() {
		live[s.id.Name()] = true
		s.resync()
	}
	for _, k := range g.svc.twins.Keys(g.name + "\x00") {
		device, module, _ := strings.Cut(strings.TrimPrefix(k, g.name+"\x00"), "/")
		name := Identity{DeviceID: device, ModuleID: module}.Name()
		id, ok := g.identity(device, module)
		t, _ := g.svc.twins.Get(k)
		if !ok || live[name] || t.Pending == nil || name == g.ownID().Name() {
			continue
		}
		visit, err := g.svc.upstream.Visit(g.hubHost(), id)
		if err != nil {
			continue
		}
		g.twinning.Lock()
		g.syncReported(id, visit)
		g.twinning.Unlock()
		visit.Close()
	}
}

// known is what was kept of a child's twin, with the desired properties that it had when it subscribed to them where
// it has not read any. The caller holds twinning.
func (c *Session) known() (t twin, ok bool) {
	t, ok = c.gw.svc.twins.Get(c.gw.twinKey(c.id))
	if t.DesiredVersion == 0 && c.seen != nil {
		t.Desired, t.DesiredVersion, ok = c.seen.Desired, c.seen.DesiredVersion, true
	}
	return t, ok
}

// resync compares what was kept of a child's desired properties with the hub's, and tells the child the
// difference as one patch. A child of which nothing is known gets none.
func (c *Session) resync() {
	g, cloud := c.gw, c.service()
	if cloud == nil {
		return
	}
	g.twinning.Lock()
	g.syncReported(c.id, cloud)
	before, known := c.known()
	if !known {
		g.twinning.Unlock()
		return
	}
	now, from := g.freshTwin(c.id, cloud)
	g.twinning.Unlock()
	if from != "the hub" || before.DesiredVersion == 0 {
		return
	}
	if patch := difference(before.Desired, now.Desired); len(patch) > 0 {
		c.tellDesired(now.DesiredVersion, mustJSON(withVersion(patch, now.DesiredVersion)), "difference to the hub's desired properties")
	}
}

// desired takes a change of desired properties from the hub. Where one was missed the child gets the
// difference to what it had.
func (c *Session) desired(version int64, body []byte) {
	g := c.gw
	var patch map[string]any
	if c.Ended() || decode(body, &patch) != nil {
		return
	}
	takeVersion(patch)
	g.twinning.Lock()
	t, _ := c.known()
	if t.DesiredVersion > 0 && t.DesiredVersion+1 != version {
		g.twinning.Unlock()
		c.resync()
		return
	}
	var cloud Cloud
	if l := c.cloud.Load(); l != nil {
		cloud = l.Cloud
	}
	t = t.changed(version, patch, cloud)
	g.svc.twins.Put(g.twinKey(c.id), t)
	g.twinning.Unlock()
	c.tellDesired(version, body, "desired properties changed")
}

// changed is the twin after a change of its desired properties. What the service side leaves out when it replaces them
// stands in no patch: the hub's own are taken where it has no newer ones yet, of which another patch will tell.
func (t twin) changed(version int64, patch map[string]any, cloud Cloud) twin {
	t.Desired, t.DesiredVersion = merged(t.Desired, patch, false), version
	if cloud == nil {
		return t
	}
	if body, err := cloud.Look(); err == nil {
		if now, err := readTwin(body); err == nil && now.DesiredVersion == version {
			t.Desired = now.Desired
		}
	}
	return t
}

func (c *Session) tellDesired(version int64, body []byte, detail string) {
	e := c.Event(journal.Twin)
	e.Dir, e.Detail, e.Payload = journal.Out, detail, body
	e.Properties = map[string]string{"version": strconv.FormatInt(version, 10)}
	if c.down.Desired(version, body) {
		c.gw.svc.journal.Append(e)
	}
}

// notifyTwinChange sends a change of reported properties down the routes, as a message of the gateway's own.
func (g *gateway) notifyTwinChange(id Identity, patch []byte) {
	m := Message{DeviceID: g.settings().DeviceID, ModuleID: hubModule, Body: patch, At: g.svc.clock.Wall().UTC(), System: []Property{
		{Name: "content-type", Value: "application/json"}, {Name: "content-encoding", Value: "utf-8"},
		{Name: "iothub-message-schema", Value: "twinChangeNotification"}, {Name: "iothub-message-type", Value: "twinChangeNotification"},
		{Name: senderDevice, Value: id.DeviceID},
	}}
	if id.ModuleID != "" {
		m.System = append(m.System, Property{Name: senderModule, Value: id.ModuleID})
	}
	g.mark(&m)
	g.route(&m, edgeroute.TwinChanges) // where no route takes it, nobody has to know
}

// The real sender of a notification (rpSenderDeviceId, rpSenderModuleId).
const (
	senderDevice = "rpSenderDeviceId"
	senderModule = "rpSenderModuleId"
)

// Sender returns whose a message is, for $.cdid and $.cmid.
func (m *Message) Sender() (device, module string) {
	device, module = m.DeviceID, m.ModuleID
	for _, p := range m.System {
		switch p.Name {
		case senderDevice:
			device, module = p.Value, ""
		case senderModule:
			module = p.Value
		}
	}
	return device, module
}

// decode reads exactly one JSON value and keeps numbers as they are written.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the value at byte %d", d.InputOffset())
	}
	return nil
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // JSON values alone
	}
	return text
}

func cloneObject(o map[string]any) map[string]any {
	if o == nil {
		return nil
	}
	c := make(map[string]any, len(o))
	for k, v := range o {
		if m, ok := v.(map[string]any); ok {
			v = cloneObject(m)
		}
		c[k] = v // other values are never changed
	}
	return c
}

// merged returns values with a patch laid over: a null removes its key, or stands in the result where
// nulls are kept.
func merged(values, patch map[string]any, nulls bool) map[string]any {
	out := cloneObject(values)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			if nulls {
				out[k] = nil
			} else {
				delete(out, k)
			}
		case map[string]any:
			old, _ := out[k].(map[string]any)
			out[k] = merged(old, v, nulls)
		default:
			out[k] = v
		}
	}
	return out
}

// difference is the patch that makes after of before.
func difference(before, after map[string]any) map[string]any {
	patch := map[string]any{}
	for k := range before {
		if _, stays := after[k]; !stays {
			patch[k] = nil
		}
	}
	for k, v := range after {
		old, was := before[k]
		from, fromObject := old.(map[string]any)
		to, toObject := v.(map[string]any)
		switch {
		case was && fromObject && toObject:
			if d := difference(from, to); len(d) > 0 {
				patch[k] = d
			}
		case !was || !reflect.DeepEqual(old, v):
			patch[k] = v
		}
	}
	return patch
}
