package mindsphere

import (
	"cmp"
	"fmt"
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// In region eu2 an agent is a device of an IoT Hub that DPS has assigned it to. This package knows neither: who
// wires them is the Enroller, registers agents, hands over the hub's messages and carries answers as the
// Carrier of EU2.

// Enroller keeps the tenants of region eu2 at DPS.
type Enroller interface {
	// Enroll makes the tenant's enrollment group lead agents with certificates of these CAs, at most MaxCAs, to
	// the tenant's hub; one that is not verified is known there and admits nobody. Without CAs there is no
	// group. What is so already is left alone. The error says what DPS or hub lack.
	Enroll(t Tenant, cas []CA) error
}

// EnrollAt makes e the Enroller. It is called once, before any tenant is put. Tenants that the store holds are
// enrolled again, in case that an earlier process ended between the two.
func (s *Service) EnrollAt(e Enroller) {
	s.enroller = e
	for _, t := range s.Tenants() {
		if err := s.enroll(t.Name); err != nil {
			s.log.Warn("tenant not enrolled", "endpoint", t.Name, "cause", err)
		}
	}
}

const enrollmentGroup = "TenantEnrollmentGroup-TenantCACertificate-"

// maxEU2Tenant bounds a tenant's name in eu2: it stands in names at DPS that have at most 64 characters.
const maxEU2Tenant = 40

// EnrollmentGroup returns the id of the DPS enrollment group that holds a tenant's CAs ("Onboarding
// MindConnect MQTT Agent").
func EnrollmentGroup(tenant string) string { return enrollmentGroup + tenant }

// TenantOfGroup returns the tenant of region eu2 whose enrollment group it is.
func (s *Service) TenantOfGroup(group string) (tenant string, ok bool) {
	name, is := strings.CutPrefix(group, enrollmentGroup)
	if !is {
		return "", false
	}
	t, ok := s.Tenant(name)
	return name, ok && t.Region == EU2
}

// enroll tells DPS what CAs a tenant of region eu2 has now.
func (s *Service) enroll(tenant string) error {
	s.enrolling.Lock()
	defer s.enrolling.Unlock()
	t, ok := s.Tenant(tenant)
	if !ok || t.Region != EU2 || s.enroller == nil {
		return nil
	}
	cas := s.CAs(tenant)
	sort.SliceStable(cas, func(i, j int) bool {
		return cmp.Or(cas[i].Created.Compare(cas[j].Created), cmp.Compare(cas[i].ID, cas[j].ID)) < 0
	})
	return s.enroller.Enroll(t, cas)
}

// disenroll takes a tenant that is being deleted from DPS.
func (s *Service) disenroll(t Tenant) {
	s.enrolling.Lock()
	defer s.enrolling.Unlock()
	if t.Region != EU2 || s.enroller == nil {
		return
	}
	if err := s.enroller.Enroll(t, nil); err != nil { // the instance may have gone first
		s.log.Warn("enrollment group not removed", "endpoint", t.Name, "cause", err)
	}
}

// JudgeAgent decides whether a device that DPS would assign can be an agent of a tenant in region eu2: its id,
// which is the certificate's common name, begins with the tenant's name (MS-14). The error is a *rule.Refusal.
func (s *Service) JudgeAgent(tenant, clientID string) error {
	if name, prefixed := strings.CutPrefix(clientID, tenant+"_"); prefixed && name != "" {
		return nil
	}
	return refuse("MS-14/prefix", "the enrollment group is that of tenant "+tenant+", whose name the agent's does not begin with",
		fmt.Sprintf("common name and client id %q", clip(clientID)),
		fmt.Sprintf("a certificate with CN=%q, and the same client id", tenant+"_"+clip(unprefixed(clientID))))
}

// unprefixed is a name without what may have been meant as the tenant.
func unprefixed(clientID string) string {
	if _, device, ok := mindsphere.SplitClientID(clientID); ok {
		return device
	}
	return strings.Trim(clientID, "_")
}

// RegisterAgent makes an agent that DPS has assigned to its hub: it is an asset from then on. Registering
// again changes nothing.
func (s *Service) RegisterAgent(tenant, clientID string) error {
	t, ok := s.Tenant(tenant)
	if !ok || t.Region != EU2 {
		return fmt.Errorf("agent %q: tenant %q of region eu2: %w", clip(clientID), clip(tenant), ErrNotFound)
	}
	if err := s.JudgeAgent(tenant, clientID); err != nil {
		return err
	}
	if strings.ContainsFunc(clientID, unfit) || len(clientID) > mindsphere.MaxClientID { // DPS has no such ids
		return fmt.Errorf("agent %q: %w", clip(clientID), invalid("the client id has more than %d bytes, or characters that cannot stand in a topic", mindsphere.MaxClientID))
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, known := s.agents.Get(clientID); known {
		return nil
	}
	if s.agents.Len() >= maxAgents {
		return fmt.Errorf("agent %q: %w: there are %d agents", clip(clientID), ErrLimit, maxAgents)
	}
	a := Agent{ClientID: clientID, Tenant: tenant, Name: strings.TrimPrefix(clientID, tenant+"_"), AgentID: s.ids.Hex(32), AssetID: s.ids.Hex(32),
		Status: Ready, Created: s.clock.Wall().UTC()}
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

// ReceiveFromHub takes a hub's message to its application (MS-31). What it returns sends the answers through
// the region's Carrier; it is nil where there are none. The device learns of no mistake: the hub has taken the
// message.
func (s *Service) ReceiveFromHub(m HubMessage) (answer func()) {
	name, _, ok := mindsphere.SplitClientID(m.DeviceID)
	if !ok {
		return nil
	}
	t, ok := s.Tenant(name)
	if !ok || t.Region != EU2 || !strings.EqualFold(t.Hub, m.Hub) {
		return nil
	}
	e := journal.Event{Platform: Platform, Endpoint: t.Name, Conn: m.Conn, Address: m.Address, Device: m.DeviceID, Dir: journal.In}
	a, known := s.agents.Get(m.DeviceID)
	ch, named := mindsphere.FromProperties(m.Properties)
	if named {
		app, topic := ch.Property()
		e.Topic = app + "=" + topic
	}
	out := Outcome{}
	switch {
	case !known || a.Tenant != t.Name:
		out = swallowed("MS-31/agent", "the device is no agent: DPS has not registered it", "a message of device "+clip(m.DeviceID), "an agent registered at DPS, ID scope "+t.IDScope)
	case !named:
		out = swallowed("MS-31/channel", "no property of the message names an application", mindsphere.ShowProperties(m.Properties), mindsphere.NearProperty(m.Properties))
	case ch == mindsphere.TokenRequest:
		out = swallowed("MS-31/token", "agents of region eu2 get no tokens", e.Topic, "another application")
	case len(m.Body) > MaxPayload:
		out = swallowed("MS-31/size", "the hub takes the message, but MindSphere does not", fmt.Sprintf("%d bytes", len(m.Body)), fmt.Sprintf("at most %d bytes (128 KB)", MaxPayload))
	default:
		out = s.receive(sender{Identity{Tenant: t.Name, Region: EU2, ClientID: m.DeviceID, AgentID: a.AgentID}, e}, ch, m.Body)
	}
	if out.Refusal != nil {
		s.journal.Refuse(e, out.Refusal)
	}
	if len(out.Answers) == 0 {
		return nil
	}
	return func() {
		for _, answer := range out.Answers {
			_, _ = s.Deliver(m.DeviceID, answer) // an agent deleted meanwhile gets no answer
		}
	}
}
