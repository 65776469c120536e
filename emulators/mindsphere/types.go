package mindsphere

import (
	"slices"
	"time"
)

// Region is where a tenant lives; it decides how its agents connect.
type Region string

// The regions.
const (
	EU1     Region = "eu1"     // AWS IoT Core: client certificate, client id {tenant}_{CN}
	EU2     Region = "eu2"     // Azure: DPS and IoT Hub, client id {CN}
	Private Region = "private" // a site's own broker: JWT as password, client id {tenant}_{device}
)

// DefaultProvisioning is how long an agent's first connection takes to be provisioned: the onboarding page
// says "a couple of seconds".
const DefaultProvisioning = 3 * time.Second

// Tenant is one tenant ("environment" in Insights Hub). Only Name is required.
type Tenant struct {
	Name   string `json:"name"`   // letters, digits and inner hyphens, at most 63
	Region Region `json:"region"` // default eu1
	// Host is the broker's host name of a private cloud; other regions have fixed ones.
	Host string `json:"host,omitempty"`
	// Hub is the host name of the IoT Hub that holds the agents of region eu2.
	Hub string `json:"hub,omitempty"`
	// IDScope is that of the DPS instance where the agents of region eu2 register. It cannot change.
	IDScope string `json:"idScope,omitempty"`
	// Provisioning is how long new agents are turned away, at most an hour; nil takes DefaultProvisioning.
	Provisioning *time.Duration `json:"provisioning,omitempty"`
	// RateLimits makes the REST APIs refuse more requests than the real service takes.
	RateLimits bool `json:"rateLimits,omitempty"`
	// EventTypes are the event types that the tenant knows; empty takes events of any type.
	EventTypes []string `json:"eventTypes,omitempty"`
}

func (t Tenant) clone() Tenant {
	t.EventTypes = slices.Clone(t.EventTypes)
	if t.Provisioning != nil {
		d := *t.Provisioning
		t.Provisioning = &d
	}
	return t
}

func (t Tenant) provisioning() time.Duration {
	if t.Provisioning == nil {
		return DefaultProvisioning
	}
	return *t.Provisioning
}

// CA is a CA certificate uploaded to a tenant.
type CA struct {
	ID          string `json:"id"`          // 1 to 64 letters, digits and - . _; generated when empty
	Certificate string `json:"certificate"` // PEM
	Verified    bool   `json:"verified"`    // possession of its key was proven, or the upload was flagged so
	// RegistrationCode is what a verification certificate must have as common name; set by the service.
	RegistrationCode string    `json:"registrationCode,omitempty"`
	Created          time.Time `json:"createdDate,omitzero"`
}

// The states of an agent.
const (
	Provisioning = "PROVISIONING" // turned away until it is ready
	Ready        = "READY"
)

// Agent is a MindConnect MQTT agent, made by its first connection.
type Agent struct {
	ClientID string    `json:"clientId"`
	Tenant   string    `json:"tenant"`
	Name     string    `json:"name"`    // common name of its certificates
	AgentID  string    `json:"agentId"` // 32 hex digits
	AssetID  string    `json:"assetId,omitempty"`
	Status   string    `json:"status"`
	Created  time.Time `json:"created"`
	// Certificates are those it has connected with, the newest last; at most maxCertificates are kept.
	Certificates []AgentCertificate `json:"certificates"`
}

// AgentCertificate is one certificate of an agent. Each is provisioned for itself.
type AgentCertificate struct {
	SHA256 string    `json:"sha256"` // thumbprint, upper-case hex
	Active bool      `json:"active"`
	Due    time.Time `json:"due,omitzero"` // timers reading at which it becomes active
}

func (a Agent) clone() Agent {
	a.Certificates = slices.Clone(a.Certificates)
	return a
}

// certificate returns the agent's certificate with a thumbprint, nil for none.
func (a *Agent) certificate(sha string) *AgentCertificate {
	for i := range a.Certificates {
		if a.Certificates[i].SHA256 == sha {
			return &a.Certificates[i]
		}
	}
	return nil
}

// The types of assets that exist in every tenant.
const (
	AgentType      = "core.mcmqtt" // "MindConnect MQTT Commanding"
	BasicAssetType = "core.basicasset"
)

// Asset is one asset of a tenant, as the Asset Manager shows it.
type Asset struct {
	AssetID     string `json:"assetId"` // 32 hex digits
	TenantID    string `json:"tenantId"`
	Name        string `json:"name"`
	TypeID      string `json:"typeId"`
	ParentID    string `json:"parentId,omitempty"`
	ExternalID  string `json:"externalId,omitempty"` // an agent's client id
	Description string `json:"description,omitempty"`
	// Agent is the client id whose model made the asset, and Reference its referenceId there.
	Agent     string `json:"agent,omitempty"`
	Reference string `json:"referenceId,omitempty"`
}

// Identity is an agent that has proven who it is.
type Identity struct {
	Tenant   string
	Region   Region
	ClientID string
	AgentID  string // tells an agent from a later one with the same client id
}
