package dps

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// AllocationPolicy chooses the hub of a device.
type AllocationPolicy string

// The policies.
const (
	Hashed     AllocationPolicy = "hashed"     // evenly over the hubs, stable for a registration id
	GeoLatency AllocationPolicy = "geoLatency" // as Hashed: every emulated hub is equally near
	Static     AllocationPolicy = "static"     // the first hub named
	Custom     AllocationPolicy = "custom"     // a webhook says; of enrollments and groups only
)

// Defaults of an instance: the timing measured on the real service (register 202, first poll 202,
// second poll 200, retry-after 3).
const (
	DefaultRetryAfter = 3 // seconds
	DefaultRounds     = 1 // polls answered with status assigning
)

// Instance is one DPS instance. Only Name and IDScope are required.
type Instance struct {
	Name    string `json:"name"`    // 1 to 64 letters, digits and -; the first label of its service host name
	IDScope string `json:"idScope"` // unique among instances; it cannot change
	// LinkedHubs are the host names of the hubs that devices may be assigned to, at most 50.
	LinkedHubs       []string         `json:"linkedHubs,omitempty"`
	AllocationPolicy AllocationPolicy `json:"allocationPolicy,omitempty"` // default hashed
	// RetryAfter is the retry-after of 202 answers in seconds, 1 to 300; 0 takes DefaultRetryAfter.
	RetryAfter int `json:"retryAfter,omitempty"`
	// Rounds is how many polls of an operation are answered with status assigning, 0 to 100; nil takes
	// DefaultRounds.
	Rounds *int `json:"rounds,omitempty"`
	// PollLimit refuses more than 5 polls of a device within 10 s, as the real service does.
	PollLimit bool `json:"pollLimit,omitempty"`
	// Policies are what back ends sign with. OwnerPolicy is added where it is missing.
	Policies []Policy `json:"policies,omitempty"`
}

// CA is a CA certificate uploaded to an instance.
type CA struct {
	Name        string `json:"name"`        // 1 to 64 letters, digits and - . _
	Certificate string `json:"certificate"` // PEM, or base64 of DER
	Verified    bool   `json:"verified"`    // possession of its key was proven, or the upload was flagged so
	// Code is the verification code that a proof of possession has as its common name; empty for none.
	Code string `json:"code,omitempty"`
	// ETag and times are set by the service.
	ETag    string    `json:"etag,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
}

// Attestation is how devices prove who they are: exactly one of its fields is set.
type Attestation struct {
	X509         *X509         `json:"x509,omitempty"`
	SymmetricKey *SymmetricKey `json:"symmetricKey,omitempty"`
	TPM          *TPM          `json:"tpm,omitempty"` // of individual enrollments, over HTTPS
}

// TPM holds a TPM's keys, TPM2B_PUBLIC of RSA keys in base64.
type TPM struct {
	EndorsementKey string `json:"endorsementKey"`
	// StorageRootKey is what the device must show; empty takes any.
	StorageRootKey string `json:"storageRootKey,omitempty"`
}

// X509 holds the certificates of an enrollment. An individual enrollment has the device's own
// certificates in Primary and Secondary, a group signing certificates there or CA names in
// PrimaryCA and SecondaryCA. A secondary needs a primary.
type X509 struct {
	Primary     string `json:"primary,omitempty"`   // PEM, or base64 of DER
	Secondary   string `json:"secondary,omitempty"` // PEM, or base64 of DER
	PrimaryCA   string `json:"primaryCA,omitempty"` // name of a CA of the instance
	SecondaryCA string `json:"secondaryCA,omitempty"`
}

// SymmetricKey holds the keys of an enrollment: base64 of 16 to 64 bytes. An empty key stays as it is in
// the record that is replaced, else it is generated with 64 bytes.
type SymmetricKey struct {
	Primary   string `json:"primaryKey"`
	Secondary string `json:"secondaryKey"`
}

// Terms are what an enrollment and a group say about the devices that they admit.
type Terms struct {
	Disabled         bool             `json:"disabled,omitempty"`
	AllocationPolicy AllocationPolicy `json:"allocationPolicy,omitempty"` // default: the instance's
	IoTHubs          []string         `json:"iotHubs,omitempty"`          // subset of the linked hubs; default all
	// CustomAllocation is the webhook of the policy Custom, nil with any other.
	CustomAllocation *CustomAllocation `json:"customAllocationDefinition,omitempty"`
	// InitialTwin is {"tags":{…},"properties":{"desired":{…}}}, given to the hub with a device's first
	// assignment and at a reset.
	InitialTwin  json.RawMessage `json:"initialTwin,omitempty"`
	Capabilities Capabilities    `json:"capabilities,omitzero"`
	// ReprovisionPolicy says what becomes of a device that registers again; nil chooses a hub again and
	// migrates, or keeps the hub for devices that speak an api-version up to 2018-04-01.
	ReprovisionPolicy *ReprovisionPolicy `json:"reprovisionPolicy,omitempty"`
	// ETag and times are set by the service.
	ETag        string    `json:"etag,omitempty"`
	Created     time.Time `json:"createdDateTimeUtc,omitzero"`
	LastUpdated time.Time `json:"lastUpdatedDateTimeUtc,omitzero"`
}

// Capabilities of the hub device.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge,omitempty"`
}

// Enrollment is an individual enrollment.
type Enrollment struct {
	RegistrationID string      `json:"registrationId"`
	DeviceID       string      `json:"deviceId,omitempty"` // default: the registration id
	Attestation    Attestation `json:"attestation"`
	// DeviceInformation is a JSON object that a back end keeps with the record, or nil.
	DeviceInformation json.RawMessage `json:"optionalDeviceInformation,omitempty"`
	Terms
}

// Group is an enrollment group.
type Group struct {
	ID          string      `json:"enrollmentGroupId"`
	Attestation Attestation `json:"attestation"`
	Terms
}

// Registration is the record of a device that registered.
type Registration struct {
	RegistrationID string   `json:"registrationId"`
	GroupID        string   `json:"enrollmentGroupId,omitempty"` // empty: an individual enrollment
	Attestation    string   `json:"attestation"`                 // x509 or symmetricKey
	DeviceID       string   `json:"deviceId,omitempty"`
	AssignedHub    string   `json:"assignedHub,omitempty"` // the hub's own host name, whatever the device was told
	Status         string   `json:"status"`                // assigned, failed or disabled
	Substatus      string   `json:"substatus,omitempty"`
	FormerHubs     []string `json:"formerHubs,omitempty"` // host names, oldest first; without AssignedHub's last stay
	ErrorCode      int      `json:"errorCode,omitempty"`
	ErrorMessage   string   `json:"errorMessage,omitempty"`
	// Payload is what the webhook of a custom allocation has for the device.
	Payload json.RawMessage `json:"payload,omitempty"`
	// Refusal is the rule by which the Allocator or a webhook failed the device; nil where it was not by a rule.
	Refusal     *rule.Refusal `json:"refusal,omitempty"`
	Created     time.Time     `json:"createdDateTimeUtc"`
	LastUpdated time.Time     `json:"lastUpdatedDateTimeUtc"`
	ETag        string        `json:"etag"`
	// AuthenticationKey brings the hub's key to a TPM, which alone can open it; base64.
	AuthenticationKey string `json:"authenticationKey,omitempty"`
}

// Host is the instance's name for back ends.
func (i Instance) Host() string { return strings.ToLower(i.Name) + ".azure-devices-provisioning.net" }

func (i Instance) clone() Instance {
	i.LinkedHubs, i.Policies = slices.Clone(i.LinkedHubs), slices.Clone(i.Policies)
	if i.Rounds != nil {
		rounds := *i.Rounds
		i.Rounds = &rounds
	}
	return i
}

func (i Instance) rounds() int {
	if i.Rounds == nil {
		return DefaultRounds
	}
	return *i.Rounds
}

func (i Instance) retryAfter() int {
	if i.RetryAfter == 0 {
		return DefaultRetryAfter
	}
	return i.RetryAfter
}

func (a Attestation) clone() Attestation {
	if a.X509 != nil {
		x := *a.X509
		a.X509 = &x
	}
	if a.SymmetricKey != nil {
		k := *a.SymmetricKey
		a.SymmetricKey = &k
	}
	if a.TPM != nil {
		t := *a.TPM
		a.TPM = &t
	}
	return a
}

func (t Terms) clone() Terms {
	t.IoTHubs = slices.Clone(t.IoTHubs)
	t.InitialTwin = slices.Clone(t.InitialTwin)
	if t.ReprovisionPolicy != nil {
		policy := *t.ReprovisionPolicy
		t.ReprovisionPolicy = &policy
	}
	if t.CustomAllocation != nil {
		custom := *t.CustomAllocation
		t.CustomAllocation = &custom
	}
	return t
}

func (r Registration) clone() Registration {
	r.FormerHubs = slices.Clone(r.FormerHubs)
	return r
}

func (e Enrollment) clone() Enrollment {
	e.Attestation, e.Terms = e.Attestation.clone(), e.Terms.clone()
	e.DeviceInformation = slices.Clone(e.DeviceInformation)
	return e
}

func (g Group) clone() Group {
	g.Attestation, g.Terms = g.Attestation.clone(), g.Terms.clone()
	return g
}
