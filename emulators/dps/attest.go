package dps

import (
	"crypto/x509"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Error codes and messages of refused registrations, as observed on the real service.
const (
	codeBadRequest   = 400000
	codeUnauthorized = 401000 // SAS
	codeCertificate  = 401002 // X.509, and SAS over HTTPS
	codeNotFound     = 404201
	codeNoOperation  = 404203

	messageUnauthorized = "Unauthorized"
	messageCertificate  = "Invalid certificate."
	messageNoCA         = "CA certificate not found"
	messageNotEnrolled  = "Enrollment not found."
	messageNoOperation  = "Operation not found."
)

// denial is an error answer with the rule behind it.
type denial struct {
	code    int // errorCode; code / 1000 is the status
	message string
	refusal rule.Refusal
	// challenge, where set, is answered with 401 instead of an error: no rule was broken.
	challenge *azure.DPSChallenge
}

func deny(code int, message string, r rule.Refusal) *denial {
	r.Code = code / 1000
	return &denial{code: code, message: message, refusal: r}
}

// admission is what admitted a device: an individual enrollment or a group, and its credential.
type admission struct {
	kind     string // x509 or symmetricKey
	groupID  string // empty: an individual enrollment
	deviceID string
	terms    Terms
	auth     Auth
	// activation brings the hub's key to a TPM, base64.
	activation string
}

// The kinds of attestation, as in the service's JSON.
const (
	kindX509 = "x509"
	kindKey  = "symmetricKey"
)

func (a admission) name() string {
	if a.groupID != "" {
		return "enrollment group " + a.groupID
	}
	return "individual enrollment"
}

// attest decides whether the caller is who it claims to be. An individual enrollment of the
// registration id decides alone; without one the groups are asked (concepts-x509-attestation.md).
func (s *Service) attest(i Instance, c Caller) (admission, *denial) {
	if e, ok := s.Enrollment(i.Name, c.RegistrationID); ok {
		return s.attestIndividual(i, e, c)
	}
	if c.TPM != nil && !azure.IsSAS(c.Token) && len(c.Certificates) == 0 {
		return admission{}, s.notEnrolled(i, c, "a TPM needs an individual enrollment")
	}
	if c.byKey() {
		return s.attestKeyGroup(i, c)
	}
	if d := checkLeaf(c, s.Clock.Wall()); d != nil {
		return admission{}, d
	}
	return s.attestChain(i, c)
}

// byKey reports whether the caller means to attest by symmetric key. A token wins over a certificate;
// any other password beside a certificate is ignored.
func (c Caller) byKey() bool {
	return azure.IsSAS(c.Token) || len(c.Certificates) == 0
}

func (s *Service) attestIndividual(i Instance, e Enrollment, c Caller) (admission, *denial) {
	a := admission{kind: kindX509, deviceID: e.DeviceID, terms: e.Terms}
	if a.deviceID == "" {
		a.deviceID = e.RegistrationID
	}
	if e.Attestation.TPM != nil {
		return s.attestTPM(i, e, c, a)
	}
	if k := e.Attestation.SymmetricKey; k != nil {
		if !c.byKey() || c.Token == "" {
			return a, deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-15/attestation",
				Detail:   fmt.Sprintf("individual enrollment %s attests by symmetric key, but the device sent no SAS token", e.RegistrationID),
				Seen:     c.credential(),
				Expected: "a SAS token as password, signed with the enrollment's primary or secondary key"})
		}
		a.kind, a.auth = kindKey, Auth{PrimaryKey: k.Primary, SecondaryKey: k.Secondary}
		return a, s.checkToken(i, c, unbase64(k.Primary), unbase64(k.Secondary))
	}
	if len(c.Certificates) == 0 {
		return a, deny(codeCertificate, messageCertificate, rule.Refusal{Rule: "DPS-15/attestation",
			Detail:   fmt.Sprintf("individual enrollment %s attests by X.509, but the device presented no client certificate", e.RegistrationID),
			Seen:     c.credential(),
			Expected: "the enrolled certificate as TLS client certificate"})
	}
	if d := checkLeaf(c, s.Clock.Wall()); d != nil {
		return a, d
	}
	leaf := c.Certificates[0]
	for _, text := range []string{e.Attestation.X509.Primary, e.Attestation.X509.Secondary} {
		if enrolled := s.certs.Certificate(text); enrolled != nil && enrolled.Equal(leaf) {
			a.auth = thumbprints(leaf)
			return a, nil
		}
	}
	return a, deny(codeCertificate, messageCertificate, rule.Refusal{Rule: "DPS-15/certificate",
		Seen:     describe(leaf),
		Expected: s.describeEnrolled(e.Attestation.X509)})
}

func (s *Service) describeEnrolled(x *X509) string {
	text := "the enrolled certificate"
	if primary := s.certs.Certificate(x.Primary); primary != nil {
		text += ": " + describe(primary)
	}
	if secondary := s.certs.Certificate(x.Secondary); secondary != nil {
		text += ", or " + describe(secondary)
	}
	return text
}

// credential says what the caller presented, without its secrets.
func (c Caller) credential() string {
	switch {
	case azure.IsSAS(c.Token):
		return clip(azure.MaskSAS(c.Token))
	case len(c.Certificates) > 0:
		return describe(c.Certificates[0])
	case c.Token != "":
		return fmt.Sprintf("a password of %d bytes that is no SAS token, and no client certificate", len(c.Token))
	}
	return "no SAS token and no client certificate"
}

// describe names a certificate for a message.
func describe(cert *x509.Certificate) string {
	return fmt.Sprintf("certificate of %q, issued by %q, SHA-256 %s", clip(cert.Subject.String()), clip(cert.Issuer.String()), thumbprints(cert).SHA256)
}
