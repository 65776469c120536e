package fakecloud

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// exportWorld writes what the cores hold as a world that, applied to empty cores, gives the same.
func (c *generation) exportWorld() (*world.World, error) {
	w := &world.World{Base: "none"}
	known, err := c.exportCAs(w)
	if err != nil {
		return nil, err
	}
	for _, h := range c.cores.hub.Hubs() {
		hub, err := c.exportHub(h, known)
		if err != nil {
			return nil, err
		}
		w.Azure.Hubs = append(w.Azure.Hubs, hub)
	}
	for _, i := range c.cores.dps.Instances() {
		instance, err := c.exportDPS(i, known)
		if err != nil {
			return nil, err
		}
		w.Azure.DPS = append(w.Azure.DPS, instance)
	}
	if w.MindSphere.Tenants, err = c.exportTenants(known); err != nil {
		return nil, err
	}
	if w.IoTDA.Instances, err = c.exportIoTDA(known); err != nil {
		return nil, err
	}
	for _, f := range c.faults.List() {
		w.Faults = append(w.Faults, world.FaultOf(f))
	}
	w.Edge.Gateways, err = c.exportGateways(known)
	return w, err
}

// exportCAs lists the device CAs of the data directory but for demo-ca, which every instance has, and
// returns the name of each by its certificate.
func (c *generation) exportCAs(w *world.World) (known map[string]string, err error) {
	cas, err := c.pki.CAs()
	if err != nil {
		return nil, err
	}
	known = map[string]string{}
	for _, ca := range cas {
		certs, err := pki.ParseCertificates(ca.PEM())
		if err != nil {
			return nil, err
		}
		known[string(certs[0].Raw)] = ca.Name
		if ca.Name != pki.DemoCA {
			w.PKI.CAs = append(w.PKI.CAs, world.CA{Name: ca.Name, PEM: string(ca.PEM())})
		}
	}
	return known, nil
}

// exportCA writes an uploaded CA by the name of the device CA that it is, else as PEM.
func exportCA(known map[string]string, name string, cert *x509.Certificate, verified bool) world.CACertificate {
	out := world.CACertificate{Name: name, CA: known[string(cert.Raw)], Verified: &verified}
	if out.CA == "" {
		out.PEM = string(encodePEM(cert))
	}
	return out
}

func (c *generation) exportHub(h iothub.Hub, known map[string]string) (world.Hub, error) {
	out := world.Hub{Name: h.Name, DisableDeviceSAS: trueOrNil(h.DisableDeviceSAS), DisableModuleSAS: trueOrNil(h.DisableModuleSAS)}
	if out.HostName() != h.Host {
		out.Host = h.Host
	}
	out.Scenarios = trueOrNil(h.Switches.Scenarios)
	if out.Throttle = h.Switches.Throttle; h.Switches.IgnoreFaultProperties {
		off := false
		out.FaultProperties = &off
	}
	for _, p := range h.Policies {
		out.Policies = append(out.Policies, world.Policy{Name: p.Name, Rights: strings.Split(p.Rights.String(), ", "),
			PrimaryKey: p.PrimaryKey, SecondaryKey: p.SecondaryKey})
	}
	for _, ca := range h.CAs {
		out.Certificates = append(out.Certificates, exportCA(known, ca.Name, ca.Certificate, ca.Verified))
	}
	for _, d := range c.cores.hub.Devices(h.Host) {
		twin, err := twinOf(d.InitialTwin)
		if err != nil {
			return out, err
		}
		device := world.Device{DeviceID: d.DeviceID, StatusReason: d.StatusReason, InitialTwin: twin,
			Parent: c.cores.hub.Parent(h.Host, d), Authentication: exportAuthentication(d.Authentication), Capabilities: exportCapabilities(d.Capabilities.IoTEdge)}
		if d.Status != iothub.Enabled {
			device.Status = string(d.Status)
		}
		for _, m := range c.cores.hub.Modules(h.Host, d.DeviceID) {
			device.Modules = append(device.Modules, world.Module{ModuleID: m.ModuleID, Authentication: exportAuthentication(m.Authentication)})
		}
		out.Devices = append(out.Devices, device)
	}
	return out, nil
}

func exportAuthentication(a iothub.Authentication) *world.Authentication {
	out := &world.Authentication{Type: string(a.Type)}
	if a.SymmetricKey != (iothub.SymmetricKey{}) {
		out.SymmetricKey = &world.SymmetricKey{PrimaryKey: a.SymmetricKey.PrimaryKey, SecondaryKey: a.SymmetricKey.SecondaryKey}
	}
	if a.Thumbprint != (iothub.Thumbprints{}) {
		out.X509Thumbprint = &world.Thumbprint{PrimaryThumbprint: a.Thumbprint.Primary, SecondaryThumbprint: a.Thumbprint.Secondary}
	}
	return out
}

func (c *generation) exportDPS(i dps.Instance, known map[string]string) (world.DPS, error) {
	out := world.DPS{Name: i.Name, IDScope: i.IDScope, AllocationPolicy: string(i.AllocationPolicy), LinkedHubs: i.LinkedHubs, Rounds: i.Rounds,
		PollLimit: trueOrNil(i.PollLimit)}
	if i.RetryAfter != 0 {
		d := world.Duration(time.Duration(i.RetryAfter) * time.Second)
		out.RetryAfter = &d
	}
	for _, p := range i.Policies {
		policy := world.DPSPolicy{Name: p.Name, PrimaryKey: p.Primary, SecondaryKey: p.Secondary}
		if p.Rights != dps.AllRights || p.Name != dps.OwnerPolicy {
			policy.Rights = p.Rights.Names()
		}
		out.Policies = append(out.Policies, policy)
	}
	for _, ca := range c.cores.dps.CAs(i.Name) {
		certs, err := pki.ParseCertificates([]byte(ca.Certificate))
		if err != nil {
			return out, err
		}
		out.Certificates = append(out.Certificates, exportCA(known, ca.Name, certs[0], ca.Verified))
	}
	for _, e := range c.cores.dps.Enrollments(i.Name) {
		terms, err := exportTerms(e.Terms)
		if err != nil {
			return out, err
		}
		enrollment := world.Enrollment{RegistrationID: e.RegistrationID, DeviceID: e.DeviceID, Provisioning: terms}
		if e.DeviceInformation != nil {
			if err := json.Unmarshal(e.DeviceInformation, &enrollment.DeviceInformation); err != nil {
				return out, err
			}
		}
		enrollment.Attestation.SymmetricKey = exportKeys(e.Attestation.SymmetricKey)
		if t := e.Attestation.TPM; t != nil {
			enrollment.Attestation.TPM = &world.TPM{EndorsementKey: t.EndorsementKey, StorageRootKey: t.StorageRootKey}
		}
		if x := e.Attestation.X509; x != nil {
			if enrollment.Attestation.X509, err = exportCertificates(x); err != nil {
				return out, err
			}
		}
		out.Enrollments = append(out.Enrollments, enrollment)
	}
	for _, g := range c.cores.dps.Groups(i.Name) {
		terms, err := exportTerms(g.Terms)
		if err != nil {
			return out, err
		}
		group := world.Group{Name: g.ID, Provisioning: terms}
		group.Attestation.SymmetricKey = exportKeys(g.Attestation.SymmetricKey)
		if x := g.Attestation.X509; x != nil {
			certs, err := exportCertificates(x)
			if err != nil {
				return out, err
			}
			group.Attestation.X509 = &world.X509GroupAttestation{CA: x.PrimaryCA, SecondaryCA: x.SecondaryCA,
				Primary: certs.Primary, Secondary: certs.Secondary}
		}
		out.Groups = append(out.Groups, group)
	}
	return out, nil
}

func exportTerms(t dps.Terms) (world.Provisioning, error) {
	twin, err := twinOf(t.InitialTwin)
	out := world.Provisioning{AllocationPolicy: string(t.AllocationPolicy), IoTHubs: t.IoTHubs, InitialTwin: twin,
		Capabilities: exportCapabilities(t.Capabilities.IoTEdge)}
	if p := t.ReprovisionPolicy; p != nil {
		update, migrate := p.UpdateHubAssignment, p.MigrateDeviceData
		out.ReprovisionPolicy = &world.ReprovisionPolicy{UpdateHubAssignment: &update, MigrateDeviceData: &migrate}
	}
	if c := t.CustomAllocation; c != nil {
		out.CustomAllocation = &world.CustomAllocation{WebhookURL: c.WebhookURL, APIVersion: c.APIVersion}
	}
	if t.Disabled {
		out.ProvisioningStatus = "disabled"
	}
	return out, err
}

func exportCertificates(x *dps.X509) (*world.X509Attestation, error) {
	out := &world.X509Attestation{}
	for _, c := range []struct {
		text string
		to   **world.Certificate
	}{{x.Primary, &out.Primary}, {x.Secondary, &out.Secondary}} {
		if c.text == "" {
			continue
		}
		text, err := pemText(c.text)
		if err != nil {
			return nil, err
		}
		*c.to = &world.Certificate{PEM: text}
	}
	return out, nil
}

// pemText turns a stored certificate, PEM or base64 of DER, into PEM.
func pemText(stored string) (string, error) {
	certs, err := pki.ParseCertificates([]byte(stored))
	if err != nil {
		return "", err
	}
	return string(encodePEM(certs...)), nil
}

func exportKeys(k *dps.SymmetricKey) *world.SymmetricKey {
	if k == nil {
		return nil
	}
	return &world.SymmetricKey{PrimaryKey: k.Primary, SecondaryKey: k.Secondary}
}

func exportCapabilities(edge bool) *world.Capabilities {
	if !edge {
		return nil
	}
	return &world.Capabilities{IoTEdge: &edge}
}

func twinOf(text json.RawMessage) (*world.Twin, error) {
	if text == nil {
		return nil, nil
	}
	var t struct {
		Tags       map[string]any
		Properties struct{ Desired map[string]any }
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	return &world.Twin{Tags: t.Tags, Properties: world.TwinProperties{Desired: t.Properties.Desired}}, nil
}

func trueOrNil(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

func encodePEM(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}
