package iothub

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Credentials are what a client shows, whatever protocol it speaks.
type Credentials struct {
	// Endpoint is the hub that the connection was routed to, by any of its names.
	Endpoint string
	// Host is the hub's name as the client wrote it; empty when its protocol has no place for it.
	Host string
	// Hosts are further names that may stand for the hub on this connection: loopback, advertised names,
	// the address dialled.
	Hosts    []string
	DeviceID string
	ModuleID string // empty for a device
	// Password is a SAS token, or whatever else stands in its place; empty when there is none.
	Password string
	// Certificates are the client's, leaf first, not verified.
	Certificates []*x509.Certificate
}

// AuthMethod is how an identity proved itself; its JSON is stamped on telemetry.
type AuthMethod struct {
	Scope  string `json:"scope"`  // hub (shared access policy), device or module
	Type   string `json:"type"`   // sas or x509
	Issuer string `json:"issuer"` // iothub
}

// Identity is a client that has proved who it is.
type Identity struct {
	Hub          string // the hub's host name
	DeviceID     string
	ModuleID     string
	GenerationID string
	Auth         AuthMethod
	Expires      time.Time // end of the SAS token, zero for certificates
	// DisabledCode and RejectFilters are the hub's switches, for the head.
	Switches Switches
}

// Name returns the identity's name in the journal: device or device/module.
func (id Identity) Name() string { return name(id.DeviceID, id.ModuleID) }

// subject is who a client claims to be, as the registry knows it.
type subject struct {
	hub      Hub
	device   Device
	auth     Authentication // the device's or the module's
	moduleID string
	genID    string
	fresh    bool // a scenario device that is registered once it has proved who it is
}

func (s subject) name() string { return name(s.device.DeviceID, s.moduleID) }

// resource is the SAS resource path of the subject, without host.
func (s subject) resource() string {
	path := "devices/" + s.device.DeviceID
	if s.moduleID != "" {
		path += "/modules/" + s.moduleID
	}
	return path
}

// Authenticate judges a client. The error is a *rule.Refusal whose Code is the hub's own error code
// (401003, 403012, …); the head translates it to its protocol. Credentials are judged by the wall clock.
func (s *Service) Authenticate(_ context.Context, c Credentials) (Identity, error) {
	who, r := s.identify(c)
	if r != nil {
		return Identity{}, r
	}
	id := Identity{Hub: who.hub.Host, DeviceID: who.device.DeviceID, ModuleID: who.moduleID, Switches: who.hub.Switches}
	switch who.auth.Type {
	case AuthSelfSigned, AuthCA:
		id.Auth, r = s.byCertificate(who, c)
	default:
		id.Auth, id.Expires, r = s.bySAS(who, c)
	}
	if r != nil {
		return Identity{}, r
	}
	if r := s.welcome(&who); r != nil {
		return Identity{}, r
	}
	id.GenerationID = who.genID
	if r := disabledRefusal(who.device); r != nil {
		return Identity{}, r
	}
	if r := s.authTrouble(id); r != nil {
		return Identity{}, r
	}
	return id, nil
}

// identify finds the hub and the identity that the client names.
func (s *Service) identify(c Credentials) (subject, *rule.Refusal) {
	hub, err := s.GetHub(c.Endpoint)
	if err != nil {
		return subject{}, s.hostRefusal(c.Endpoint, c.Hosts)
	}
	if c.Host != "" && !hub.answersTo(c.Host, c.Hosts) {
		return subject{}, s.hostRefusal(c.Host, append(hub.Names()[:1:1], c.Hosts...))
	}
	who := subject{hub: hub, moduleID: c.ModuleID}
	d, ok := s.devices.Get(key(hub.Host, c.DeviceID))
	if !ok && c.ModuleID == "" {
		d, who.fresh = scenarioDevice(hub, c.DeviceID, c.Password == "" && len(c.Certificates) > 0)
	}
	if !ok && !who.fresh {
		return subject{}, s.unknownDevice(hub.Host, c.DeviceID)
	}
	who.device, who.auth, who.genID = d, d.Authentication, d.GenerationID
	if c.ModuleID != "" {
		m, ok := s.modules.Get(key(hub.Host, c.DeviceID, c.ModuleID))
		if !ok {
			return subject{}, s.unknownModule(hub.Host, c.DeviceID, c.ModuleID)
		}
		who.auth, who.genID = m.Authentication, m.GenerationID
	}
	return who, nil
}

// answersTo reports whether host is one of the hub's names or of the names local to the connection.
func (h Hub) answersTo(host string, local []string) bool {
	same := func(n string) bool { return strings.EqualFold(n, host) }
	return slices.ContainsFunc(h.Names(), same) || slices.ContainsFunc(local, same)
}

func (s *Service) hostRefusal(seen string, expected []string) *rule.Refusal {
	near, _ := s.nearestHost(seen)
	var hubs []string
	for _, h := range s.Hubs() {
		hubs = append(hubs, h.Host)
	}
	for _, name := range expected {
		if !slices.Contains(hubs, name) {
			hubs = append(hubs, name)
		}
	}
	detail := fmt.Sprintf("no hub here is called %s", quote(seen))
	if near != "" {
		detail += "; the closest is " + near
	}
	return refusal("HUB-11/host", detail, quote(seen), listed(hubs))
}

func (s *Service) unknownDevice(hub, id string) *rule.Refusal {
	near, why := nearest(id, s.deviceIDs(hub))
	detail := fmt.Sprintf("hub %s has no device %s", hub, quote(id))
	expected := "a device id registered in " + hub
	if near != "" {
		detail += fmt.Sprintf("; there is %q, %s", near, why)
		expected = near
	} else if at := s.holders(id); len(at) > 0 && at[0] != hub {
		detail += "; it is registered in " + at[0]
		expected = "host " + at[0]
	}
	if fault.ScenarioName(id) != "" {
		detail += "; it is a scenario device, which a hub with the world key scenarios: true makes by itself"
	}
	return refusal("HUB-9/unknown", detail, quote(id), expected)
}

func (s *Service) unknownModule(hub, device, id string) *rule.Refusal {
	var known []string
	for _, m := range s.modules.List(key(hub, device) + keySeparator) {
		known = append(known, m.ModuleID)
	}
	near, why := nearest(id, known)
	detail := fmt.Sprintf("device %s has no module %s", quote(device), quote(id))
	expected := "one of its modules: " + listed(known)
	if near != "" {
		detail += fmt.Sprintf("; there is %q, %s", near, why)
		expected = near
	} else if len(known) == 0 {
		expected = "a module registered under the device; it has none"
	}
	return refusal("HUB-9/module", detail, quote(device+"/"+id), expected)
}

// bySAS judges a client whose identity authenticates by symmetric key (or, with AuthNone, by a policy
// only).
func (s *Service) bySAS(who subject, c Credentials) (AuthMethod, time.Time, *rule.Refusal) {
	var none AuthMethod
	token, r := s.readToken(who, c)
	if r != nil {
		return none, time.Time{}, r
	}
	if r := sasAllowed(who); r != nil {
		return none, time.Time{}, r
	}
	auth, r := verifyToken(who, token, c.Hosts)
	if r != nil {
		return none, time.Time{}, r
	}
	now, skew := s.clock.Wall(), who.hub.Switches.skew()
	if now.After(token.Expiry.Add(skew)) {
		return none, time.Time{}, refusal("HUB-6/expired",
			fmt.Sprintf("the token expired %s ago", now.Sub(token.Expiry).Round(time.Second)),
			"se="+token.ExpiryS+" ("+stamp(token.Expiry)+")",
			fmt.Sprintf("se of %d or later (now is %s, %s of tolerance)", now.Add(-skew).Unix(), stamp(now), skew))
	}
	return auth, token.Expiry, nil
}

// sasAllowed refuses SAS where the hub has switched it off.
func sasAllowed(who subject) *rule.Refusal {
	switch {
	case who.moduleID == "" && who.hub.DisableDeviceSAS:
		return refusal("HUB-5/disabled", "the hub has switched off SAS for devices (disableDeviceSAS)",
			"a SAS token", "a client certificate")
	case who.moduleID != "" && who.hub.DisableModuleSAS:
		return refusal("HUB-5/disabled", "the hub has switched off SAS for modules (disableModuleSAS)",
			"a SAS token", "a client certificate")
	}
	return nil
}

// readToken parses what stands in the password's place, and explains what is no token.
func (s *Service) readToken(who subject, c Credentials) (azure.SAS, *rule.Refusal) {
	want := "SharedAccessSignature sr=" + azure.Escape(who.hub.Host+"/"+who.resource()) + "&sig=…&se=…"
	p := c.Password
	if azure.IsSAS(p) {
		token, err := azure.ParseSAS(p)
		if err != nil {
			return token, refusal("HUB-5/malformed", err.Error(), quote(azure.MaskSAS(p)), want)
		}
		return token, nil
	}
	var none azure.SAS
	lower := strings.ToLower(p)
	switch {
	case p == "" && len(c.Certificates) > 0:
		return none, refusal("HUB-15/sas-device",
			fmt.Sprintf("%s authenticates by SAS token, the client sent a certificate only", who.name()),
			"a certificate of "+subjectName(c.Certificates[0])+" and no password", want)
	case p == "":
		return none, refusal("HUB-5/no-token", "the password is empty", "no password", want)
	case strings.HasPrefix(lower, "hostname="):
		return none, refusal("HUB-5/connection-string",
			"the password is a whole connection string; only the token belongs there",
			"HostName=… ("+fmt.Sprint(len(p))+" bytes)", want)
	case isKeyOf(who.auth.SymmetricKey, p):
		return none, refusal("HUB-5/key", "the password is the device key itself; it must be a token signed with it",
			"the device key", want)
	case strings.HasPrefix(lower, "sr=") || strings.HasPrefix(lower, strings.TrimSpace("sharedaccesssignature")):
		return none, refusal("HUB-5/malformed", "the token does not begin with \"SharedAccessSignature \" in exactly this spelling",
			quote(azure.MaskSAS(p)), want)
	default:
		return none, refusal("HUB-5/password", "the password is not a SAS token", fmt.Sprintf("text of %d bytes", len(p)), want)
	}
}

func isKeyOf(k SymmetricKey, text string) bool {
	text = strings.TrimSpace(text)
	return text != "" && (text == k.PrimaryKey || text == k.SecondaryKey)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
