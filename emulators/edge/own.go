package edge

import (
	"encoding/json"
	"strings"
	"time"
)

// The gateway's own connection to the hub, as {edge device}/$edgeHub.

func (g *gateway) ownID() Identity {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Identity{DeviceID: g.set.DeviceID, ModuleID: hubModule}
}

// connectOwn connects $edgeHub and takes its desired properties.
func (g *gateway) connectOwn() {
	set := g.settings()
	if g.down() {
		return
	}
	id, err := g.svc.upstream.Identity(set.Hub, set.DeviceID, hubModule)
	if err != nil {
		g.svc.log.Warn("a gateway has no $edgeHub in the hub's registry", "endpoint", g.name, "device", set.DeviceID, "cause", err)
		return
	}
	g.mu.Lock()
	connected := g.own != nil
	g.mu.Unlock()
	if connected {
		return
	}
	sink := &ownSink{g: g}
	cloud, err := g.svc.upstream.Open(set.Hub, id, Origin{APIVersion: ownAPIVersion}, sink)
	if err != nil {
		g.svc.log.Warn("a gateway cannot connect to its hub", "endpoint", g.name, "cause", err)
		return
	}
	g.mu.Lock()
	if g.own != nil || g.set.Down || g.stopped {
		g.mu.Unlock()
		cloud.Close()
		return
	}
	g.own = cloud
	g.mu.Unlock()
	g.twinning.Lock()
	before, _ := g.svc.twins.Get(g.twinKey(id))
	g.syncReported(id, cloud)
	t, from := g.freshTwin(id, cloud)
	g.twinning.Unlock()
	deployed := len(t.Desired) > 0 || before.DesiredVersion > 0
	if from == "the hub" && deployed && t.DesiredVersion != before.DesiredVersion {
		g.applyConfig(t.Desired, t.DesiredVersion)
	}
}

// ownAPIVersion is what edgeHub names in its own username.
const ownAPIVersion = "2018-06-30"

// ownSink is what the hub sees of $edgeHub.
type ownSink struct{ g *gateway }

var _ CloudSink = (*ownSink)(nil)

// Close implements CloudSink.
func (s *ownSink) Close(error) {
	s.g.mu.Lock()
	own := s.g.own
	s.g.own = nil
	s.g.mu.Unlock()
	if own != nil {
		own.Close()
	}
}

// Desired implements CloudSink.
func (s *ownSink) Desired(version int64, body []byte) {
	g := s.g
	id := g.ownID()
	var patch map[string]any
	if decode(body, &patch) != nil {
		return
	}
	takeVersion(patch)
	g.twinning.Lock()
	t, _ := g.svc.twins.Get(g.twinKey(id))
	if t.DesiredVersion+1 == version {
		t = t.changed(version, patch, g.ownCloud())
		g.svc.twins.Put(g.twinKey(id), t)
	} else {
		t, _ = g.freshTwin(id, g.ownCloud())
	}
	g.twinning.Unlock()
	g.applyConfig(t.Desired, t.DesiredVersion)
}

func (g *gateway) ownCloud() Cloud {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.own
}

// refreshMethod is edgeHub's own direct method (Azure/iotedge, Constants).
const refreshMethod = "RefreshDeviceScopeIdentityCache"

// Call implements CloudSink.
func (s *ownSink) Call(rid, method string, _ []byte) bool {
	s.g.svc.clock.AfterFunc(0, func() {
		status, body := 404, mustJSON(map[string]string{"message": "Method " + method + " is not supported"})
		if strings.EqualFold(method, refreshMethod) {
			status, body = 200, nil
			if _, err := s.g.refresh(); err != nil {
				status, body = 500, mustJSON(map[string]string{"message": err.Error()})
			}
		}
		if cloud := s.g.ownCloud(); cloud != nil {
			_ = cloud.Answer(rid, status, body) // the caller may have gone
		}
	})
	return true
}

// Message implements CloudSink: $edgeHub takes none.
func (s *ownSink) Message(C2D, func()) bool { return false }

// Wants implements CloudSink: what comes for $edgeHub waits for its time to live.
func (s *ownSink) Wants(C2D) bool { return true }

// reportOwn reports properties of $edgeHub, now or when the hub is back.
func (g *gateway) reportOwn(values map[string]any) {
	var patch map[string]any
	if decode(mustJSON(values), &patch) == nil {
		g.report(g.ownID(), patch, g.ownCloud())
	}
}

// reportClient reports that a child has come or gone (Azure/iotedge, DeviceConnectionStatus).
func (g *gateway) reportClient(name string, connected bool) {
	now := g.svc.clock.Wall().UTC().Format(time.RFC3339Nano)
	status := map[string]any{"status": "Disconnected", "lastDisconnectedTimeUtc": now}
	if connected {
		status = map[string]any{"status": "Connected", "lastConnectedTimeUtc": now}
	}
	g.reportOwn(map[string]any{"clients": map[string]any{twinName(name): status}})
}

// forgetClients takes back what an earlier life has reported of connections (EdgeHubConnection clears them).
func (g *gateway) forgetClients() {
	if t, _ := g.svc.twins.Get(g.twinKey(g.ownID())); t.Reported["clients"] != nil {
		g.reportOwn(map[string]any{"clients": nil})
	}
}

// twinName writes an id as a name in a twin (TwinManager.EncodeTwinKey).
func twinName(id string) string {
	return strings.NewReplacer(".", "%2E", "$", "%24", " ", "%20", "#", "%23").Replace(id)
}

// splitEndpoint takes "module/input" apart.
func splitEndpoint(endpoint string) (module, input string) {
	module, input, _ = strings.Cut(endpoint, "/")
	return module, input
}

// Twin returns what a gateway keeps of a child's twin, for the tester's eyes.
func (s *Service) Twin(gateway, id string) (json.RawMessage, bool) {
	g, ok := s.Gateway(gateway)
	if !ok {
		return nil, false
	}
	t, ok := s.twins.Get(key(g.Name, id))
	if !ok {
		return nil, false
	}
	return t.document(), true
}

// Children returns the identities of a gateway's scope as they are kept, with their connection.
func (s *Service) Children(gateway string) []Child {
	g, ok := s.Gateway(gateway)
	if !ok {
		return nil
	}
	var all []Child
	for _, id := range s.identities.List(g.Name + "\x00") {
		if id.Name() == g.DeviceID {
			continue
		}
		all = append(all, s.child(g, id))
	}
	return all
}

// Child is an identity of a gateway's scope, without its keys.
type Child struct {
	ID           string          `json:"id"`
	Auth         string          `json:"authentication"`
	Disabled     bool            `json:"disabled,omitempty"`
	IoTEdge      bool            `json:"iotEdge,omitempty"`
	Thumbprints  []string        `json:"thumbprints,omitempty"`
	ParentScopes []string        `json:"parentScopes,omitempty"`
	Twin         json.RawMessage `json:"twin,omitempty"`
	Conn         uint64          `json:"conn,omitempty"`
	Connected    bool            `json:"connected"`
}

func (s *Service) child(g Gateway, id Identity) Child {
	c := Child{ID: id.Name(), Auth: id.AuthType, Disabled: id.Disabled, IoTEdge: id.IoTEdge, Thumbprints: id.Thumbprints, ParentScopes: id.parents()}
	c.Conn, c.Connected = s.Connection(g.Name, id.Name())
	c.Twin, _ = s.Twin(g.Name, id.Name())
	return c
}

// Child returns one of them.
func (s *Service) Child(gateway, id string) (Child, bool) {
	g, ok := s.Gateway(gateway)
	device, module, _ := strings.Cut(id, "/")
	kept, known := s.identities.Get(key(g.Name, device, module))
	if !ok || !known {
		return Child{}, false
	}
	return s.child(g, kept), true
}

// Disconnect closes a child's connection as a network failure would, and reports whether there was one.
func (s *Service) Disconnect(gateway, id string, cause error) bool {
	g, err := s.find(gateway)
	if err != nil {
		return false
	}
	g.mu.Lock()
	c := g.live[id]
	g.mu.Unlock()
	if c == nil {
		return false
	}
	c.cut(cause)
	return true
}
