package plane

import (
	"context"
	"errors"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Plane is one running instance.
type Plane struct {
	Version string
	Seed    uint64
	DataDir string // empty for an ephemeral instance
	Journal *journal.Journal
	Rules   *rule.Table
	Clock   *clock.Control
	Faults  *fault.Set
	PKI     *pki.Authority
	// EdgeRoot returns the root of the gateways in PEM; nil where there are none.
	EdgeRoot func() ([]byte, error)
	Devices  Devices
	Hubs     Hubs
	// Container returns the signed address of a blob container of a hub. The error is ErrNoHub.
	Container func(hub, container string) (string, error)
	// Registrars are the DPS instances.
	Registrars Registrars
	World      World
	Life       Life
	Edge       Edge
	Consoles   Consoles
	Ports      Ports
	Addresses  []string // names and addresses a client may dial, beside the vendors' names
	// Adopt makes the world accept the last refused client, of a device or address where these are given.
	// Errors are ErrNoAttempt and ErrNotAdopted.
	Adopt func(ctx context.Context, device, address string) (Adoption, error)
	// Trouble returns why nothing can be kept on the disk now, nil while all is well.
	Trouble func() error
	// Endpoints lists the instances that are emulated now, with their host names.
	Endpoints func() []Endpoint
}

// Adoption is what was added to the world for a refused client.
type Adoption struct {
	Device  string  `json:"device,omitempty"`
	Address string  `json:"address"`
	Rule    rule.ID `json:"rule" doc:"what it was refused for"`
	Event   uint64  `json:"event" doc:"the refusal's sequence number"`
	Added   string  `json:"added" doc:"world YAML that was laid over the running world"`
}

// Errors of Adopt.
var (
	ErrNoAttempt  = errors.New("no refused client is known that could be adopted")
	ErrNotAdopted = errors.New("not adopted")
)

// Ports are the bound TCP ports; 0 is a listener that is off.
type Ports struct {
	MQTTS int `json:"mqtts"`
	MQTT  int `json:"mqtt"`
	HTTPS int `json:"https"` // the first of HTTPSAll
	AMQPS int `json:"amqps"`
	AMQP  int `json:"amqp"`
	Edge  int `json:"edge"`
	Proxy int `json:"proxy"`
	Admin int `json:"admin"`
}

// Endpoint is one emulated instance.
type Endpoint struct {
	Platform string            `json:"platform"`
	Name     string            `json:"name"`            // the journal's endpoint
	Hosts    []string          `json:"hosts"`           // vendor host names that lead here
	Facts    map[string]string `json:"facts,omitempty"` // e.g. idScope
}

// Device is a registered identity with its live state.
type Device struct {
	Platform  string `json:"platform"`
	Endpoint  string `json:"endpoint"`
	ID        string `json:"id"`
	Connected bool   `json:"connected"`
	Conn      uint64 `json:"conn,omitempty"`
	// State is the platform's own view (identity, twin, registration, queues) without secrets.
	State map[string]any `json:"state,omitempty"`
}

// Errors of Devices.
var (
	// ErrNoDevice answers calls for an unknown device.
	ErrNoDevice = errors.New("no such device")
	// ErrNothingToExpire answers where there is no live connection whose credential has an end.
	ErrNothingToExpire = errors.New("there is no connection whose credential has an end")
)

// Devices reaches the identities of all platforms.
type Devices interface {
	List() []Device // without their State
	Get(platform, endpoint, id string) (Device, error)
	Delete(platform, endpoint, id string) error
	Disconnect(platform, endpoint, id string) error
	Expire(platform, endpoint, id string) error
}

// Edge reaches the IoT Edge gateways, each by one of its host names. ErrNoGateway answers for an unknown one.
type Edge interface {
	// Gateways returns the state of every gateway: name, hub, upstream, children, clients, routes, queue.
	Gateways() []map[string]any
	Gateway(name string) (map[string]any, error)
	// SetUpstream makes the hub reachable for a gateway or not.
	SetUpstream(name string, up bool) error
	// Refresh makes a gateway read its device scope from the hub, which has to be reachable.
	Refresh(name string) (children int, err error)
}

// ErrNoGateway answers calls for an unknown gateway, and ErrNoUpstream those that need its hub.
var (
	ErrNoGateway  = errors.New("no such gateway")
	ErrNoUpstream = errors.New("the gateway's upstream is down")
)

// World reads and changes the running world (YAML). Changes are all or nothing.
type World interface {
	// Current returns the running world as YAML, keys and secrets included: it is the tester's own.
	Current() ([]byte, error)
	// Patch adds or replaces what the document names, by id, and leaves the rest.
	Patch(ctx context.Context, document []byte) error
	// Replace makes the world what the document says.
	Replace(ctx context.Context, document []byte) error
}

// Snapshot describes a snapshot that is kept.
type Snapshot struct {
	Name  string    `json:"name"`
	Bytes int       `json:"bytes"`
	Made  time.Time `json:"made"`
}

// Errors of Life.
var (
	// ErrNoSnapshot answers for a name that no snapshot has.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrSnapshot refuses a name or a file; the error says what is wrong with it.
	ErrSnapshot = errors.New("bad snapshot")
)

// Life takes an instance back to an earlier state: to its first one, or to a snapshot. A snapshot is one
// file, which any instance of the same format restores.
type Life interface {
	// Reset takes the whole instance back, or where glob is not empty the devices whose id matches.
	Reset(glob string) (devices int, err error)
	// Snapshots lists what is kept, by name.
	Snapshots() ([]Snapshot, error)
	// TakeSnapshot keeps a snapshot under a name, in place of an earlier one.
	TakeSnapshot(name string) (Snapshot, error)
	// RestoreSnapshot makes the instance what it was when the snapshot was taken.
	RestoreSnapshot(name string) error
	// SnapshotFile returns the file of a snapshot, PutSnapshotFile keeps one from elsewhere.
	SnapshotFile(name string) ([]byte, error)
	PutSnapshotFile(name string, file []byte) (Snapshot, error)
	DeleteSnapshot(name string) error
}
