package world

import "strings"

// IoTDA lists the emulated instances of Huawei Cloud IoTDA.
type IoTDA struct {
	Instances []IoTDAInstance `yaml:"instances" doc:"instances that devices and applications connect to"`
}

// IoTDAInstance is one IoTDA instance. Its host names follow from name
// and region.
type IoTDAInstance struct {
	Name             string             `yaml:"name" world:"id fold check=dpsName" doc:"first label of its host names: NAME.iot-mqtts.REGION.myhuaweicloud.com"`
	Region           string             `yaml:"region" world:"fold check=dpsName" doc:"region in its host names; default cn-north-4"`
	ProjectID        string             `yaml:"projectId" world:"check=hex32" doc:"project id in the paths of the application API; generated when left out"`
	DefaultSpace     string             `yaml:"defaultSpace" world:"check=iotdaId" doc:"id of the default resource space; generated when left out"`
	StampTolerance   *int               `yaml:"stampTolerance" world:"min=0 max=24" doc:"hours that a time stamp of sign type 1 may lie beside the current one; default 1"`
	CommandTimeout   *Duration          `yaml:"commandTimeout" doc:"how long commands and property calls wait for the device; default 20s"`
	BootstrapAddress string             `yaml:"bootstrapAddress" world:"max=256" doc:"what the provisioning service answers, HOST:PORT; default is the instance's MQTT host and 8883, or what the device dialled"`
	Strategies       []string           `yaml:"strategies" doc:"keywords of provisioning strategies that devices may ask for"`
	Scenarios        *bool              `yaml:"scenarios" doc:"register scenario devices (docs/scenarios.md) when they first come; default false, true in the default world"`
	Scopes           []IoTDAScope       `yaml:"scopes" doc:"enrollment groups of the provisioning service"`
	AccessKeys       []AccessKey        `yaml:"accessKeys" doc:"AK and SK that sign calls of the application API; without any every caller is accepted"`
	Spaces           []Space            `yaml:"spaces" doc:"resource spaces beside the default one"`
	Templates        []IoTDATemplate    `yaml:"templates" doc:"provisioning templates for self-registration"`
	Certificates     []IoTDACertificate `yaml:"certificates" doc:"device CA certificates, at most 100"`
	Products         []Product          `yaml:"products" doc:"products with their models"`
	Devices          []IoTDADevice      `yaml:"devices" doc:"registered devices; a gateway stands before its children"`
	Policies         []DevicePolicy     `yaml:"policies" doc:"device policies for topics that do not start with $oc"`
	Forwarding       []Forwarding       `yaml:"forwarding" doc:"rules of data forwarding with the addresses that they post to"`
}

// IoTDAScope is an enrollment group of the provisioning service.
type IoTDAScope struct {
	ID     string `yaml:"id" world:"id check=iotdaId" doc:"scope id, which devices name in their client id"`
	Secret string `yaml:"secret" world:"secret check=base64" doc:"group secret in base64; without it members prove themselves by certificate"`
}

// AccessKey is a pair of AK and SK.
type AccessKey struct {
	Access string `yaml:"access" world:"id max=128" doc:"access key (AK)"`
	Secret string `yaml:"secret" world:"secret max=128" doc:"secret key (SK)"`
}

// Space is a resource space.
type Space struct {
	ID   string `yaml:"id" world:"id check=iotdaId" doc:"app_id"`
	Name string `yaml:"name" world:"max=64" doc:"app_name; default is the id"`
}

// IoTDATemplate is a provisioning template; Body is the vendor's template_body.
type IoTDATemplate struct {
	ID          string         `yaml:"id" world:"id check=iotdaId" doc:"template_id"`
	Name        string         `yaml:"name" world:"max=128" doc:"template_name; default is the id"`
	Description string         `yaml:"description" world:"max=2048" doc:"free text"`
	Body        map[string]any `yaml:"body" doc:"template_body as the API takes it: parameters and resources"`
}

// IoTDACertificate is a device CA of an instance.
type IoTDACertificate struct {
	CACertificate
	Space    string `yaml:"space" world:"check=iotdaId ref=space" doc:"app_id of its resource space; default is the default one"`
	Template string `yaml:"template" world:"check=iotdaId ref=template" doc:"id of a provisioning template: unknown devices of this CA register themselves"`
}

// Product is a product with its model.
type Product struct {
	ProductID    string         `yaml:"productId" world:"id check=iotdaId" doc:"product_id"`
	Name         string         `yaml:"name" world:"max=256" doc:"default is the product id"`
	Space        string         `yaml:"space" world:"check=iotdaId ref=space" doc:"app_id of its resource space; default is the default one"`
	DeviceType   string         `yaml:"deviceType" world:"max=256" doc:"device_type; default is the name"`
	Protocol     string         `yaml:"protocol" world:"max=64" doc:"protocol_type; default MQTT"`
	DataFormat   string         `yaml:"dataFormat" enum:"json binary" doc:"data_format; default json"`
	Manufacturer string         `yaml:"manufacturer" world:"max=256" doc:"manufacturer_name"`
	Industry     string         `yaml:"industry" world:"max=256" doc:"free text"`
	Description  string         `yaml:"description" world:"max=2048" doc:"free text"`
	Services     []ModelService `yaml:"services" doc:"service_capabilities: what its devices report and take"`
	Topics       []ProductTopic `yaml:"topics" doc:"custom topics under $oc/devices/DEVICE/user/"`
}

// ModelService is one service of a product model.
type ModelService struct {
	ServiceID   string          `yaml:"serviceId" world:"id max=64" doc:"service_id"`
	ServiceType string          `yaml:"serviceType" world:"max=64" doc:"service_type; default is the service id"`
	Option      string          `yaml:"option" world:"max=64" doc:"Master, Mandatory or Optional; not enforced"`
	Description string          `yaml:"description" world:"max=2048" doc:"free text"`
	Properties  []ModelProperty `yaml:"properties" doc:"properties that devices report, or that are set on them"`
	Commands    []ModelCommand  `yaml:"commands" doc:"commands that devices take"`
	Events      []ModelEvent    `yaml:"events" doc:"events that devices report"`
}

// ModelValue describes a property or a parameter.
type ModelValue struct {
	DataType    string   `yaml:"dataType" world:"check=dataType" doc:"int, long, decimal, string, DateTime, jsonObject, enum, boolean or string list"`
	Required    *bool    `yaml:"required" doc:"whether it must be given; default false"`
	Enum        []string `yaml:"enum" doc:"enum_list: the legal values of an enum"`
	Min         string   `yaml:"min" world:"check=decimal" doc:"least legal number"`
	Max         string   `yaml:"max" world:"check=decimal" doc:"greatest legal number"`
	MaxLength   *int     `yaml:"maxLength" world:"min=0 max=1048576" doc:"max_length of a text"`
	Step        string   `yaml:"step" world:"check=decimal" doc:"step; it is not enforced"`
	Unit        string   `yaml:"unit" world:"max=64" doc:"unit"`
	Description string   `yaml:"description" world:"max=2048" doc:"free text"`
}

// ModelProperty is a property of a service.
type ModelProperty struct {
	Name   string `yaml:"name" world:"id max=64" doc:"property_name"`
	Method string `yaml:"method" world:"check=access" doc:"access: R, W and E mixed"`
	ModelValue
}

// ModelPara is a parameter of a command, a response or an event.
type ModelPara struct {
	Name string `yaml:"name" world:"id max=64" doc:"para_name"`
	ModelValue
}

// ModelCommand is a command of a service.
type ModelCommand struct {
	Name      string          `yaml:"name" world:"id max=64" doc:"command_name"`
	Paras     []ModelPara     `yaml:"paras" doc:"parameters"`
	Responses []ModelResponse `yaml:"responses" doc:"responses"`
}

// ModelResponse is a response of a command.
type ModelResponse struct {
	Name  string      `yaml:"name" world:"id max=64" doc:"response_name"`
	Paras []ModelPara `yaml:"paras" doc:"parameters"`
}

// ModelEvent is an event of a service.
type ModelEvent struct {
	Type  string      `yaml:"type" world:"id max=64" doc:"event_type"`
	Paras []ModelPara `yaml:"paras" doc:"parameters"`
}

// ProductTopic is a custom topic of a product.
type ProductTopic struct {
	Topic     string `yaml:"topic" world:"id max=128" doc:"what follows user/"`
	Operation string `yaml:"operation" enum:"PUBLISH SUBSCRIBE ALL" doc:"what devices may do; default ALL"`
}

// IoTDADevice is a registered device.
type IoTDADevice struct {
	DeviceID             string `yaml:"deviceId" world:"id check=iotdaId" doc:"device_id, usually PRODUCT_NODE"`
	ProductID            string `yaml:"productId" world:"check=iotdaId ref=product" doc:"product of this instance"`
	NodeID               string `yaml:"nodeId" world:"check=iotdaNode" doc:"node_id; default is what follows PRODUCT_ in the device id"`
	Name                 string `yaml:"name" world:"max=256" doc:"device_name; default is the node id"`
	GatewayID            string `yaml:"gatewayId" world:"check=iotdaId ref=device" doc:"device that connects for this one, which is its child"`
	Description          string `yaml:"description" world:"max=2048" doc:"free text"`
	AuthType             string `yaml:"authType" enum:"SECRET CERTIFICATES" doc:"default is CERTIFICATES with a fingerprint, else SECRET"`
	Secret               string `yaml:"secret" world:"secret check=iotdaSecret" doc:"device secret; generated when left out"`
	SecondarySecret      string `yaml:"secondarySecret" world:"secret check=iotdaSecret" doc:"another secret with equal power"`
	Fingerprint          string `yaml:"fingerprint" world:"check=thumbprint" doc:"SHA-1 or SHA-256 of its certificate; left out with CERTIFICATES, the first one shown is kept"`
	SecondaryFingerprint string `yaml:"secondaryFingerprint" world:"check=thumbprint" doc:"another fingerprint with equal power"`
	SecureAccess         *bool  `yaml:"secureAccess" doc:"TLS only; default false"`
	Timeout              *int   `yaml:"timeout" world:"min=0 max=2147483647" doc:"seconds after which a device that never connected is deleted; default 0, never"`
	Frozen               *bool  `yaml:"frozen" doc:"barred from connecting; default false"`
	Tags                 []Tag  `yaml:"tags" doc:"tags, at most 10"`
}

// yield implements yielder: a device that proves itself in another way from now on gives up its old proof.
func (d *IoTDADevice) yield(to any) {
	switch over := to.(IoTDADevice); {
	case over.AuthType == "CERTIFICATES" || over.AuthType == "" && over.Fingerprint != "":
		d.Secret, d.SecondarySecret = "", ""
	case over.AuthType == "SECRET" || over.Secret != "":
		d.AuthType, d.Fingerprint, d.SecondaryFingerprint = "", "", ""
	}
}

// Tag is a tag of a device.
type Tag struct {
	Key   string `yaml:"key" world:"id max=64" doc:"tag_key"`
	Value string `yaml:"value" world:"max=128" doc:"tag_value"`
}

// DevicePolicy is a device policy.
type DevicePolicy struct {
	ID         string            `yaml:"id" world:"id check=iotdaId" doc:"policy_id"`
	Name       string            `yaml:"name" world:"max=128" doc:"policy_name; default is the id"`
	Space      string            `yaml:"space" world:"check=iotdaId ref=space" doc:"app_id of its resource space; default is the default one"`
	Statements []PolicyStatement `yaml:"statements" doc:"1 to 10 statements; a DENY wins"`
	Devices    []string          `yaml:"devices" doc:"device ids that it is bound to"`
	Products   []string          `yaml:"products" doc:"product ids that it is bound to"`
}

// PolicyStatement allows or denies actions on topics.
type PolicyStatement struct {
	Effect    string   `yaml:"effect" enum:"ALLOW DENY" doc:"what it does"`
	Actions   []string `yaml:"actions" enum:"iotda:devices:publish iotda:devices:subscribe" doc:"actions that it is about"`
	Resources []string `yaml:"resources" doc:"1 to 10 of the form topic:TOPIC"`
}

// Forwarding is a rule of data forwarding with its actions.
type Forwarding struct {
	ID       string          `yaml:"id" world:"id check=iotdaId" doc:"rule_id"`
	Name     string          `yaml:"name" world:"max=256" doc:"rule_name; default is the id"`
	Resource string          `yaml:"resource" world:"max=64" doc:"what it forwards, such as device.property"`
	Event    string          `yaml:"event" world:"max=64" doc:"of that resource, such as report"`
	Space    string          `yaml:"space" world:"check=iotdaId ref=space" doc:"app_id, to forward of one resource space only"`
	Select   string          `yaml:"select" world:"max=2500" doc:"SQL: what is forwarded, such as notify_data.body; default all"`
	Where    string          `yaml:"where" world:"max=2500" doc:"SQL: when, such as notify_data.header.product_id = 'demo'; default always"`
	Active   *bool           `yaml:"active" doc:"default true"`
	Actions  []ForwardAction `yaml:"actions" doc:"where it forwards to"`
}

// ForwardAction posts notifications to an address.
type ForwardAction struct {
	ID  string `yaml:"id" world:"id check=iotdaId" doc:"action_id"`
	URL string `yaml:"url" world:"max=2048" doc:"http or https address"`
}

// Node returns a device's node id.
func (d IoTDADevice) Node() string {
	if d.NodeID != "" {
		return d.NodeID
	}
	if rest, ok := strings.CutPrefix(d.DeviceID, d.ProductID+"_"); ok && rest != "" {
		return rest
	}
	return d.DeviceID
}
