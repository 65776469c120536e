package adopt

import (
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/world"
)

// defaultHub is the hub that a device is put on when its user name tells none of the world's.
const defaultHub = "fakecloud-hub"

var yes, no = true, false

func planHub(w *world.World, a *Attempt) (*world.World, error) {
	u, err := azure.ParseHubUsername(a.Username)
	if err != nil {
		return nil, fault(a)
	}
	u = u.Decoded()
	hub := findHub(w, u.Host)
	change := world.Hub{Name: hub.Name, Host: hub.Host}
	switch a.Rule {
	case "HUB-12/disabled":
		change.Devices = []world.Device{{DeviceID: u.DeviceID, Status: "enabled"}}
		return hubs(change), nil
	case "HUB-16/unverified":
		name, ok := unverified(a, hub.Certificates)
		if !ok {
			return nil, fault(a)
		}
		change.Certificates = []world.CACertificate{{Name: name, Verified: &yes}}
		return hubs(change), nil
	case "HUB-16/chain":
		if ca, ok := authority(a); ok {
			change.Certificates = []world.CACertificate{{Name: "adopted-" + u.DeviceID, PEM: pemOf(ca), Verified: &yes}}
			return hubs(change), nil
		}
	case "HUB-9/unknown", "HUB-9/module", "HUB-11/host", "HUB-15/thumbprint", "HUB-15/sas-device", "DOOR-1/nobody":
	default:
		return nil, keyOrFault(a, u)
	}
	if len(a.Certificates) == 0 {
		return nil, keyOrFault(a, u)
	}
	change.Devices = []world.Device{device(a, u)}
	return hubs(change), nil
}

// keyOrFault tells clients that sign from those that are wrong.
func keyOrFault(a *Attempt, u azure.HubUsername) error {
	switch a.Rule.Row() {
	case "HUB-5", "HUB-8", "HUB-9", "HUB-11", "DOOR-1":
		host, _, _ := strings.Cut(u.Host, ".")
		return keyNeeded("fakecloud add hub-device " + u.DeviceID + " --hub " + host + " --key BASE64 (after fakecloud add hub " + host + ", where it is new)")
	}
	return fault(a)
}

// device is the identity that accepts the certificate which the client has shown.
func device(a *Attempt, u azure.HubUsername) world.Device {
	d := world.Device{DeviceID: u.DeviceID}
	if u.ModuleID == "" {
		d.Authentication = selfSigned(a)
		return d
	}
	d.Modules = []world.Module{{ModuleID: u.ModuleID, Authentication: selfSigned(a)}}
	return d
}

// findHub returns the world's hub of a host name, else a new one of that name. A local name or an address
// stands for the default hub.
func findHub(w *world.World, host string) world.Hub {
	for _, h := range w.Azure.Hubs {
		if strings.EqualFold(h.HostName(), host) {
			return h
		}
	}
	name, rest, dotted := strings.Cut(host, ".")
	if isVendors := strings.EqualFold(rest, "azure-devices.net"); dotted && isVendors {
		return world.Hub{Name: name}
	}
	for _, h := range w.Azure.Hubs {
		if h.Name == defaultHub || len(w.Azure.Hubs) == 1 {
			return h
		}
	}
	return world.Hub{Name: defaultHub}
}

func hubs(h world.Hub) *world.World {
	return &world.World{Azure: world.Azure{Hubs: []world.Hub{h}}}
}

func planDPS(w *world.World, a *Attempt) (*world.World, error) {
	u, err := azure.ParseDPSUsername(a.Username)
	if err != nil {
		return nil, fault(a)
	}
	instance, known := findDPS(w, u.Scope)
	change := world.DPS{Name: instance.Name, IDScope: u.Scope}
	if !known {
		change.LinkedHubs = firstHub(w)
	}
	switch a.Rule {
	case "DPS-23/unverified":
		name, ok := unverified(a, instance.Certificates)
		if !ok {
			return nil, fault(a)
		}
		change.Certificates = []world.CACertificate{{Name: name, Verified: &yes}}
		return dps(change), nil
	case "DPS-24/disabled":
		for _, e := range instance.Enrollments {
			if strings.EqualFold(e.RegistrationID, u.RegistrationID) {
				change.Enrollments = []world.Enrollment{{RegistrationID: e.RegistrationID,
					Provisioning: world.Provisioning{ProvisioningStatus: "enabled"}}}
				return dps(change), nil
			}
		}
		return nil, cannot("the group that admits %s is disabled: fakecloud world show names it, PATCH /api/v1/world enables it", u.RegistrationID)
	case "DPS-22/ca", "DPS-26/scope", "DPS-26/enrollment", "DPS-15/certificate", "DPS-15/attestation", "DOOR-1/nobody":
		if len(a.Certificates) == 0 {
			return nil, keyNeeded("fakecloud add enrollment " + u.RegistrationID + " --symmetric")
		}
		enroll(&change, a, u.RegistrationID)
		return dps(change), nil
	}
	if a.Rule.Row() == "DPS-15" || a.Rule.Row() == "DPS-19" {
		return nil, keyNeeded("fakecloud add enrollment " + u.RegistrationID + " --symmetric")
	}
	return nil, fault(a)
}

// enroll admits everyone whose chain leads to the CA that the client has sent; where it has sent none,
// the one device with its certificate. Only the latter helps where an enrollment of the device itself
// decides.
func enroll(change *world.DPS, a *Attempt, id string) {
	ca, sent := authority(a)
	if own := a.Rule == rule.ID("DPS-15/certificate") || a.Rule == rule.ID("DPS-15/attestation"); !sent || own {
		change.Enrollments = []world.Enrollment{{RegistrationID: id, Attestation: world.Attestation{
			X509: &world.X509Attestation{Primary: &world.Certificate{PEM: pemOf(a.Certificates[0])}}}}}
		return
	}
	name := "adopted-" + strings.ToLower(id)
	change.Certificates = []world.CACertificate{{Name: name, PEM: pemOf(ca), Verified: &yes}}
	change.Groups = []world.Group{{Name: name, Attestation: world.GroupAttestation{X509: &world.X509GroupAttestation{CA: name}}}}
}

// findDPS returns the world's instance of a scope, else a new one.
func findDPS(w *world.World, scope string) (world.DPS, bool) {
	for _, d := range w.Azure.DPS {
		if strings.EqualFold(d.IDScope, scope) {
			return d, true
		}
	}
	return world.DPS{Name: "adopted-" + strings.ToLower(scope)}, false
}

func firstHub(w *world.World) []string {
	for _, h := range w.Azure.Hubs {
		return []string{h.HostName()}
	}
	return nil
}

func dps(d world.DPS) *world.World {
	return &world.World{Azure: world.Azure{DPS: []world.DPS{d}}}
}
