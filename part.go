package fakecloud

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// part is one platform as the control plane sees it. Ids are those of the journal's device; endpoint is
// the journal's endpoint. Unknown ones are plane.ErrNoDevice.
type part interface {
	// name is the journal's platform.
	name() string
	// list returns every identity, with or without its state.
	list() []plane.Device
	get(endpoint, id string) (plane.Device, error)
	// remove forgets an identity with all that belongs to it, and ends its connection.
	remove(endpoint, id string) error
	// disconnect ends the connection, if there is one, without a packet, as a failure of the network would.
	disconnect(endpoint, id string)
	// expire does to a live connection what the end of its credential does: the same rule, the same
	// answer on the wire. plane.ErrNothingToExpire where there is no connection, or its credential has no end.
	expire(endpoint, id string) error
	// forget removes every identity whose id matches, and what else is kept under such an id (enrollments,
	// registrations), on all endpoints, and ends the connections. It returns how many identities went.
	// What the first world holds of them comes back through apply, by gaps.takesDevice.
	forget(match func(id string) bool) int
}

var errAdminDisconnect = errors.New("disconnected by the admin API")

// forgetOf is forget for a part whose list says all.
func forgetOf(p part, match func(id string) bool) int {
	all := p.list()
	var count atomic.Int64
	_ = atOnce(len(all), func(i int) error { // what has gone meanwhile need not go
		if match(all[i].ID) && p.remove(all[i].Endpoint, all[i].ID) == nil {
			count.Add(1)
		}
		return nil
	})
	return int(count.Load())
}

// hands is how many changes atOnce makes at a time: so many share a commit.
const hands = 256

// atOnce does n things, many of them at a time, and returns the error of the first that failed.
func atOnce(n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var busy sync.WaitGroup
	for range min(n, hands) {
		busy.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = do(i)
			}
		})
	}
	busy.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// disconnectFrom ends a connection that the broker knows by the device's name.
func disconnectFrom(s *broker.Server, endpoint, id string) {
	s.Disconnect(endpoint, id, errAdminDisconnect)
}

// hubPart is IoT Hub: devices, and modules as device/module.
type hubPart struct{ g *generation }

var _ part = hubPart{}

func (p hubPart) name() string { return iothub.Platform }

func (p hubPart) list() (all []plane.Device) {
	hub := p.g.cores.hub
	for _, h := range hub.Hubs() {
		for _, d := range hub.Devices(h.Host) {
			all = append(all, p.device(h.Host, d))
			for _, m := range hub.Modules(h.Host, d.DeviceID) {
				all = append(all, p.module(h.Host, m))
			}
		}
	}
	return all
}

func (p hubPart) device(hub string, d iothub.Device) plane.Device {
	conn, connected := p.g.cores.hub.Connection(hub, d.DeviceID)
	return plane.Device{Platform: iothub.Platform, Endpoint: hub, ID: d.DeviceID, Conn: conn,
		Connected: connected || d.ConnectionState == iothub.Connected}
}

func (p hubPart) module(hub string, m iothub.Module) plane.Device {
	id := m.DeviceID + "/" + m.ModuleID
	conn, connected := p.g.cores.hub.Connection(hub, id)
	return plane.Device{Platform: iothub.Platform, Endpoint: hub, ID: id, Conn: conn,
		Connected: connected || m.ConnectionState == iothub.Connected}
}

func (p hubPart) get(endpoint, id string) (plane.Device, error) {
	hub := p.g.cores.hub
	device, module, isModule := strings.Cut(id, "/")
	if isModule {
		m, err := hub.GetModule(endpoint, device, module)
		if err != nil {
			return plane.Device{}, noDevice(err)
		}
		found := p.module(endpoint, m)
		found.State = stateOf(m.Masked())
		return found, nil
	}
	d, err := hub.GetDevice(endpoint, device)
	if err != nil {
		return plane.Device{}, noDevice(err)
	}
	found := p.device(endpoint, d)
	found.State = stateOf(d.Masked())
	return found, nil
}

func (p hubPart) remove(endpoint, id string) error {
	if device, module, isModule := strings.Cut(id, "/"); isModule {
		return noDevice(p.g.cores.hub.DeleteModule(endpoint, device, module, ""))
	}
	return noDevice(p.g.cores.hub.DeleteDevice(endpoint, id, ""))
}

func (p hubPart) disconnect(endpoint, id string) { p.g.cores.hub.Disconnect(endpoint, id) }

func (p hubPart) expire(endpoint, id string) error {
	if p.g.cores.hub.Expire(endpoint, id) == 0 {
		return plane.ErrNothingToExpire
	}
	return nil
}

func (p hubPart) forget(match func(string) bool) int { return forgetOf(p, match) }

// dpsPart is DPS: registrations; forget takes enrollments of the same id with them.
type dpsPart struct{ g *generation }

var _ part = dpsPart{}

func (p dpsPart) name() string { return dps.Platform }

func (p dpsPart) list() (all []plane.Device) {
	for _, i := range p.g.cores.dps.Instances() {
		for _, r := range p.g.cores.dps.Registrations(i.Name) {
			all = append(all, plane.Device{Platform: dps.Platform, Endpoint: i.Name, ID: r.RegistrationID,
				Connected: p.g.servers[dpsServer].Connected(i.Name, r.RegistrationID)})
		}
	}
	return all
}

func (p dpsPart) get(endpoint, id string) (plane.Device, error) {
	r, ok := p.g.cores.dps.Registration(endpoint, id)
	if !ok {
		return plane.Device{}, plane.ErrNoDevice
	}
	return plane.Device{Platform: dps.Platform, Endpoint: endpoint, ID: id, State: stateOf(r),
		Connected: p.g.servers[dpsServer].Connected(endpoint, id)}, nil
}

func (p dpsPart) remove(endpoint, id string) error {
	if !p.g.cores.dps.DeleteRegistration(endpoint, id) {
		return plane.ErrNoDevice
	}
	p.disconnect(endpoint, id)
	return nil
}

func (p dpsPart) disconnect(endpoint, id string) {
	disconnectFrom(p.g.servers[dpsServer], endpoint, id)
}

// expire implements part. DPS judges a credential when it is presented and never again.
func (p dpsPart) expire(string, string) error { return plane.ErrNothingToExpire }

func (p dpsPart) forget(match func(string) bool) int {
	count := forgetOf(p, match)
	for _, i := range p.g.cores.dps.Instances() {
		for _, e := range p.g.cores.dps.Enrollments(i.Name) {
			if match(e.RegistrationID) {
				p.g.cores.dps.DeleteEnrollment(i.Name, e.RegistrationID)
			}
		}
	}
	return count
}

// mindPart is MindSphere: agents by client id.
type mindPart struct{ g *generation }

var _ part = mindPart{}

func (p mindPart) name() string { return mindsphere.Platform }

func (p mindPart) list() (all []plane.Device) {
	for _, t := range p.g.cores.mind.Tenants() {
		for _, a := range p.g.cores.mind.Agents(t.Name) {
			all = append(all, p.agent(a))
		}
	}
	return all
}

func (p mindPart) agent(a mindsphere.Agent) plane.Device {
	conn, connected := p.g.cores.mind.Connection(a.ClientID)
	if t, ok := p.g.cores.mind.Tenant(a.Tenant); ok && t.Region == mindsphere.EU2 {
		conn, connected = p.g.cores.hub.Connection(t.Hub, a.ClientID)
	}
	return plane.Device{Platform: mindsphere.Platform, Endpoint: a.Tenant, ID: a.ClientID, Connected: connected, Conn: conn}
}

func (p mindPart) get(endpoint, id string) (plane.Device, error) {
	a, ok := p.g.cores.mind.Agent(id)
	if !ok || a.Tenant != endpoint {
		return plane.Device{}, plane.ErrNoDevice
	}
	found := p.agent(a)
	found.State = stateOf(a)
	return found, nil
}

func (p mindPart) remove(endpoint, id string) error {
	if !p.g.deleteAgent(endpoint, id) {
		return plane.ErrNoDevice
	}
	return nil
}

func (p mindPart) disconnect(endpoint, id string) {
	if t, ok := p.g.cores.mind.Tenant(endpoint); ok && t.Region == mindsphere.EU2 {
		p.g.cores.hub.Disconnect(t.Hub, id)
		return
	}
	disconnectFrom(p.g.servers[mindServer], endpoint, id)
}

// expire implements part. MindConnect MQTT judges certificates and tokens at the CONNECT only, the hub of
// region eu2 does not.
func (p mindPart) expire(endpoint, id string) error {
	if t, ok := p.g.cores.mind.Tenant(endpoint); ok && t.Region == mindsphere.EU2 {
		return hubPart(p).expire(t.Hub, id)
	}
	return plane.ErrNothingToExpire
}

func (p mindPart) forget(match func(string) bool) int {
	count := forgetOf(p, match)
	p.g.cores.mind.ForgetMade(match)
	return count
}

// stateOf is a platform's own JSON view as a map.
func stateOf(v any) map[string]any {
	text, err := json.Marshal(v)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	var state map[string]any
	if err := json.Unmarshal(text, &state); err != nil {
		return map[string]any{"error": err.Error()}
	}
	return state
}

// noDevice gives the cores' not-found errors the control plane's name.
func noDevice(err error) error {
	if errors.Is(err, iothub.ErrNotFound) {
		return plane.ErrNoDevice
	}
	return err
}
