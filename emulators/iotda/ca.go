package iotda

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// UploadCA adds a device CA to a resource space. It is unverified unless ca.Verified says otherwise, as a
// world file may; its verification code is made. An empty id is made.
func (s *Service) UploadCA(instance string, ca CA) (CA, error) {
	app, err := s.App(instance, ca.AppID)
	if err != nil {
		return ca, err
	}
	ca.AppID = app.AppID
	certs, err := pki.ParseCertificates([]byte(ca.Certificate))
	if err != nil {
		return ca, invalid("content: %v", err)
	}
	if usage := certs[0].KeyUsage; usage != 0 && usage&x509.KeyUsageCertSign == 0 || certs[0].BasicConstraintsValid && !certs[0].IsCA {
		return ca, invalid("content: %s is not a CA certificate", pki.Name(certs[0].Subject))
	}
	ca.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[0].Raw}))
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.checkCA(instance, ca); err != nil {
		return ca, err
	}
	if ca.ID == "" {
		ca.ID = s.ids.Hex(24)
	}
	if old, ok := s.cas.Get(key(instance, ca.ID)); ok {
		ca.VerifyCode, ca.Created = old.VerifyCode, old.Created
	} else if len(s.cas.Keys(instance+keySeparator)) >= maxCAs {
		return ca, conflict("there are %d CA certificates already, which is the limit", maxCAs)
	}
	if ca.VerifyCode == "" {
		ca.VerifyCode, ca.Created = s.ids.Hex(32), s.clock.Wall().UTC()
	}
	s.cas.Put(key(instance, ca.ID), ca)
	return ca, nil
}

// checkCA wants a known template for self-registration.
func (s *Service) checkCA(instance string, ca CA) error {
	if len(ca.OCSP.ServerCAID) > maxText {
		return invalid("ocsp_server_ca_id: at most %d characters", maxText)
	}
	if ca.ProvisionEnable && ca.TemplateID == "" {
		return invalid("provision_enable needs a template_id")
	}
	if ca.TemplateID == "" {
		return nil
	}
	if _, ok := s.templates.Get(key(instance, ca.TemplateID)); !ok {
		return notFound("provisioning template", ca.TemplateID)
	}
	return nil
}

// CA returns one device CA.
func (s *Service) CA(instance, id string) (CA, error) {
	ca, ok := s.cas.Get(key(instance, id))
	if !ok {
		return ca, notFound("certificate", id)
	}
	return ca, nil
}

// CAs returns the device CAs of an instance, ordered by id.
func (s *Service) CAs(instance string) []CA { return s.cas.List(instance + keySeparator) }

// DeleteCA removes a device CA.
func (s *Service) DeleteCA(instance, id string) error {
	return notFoundIf(!s.cas.Delete(key(instance, id)), "certificate", id)
}

// CAChange is what of a CA can change. What is nil stays.
type CAChange struct {
	ProvisionEnable *bool
	TemplateID      *string
	OCSPEnable      *bool
	OCSPServerCAID  *string
	OCSPSSLEnable   *bool
}

// UpdateCA changes a device CA.
func (s *Service) UpdateCA(instance, id string, ch CAChange) (CA, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	ca, err := s.CA(instance, id)
	if err != nil {
		return ca, err
	}
	set(&ca.ProvisionEnable, ch.ProvisionEnable)
	set(&ca.TemplateID, ch.TemplateID)
	set(&ca.OCSP.Enable, ch.OCSPEnable)
	set(&ca.OCSP.ServerCAID, ch.OCSPServerCAID)
	set(&ca.OCSP.SSLEnable, ch.OCSPSSLEnable)
	if err := s.checkCA(instance, ca); err != nil {
		return ca, err
	}
	s.cas.Put(key(instance, id), ca)
	return ca, nil
}

func set[T any](field *T, to *T) {
	if to != nil {
		*field = *to
	}
}

// VerifyCA judges a verification certificate (DA-19): it must carry the CA's code as common name and be
// signed by the CA's key. Then the CA authenticates devices.
func (s *Service) VerifyCA(instance, id, certificate string) error {
	ca, err := s.CA(instance, id)
	if err != nil {
		return err
	}
	certs, err := pki.ParseCertificates([]byte(certificate))
	if err != nil {
		return invalid("verify_content: %v", err)
	}
	proof, anchor := certs[0], s.certs.Certificate(ca.Certificate)
	refuse := func(cause rule.ID, detail, seen, expected string) error {
		return s.refuseAPI(instance, "", CodeInvalid, &rule.Refusal{Rule: cause, Detail: detail, Seen: seen, Expected: expected})
	}
	now := s.clock.Wall()
	switch {
	case proof.Equal(anchor):
		return refuse("DA-19/code", "the CA's own certificate was uploaded as verification certificate",
			pki.Name(proof.Subject), "a certificate with CN="+ca.VerifyCode+", signed by the CA")
	case proof.Subject.CommonName != ca.VerifyCode:
		return refuse("DA-19/code", "the verification certificate's common name is not the verification code",
			fmt.Sprintf("CN=%q", clip(proof.Subject.CommonName)), "CN="+ca.VerifyCode)
	case now.After(anchor.NotAfter):
		return refuse("DA-19/expired", "the CA certificate has expired and cannot be verified",
			"valid to "+anchor.NotAfter.UTC().Format(timeForm), "a CA certificate valid at "+now.UTC().Format(timeForm))
	}
	if err := pki.VerifyChain([]*x509.Certificate{proof}, []*x509.Certificate{anchor}, now); err != nil {
		return refuse("DA-19/signature", err.Error(), "issuer "+pki.Name(proof.Issuer), "a certificate signed by the key of "+pki.Name(anchor.Subject))
	}
	_, err = s.cas.Update(key(instance, id), func(ca CA) (CA, error) {
		ca.Verified = true
		return ca, nil
	})
	return err
}

const timeForm = "2006-01-02T15:04:05Z"

// PutTemplate adds or replaces a provisioning template.
func (s *Service) PutTemplate(instance string, t Template) (Template, error) {
	if err := s.known(instance); err != nil {
		return t, err
	}
	if t.Name == "" || len(t.Name) > 128 {
		return t, invalid("template_name: 1 to 128 characters")
	}
	for name, p := range t.Body.Parameters {
		if !slices.Contains(subjectParameters, name) || p.Type != "String" {
			return t, invalid("template_body.parameters: %q is none of %s with type String", clip(name), strings.Join(subjectParameters, ", "))
		}
	}
	d := t.Body.Resources.Device
	values := map[string]*TemplateValue{"device_name": d.DeviceName, "device_id": d.DeviceID, "node_id": d.NodeID, "product_id": d.ProductID}
	for i := range d.Tags {
		values[fmt.Sprintf("tags[%d]", i)] = &d.Tags[i].Value
	}
	for field, v := range values {
		if v == nil || v.Ref == "" {
			continue
		}
		if _, declared := t.Body.Parameters[v.Ref]; !declared {
			return t, invalid("template_body.resources.device.%s refers to %q, which is no parameter", field, clip(v.Ref))
		}
	}
	if d.NodeID == nil || d.ProductID == nil {
		return t, invalid("template_body.resources.device needs node_id and product_id")
	}
	for _, id := range t.policies() {
		if _, err := s.Policy(instance, id); err != nil {
			return t, err
		}
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if t.ID == "" {
		t.ID = s.ids.Hex(24)
	}
	if old, ok := s.templates.Get(key(instance, t.ID)); ok {
		t.Created = old.Created
	} else if len(s.templates.Keys(instance+keySeparator)) >= maxTemplates {
		return t, conflict("there are %d provisioning templates already, which is the limit", maxTemplates)
	} else {
		t.Created = s.clock.Wall().UTC()
	}
	s.templates.Put(key(instance, t.ID), t)
	return t, nil
}

// policies are the ids of the device policies that a template binds its devices to.
func (t Template) policies() []string {
	if t.Body.Resources.Policy == nil {
		return nil
	}
	return t.Body.Resources.Policy.IDs
}

// Template returns one provisioning template.
func (s *Service) Template(instance, id string) (Template, error) {
	t, ok := s.templates.Get(key(instance, id))
	if !ok {
		return t, notFound("provisioning template", id)
	}
	return t, nil
}

// Templates returns the provisioning templates of an instance, ordered by id.
func (s *Service) Templates(instance string) []Template {
	return s.templates.List(instance + keySeparator)
}

// DeleteTemplate removes a provisioning template that no CA uses.
func (s *Service) DeleteTemplate(instance, id string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if slices.ContainsFunc(s.CAs(instance), func(ca CA) bool { return ca.TemplateID == id }) {
		return conflict("a CA uses provisioning template %s", clip(id))
	}
	return notFoundIf(!s.templates.Delete(key(instance, id)), "provisioning template", id)
}
