package world

import "time"

// World is one world file, or several merged. The zero value is an empty world.
//
// The tags drive reading, writing and the schema alike: yaml names the key, doc describes it, enum lists
// the legal values, and world says more: id (the key that identifies an element of a list, compared
// without case when fold is given, left out at will with optional), check=NAME (see checks.go), whole (replaced as one when merged), alt
// (one of several alternatives), judged (enum is
// for the schema, finish.go judges), secret (never shown in a message), min and max.
type World struct {
	Base       string     `yaml:"base" enum:"default none" doc:"what this file is laid over: the default world, or nothing; default is default"`
	Azure      Azure      `yaml:"azure" doc:"Azure Device Provisioning Service and IoT Hub"`
	MindSphere MindSphere `yaml:"mindsphere" doc:"Siemens MindSphere MindConnect MQTT"`
	IoTDA      IoTDA      `yaml:"iotda" doc:"Huawei Cloud IoTDA"`
	Edge       Edge       `yaml:"edge" doc:"Azure IoT Edge transparent gateways"`
	PKI        PKI        `yaml:"pki" doc:"certificate authorities that device certificates are issued from"`
	Faults     []Fault    `yaml:"faults" world:"whole" doc:"faults that are set from the start on"`
	Serve      Serve      `yaml:"serve" doc:"the flags of fakecloud serve by their names; a flag or FAKECLOUD_… variable wins"`

	origins map[string]Position // where elements and references were read, by path of ids
}

// Azure lists the emulated Azure instances.
type Azure struct {
	DPS  []DPS `yaml:"dps" doc:"Device Provisioning Service instances"`
	Hubs []Hub `yaml:"hubs" doc:"IoT Hubs"`
}

// DPS is one Device Provisioning Service instance.
type DPS struct {
	Name             string          `yaml:"name" world:"id fold check=dpsName" doc:"host name is NAME.azure-devices-provisioning.net"`
	IDScope          string          `yaml:"idScope" world:"fold check=idScope" doc:"ID scope that devices name in their username, such as 0ne00FAKE01"`
	AllocationPolicy string          `yaml:"allocationPolicy" enum:"hashed geoLatency static" doc:"how a hub is chosen where the enrollment does not say; default hashed"`
	LinkedHubs       []string        `yaml:"linkedHubs" world:"ref=hub" doc:"names or host names of hubs that devices may be assigned to"`
	RetryAfter       *Duration       `yaml:"retryAfter" world:"check=wholeSeconds" doc:"retry-after of answers while assigning, in whole seconds; default 3s"`
	Rounds           *int            `yaml:"rounds" world:"min=0 max=100" doc:"how many polls answer assigning before the result; default 1"`
	PollLimit        *bool           `yaml:"pollLimit" doc:"refuse more than 5 polls of a device within 10 s, as the real service does; default false"`
	Policies         []DPSPolicy     `yaml:"policies" doc:"shared access policies of back ends; provisioningserviceowner is made with generated keys where it is missing"`
	Certificates     []CACertificate `yaml:"certificates" doc:"CA certificates uploaded to this instance"`
	Enrollments      []Enrollment    `yaml:"enrollments" doc:"individual enrollments"`
	Groups           []Group         `yaml:"groups" doc:"enrollment groups"`
}

// Certificate is one certificate, PEM text in the file or beside it. After Load only PEM is set.
type Certificate struct {
	PEM  string `yaml:"pem" world:"check=certificates" doc:"certificate as PEM text"`
	File string `yaml:"file" doc:"PEM or DER file, relative to the world file"`
}

// CACertificate is a CA that was uploaded to a DPS instance or a hub under a name.
type CACertificate struct {
	Name     string `yaml:"name" world:"id fold check=certificateName" doc:"name of the upload; groups refer to it"`
	CA       string `yaml:"ca" world:"ref=ca fold alt" doc:"name of a CA of pki.cas, instead of pem or file"`
	PEM      string `yaml:"pem" world:"check=certificates alt" doc:"certificate as PEM text"`
	File     string `yaml:"file" doc:"PEM or DER file, relative to the world file"`
	Verified *bool  `yaml:"verified" doc:"possession of the CA's key has been proven; default true"`
}

// IsVerified reports whether possession has been proven; unset means yes.
func (c CACertificate) IsVerified() bool { return c.Verified == nil || *c.Verified }

// Provisioning is what individual enrollments and groups have in common.
type Provisioning struct {
	ProvisioningStatus string             `yaml:"provisioningStatus" enum:"enabled disabled" doc:"default enabled"`
	AllocationPolicy   string             `yaml:"allocationPolicy" enum:"hashed geoLatency static custom" doc:"overrides the instance's policy; custom asks a webhook"`
	CustomAllocation   *CustomAllocation  `yaml:"customAllocationDefinition" world:"whole" doc:"webhook of the policy custom"`
	IoTHubs            []string           `yaml:"iotHubs" world:"ref=linkedHub" doc:"subset of the linked hubs to choose from"`
	IoTHubHostName     string             `yaml:"iotHubHostName" world:"ref=linkedHub" doc:"older form for a single hub"`
	InitialTwin        *Twin              `yaml:"initialTwin" world:"whole" doc:"twin that the device starts with, and gets again at a reset"`
	ReprovisionPolicy  *ReprovisionPolicy `yaml:"reprovisionPolicy" doc:"what happens when a device registers again"`
	Capabilities       *Capabilities      `yaml:"capabilities" doc:"capabilities of the device made in the hub"`
}

// CustomAllocation names the webhook that allocates devices.
type CustomAllocation struct {
	WebhookURL string `yaml:"webhookUrl" world:"max=2048" doc:"http or https address; its host may be called then"`
	APIVersion string `yaml:"apiVersion" world:"max=64" doc:"api-version of the webhook's requests, such as 2021-10-01"`
}

// Enrollment is an individual enrollment.
type Enrollment struct {
	RegistrationID string      `yaml:"registrationId" world:"id fold check=registrationId" doc:"registration id; with X.509 the certificate's common name must equal it"`
	DeviceID       string      `yaml:"deviceId" world:"check=deviceId" doc:"device id in the hub; default is the registration id"`
	Attestation    Attestation `yaml:"attestation" world:"whole" doc:"how the device proves who it is: exactly one of x509, symmetricKey and tpm"`
	// DeviceInformation has values as a Twin.
	DeviceInformation map[string]any `yaml:"optionalDeviceInformation" world:"whole" doc:"what a back end keeps with the enrollment, a JSON object"`
	Provisioning
}

// Group is an enrollment group.
type Group struct {
	Name        string           `yaml:"name" world:"id fold check=registrationId" doc:"name of the group (enrollmentGroupId)"`
	Attestation GroupAttestation `yaml:"attestation" world:"whole" doc:"how members prove who they are: exactly one of x509 and symmetricKey"`
	Provisioning
}

// Attestation of an individual enrollment: the client's certificates, or keys.
type Attestation struct {
	X509         *X509Attestation `yaml:"x509" doc:"client certificates, self-signed or not; either is accepted"`
	SymmetricKey *SymmetricKey    `yaml:"symmetricKey" doc:"keys; what is left out is generated"`
	TPM          *TPM             `yaml:"tpm" doc:"a TPM's keys, for registration over HTTPS"`
}

// TPM holds a TPM's public areas (TPM2B_PUBLIC of RSA keys) in base64.
type TPM struct {
	EndorsementKey string `yaml:"endorsementKey" doc:"base64, as the device's tool prints it"`
	StorageRootKey string `yaml:"storageRootKey" doc:"base64; left out, any is taken"`
}

// X509Attestation holds the enrolled client certificates.
type X509Attestation struct {
	Primary   *Certificate `yaml:"primary" doc:"primary certificate"`
	Secondary *Certificate `yaml:"secondary" doc:"secondary certificate"`
}

// GroupAttestation of a group: a CA that signs its members, or the group's master keys.
type GroupAttestation struct {
	X509         *X509GroupAttestation `yaml:"x509" doc:"CA or intermediate that the members' certificates lead to"`
	SymmetricKey *SymmetricKey         `yaml:"symmetricKey" doc:"group keys, from which each member's key is derived; what is left out is generated"`
}

// X509GroupAttestation names uploaded CAs, or holds signing certificates itself.
type X509GroupAttestation struct {
	CA          string       `yaml:"ca" world:"ref=certificate fold" doc:"name of one of this instance's certificates"`
	SecondaryCA string       `yaml:"secondaryCa" world:"ref=certificate fold" doc:"name of another of this instance's certificates"`
	Primary     *Certificate `yaml:"primary" doc:"signing certificate, usually an intermediate, instead of ca"`
	Secondary   *Certificate `yaml:"secondary" doc:"secondary signing certificate"`
}

// SymmetricKey is a pair of keys, base64 of 16 to 64 bytes each. Empty ones are generated.
type SymmetricKey struct {
	PrimaryKey   string `yaml:"primaryKey" world:"secret check=key" doc:"base64 of 16 to 64 bytes"`
	SecondaryKey string `yaml:"secondaryKey" world:"secret check=key" doc:"base64 of 16 to 64 bytes"`
}

// Twin is an initial twin. Values are nil, bool, int64, uint64, float64, string, []any and map[string]any.
type Twin struct {
	Tags       map[string]any `yaml:"tags" doc:"tags, a JSON object"`
	Properties TwinProperties `yaml:"properties" doc:"properties of the twin"`
}

// TwinProperties are the properties of an initial twin.
type TwinProperties struct {
	Desired map[string]any `yaml:"desired" doc:"desired properties, a JSON object"`
}

// ReprovisionPolicy says what happens when a device registers again; both are true by default.
type ReprovisionPolicy struct {
	UpdateHubAssignment *bool `yaml:"updateHubAssignment" doc:"choose a hub again; default true"`
	MigrateDeviceData   *bool `yaml:"migrateDeviceData" doc:"take the twin along to the new hub; default true"`
}

// Capabilities of a device.
type Capabilities struct {
	IoTEdge *bool `yaml:"iotEdge" doc:"the device is an IoT Edge gateway; default false"`
}

// Hub is one IoT Hub.
type Hub struct {
	Name             string          `yaml:"name" world:"id fold check=hubName" doc:"host name is NAME.azure-devices.net unless host is given"`
	Host             string          `yaml:"host" world:"fold check=host" doc:"full host name, when it is not NAME.azure-devices.net"`
	DisableDeviceSAS *bool           `yaml:"disableDeviceSAS" doc:"refuse SAS tokens of devices; default false"`
	DisableModuleSAS *bool           `yaml:"disableModuleSAS" doc:"refuse SAS tokens of modules; default false"`
	Throttle         string          `yaml:"throttle" enum:"S1 S2 S3" doc:"tier whose limits a second hold at once, for one unit; default none"`
	FaultProperties  *bool           `yaml:"faultProperties" doc:"carry out the faults that telemetry asks for by AzIoTHub_FaultOperationType; default true"`
	Scenarios        *bool           `yaml:"scenarios" doc:"make the identities of scenario devices (docs/scenarios.md) when they first come; default false, true in the default world"`
	Policies         []Policy        `yaml:"policies" doc:"shared access policies; without any the usual five are made with generated keys"`
	Certificates     []CACertificate `yaml:"certificates" doc:"CA certificates uploaded to this hub"`
	Devices          []Device        `yaml:"devices" doc:"device identities"`
}

// HostName returns the hub's host name in lower case.
func (h Hub) HostName() string {
	if h.Host != "" {
		return lower(h.Host)
	}
	return lower(h.Name) + ".azure-devices.net"
}

// Policy is a shared access policy of a hub.
type Policy struct {
	Name         string   `yaml:"name" world:"id check=policyName" doc:"name, the skn of its tokens"`
	Rights       []string `yaml:"rights" enum:"RegistryRead RegistryWrite ServiceConnect DeviceConnect" doc:"what its tokens may do"`
	PrimaryKey   string   `yaml:"primaryKey" world:"secret check=key" doc:"base64 of 16 to 64 bytes; generated when left out"`
	SecondaryKey string   `yaml:"secondaryKey" world:"secret check=key" doc:"base64 of 16 to 64 bytes; generated when left out"`
}

// DPSPolicy is a shared access policy of a DPS instance.
type DPSPolicy struct {
	Name         string   `yaml:"name" world:"id fold check=policyName" doc:"name, the skn of its tokens"`
	Rights       []string `yaml:"rights" enum:"ServiceConfig EnrollmentRead EnrollmentWrite RegistrationStatusRead RegistrationStatusWrite" doc:"what its tokens may do; for provisioningserviceowner all is the default"`
	PrimaryKey   string   `yaml:"primaryKey" world:"secret check=key" doc:"base64 of 16 to 64 bytes; generated when left out"`
	SecondaryKey string   `yaml:"secondaryKey" world:"secret check=key" doc:"base64 of 16 to 64 bytes; generated when left out"`
}

// Device is a device identity of a hub.
type Device struct {
	DeviceID       string          `yaml:"deviceId" world:"id check=deviceId" doc:"device id, case-sensitive"`
	Status         string          `yaml:"status" enum:"enabled disabled" doc:"default enabled"`
	StatusReason   string          `yaml:"statusReason" world:"max=128" doc:"free text of up to 128 characters"`
	Authentication *Authentication `yaml:"authentication" world:"whole" doc:"how the device proves who it is; default is SAS with generated keys"`
	InitialTwin    *Twin           `yaml:"initialTwin" world:"whole" doc:"twin that the device starts with"`
	Capabilities   *Capabilities   `yaml:"capabilities" doc:"capabilities"`
	Parent         string          `yaml:"parent" world:"check=deviceId" doc:"edge device that is its gateway"`
	Modules        []Module        `yaml:"modules" doc:"module identities of the device"`
}

// Module is a module identity of a device.
type Module struct {
	ModuleID       string          `yaml:"moduleId" world:"id check=deviceId" doc:"module id, case-sensitive"`
	Authentication *Authentication `yaml:"authentication" world:"whole" doc:"how the module proves who it is; default is SAS with generated keys"`
}

// Authentication types of the hub's registry.
const (
	TypeSAS        = "sas"
	TypeSelfSigned = "selfSigned"
	TypeCA         = "certificateAuthority"
	TypeNone       = "none"
)

// Authentication of a device or module. Type is always set after Parse; Certificate never is: its
// SHA-256 has become the primary thumbprint.
type Authentication struct {
	Type           string        `yaml:"type" enum:"sas selfSigned certificateAuthority none" doc:"default follows from what else is given, else sas"`
	SymmetricKey   *SymmetricKey `yaml:"symmetricKey" doc:"keys of type sas; what is left out is generated"`
	X509Thumbprint *Thumbprint   `yaml:"x509Thumbprint" doc:"thumbprints of type selfSigned"`
	Certificate    *Certificate  `yaml:"certificate" doc:"a certificate to compute the primary thumbprint from"`
}

// Thumbprint holds SHA-1 (40) or SHA-256 (64) hexadecimal digits of certificates; upper case after Parse.
type Thumbprint struct {
	PrimaryThumbprint   string `yaml:"primaryThumbprint" world:"check=thumbprint" doc:"SHA-1 or SHA-256 of the certificate in hexadecimal"`
	SecondaryThumbprint string `yaml:"secondaryThumbprint" world:"check=thumbprint" doc:"SHA-1 or SHA-256 of the certificate in hexadecimal"`
}

// PKI lists named device CAs. The CA demo-ca is always there and need not be listed.
type PKI struct {
	CAs []CA `yaml:"cas" doc:"device CAs by name; demo-ca is built in"`
}

// CA is a device CA that fakecloud can issue from. Without certificate and key it is made at start.
type CA struct {
	Name       string       `yaml:"name" world:"id fold check=certificateName" doc:"name that certificates[].ca refers to"`
	CommonName string       `yaml:"commonName" world:"max=64" doc:"common name of a CA that is made at start; default is the name"`
	PEM        string       `yaml:"pem" world:"check=certificates" doc:"certificate as PEM text; without it a CA is made at start"`
	File       string       `yaml:"file" doc:"certificate file, relative to the world file"`
	Key        *KeyMaterial `yaml:"key" world:"whole" doc:"private key, when certificates shall be issued from this CA"`
}

// KeyMaterial is a private key, PEM text in the file or beside it. After Load only PEM is set.
type KeyMaterial struct {
	PEM  string `yaml:"pem" world:"secret check=privateKey" doc:"private key as PEM text"`
	File string `yaml:"file" doc:"PEM file, relative to the world file"`
}

// Duration is a time span, in YAML "3s", "1m30s" or a number of seconds.
type Duration time.Duration

// D returns d as time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }
