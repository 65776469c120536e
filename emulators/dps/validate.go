package dps

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Limits of an instance (azure-docs includes/iot-dps-limits.md).
const (
	maxHubs        = 50
	maxCAs         = 25
	maxGroups      = 100 // of X.509 groups, and again of symmetric key groups
	maxEnrollments = 1_000_000
	maxCertificate = 64 << 10 // bytes of PEM text
	maxTwin        = 64 << 10 // bytes of an initial twin
	maxInformation = 64 << 10 // bytes of what a back end keeps with an enrollment
)

// FieldError says which field of a record is wrong and what would be right. Field is a path in the
// service's JSON names, e.g. attestation.symmetricKey.primaryKey.
type FieldError struct {
	Field   string
	Problem string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

func wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

var (
	instanceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)
	idScope      = regexp.MustCompile(`^[A-Za-z0-9]{3,32}$`)
	caName       = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	hostName     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	hubDeviceID  = regexp.MustCompile(`^[A-Za-z0-9\-:.+%_#*?!(),=@$']{1,128}$`)
)

func (i Instance) validate() error {
	switch {
	case !instanceName.MatchString(i.Name):
		return wrong("name", "%q is no instance name: 1 to 64 letters, digits and -, such as my-dps", clip(i.Name))
	case !idScope.MatchString(i.IDScope):
		return wrong("idScope", "%q is no ID scope: letters and digits, such as 0ne00FAKE01", clip(i.IDScope))
	case i.RetryAfter < 0 || i.RetryAfter > 300:
		return wrong("retryAfter", "%d is not between 1 and 300 seconds (0 takes the default)", i.RetryAfter)
	case i.Rounds != nil && (*i.Rounds < 0 || *i.Rounds > 100):
		return wrong("rounds", "%d is not between 0 and 100", *i.Rounds)
	case len(i.LinkedHubs) > maxHubs:
		return wrong("linkedHubs", "%d hubs; the limit is %d", len(i.LinkedHubs), maxHubs)
	}
	if err := validHubs("linkedHubs", i.LinkedHubs); err != nil {
		return err
	}
	if i.AllocationPolicy == Custom {
		return wrong("allocationPolicy", "custom allocation belongs to an enrollment or a group, which names the webhook; use hashed, static or geoLatency here")
	}
	return i.AllocationPolicy.validate()
}

func validHubs(field string, hubs []string) error {
	for n, hub := range hubs {
		if !hostName.MatchString(hub) {
			return wrong(fmt.Sprintf("%s[%d]", field, n), "%q is no host name, such as my-hub.azure-devices.net", clip(hub))
		}
	}
	return nil
}

func (p AllocationPolicy) validate() error {
	switch p {
	case "", Hashed, GeoLatency, Static, Custom:
		return nil
	}
	return wrong("allocationPolicy", "%q is not hashed, static, geoLatency or custom", clip(string(p)))
}

func (t Terms) validate() error {
	if err := t.AllocationPolicy.validate(); err != nil {
		return err
	}
	switch {
	case t.AllocationPolicy == Custom && t.CustomAllocation == nil:
		return wrong("customAllocationDefinition", "is missing: the policy custom needs a webhookUrl")
	case t.CustomAllocation != nil:
		if err := t.CustomAllocation.validate(); err != nil {
			return err
		}
	}
	if len(t.IoTHubs) > maxHubs {
		return wrong("iotHubs", "%d hubs; the limit is %d", len(t.IoTHubs), maxHubs)
	}
	if err := validHubs("iotHubs", t.IoTHubs); err != nil {
		return err
	}
	return validTwin(t.InitialTwin)
}

func validTwin(twin json.RawMessage) error {
	if len(twin) == 0 {
		return nil
	}
	if len(twin) > maxTwin {
		return wrong("initialTwin", "%d bytes; the limit is %d", len(twin), maxTwin)
	}
	var shape struct {
		Tags       map[string]any `json:"tags"`
		Properties struct {
			Desired map[string]any `json:"desired"`
		} `json:"properties"`
	}
	d := json.NewDecoder(bytes.NewReader(twin))
	d.DisallowUnknownFields()
	if err := d.Decode(&shape); err != nil {
		return wrong("initialTwin", `not of the form {"tags":{…},"properties":{"desired":{…}}}: %v`, err)
	}
	return nil
}

func validInformation(text json.RawMessage) error {
	const field = "optionalDeviceInformation"
	if len(text) == 0 {
		return nil
	}
	if len(text) > maxInformation {
		return wrong(field, "%d bytes; the limit is %d", len(text), maxInformation)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return wrong(field, "no JSON object")
	}
	return nil
}

func validRegistrationID(field, id string) error {
	if !azure.ValidDPSRegistrationID(id) {
		return wrong(field, "%q is %v", clip(id), azure.ErrDPSRegistrationID)
	}
	return nil
}

// keepKeys takes over the keys of the record that is replaced where the new one names none.
func (a *Attestation) keepKeys(old Attestation) {
	if a.SymmetricKey == nil || old.SymmetricKey == nil {
		return
	}
	if a.SymmetricKey.Primary == "" {
		a.SymmetricKey.Primary = old.SymmetricKey.Primary
	}
	if a.SymmetricKey.Secondary == "" {
		a.SymmetricKey.Secondary = old.SymmetricKey.Secondary
	}
}

// normalise checks the symmetric keys and makes the missing ones.
func (k *SymmetricKey) normalise(where string) error {
	for _, f := range []struct {
		name string
		key  *string
	}{{"primaryKey", &k.Primary}, {"secondaryKey", &k.Secondary}} {
		field := where + "." + f.name
		if *f.key == "" {
			fresh := make([]byte, 64)
			rand.Read(fresh)
			*f.key = base64.StdEncoding.EncodeToString(fresh)
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(*f.key)
		if err != nil {
			return wrong(field, "not base64 (standard alphabet, with padding)")
		}
		if len(raw) < 16 || len(raw) > 64 {
			return wrong(field, "decodes to %d bytes; a key has 16 to 64", len(raw))
		}
	}
	return nil
}

// normalise checks the attestation of an individual enrollment (a device's own certificates) or of a
// group (signing certificates or CA names), rewrites certificates as PEM and makes missing keys.
func (a *Attestation) normalise(group bool) error {
	if a.TPM != nil {
		return a.normaliseTPM(group)
	}
	switch {
	case a.X509 != nil && a.SymmetricKey != nil:
		return wrong("attestation", "has both x509 and symmetricKey; give one")
	case a.SymmetricKey != nil:
		return a.SymmetricKey.normalise("attestation.symmetricKey")
	case a.X509 == nil:
		return wrong("attestation", "neither x509 nor symmetricKey given")
	}
	x, where := a.X509, "attestation.x509.clientCertificates"
	if group {
		where = "attestation.x509.signingCertificates"
	} else if x.PrimaryCA != "" || x.SecondaryCA != "" {
		return wrong("attestation.x509.caReferences", "only groups refer to CA certificates; an individual enrollment names the device's own certificate")
	}
	switch {
	case x.Primary == "" && x.PrimaryCA == "":
		return wrong(where+".primary", "a certificate is missing")
	case (x.Primary != "" || x.Secondary != "") && (x.PrimaryCA != "" || x.SecondaryCA != ""):
		return wrong("attestation.x509", "has both signingCertificates and caReferences; give one")
	}
	for _, f := range []struct {
		name string
		text *string
	}{{".primary", &x.Primary}, {".secondary", &x.Secondary}} {
		if *f.text == "" {
			continue
		}
		cert, text, err := readCertificate(*f.text)
		if err != nil {
			return wrong(where+f.name, "%v", err)
		}
		if err := usableAsCA(cert); group && err != nil {
			return wrong(where+f.name, "%v", err)
		}
		*f.text = text
	}
	return nil
}

// readCertificate reads the first certificate of PEM text, or base64 of DER, and returns it as PEM too.
func readCertificate(text string) (*x509.Certificate, string, error) {
	if len(text) > maxCertificate {
		return nil, "", fmt.Errorf("longer than %d bytes", maxCertificate)
	}
	certs, err := pki.ParseCertificates([]byte(text))
	if err != nil {
		return nil, "", err
	}
	return certs[0], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[0].Raw})), nil
}

// usableAsCA refuses what says of itself that it signs no certificates. Version 1 certificates say
// nothing; openssl's plain x509 commands make such roots, and they sign.
func usableAsCA(cert *x509.Certificate) error {
	if cert.BasicConstraintsValid && !cert.IsCA {
		return fmt.Errorf("%s is no CA certificate: its basicConstraints say CA:FALSE", pki.Name(cert.Subject))
	}
	return nil
}

// clip shortens what a client or user sent, for messages.
func clip(text string) string {
	const most = 160
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
