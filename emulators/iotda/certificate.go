package iotda

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// byCertificate judges a device that authenticates by certificate: chain, dates, fingerprint. A password
// beside the certificate is ignored, as Huawei's Go SDK always sends one (DA-14).
func (s *Service) byCertificate(d Device, c Credentials) *rule.Refusal {
	if len(c.Certificates) == 0 {
		return noCertificate(d, c)
	}
	leaf := c.Certificates[0]
	if _, r := s.checkChain(c.Instance, d.AppID, c.Certificates); r != nil {
		return r
	}
	sha1, sha256 := fingerprints(leaf)
	if d.Auth.Fingerprint == "" {
		learned, err := s.updateDevice(c.Instance, d.DeviceID, func(d *Device) error {
			if d.Auth.Fingerprint == "" {
				d.Auth.Fingerprint, d.Auth.Learned = sha256, true
			}
			return nil
		})
		if err != nil {
			return s.unknownDevice(c, d.DeviceID)
		}
		d = learned
	}
	for _, known := range []string{d.Auth.Fingerprint, d.Auth.SecondaryFingerprint} {
		if known == sha1 || known == sha256 {
			return nil
		}
	}
	r := refusal("DA-15/fingerprint", codeCredential, fmt.Sprintf("the certificate %s is not the one registered for %s", clip(pki.Name(leaf.Subject)), d.DeviceID),
		"SHA-1 "+sha1+", SHA-256 "+sha256, "fingerprint "+d.Auth.Fingerprint)
	if d.Auth.Learned {
		r.Rule, r.Detail = "DA-16/learned", r.Detail+": that is the one which it showed at its first connection"
	}
	return r
}

// fingerprints returns a certificate's, in the lower case that the platform stores.
func fingerprints(c *x509.Certificate) (sha1, sha256 string) {
	sha1, sha256 = pki.Thumbprints(c)
	return strings.ToLower(sha1), strings.ToLower(sha256)
}

func noCertificate(d Device, c Credentials) *rule.Refusal {
	r := refusal("DA-17/no-certificate", codeCredential, "device "+d.DeviceID+" authenticates by certificate and sent none",
		"no client certificate", "a client certificate in the TLS handshake")
	switch {
	case !c.Secure:
		r.Seen = "MQTT without TLS, which has no certificates"
		r.Expected += ", port 8883"
	case c.Password != "":
		r.Seen += ", but a password"
	}
	return r
}

// checkChain follows the presented chain to a verified CA of the device's resource space, and returns it.
func (s *Service) checkChain(instance, app string, presented []*x509.Certificate) (CA, *rule.Refusal) {
	var verified, all []*x509.Certificate
	cas := map[*x509.Certificate]CA{}
	for _, ca := range s.CAs(instance) {
		cert := s.certs.Certificate(ca.Certificate)
		cas[cert] = ca
		all = append(all, cert)
		if ca.Verified && (app == "" || ca.AppID == app) {
			verified = append(verified, cert)
		}
	}
	now := s.clock.Wall()
	path, err := pki.Chain(presented, verified, now)
	if err == nil {
		for _, cert := range path {
			for anchor, ca := range cas {
				if ca.Verified && anchor.Equal(cert) && (app == "" || ca.AppID == app) {
					return ca, nil
				}
			}
		}
	}
	r := refusal("DA-15/chain", codeCredential, "", presentedNames(presented), "a chain to a verified CA of the device's resource space: "+s.caNames(instance))
	if err != nil {
		r.Detail = err.Error()
	}
	var broken *pki.ChainError
	switch {
	case errors.As(err, &broken) && broken.Kind == pki.Expired:
		r.Rule, r.Seen, r.Expected = "DA-15/expired", broken.Seen, broken.Expected
		return CA{}, r
	case errors.As(err, &broken) && broken.Kind == pki.NotYetValid:
		r.Rule, r.Seen, r.Expected = "DA-15/not-yet-valid", broken.Seen, broken.Expected
		return CA{}, r
	}
	if path, err := pki.Chain(presented, all, now); err == nil {
		for anchor, ca := range cas {
			if !anchor.Equal(path[len(path)-1]) {
				continue
			}
			name := pki.Name(anchor.Subject)
			if !ca.Verified {
				r.Rule, r.Detail = "DA-15/unverified", fmt.Sprintf("the CA %s is uploaded, and possession of its key was never proven", name)
				r.Expected = "status verified: upload a verification certificate with CN=" + ca.VerifyCode
			} else {
				r.Rule, r.Detail = "DA-15/space", fmt.Sprintf("the CA %s belongs to resource space %s, the device to %s", name, ca.AppID, app)
			}
		}
	}
	return CA{}, r
}

func presentedNames(chain []*x509.Certificate) string {
	var names []string
	for _, c := range chain[:min(len(chain), 4)] {
		names = append(names, fmt.Sprintf("%s (issuer %s)", pki.Name(c.Subject), pki.Name(c.Issuer)))
	}
	return clip(strings.Join(names, ", "))
}

func (s *Service) caNames(instance string) string {
	var names []string
	for _, ca := range s.CAs(instance) {
		name := pki.Name(s.certs.Certificate(ca.Certificate).Subject)
		if !ca.Verified {
			name += " (not verified)"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "the instance has no CA certificate"
	}
	return listed(names)
}

// The parameters that a template may take from a certificate's subject (REG).
const parameterPrefix = "iotda::certificate::"

var subjectParameters = []string{
	parameterPrefix + "country", parameterPrefix + "organization", parameterPrefix + "organizational_unit",
	parameterPrefix + "distinguished_name_qualifier", parameterPrefix + "state_name", parameterPrefix + "common_name",
	parameterPrefix + "serial_number",
}

// qualifierOID is the attribute dnQualifier (X.520), which crypto/x509 has no field for.
var qualifierOID = []int{2, 5, 4, 46}

func subjectValue(c *x509.Certificate, parameter string) string {
	subject := c.Subject
	first := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[0]
	}
	switch strings.TrimPrefix(parameter, parameterPrefix) {
	case "country":
		return first(subject.Country)
	case "organization":
		return first(subject.Organization)
	case "organizational_unit":
		return first(subject.OrganizationalUnit)
	case "state_name":
		return first(subject.Province)
	case "common_name":
		return subject.CommonName
	case "serial_number":
		return subject.SerialNumber
	}
	for _, name := range subject.Names {
		if name.Type.Equal(qualifierOID) {
			return fmt.Sprint(name.Value)
		}
	}
	return ""
}

// selfRegister creates an unknown device from its certificate, where a CA with a template allows it (DA-20).
func (s *Service) selfRegister(c Credentials, device string) *rule.Refusal {
	if len(c.Certificates) == 0 {
		return s.unknownDevice(c, device)
	}
	ca, r := s.checkChain(c.Instance, "", c.Certificates)
	if r != nil || !ca.ProvisionEnable {
		return s.unknownDevice(c, device)
	}
	if c.SNI == "" {
		return refusal("DA-20/sni", codeCredential, "self-registration needs the instance's domain as TLS server name", "no server name (SNI)", s.mqttHost(c.Instance))
	}
	t, err := s.Template(c.Instance, ca.TemplateID)
	if err != nil {
		return s.unknownDevice(c, device)
	}
	n, r := fromTemplate(t, ca, c.Certificates[0])
	if r != nil {
		return r
	}
	if n.DeviceID == "" {
		n.DeviceID = n.ProductID + "_" + n.NodeID
	}
	if n.DeviceID != device {
		return refusal("DA-20/device", codeCredential, "the template makes another device of this certificate than the client id names", "device id "+clip(device), n.DeviceID)
	}
	if _, err := s.CreateDevice(c.Instance, NewDevice{Device: n}); err != nil {
		return refusal("DA-20/template", codeCredential, "the template's device cannot be created: "+err.Error(), "product "+clip(n.ProductID), "a template whose device can be created")
	}
	for _, policy := range t.policies() {
		_, _, _ = s.BindPolicy(c.Instance, policy, TargetDevice, []string{device}, true) // it may have been deleted since
	}
	s.journal.Append(journal.Event{Platform: Platform, Endpoint: c.Instance, Conn: c.Conn, Address: c.Address, Device: device,
		Kind: journal.Provisioned, Rule: "DA-20", Detail: "created by provisioning template " + t.ID})
	return nil
}

func (s *Service) mqttHost(instance string) string {
	if i, ok := s.Instance(instance); ok {
		return i.Hosts()[0]
	}
	return "the instance's MQTT host name"
}

// fromTemplate fills a template's device from a certificate; all declared parameters must be there.
func fromTemplate(t Template, ca CA, leaf *x509.Certificate) (Device, *rule.Refusal) {
	_, sha256 := fingerprints(leaf)
	d := Device{AppID: ca.AppID, Auth: AuthInfo{Type: AuthCertificates, Fingerprint: sha256}}
	for name := range t.Body.Parameters {
		if subjectValue(leaf, name) == "" {
			return d, refusal("DA-20/template", codeCredential, fmt.Sprintf("the certificate has no %s, which template %s declares", strings.TrimPrefix(name, parameterPrefix), t.ID),
				"subject "+clip(pki.Name(leaf.Subject)), "a subject with "+name)
		}
	}
	value := func(v *TemplateValue) string {
		switch {
		case v == nil:
			return ""
		case v.Ref == "":
			return v.Literal
		}
		return subjectValue(leaf, v.Ref)
	}
	device := t.Body.Resources.Device
	d.Name, d.DeviceID, d.NodeID, d.ProductID = value(device.DeviceName), value(device.DeviceID), value(device.NodeID), value(device.ProductID)
	for _, tag := range device.Tags {
		d.Tags = append(d.Tags, Tag{Key: tag.Key, Value: value(&tag.Value)})
	}
	return d, nil
}
