package edge

import (
	"slices"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// How often a gateway asks its hub for the identities of its scope (Azure/iotedge, appsettings_hub.json:
// DeviceScopeCacheRefreshRateSecs, DeviceScopeCacheRefreshDelaySecs).
const (
	refreshRate  = time.Hour
	refreshDelay = 2 * time.Minute
)

// hubModule is the module of an edge device that speaks for it.
const hubModule = "$edgeHub"

// identity returns what is cached of a device or module.
func (g *gateway) identity(device, module string) (Identity, bool) {
	return g.svc.identities.Get(key(g.name, device, module))
}

// Refresh asks the hub for every identity of the gateway's scope, now. Children that are no longer in it,
// or may no longer connect, are cut off.
func (s *Service) Refresh(name string) (children int, err error) {
	g, err := s.find(name)
	if err != nil {
		return 0, err
	}
	if children, err = g.refresh(); err == nil {
		s.journal.Append(journal.Event{Platform: Platform, Endpoint: g.name, Kind: journal.World, Detail: "the device scope was read from the hub",
			Properties: map[string]string{"children": strconv.Itoa(children)}})
	}
	return children, err
}

func (g *gateway) refresh() (int, error) {
	if g.down() {
		return 0, ErrAway
	}
	g.mu.Lock()
	set := g.set
	g.refreshed = g.svc.clock.Now()
	g.mu.Unlock()
	found := inScope(g.svc.upstream.Identities(set.Hub), set.DeviceID)
	gone := map[string]bool{}
	for _, k := range g.svc.identities.Keys(g.name + "\x00") {
		gone[k] = true
	}
	children := 0
	for _, id := range found {
		k := key(g.name, id.DeviceID, id.ModuleID)
		delete(gone, k)
		if old, ok := g.svc.identities.Get(k); !ok || !same(old, id) {
			g.svc.identities.Put(k, id)
		}
		if id.ModuleID == "" && id.DeviceID != set.DeviceID {
			children++
		}
	}
	for k := range gone {
		g.svc.identities.Delete(k)
	}
	g.enforceScope()
	return children, nil
}

func same(a, b Identity) bool {
	return a.GenerationID == b.GenerationID && a.Disabled == b.Disabled && a.AuthType == b.AuthType && a.IoTEdge == b.IoTEdge &&
		a.DeviceScope == b.DeviceScope && slices.Equal(a.Keys, b.Keys) && slices.Equal(a.Thumbprints, b.Thumbprints) &&
		slices.Equal(a.ParentScopes, b.ParentScopes)
}

// inScope returns the edge device, its children, and theirs where they are edge devices, with all modules.
func inScope(all []Identity, edgeDevice string) []Identity {
	devices := map[string]bool{edgeDevice: true}
	scopes := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for _, id := range all {
			if id.ModuleID != "" {
				continue
			}
			if !devices[id.DeviceID] && slices.ContainsFunc(id.parents(), func(p string) bool { return scopes[p] }) {
				devices[id.DeviceID], grown = true, true
			}
			if devices[id.DeviceID] && id.IoTEdge && id.DeviceScope != "" && !scopes[id.DeviceScope] {
				scopes[id.DeviceScope], grown = true, true
			}
		}
	}
	var found []Identity
	for _, id := range all {
		if devices[id.DeviceID] {
			found = append(found, id)
		}
	}
	return found
}

// enforceScope cuts off the children that have left the scope or were disabled.
func (g *gateway) enforceScope() {
	for _, s := range g.sessions() {
		if r := g.stillAllowed(s.id); r != nil && !s.guest {
			s.cut(r)
		}
	}
}

func (g *gateway) stillAllowed(id Identity) *rule.Refusal {
	now, ok := g.identity(id.DeviceID, id.ModuleID)
	if device, known := g.identity(id.DeviceID, ""); known && device.Disabled {
		now.Disabled = true
	}
	switch {
	case !ok || now.GenerationID != id.GenerationID:
		return refusal("EDGE-11/removed", id.Name()+" is no longer in the gateway's device scope", "a connection of a former child", "a child of the gateway")
	case now.Disabled:
		return disabled(id)
	}
	return nil
}

func disabled(id Identity) *rule.Refusal {
	return refusal("EDGE-11/disabled", id.Name()+" is disabled in the hub's registry", "status disabled", "status enabled")
}

// lookup returns an identity of the scope. One that is not known, or whose credentials did not fit (stale),
// is asked of the hub first, then the whole scope is: each at most every two minutes, as edgeHub does. The
// text says why it was not asked.
func (g *gateway) lookup(device, module string, stale bool) (id Identity, ok bool, why string) {
	id, ok = g.identity(device, module)
	if ok && !stale {
		return id, true, ""
	}
	if g.down() {
		return id, ok, "the hub cannot be reached, and the gateway has never heard of it"
	}
	now := g.svc.clock.Now()
	k := key(device, module)
	g.mu.Lock()
	last, asked := g.fetched[k]
	single := !asked || now.Sub(last) > refreshDelay
	if single {
		if len(g.fetched) >= maxFetched {
			clear(g.fetched) // ids come from clients
		}
		g.fetched[k] = now
	}
	whole := now.Sub(g.refreshed) > refreshDelay
	set, refreshed := g.set, g.refreshed
	g.mu.Unlock()
	if single {
		g.fetch(set, device, module)
		if id, ok = g.identity(device, module); ok {
			return id, true, ""
		}
	}
	if whole && !ok {
		_, _ = g.refresh()
		id, ok = g.identity(device, module)
	}
	if !ok && !single {
		wait := refreshDelay - now.Sub(last)
		if !refreshed.IsZero() && refreshDelay-now.Sub(refreshed) < wait {
			wait = refreshDelay - now.Sub(refreshed)
		}
		why = "the gateway asked its hub lately and does so again in " + wait.Round(time.Second).String()
	}
	return id, ok, why
}

// maxFetched bounds what is remembered of ids that clients have named.
const maxFetched = 10_000

// fetch asks the hub for one identity, and keeps it if it belongs to the scope.
func (g *gateway) fetch(set Gateway, device, module string) {
	k := key(g.name, device, module)
	id, err := g.svc.upstream.Identity(set.Hub, device, module)
	if err == nil {
		owner := id
		if module != "" {
			owner, err = g.svc.upstream.Identity(set.Hub, device, "")
		}
		if err == nil && g.holds(set, owner) {
			g.svc.identities.Put(k, id)
			if module != "" {
				g.svc.identities.Put(key(g.name, device, ""), owner)
			}
			return
		}
	}
	g.svc.identities.Delete(k)
}

// holds reports whether a device is the gateway's own or lies below one of its edge devices.
func (g *gateway) holds(set Gateway, device Identity) bool {
	if device.DeviceID == set.DeviceID {
		return true
	}
	for _, id := range g.svc.identities.List(g.name + "\x00") {
		if id.IoTEdge && id.ModuleID == "" && id.DeviceScope != "" && slices.Contains(device.parents(), id.DeviceScope) {
			return true
		}
	}
	return false
}

// chain returns the ids from a child up to the gateway's own device, nil where it does not lead there.
func (g *gateway) chain(target string) []string {
	g.mu.Lock()
	top := g.set.DeviceID
	g.mu.Unlock()
	byScope := map[string]Identity{}
	for _, id := range g.svc.identities.List(g.name + "\x00") {
		if id.IoTEdge && id.ModuleID == "" {
			byScope[id.DeviceScope] = id
		}
	}
	at, ok := g.identity(target, "")
	var path []string
	for range maxNesting {
		if !ok {
			return nil
		}
		path = append(path, at.DeviceID)
		if at.DeviceID == top {
			return path
		}
		parents := at.parents()
		if len(parents) == 0 {
			return nil
		}
		at, ok = byScope[parents[0]]
	}
	return nil
}

// maxNesting is how deep gateways stand below each other (Microsoft Learn: five layers).
const maxNesting = 10
