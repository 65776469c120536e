package service

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// record is an IndividualEnrollment or an EnrollmentGroup in JSON; one of its ids is set.
type record struct {
	RegistrationID string          `json:"registrationId,omitempty"`
	GroupID        string          `json:"enrollmentGroupId,omitempty"`
	DeviceID       string          `json:"deviceId,omitempty"`
	State          *azure.DPSState `json:"registrationState,omitempty"`
	Attestation    attestation     `json:"attestation"`
	Capabilities   *struct {
		IoTEdge bool `json:"iotEdge"`
	} `json:"capabilities,omitempty"`
	DeviceInformation json.RawMessage `json:"optionalDeviceInformation,omitempty"` // of individual enrollments
	IoTHubHostName    string          `json:"iotHubHostName,omitempty"`
	InitialTwin       json.RawMessage `json:"initialTwin,omitempty"`
	ETag              string          `json:"etag,omitempty"`
	Status            string          `json:"provisioningStatus,omitempty"`
	ReprovisionPolicy *struct {
		Update  *bool `json:"updateHubAssignment"`
		Migrate *bool `json:"migrateDeviceData"`
	} `json:"reprovisionPolicy,omitempty"`
	Created          string                `json:"createdDateTimeUtc,omitempty"`
	LastUpdated      string                `json:"lastUpdatedDateTimeUtc,omitempty"`
	AllocationPolicy string                `json:"allocationPolicy,omitempty"`
	IoTHubs          []string              `json:"iotHubs,omitempty"`
	CustomAllocation *dps.CustomAllocation `json:"customAllocationDefinition,omitempty"`
}

type attestation struct {
	Type         string            `json:"type"`
	X509         *x509Attestation  `json:"x509,omitempty"`
	SymmetricKey *dps.SymmetricKey `json:"symmetricKey,omitempty"`
	TPM          *dps.TPM          `json:"tpm,omitempty"`
}

type x509Attestation struct {
	Client  *certificates `json:"clientCertificates,omitempty"`
	Signing *certificates `json:"signingCertificates,omitempty"`
	CA      *struct {
		Primary   string `json:"primary,omitempty"`
		Secondary string `json:"secondary,omitempty"`
	} `json:"caReferences,omitempty"`
}

type certificates struct {
	Primary   *certificate `json:"primary,omitempty"`
	Secondary *certificate `json:"secondary,omitempty"`
}

// certificate comes with its text and is shown with what it says.
type certificate struct {
	Text string           `json:"certificate,omitempty"`
	Info *certificateInfo `json:"info,omitempty"`
}

type certificateInfo struct {
	SubjectName      string `json:"subjectName"`
	SHA1Thumbprint   string `json:"sha1Thumbprint"`
	SHA256Thumbprint string `json:"sha256Thumbprint"`
	IssuerName       string `json:"issuerName"`
	NotBefore        string `json:"notBeforeUtc"`
	NotAfter         string `json:"notAfterUtc"`
	SerialNumber     string `json:"serialNumber"`
	Version          int    `json:"version"`
}

// terms reads what a record says about the devices that it admits.
func (r record) terms() (dps.Terms, error) {
	t := dps.Terms{AllocationPolicy: dps.AllocationPolicy(r.AllocationPolicy), IoTHubs: r.IoTHubs, InitialTwin: given(r.InitialTwin), CustomAllocation: r.CustomAllocation}
	switch r.Status {
	case "", "enabled":
	case "disabled":
		t.Disabled = true
	default:
		return t, fmt.Errorf("provisioningStatus: %q is not enabled or disabled", show(r.Status))
	}
	if len(t.IoTHubs) == 0 && r.IoTHubHostName != "" {
		t.IoTHubs = []string{r.IoTHubHostName}
	}
	if r.Capabilities != nil {
		t.Capabilities.IoTEdge = r.Capabilities.IoTEdge
	}
	if p := r.ReprovisionPolicy; p != nil {
		t.ReprovisionPolicy = &dps.ReprovisionPolicy{UpdateHubAssignment: p.Update == nil || *p.Update, MigrateDeviceData: p.Migrate == nil || *p.Migrate}
	}
	return t, nil
}

// given is nil for a null.
func given(value json.RawMessage) json.RawMessage {
	if string(value) == "null" {
		return nil
	}
	return value
}

// attested reads an attestation. A certificate that comes with its info only, as GET shows it, is the one
// that old has.
func (a attestation) attested(old dps.Attestation) (dps.Attestation, error) {
	switch a.Type {
	case "symmetricKey":
		if a.SymmetricKey == nil {
			a.SymmetricKey = &dps.SymmetricKey{}
		}
		return dps.Attestation{SymmetricKey: a.SymmetricKey}, nil
	case "tpm":
		if a.TPM == nil {
			a.TPM = &dps.TPM{}
		}
		return dps.Attestation{TPM: a.TPM}, nil
	case "x509":
	default: // "none" is in the API's list, but of no valid use (azure-iot-sdk-java, AttestationMechanismType.java)
		return dps.Attestation{}, fmt.Errorf("attestation.type: %q is not x509, symmetricKey or tpm", show(a.Type))
	}
	out := &dps.X509{}
	had := old.X509
	if had == nil {
		had = &dps.X509{}
	}
	if a.X509 == nil {
		return dps.Attestation{X509: out}, nil
	}
	if c := a.X509.CA; c != nil {
		out.PrimaryCA, out.SecondaryCA = c.Primary, c.Secondary
	}
	for _, c := range []*certificates{a.X509.Client, a.X509.Signing} {
		if c != nil {
			out.Primary, out.Secondary = c.Primary.text(had.Primary), c.Secondary.text(had.Secondary)
		}
	}
	return dps.Attestation{X509: out}, nil
}

func (c *certificate) text(old string) string {
	switch {
	case c == nil:
		return ""
	case c.Text == "":
		return old
	}
	return c.Text
}

// shown writes a record's terms.
func shown(t dps.Terms, a dps.Attestation, group bool) record {
	r := record{Attestation: shownAttestation(a, group), InitialTwin: t.InitialTwin, ETag: `"` + t.ETag + `"`, Status: "enabled",
		Created: azure.FormatDPSTime(t.Created), LastUpdated: azure.FormatDPSTime(t.LastUpdated),
		AllocationPolicy: string(t.AllocationPolicy), IoTHubs: t.IoTHubs, CustomAllocation: t.CustomAllocation}
	if t.Disabled {
		r.Status = "disabled"
	}
	r.Capabilities = &struct {
		IoTEdge bool `json:"iotEdge"`
	}{t.Capabilities.IoTEdge}
	if p := t.ReprovisionPolicy; p != nil {
		r.ReprovisionPolicy = &struct {
			Update  *bool `json:"updateHubAssignment"`
			Migrate *bool `json:"migrateDeviceData"`
		}{&p.UpdateHubAssignment, &p.MigrateDeviceData}
	}
	return r
}

// shownAttestation hides keys, and shows of certificates what they say.
func shownAttestation(a dps.Attestation, group bool) attestation {
	if a.TPM != nil {
		return attestation{Type: "tpm", TPM: a.TPM}
	}
	if a.X509 == nil {
		return attestation{Type: "symmetricKey"}
	}
	x := &x509Attestation{}
	if a.X509.PrimaryCA != "" {
		x.CA = &struct {
			Primary   string `json:"primary,omitempty"`
			Secondary string `json:"secondary,omitempty"`
		}{a.X509.PrimaryCA, a.X509.SecondaryCA}
		return attestation{Type: "x509", X509: x}
	}
	both := &certificates{info(a.X509.Primary), info(a.X509.Secondary)}
	if group {
		x.Signing = both
	} else {
		x.Client = both
	}
	return attestation{Type: "x509", X509: x}
}

func info(text string) *certificate {
	certs, err := pki.ParseCertificates([]byte(text))
	if err != nil { // an empty one: the core takes no other
		return nil
	}
	return &certificate{Info: infoOf(certs[0])}
}

func infoOf(c *x509.Certificate) *certificateInfo {
	return &certificateInfo{SubjectName: pki.Name(c.Subject), IssuerName: pki.Name(c.Issuer),
		SHA1Thumbprint: fmt.Sprintf("%X", sha1.Sum(c.Raw)), SHA256Thumbprint: fmt.Sprintf("%X", sha256.Sum256(c.Raw)),
		NotBefore: azure.FormatDPSTime(c.NotBefore), NotAfter: azure.FormatDPSTime(c.NotAfter),
		SerialNumber: fmt.Sprintf("%X", c.SerialNumber), Version: c.Version}
}
