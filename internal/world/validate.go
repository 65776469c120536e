package world

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// BuiltinCA is the device CA that every instance has.
const BuiltinCA = "demo-ca"

// Validate checks what one text alone cannot tell: that references lead somewhere and that each element
// is complete. Forms of single values are Parse's part. The error is Problems; positions are those of
// the texts that w was parsed and merged from.
func Validate(w *World) error {
	v := &validator{w: w, cas: map[string]bool{BuiltinCA: true}}
	v.pki()
	v.hubs()
	v.dps()
	v.tenants()
	v.iotda()
	v.edges()
	v.serve()
	v.faults()
	sort.SliceStable(v.problems, func(i, j int) bool {
		a, b := &v.problems[i], &v.problems[j]
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) < 0
	})
	return v.problems.err()
}

type validator struct {
	w        *World
	cas      map[string]bool // by folded name
	problems Problems
}

// report places a problem where path was read, or the element around it.
func (v *validator) report(path, format string, args ...any) {
	if len(v.problems) >= maxProblems {
		return
	}
	p := Problem{Key: path, Text: fmt.Sprintf(format, args...)}
	for at := path; at != ""; {
		if origin, ok := v.w.origins[at]; ok {
			p.Position = origin
			break
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	v.problems = append(v.problems, p)
}

func element(list, id string) string { return list + "[" + id + "]" }

func (v *validator) pki() {
	for _, ca := range v.w.PKI.CAs {
		at := element("pki.cas", lower(ca.Name))
		v.cas[lower(ca.Name)] = true
		if lower(ca.Name) == BuiltinCA {
			v.report(at, "is built in and cannot be changed; take another name")
			continue
		}
		if ca.Key == nil || ca.Key.PEM == "" {
			if ca.Key != nil {
				v.report(at+".key", "needs pem or file")
			}
			continue
		}
		if ca.PEM == "" {
			v.report(at+".key", "stands without a certificate; add pem or file, or leave the key out and a CA is made at start")
			continue
		}
		if certs, err := ParseCertificates([]byte(ca.PEM)); err == nil && !keyFits(certs[0], ca.Key.PEM) {
			v.report(at+".key", "does not belong to the certificate")
		}
	}
}

// hubs checks every hub and that host names are given once.
func (v *validator) hubs() {
	hosts := map[string]string{}
	for _, hub := range v.w.Azure.Hubs {
		at := element("azure.hubs", lower(hub.Name))
		if other, taken := hosts[hub.HostName()]; taken {
			v.report(at, "has the host name %s, which hub %s has already", hub.HostName(), other)
		}
		hosts[hub.HostName()] = hub.Name
		for _, policy := range hub.Policies {
			if len(policy.Rights) == 0 {
				v.report(element(at+".policies", policy.Name), "needs rights: some of RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect")
			}
		}
		v.certificates(at+".certificates", hub.Certificates)
		for _, device := range hub.Devices {
			here := element(at+".devices", device.DeviceID)
			v.authentication(here, device.Authentication)
			for _, module := range device.Modules {
				v.authentication(element(here+".modules", module.ModuleID), module.Authentication)
			}
		}
	}
}

func (v *validator) authentication(at string, a *Authentication) {
	if a == nil || a.Type != TypeSelfSigned {
		return
	}
	if t := a.X509Thumbprint; t == nil || t.PrimaryThumbprint == "" && t.SecondaryThumbprint == "" {
		v.report(at+".authentication", "is selfSigned and needs x509Thumbprint, or certificate to compute it from")
	}
}

func (v *validator) certificates(at string, list []CACertificate) {
	for _, c := range list {
		here := element(at, lower(c.Name))
		switch {
		case c.CA == "" && c.PEM == "":
			v.report(here, "needs one of ca, pem and file")
		case c.CA != "" && c.PEM != "":
			v.report(here+".ca", "stands beside a certificate of its own; give one of ca, pem and file")
		case c.CA != "" && !v.cas[lower(c.CA)]:
			v.report(here+".ca", "no CA %s in pki.cas%s", quote(c.CA), didYouMean(c.CA, sortedKeys(v.cas)))
		}
	}
}

// dpsOwner is the policy that every DPS instance has, with all rights.
const dpsOwner = "provisioningserviceowner"

func (v *validator) dps() {
	scopes := map[string]string{}
	for _, d := range v.w.Azure.DPS {
		at := element("azure.dps", lower(d.Name))
		switch other, taken := scopes[lower(d.IDScope)]; {
		case d.IDScope == "":
			v.report(at, "needs idScope, such as 0ne00FAKE01")
		case taken:
			v.report(at, "has the ID scope %s, which %s has already", d.IDScope, other)
		}
		scopes[lower(d.IDScope)] = d.Name
		for _, policy := range d.Policies {
			if len(policy.Rights) == 0 && lower(policy.Name) != dpsOwner {
				v.report(element(at+".policies", lower(policy.Name)), "needs rights: some of ServiceConfig, EnrollmentRead, EnrollmentWrite, RegistrationStatusRead, RegistrationStatusWrite")
			}
		}
		v.certificates(at+".certificates", d.Certificates)
		linked := v.linkedHubs(at, d)
		for _, e := range d.Enrollments {
			here := element(at+".enrollments", lower(e.RegistrationID))
			v.attestation(here, e)
			v.provisioning(here, e.Provisioning, linked)
		}
		for _, g := range d.Groups {
			here := element(at+".groups", lower(g.Name))
			v.groupAttestation(here, d, g)
			v.provisioning(here, g.Provisioning, linked)
		}
	}
}

// linkedHubs returns the host names of an instance's hubs.
func (v *validator) linkedHubs(at string, d DPS) map[string]bool {
	linked := map[string]bool{}
	for i, name := range d.LinkedHubs {
		hub, ok := v.w.Hub(name)
		if !ok {
			v.report(element(at+".linkedHubs", strconv.Itoa(i)), "no hub %s in azure.hubs%s", quote(name), didYouMean(name, v.hubNames()))
			continue
		}
		linked[hub.HostName()] = true
	}
	return linked
}

func (v *validator) provisioning(at string, p Provisioning, linked map[string]bool) {
	check := func(at, name string) {
		hub, ok := v.w.Hub(name)
		if !ok || !linked[hub.HostName()] {
			v.report(at, "%s is not a linked hub of this instance%s", quote(name), didYouMean(name, sortedKeys(linked)))
		}
	}
	switch custom := p.AllocationPolicy == "custom"; {
	case custom && (p.CustomAllocation == nil || p.CustomAllocation.WebhookURL == ""):
		v.report(at, "needs customAllocationDefinition with webhookUrl: its allocationPolicy is custom")
	case !custom && p.CustomAllocation != nil:
		v.report(at+".customAllocationDefinition", "is of use with allocationPolicy custom only")
	}
	for i, name := range p.IoTHubs {
		check(element(at+".iotHubs", strconv.Itoa(i)), name)
	}
	if p.IoTHubHostName != "" {
		check(at+".iotHubHostName", p.IoTHubHostName)
	}
}

// maxCommonName bounds registration ids with X.509: they are common names (Learn, "X.509 certificate attestation").
const maxCommonName = 64

func (v *validator) attestation(at string, e Enrollment) {
	x, k, tpm := e.Attestation.X509, e.Attestation.SymmetricKey, e.Attestation.TPM
	switch {
	case x == nil && k == nil && tpm == nil:
		v.report(at, "needs attestation: exactly one of x509, symmetricKey and tpm")
	case x != nil && k != nil:
		v.report(at+".attestation", "has both x509 and symmetricKey; give one of them")
	case tpm != nil && (x != nil || k != nil):
		v.report(at+".attestation", "has tpm beside another kind; give one of them")
	case tpm != nil && tpm.EndorsementKey == "":
		v.report(at+".attestation.tpm", "needs endorsementKey")
	case x != nil && (x.Primary == nil || x.Primary.PEM == ""):
		v.report(at+".attestation.x509", "needs primary with pem or file: the device's own certificate")
	case x != nil && len(e.RegistrationID) > maxCommonName:
		v.report(at, "registrationId has %d characters; with X.509 it is the certificate's common name, of at most %d", len(e.RegistrationID), maxCommonName)
	}
}

func (v *validator) groupAttestation(at string, d DPS, g Group) {
	x, k := g.Attestation.X509, g.Attestation.SymmetricKey
	switch {
	case x == nil && k == nil:
		v.report(at, "needs attestation: exactly one of x509 and symmetricKey")
		return
	case x != nil && k != nil:
		v.report(at+".attestation", "has both x509 and symmetricKey; give one of them")
		return
	case x == nil:
		return
	}
	own := x.Primary != nil && x.Primary.PEM != ""
	if named := x.CA != ""; named == own {
		v.report(at+".attestation.x509", "needs one of ca (the name of one of this instance's certificates) and primary (pem or file)")
	}
	var names []string
	for _, c := range d.Certificates {
		names = append(names, c.Name)
	}
	for _, ref := range [][2]string{{"ca", x.CA}, {"secondaryCa", x.SecondaryCA}} {
		key, name := ref[0], ref[1]
		known := slices.ContainsFunc(names, func(n string) bool { return lower(n) == lower(name) })
		if name != "" && !known {
			v.report(at+".attestation.x509."+key, "no certificate %s in this instance's certificates%s", quote(name), didYouMean(name, names))
		}
	}
}

func (v *validator) serve() {
	if s := v.w.Serve; (s.ServerCA == "") != (s.ServerCAKey == "") {
		v.report("serve", "needs server-ca and server-ca-key together")
	}
}

// Hub finds a hub by its name or host name, without case.
func (w *World) Hub(nameOrHost string) (Hub, bool) {
	want := lower(nameOrHost)
	for _, h := range w.Azure.Hubs {
		if lower(h.Name) == want || h.HostName() == want {
			return h, true
		}
	}
	return Hub{}, false
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// keyFits reports whether the private key belongs to the certificate.
func keyFits(cert *x509.Certificate, keyText string) bool {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	key := parsePrivateKey([]byte(keyText))
	return ok && key != nil && public.Equal(key.Public())
}
