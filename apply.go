package fakecloud

import (
	"encoding/json"
	"fmt"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// platforms are the cores that a world is applied to.
type platforms struct {
	hub  *iothub.Service
	dps  *dps.Service
	mind *mindsphere.Service
	iot  *iotda.Service
	edge *edge.Service
	// gaps, where set, makes apply leave alone what exists.
	gaps *gaps
}

// apply creates or replaces in the cores what w names. caPEM returns the certificate of a device CA.
func (p platforms) apply(w *world.World, caPEM func(name string) ([]byte, error)) error {
	for _, h := range w.Azure.Hubs {
		if err := p.applyHub(h, caPEM); err != nil {
			return fmt.Errorf("azure.hubs[%s]: %w", h.Name, err)
		}
	}
	for _, d := range w.Azure.DPS {
		if err := p.applyDPS(d, caPEM); err != nil {
			return fmt.Errorf("azure.dps[%s]: %w", d.Name, err)
		}
	}
	for _, t := range w.MindSphere.Tenants {
		if err := p.applyTenant(t, caPEM); err != nil {
			return fmt.Errorf("mindsphere.tenants[%s]: %w", t.Name, err)
		}
	}
	for _, i := range w.IoTDA.Instances {
		if err := p.applyIoTDA(i, caPEM); err != nil {
			return fmt.Errorf("iotda.instances[%s]: %w", i.Name, err)
		}
	}
	for _, g := range w.Edge.Gateways {
		if err := p.applyGateway(g, caPEM); err != nil {
			return fmt.Errorf("edge.gateways[%s]: %w", g.HostName, err)
		}
	}
	for _, h := range w.Azure.Hubs {
		if err := p.applyParents(h); err != nil {
			return fmt.Errorf("azure.hubs[%s]: %w", h.Name, err)
		}
	}
	return nil
}

func (p platforms) applyHub(h world.Hub, caPEM func(string) ([]byte, error)) error {
	hub := iothub.Hub{
		Name: h.Name, Host: h.HostName(),
		DisableDeviceSAS: isTrue(h.DisableDeviceSAS), DisableModuleSAS: isTrue(h.DisableModuleSAS),
		Switches: iothub.Switches{Throttle: h.Throttle, IgnoreFaultProperties: h.FaultProperties != nil && !*h.FaultProperties,
			Scenarios: isTrue(h.Scenarios)},
	}
	for _, policy := range h.Policies {
		var rights iothub.Rights
		for _, name := range policy.Rights {
			r, err := iothub.ParseRights(name)
			if err != nil {
				return err
			}
			rights |= r
		}
		hub.Policies = append(hub.Policies, iothub.Policy{Name: policy.Name, Rights: rights,
			PrimaryKey: policy.PrimaryKey, SecondaryKey: policy.SecondaryKey})
	}
	for _, c := range h.Certificates {
		text, err := certificatePEM(c, caPEM)
		if err != nil {
			return err
		}
		certs, err := pki.ParseCertificates(text)
		if err != nil {
			return fmt.Errorf("certificates[%s]: %w", c.Name, err)
		}
		hub.CAs = append(hub.CAs, iothub.CA{Name: c.Name, Certificate: certs[0], Verified: c.IsVerified()})
	}
	if err := p.putHub(hub); err != nil {
		return err
	}
	apply := func(i int) error {
		if err := p.applyDevice(hub.Host, h.Devices[i]); err != nil {
			return fmt.Errorf("devices[%s]: %w", h.Devices[i].DeviceID, err)
		}
		return nil
	}
	if p.gaps != nil && p.gaps.only != nil {
		return atOnce(len(h.Devices), apply)
	}
	for i := range h.Devices { // in their order: what is made for them follows from the seed
		if err := apply(i); err != nil {
			return err
		}
	}
	return nil
}

func (p platforms) applyDevice(hub string, d world.Device) error {
	twin, err := twinJSON(d.InitialTwin)
	if err != nil {
		return err
	}
	device := iothub.Device{
		DeviceID: d.DeviceID, Status: iothub.Status(d.Status), StatusReason: d.StatusReason, InitialTwin: twin,
		Authentication: authentication(d.Authentication),
		Capabilities:   iothub.Capabilities{IoTEdge: d.Capabilities != nil && isTrue(d.Capabilities.IoTEdge)},
	}
	old, err := p.hub.GetDevice(hub, d.DeviceID)
	device.DeviceScope, device.ParentScopes = old.DeviceScope, old.ParentScopes // applyParents changes them
	fresh := p.gaps.takesDevice(err == nil, "device", d.DeviceID)
	if fresh {
		if _, err := p.hub.PutDevice(hub, device); err != nil {
			return err
		}
	}
	for _, m := range d.Modules {
		if _, err := p.hub.GetModule(hub, d.DeviceID, m.ModuleID); !fresh && !p.gaps.takesDevice(err == nil, "module", d.DeviceID+"/"+m.ModuleID) {
			continue
		}
		module := iothub.Module{DeviceID: d.DeviceID, ModuleID: m.ModuleID, Authentication: authentication(m.Authentication)}
		if _, err := p.hub.PutModule(hub, module); err != nil {
			return fmt.Errorf("modules[%s]: %w", m.ModuleID, err)
		}
	}
	return nil
}

func authentication(a *world.Authentication) iothub.Authentication {
	var out iothub.Authentication
	if a == nil {
		return out
	}
	out.Type = iothub.AuthType(a.Type)
	if a.SymmetricKey != nil {
		out.SymmetricKey = iothub.SymmetricKey{PrimaryKey: a.SymmetricKey.PrimaryKey, SecondaryKey: a.SymmetricKey.SecondaryKey}
	}
	if a.X509Thumbprint != nil {
		out.Thumbprint = iothub.Thumbprints{Primary: a.X509Thumbprint.PrimaryThumbprint, Secondary: a.X509Thumbprint.SecondaryThumbprint}
	}
	return out
}

func (p platforms) applyDPS(d world.DPS, caPEM func(string) ([]byte, error)) error {
	instance := dps.Instance{
		Name: d.Name, IDScope: d.IDScope, AllocationPolicy: dps.AllocationPolicy(d.AllocationPolicy),
		LinkedHubs: p.hubHosts(d.LinkedHubs), Rounds: d.Rounds, PollLimit: isTrue(d.PollLimit),
	}
	var err error
	if instance.Policies, err = dpsPolicies(d.Policies); err != nil {
		return err
	}
	if d.RetryAfter != nil {
		instance.RetryAfter = int(d.RetryAfter.D().Seconds())
	}
	if _, exists := p.dps.Instance(d.Name); p.gaps.takes(exists, "DPS instance "+d.Name) {
		if err := p.dps.PutInstance(instance); err != nil {
			return err
		}
	}
	for _, c := range d.Certificates {
		if _, exists := p.dps.CA(d.Name, c.Name); !p.gaps.takes(exists, "DPS certificate "+c.Name) {
			continue
		}
		text, err := certificatePEM(c, caPEM)
		if err != nil {
			return err
		}
		if err := p.dps.PutCA(d.Name, dps.CA{Name: c.Name, Certificate: string(text), Verified: c.IsVerified()}); err != nil {
			return err
		}
	}
	for _, e := range d.Enrollments {
		if _, exists := p.dps.Enrollment(d.Name, e.RegistrationID); !p.gaps.takesDevice(exists, "enrollment", e.RegistrationID) {
			continue
		}
		if err := p.applyEnrollment(d.Name, e); err != nil {
			return err
		}
	}
	for _, g := range d.Groups {
		if _, exists := p.dps.Group(d.Name, g.Name); !p.gaps.takes(exists, "enrollment group "+g.Name) {
			continue
		}
		if err := p.applyGroup(d.Name, g); err != nil {
			return err
		}
	}
	return nil
}

func (p platforms) applyEnrollment(instance string, e world.Enrollment) error {
	terms, err := p.termsOf(e.Provisioning)
	if err != nil {
		return err
	}
	enrollment := dps.Enrollment{RegistrationID: e.RegistrationID, DeviceID: e.DeviceID, Terms: terms}
	if e.DeviceInformation != nil {
		if enrollment.DeviceInformation, err = json.Marshal(e.DeviceInformation); err != nil {
			return err
		}
	}
	if x := e.Attestation.X509; x != nil {
		enrollment.Attestation.X509 = &dps.X509{Primary: pemOf(x.Primary), Secondary: pemOf(x.Secondary)}
	}
	enrollment.Attestation.SymmetricKey = keysOf(e.Attestation.SymmetricKey)
	if t := e.Attestation.TPM; t != nil {
		enrollment.Attestation.TPM = &dps.TPM{EndorsementKey: t.EndorsementKey, StorageRootKey: t.StorageRootKey}
	}
	_, err = p.dps.PutEnrollment(instance, enrollment)
	return err
}

func (p platforms) applyGroup(instance string, g world.Group) error {
	terms, err := p.termsOf(g.Provisioning)
	if err != nil {
		return err
	}
	group := dps.Group{ID: g.Name, Terms: terms}
	if x := g.Attestation.X509; x != nil {
		group.Attestation.X509 = &dps.X509{PrimaryCA: x.CA, SecondaryCA: x.SecondaryCA, Primary: pemOf(x.Primary), Secondary: pemOf(x.Secondary)}
	}
	group.Attestation.SymmetricKey = keysOf(g.Attestation.SymmetricKey)
	_, err = p.dps.PutGroup(instance, group)
	return err
}

// dpsPolicies reads the policies of a DPS instance; the owner's has all rights unless the world says otherwise.
func dpsPolicies(policies []world.DPSPolicy) ([]dps.Policy, error) {
	var out []dps.Policy
	for _, p := range policies {
		policy := dps.Policy{Name: p.Name, SymmetricKey: dps.SymmetricKey{Primary: p.PrimaryKey, Secondary: p.SecondaryKey}}
		for _, name := range p.Rights {
			right, err := dps.ParseRight(name)
			if err != nil {
				return nil, err
			}
			policy.Rights |= right
		}
		if len(p.Rights) == 0 {
			policy.Rights = dps.AllRights
		}
		out = append(out, policy)
	}
	return out, nil
}

func (p platforms) termsOf(t world.Provisioning) (dps.Terms, error) {
	twin, err := twinJSON(t.InitialTwin)
	if err != nil {
		return dps.Terms{}, err
	}
	hubs := t.IoTHubs
	if t.IoTHubHostName != "" {
		hubs = []string{t.IoTHubHostName}
	}
	var custom *dps.CustomAllocation
	if c := t.CustomAllocation; c != nil {
		custom = &dps.CustomAllocation{WebhookURL: c.WebhookURL, APIVersion: c.APIVersion}
	}
	return dps.Terms{
		CustomAllocation: custom,
		Disabled:         t.ProvisioningStatus == "disabled", AllocationPolicy: dps.AllocationPolicy(t.AllocationPolicy),
		IoTHubs: p.hubHosts(hubs), InitialTwin: twin,
		Capabilities:      dps.Capabilities{IoTEdge: t.Capabilities != nil && isTrue(t.Capabilities.IoTEdge)},
		ReprovisionPolicy: reprovisionPolicy(t.ReprovisionPolicy),
	}, nil
}

// reprovisionPolicy fills what a policy leaves out: both are true by default.
func reprovisionPolicy(p *world.ReprovisionPolicy) *dps.ReprovisionPolicy {
	if p == nil {
		return nil
	}
	return &dps.ReprovisionPolicy{UpdateHubAssignment: p.UpdateHubAssignment == nil || *p.UpdateHubAssignment,
		MigrateDeviceData: p.MigrateDeviceData == nil || *p.MigrateDeviceData}
}

// hubHosts turns names or host names of hubs into host names.
func (p platforms) hubHosts(names []string) []string {
	var hosts []string
	for _, name := range names {
		host := name
		for _, h := range p.hub.Hubs() {
			if h.Name == name {
				host = h.Host
			}
		}
		hosts = append(hosts, host)
	}
	return hosts
}

func certificatePEM(c world.CACertificate, caPEM func(string) ([]byte, error)) ([]byte, error) {
	if c.CA == "" {
		return []byte(c.PEM), nil
	}
	text, err := caPEM(c.CA)
	if err != nil {
		return nil, fmt.Errorf("certificates[%s]: %w", c.Name, err)
	}
	return text, nil
}

func keysOf(k *world.SymmetricKey) *dps.SymmetricKey {
	if k == nil {
		return nil
	}
	return &dps.SymmetricKey{Primary: k.PrimaryKey, Secondary: k.SecondaryKey}
}

func pemOf(c *world.Certificate) string {
	if c == nil {
		return ""
	}
	return c.PEM
}

func twinJSON(t *world.Twin) (json.RawMessage, error) {
	if t == nil {
		return nil, nil
	}
	return json.Marshal(map[string]any{"tags": t.Tags, "properties": map[string]any{"desired": t.Properties.Desired}})
}

func isTrue(b *bool) bool { return b != nil && *b }
