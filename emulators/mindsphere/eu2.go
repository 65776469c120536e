package mindsphere

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// In region eu2 an agent is a device of an IoT Hub that DPS has assigned it to. This package knows neither: who
// wires them registers agents, hands over the hub's messages and carries answers as the Carrier of EU2.

// EnrollmentGroup returns the id of the DPS enrollment group that holds a tenant's CA ("Onboarding MindConnect
// MQTT Agent").
func EnrollmentGroup(tenant string) string {
	return "TenantEnrollmentGroup-TenantCACertificate-" + tenant
}

// TenantOfHub returns the tenant of region eu2 whose agents a hub holds.
func (s *Service) TenantOfHub(host string) (Tenant, bool) {
	for _, t := range s.Tenants() {
		if t.Region == EU2 && strings.EqualFold(t.Hub, host) {
			return t, true
		}
	}
	return Tenant{}, false
}

// RegisterAgent makes an agent that DPS has assigned to its hub: it is an asset from then on. The client id
// is the device id and the certificate's common name, and begins with the tenant's name. Registering again
// changes nothing.
func (s *Service) RegisterAgent(tenant, clientID string) error {
	fail := func(err error) error { return fmt.Errorf("agent %q: %w", clip(clientID), err) }
	t, ok := s.Tenant(tenant)
	name, prefixed := strings.CutPrefix(clientID, tenant+"_")
	switch {
	case !ok || t.Region != EU2:
		return fail(fmt.Errorf("tenant %q of region eu2: %w", clip(tenant), ErrNotFound))
	case !prefixed || name == "":
		return fail(invalid("in region eu2 common name and client id begin with %q", tenant+"_"))
	case strings.ContainsFunc(name, unfit) || len(clientID) > mindsphere.MaxClientID:
		return fail(invalid("the client id has more than %d bytes, or characters that cannot stand in a topic", mindsphere.MaxClientID))
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, known := s.agents.Get(clientID); known {
		return nil
	}
	if s.agents.Len() >= maxAgents {
		return fail(fmt.Errorf("%w: there are %d agents", ErrLimit, maxAgents))
	}
	a := Agent{ClientID: clientID, Tenant: tenant, Name: name, AgentID: s.ids.Hex(32), AssetID: s.ids.Hex(32), Status: Ready, Created: s.clock.Wall().UTC()}
	s.agents.Put(clientID, a)
	s.assets.Put(key(tenant, a.AssetID), Asset{AssetID: a.AssetID, TenantID: tenant, Name: clientID, TypeID: AgentType, ExternalID: clientID})
	s.journal.Append(journal.Event{Platform: Platform, Endpoint: tenant, Device: clientID, Kind: journal.Provisioned,
		Detail:     "registered at DPS: the agent is visible in MindSphere",
		Properties: map[string]string{"agentId": a.AgentID, "assetId": a.AssetID, "type": AgentType}})
	return nil
}

// HubMessage is a device-to-cloud message of an IoT Hub.
type HubMessage struct {
	Hub        string // host name
	DeviceID   string
	Conn       uint64
	Address    string
	Properties map[string]string // application properties: one names the channel, such as amo_v3=m
	Body       []byte            // may be kept, must not be changed
}

// ReceiveFromHub takes a hub's message to its application and sends the answers through the region's Carrier.
// It reports whether the message was one for MindSphere: of a known agent, on a channel that exists. Agent
// tokens are for region eu1 alone.
func (s *Service) ReceiveFromHub(m HubMessage) bool {
	t, ok := s.TenantOfHub(m.Hub)
	a, known := s.agents.Get(m.DeviceID)
	ch, named := mindsphere.FromProperties(m.Properties)
	if !ok || !known || a.Tenant != t.Name || !named || ch == mindsphere.TokenRequest {
		return false
	}
	name, value := ch.Property()
	e := journal.Event{Platform: Platform, Endpoint: t.Name, Conn: m.Conn, Address: m.Address, Device: m.DeviceID, Dir: journal.In, Topic: name + "=" + value}
	id := Identity{Tenant: t.Name, Region: EU2, ClientID: m.DeviceID, AgentID: a.AgentID}
	out := s.receive(sender{id, e}, ch, m.Body)
	if out.Refusal != nil {
		s.journal.Refuse(e, out.Refusal)
	}
	for _, answer := range out.Answers {
		_, _ = s.Deliver(m.DeviceID, answer) // an agent deleted meanwhile gets no answer
	}
	return true
}
