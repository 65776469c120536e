package iotda

import (
	"encoding/json"
	"time"
)

// Instance is one IoTDA instance. Only Name is required.
type Instance struct {
	Name       string // 1 to 64 letters, digits and -; the first label of its host names
	Region     string // default cn-north-4
	ProjectID  string // 32 hexadecimal digits, generated when empty
	DefaultApp string // id of the resource space that a new instance starts with, generated when empty
	// StampTolerance is how many hours a judged time stamp may lie beside the current one, 0 to 24; nil
	// takes 1.
	StampTolerance *int
	// CommandTimeout is how long a command, a property set and a property get wait; zero takes 20 s.
	CommandTimeout time.Duration
	// BootstrapAddress is what the provisioning service answers, host:port; empty takes the MQTT host and
	// port 8883.
	BootstrapAddress string
	// Strategies are the keywords that select a provisioning strategy, beside none at all.
	Strategies []string
	// Scopes are the enrollment groups of the provisioning service.
	Scopes []Scope
	// AccessKeys sign calls of the application API. Without any, every signature and token is accepted.
	AccessKeys []AccessKey
	// Scenarios registers scenario devices (fault.Scenario) when they first come.
	Scenarios bool
}

// Scope is an enrollment group of the provisioning service: devices name it in their client id.
type Scope struct {
	ID     string
	Secret string // base64; empty for a group that attests by certificate
}

// AccessKey is a pair of AK and SK.
type AccessKey struct {
	Access string
	Secret string
}

// DefaultRegion is the region of an instance that names none.
const DefaultRegion = "cn-north-4"

// Hosts returns the instance's host names: the devices' MQTT one first, then those of the application API
// and of HTTPS devices. Provisioning and IAM are served under names that all instances of a region share.
func (i Instance) Hosts() []string {
	suffix := "." + i.Region + ".myhuaweicloud.com"
	return []string{
		i.Name + ".iot-mqtts" + suffix, i.Name + ".iotda" + suffix, i.Name + ".iotda-device" + suffix, i.Name + ".iotda-app" + suffix,
		"iotda" + suffix, "iot-mqtts" + suffix, "iot-bs" + suffix, "iam" + suffix,
	}
}

func (i Instance) tolerance() time.Duration {
	if i.StampTolerance == nil {
		return time.Hour
	}
	return time.Duration(*i.StampTolerance) * time.Hour
}

func (i Instance) commandTimeout() time.Duration {
	if i.CommandTimeout == 0 {
		return 20 * time.Second
	}
	return i.CommandTimeout
}

// App is a resource space.
type App struct {
	AppID   string    `json:"app_id"`
	Name    string    `json:"app_name"`
	Default bool      `json:"default_app"`
	Created time.Time `json:"-"`
}

// Product is a product with its model.
type Product struct {
	ProductID        string       `json:"product_id"`
	AppID            string       `json:"app_id,omitempty"`
	Name             string       `json:"name"`
	DeviceType       string       `json:"device_type"`
	ProtocolType     string       `json:"protocol_type"`
	DataFormat       string       `json:"data_format"`
	ManufacturerName string       `json:"manufacturer_name,omitempty"`
	Industry         string       `json:"industry,omitempty"`
	Description      string       `json:"description,omitempty"`
	Services         []Capability `json:"service_capabilities"`
	// Topics are the suffixes of the product's custom topics under user/. A suffix that is not here is
	// accepted upward as a message.
	Topics  []ProductTopic `json:"topics,omitempty"`
	Created time.Time      `json:"-"`
}

// ProductTopic is a custom topic: its suffix, and whether devices publish to it, subscribe to it, or both.
type ProductTopic struct {
	Suffix    string `json:"topic"`
	Operation string `json:"operation"` // PUBLISH, SUBSCRIBE or ALL
}

// Capability is a service of a product.
type Capability struct {
	ServiceID   string         `json:"service_id"`
	ServiceType string         `json:"service_type,omitempty"`
	Properties  []Property     `json:"properties,omitempty"`
	Commands    []Command      `json:"commands,omitempty"`
	Events      []ServiceEvent `json:"events,omitempty"`
	Description string         `json:"description,omitempty"`
	Option      string         `json:"option,omitempty"`
}

// Value describes a property or a parameter. Min and Max are numbers as text.
type Value struct {
	DataType    string   `json:"data_type"`
	Required    bool     `json:"required,omitempty"`
	EnumList    []string `json:"enum_list,omitempty"`
	Min         string   `json:"min,omitempty"`
	Max         string   `json:"max,omitempty"`
	MaxLength   int      `json:"max_length,omitempty"`
	Step        float64  `json:"step,omitempty"`
	Unit        string   `json:"unit,omitempty"`
	Description string   `json:"description,omitempty"`
}

// Property is a property of a service; Method mixes R, W and E.
type Property struct {
	Name         string          `json:"property_name"`
	Method       string          `json:"method,omitempty"`
	DefaultValue json.RawMessage `json:"default_value,omitempty"`
	Value
}

// Command is a command of a service.
type Command struct {
	Name      string            `json:"command_name"`
	Paras     []Para            `json:"paras,omitempty"`
	Responses []ServiceResponse `json:"responses,omitempty"`
}

// Para is a parameter of a command, a response or an event.
type Para struct {
	Name string `json:"para_name"`
	Value
}

// ServiceResponse is a response of a command.
type ServiceResponse struct {
	Name  string `json:"response_name"`
	Paras []Para `json:"paras,omitempty"`
}

// ServiceEvent is an event of a service.
type ServiceEvent struct {
	EventType string `json:"event_type"`
	Paras     []Para `json:"paras,omitempty"`
}

// The kinds of authentication.
const (
	AuthSecret       = "SECRET"
	AuthCertificates = "CERTIFICATES"
)

// The states of a device.
const (
	Online   = "ONLINE"
	Offline  = "OFFLINE"
	Inactive = "INACTIVE"
	Frozen   = "FROZEN"
)

// AuthInfo is how a device proves who it is.
type AuthInfo struct {
	Type                 string `json:"auth_type,omitempty"`
	Secret               string `json:"secret,omitempty"`
	SecondarySecret      string `json:"secondary_secret,omitempty"`
	Fingerprint          string `json:"fingerprint,omitempty"`
	SecondaryFingerprint string `json:"secondary_fingerprint,omitempty"`
	SecureAccess         bool   `json:"secure_access"`
	Timeout              int    `json:"timeout"` // seconds until an unused device is deleted, 0 is never
	// Learned is whether the fingerprint is that of the first certificate that the device showed.
	Learned bool `json:"-"`
}

// Tag is a tag of a device.
type Tag struct {
	Key   string `json:"tag_key"`
	Value string `json:"tag_value,omitempty"`
}

// Device is a registered device.
type Device struct {
	DeviceID      string
	NodeID        string
	Name          string
	ProductID     string
	AppID         string
	GatewayID     string // of a child: its gateway; empty for a device that connects itself
	Description   string
	Auth          AuthInfo
	ExtensionInfo json.RawMessage `json:",omitempty"`
	Tags          []Tag
	Status        string // Online, Offline or Inactive
	Frozen        bool
	FWVersion     string
	SWVersion     string
	SDKVersion    string
	Created       time.Time
	Activated     time.Time
	StatusChanged time.Time
	LastOnline    time.Time
	Listed        int64 // version of its gateway's list of children that it came with
}

// State returns the status as the API shows it.
func (d Device) State() string {
	if d.Frozen {
		return Frozen
	}
	return d.Status
}

// Gateway returns the id of the device that connects for d: its gateway's, or its own.
func (d Device) Gateway() string {
	if d.GatewayID == "" {
		return d.DeviceID
	}
	return d.GatewayID
}

// CA is a device CA certificate of a resource space.
type CA struct {
	ID              string
	AppID           string
	Certificate     string // PEM
	Verified        bool
	VerifyCode      string
	ProvisionEnable bool
	TemplateID      string
	OCSP            OCSP
	Created         time.Time
}

// OCSP is how the state of a CA's certificates is to be asked for. It is kept and shown; nobody is asked.
type OCSP struct {
	Enable     bool   `json:"ocsp_enable"`
	ServerCAID string `json:"ocsp_server_ca_id,omitempty"`
	SSLEnable  bool   `json:"ocsp_ssl_enable"`
}

// Template is a provisioning template.
type Template struct {
	ID          string       `json:"template_id"`
	Name        string       `json:"template_name"`
	Description string       `json:"description,omitempty"`
	Body        TemplateBody `json:"template_body"`
	Created     time.Time    `json:"-"`
}

// TemplateBody is what a template makes of a certificate.
type TemplateBody struct {
	Parameters map[string]TemplateParameter `json:"parameters"`
	Resources  TemplateResources            `json:"resources"`
}

// TemplateParameter is a field of the certificate's subject; its type is String.
type TemplateParameter struct {
	Type string `json:"type"`
}

// TemplateResources is what a template creates.
type TemplateResources struct {
	Device TemplateDevice  `json:"device"`
	Policy *TemplatePolicy `json:"policy,omitempty"`
}

// TemplatePolicy is the device policies that a template binds its devices to.
type TemplatePolicy struct {
	IDs []string `json:"policy_ids"`
}

// TemplateDevice is the device that a template creates. DeviceID may be absent.
type TemplateDevice struct {
	DeviceName *TemplateValue `json:"device_name,omitempty"`
	DeviceID   *TemplateValue `json:"device_id,omitempty"`
	NodeID     *TemplateValue `json:"node_id,omitempty"`
	ProductID  *TemplateValue `json:"product_id,omitempty"`
	Tags       []struct {
		Key   string        `json:"tag_key"`
		Value TemplateValue `json:"tag_value"`
	} `json:"tags,omitempty"`
}

// TemplateValue is text, or {"ref":"<parameter>"}.
type TemplateValue struct {
	Literal string
	Ref     string
}

// templateRef is the second form of a TemplateValue.
type templateRef struct {
	Literal string `json:"literal,omitempty"`
	Ref     string `json:"ref"`
}

// UnmarshalJSON reads both forms.
func (v *TemplateValue) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &v.Literal)
	}
	var ref templateRef
	err := json.Unmarshal(b, &ref)
	*v = TemplateValue(ref)
	return err
}

// MarshalJSON writes the form it was read from.
func (v TemplateValue) MarshalJSON() ([]byte, error) {
	if v.Ref == "" {
		return json.Marshal(v.Literal)
	}
	return json.Marshal(templateRef(v))
}

// Policy is a device policy for topics that do not start with $oc.
type Policy struct {
	ID         string      `json:"policy_id"`
	AppID      string      `json:"app_id,omitempty"`
	Name       string      `json:"policy_name"`
	Statements []Statement `json:"statement"`
	// What the policy is bound to: devices, products and resource spaces.
	Devices  []string `json:"-"`
	Products []string `json:"-"`
	Apps     []string `json:"-"`
}

// Statement allows or denies actions on topics.
type Statement struct {
	Effect    string   `json:"effect"`    // ALLOW or DENY
	Actions   []string `json:"actions"`   // iotda:devices:publish, iotda:devices:subscribe
	Resources []string `json:"resources"` // topic:…, 1 to 10
}
