package world

// MindSphere lists the emulated MindSphere tenants.
type MindSphere struct {
	Tenants []Tenant `yaml:"tenants" doc:"tenants whose agents connect to MindConnect MQTT"`
}

// Tenant is one MindSphere tenant (mindsphere.md sections 1 and 2). Region eu2 is Azure: write its DPS
// group and hub under azure.
type Tenant struct {
	Name         string          `yaml:"name" world:"id check=dpsName" doc:"tenant name, the first part of its agents' client ids"`
	Region       string          `yaml:"region" enum:"eu1 private" doc:"eu1 or a private cloud; default eu1"`
	Host         string          `yaml:"host" world:"check=host" doc:"host name of the broker of a private cloud"`
	Provisioning *Duration       `yaml:"provisioning" doc:"how long new agents are turned away; default 3s"`
	EventTypes   []string        `yaml:"eventTypes" doc:"event types that the tenant knows; none takes all"`
	Certificates []CACertificate `yaml:"certificates" doc:"CA certificates of the tenant, at most two"`
}
