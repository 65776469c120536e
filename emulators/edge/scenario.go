package edge

import (
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// welcome makes a scenario device that shows the right credential a child of the gateway when it comes for the
// first time, where the hub has scenario devices and can be reached.
func (g *gateway) welcome(c Credentials) {
	if _, ok := fault.FindScenario(c.DeviceID); !ok || c.ModuleID != "" || g.down() {
		return
	}
	if _, known := g.identity(c.DeviceID, ""); known {
		return
	}
	id := Identity{DeviceID: c.DeviceID, AuthType: authSAS, Keys: []string{fault.ScenarioKey}}
	if c.Password != "" {
		token, err := azure.ParseSAS(c.Password)
		if err != nil || g.checkToken(c, id, id, token) != nil {
			return
		}
	} else if len(c.Certificates) == 0 || g.checkChain(c, id) != nil {
		return
	}
	set := g.settings()
	if g.svc.upstream.Welcome(set.Hub, c.DeviceID, set.DeviceID, c.Password == "") {
		g.fetch(set, c.DeviceID, "")
	}
}
