package edge

import (
	"maps"
)

// pump hands what waits for a module's input to the module. The caller holds sending.
func (g *gateway) pump(endpoint string) {
	module, input := splitEndpoint(endpoint)
	g.mu.Lock()
	s := g.live[g.set.DeviceID+"/"+module]
	g.mu.Unlock()
	if s == nil || s.Ended() {
		return
	}
	const window = 16
	rows, dropped := g.queue.next(endpoint, g.svc.clock.Now(), window)
	g.noteExpired(dropped)
	for i := range rows {
		number := rows[i].Number
		if _, sent := g.flying[number]; sent {
			continue
		}
		if !s.down.Input(input, &rows[i].Message, func() { g.arrived(endpoint, number) }) {
			return
		}
		g.flying[number] = module
	}
}

// arrived takes a message that a module has acknowledged out of the queue.
func (g *gateway) arrived(endpoint string, number uint64) {
	g.sending.Lock()
	delete(g.flying, number)
	removed := g.queue.done(number)
	g.pump(endpoint)
	g.sending.Unlock()
	removed.Wait()
}

// landed forgets what was on its way to a module of the gateway that has gone.
func (g *gateway) landed(id Identity) {
	if id.ModuleID == "" || id.DeviceID != g.settings().DeviceID {
		return
	}
	g.sending.Lock()
	defer g.sending.Unlock()
	maps.DeleteFunc(g.flying, func(_ uint64, module string) bool { return module == id.ModuleID })
}

// pumpModule hands a module what waits for any of its inputs.
func (g *gateway) pumpModule(s *Session) {
	if s.id.ModuleID == "" || s.id.DeviceID != g.settings().DeviceID {
		return
	}
	g.sending.Lock()
	defer g.sending.Unlock()
	for k := range g.queue.lanes {
		if module, _ := splitEndpoint(k.endpoint); module == s.id.ModuleID && k.endpoint != upstreamEndpoint {
			g.pump(k.endpoint)
		}
	}
}
