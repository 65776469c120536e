package dps

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
)

// Allocator is DPS's view of the hubs. Its methods may be called concurrently.
type Allocator interface {
	// Assign makes the device's identity on the hub what a says: created when it is missing, else its
	// credentials are replaced and its twin is left alone but for a.Reset. A device that comes from another
	// hub is gone from there afterwards. The registration fails by an error; where that is a *rule.Refusal, the
	// journal has it when the device is told.
	Assign(ctx context.Context, a Assignment) error
	// Holds reports whether the hub has an identity with that device id.
	Holds(hub, deviceID string) bool
}

// Assignment is what DPS asks of a hub.
type Assignment struct {
	Hub      string // host name
	DeviceID string
	Group    string // id of the enrollment group that admitted the device; empty for an individual enrollment
	Auth     Auth
	// From is the host name of the hub that the device leaves; empty for none. Its twin goes along unless
	// Reset is set.
	From string
	// Reset makes the twin start over from InitialTwin.
	Reset bool
	// InitialTwin is {"tags":…,"properties":{"desired":…}} at the device's first assignment and at a reset,
	// else nil.
	InitialTwin  json.RawMessage
	Capabilities Capabilities
}

// Auth is the credential of a hub device. X.509 devices become self-signed ones whose thumbprint is
// that of the leaf they presented, whatever enrollment admitted them; key devices get the key they
// signed with, the derived one for a group.
type Auth struct {
	SHA1, SHA256             string // thumbprints of the leaf, upper-case hexadecimal; empty for key devices
	PrimaryKey, SecondaryKey string // base64; empty for X.509 devices
}

// ErrNoHub is returned where no linked hub may be used.
var ErrNoHub = errors.New("no hub to assign the device to")

// choose picks the hub of a new device. Hashing is by rendezvous, so that linking another hub moves
// only the devices that go to it.
func choose(policy AllocationPolicy, hubs []string, registrationID string) (string, error) {
	if len(hubs) == 0 {
		return "", ErrNoHub
	}
	if policy == Static {
		return hubs[0], nil
	}
	var best string
	var bestSum [sha256.Size]byte
	for _, hub := range hubs {
		sum := sha256.Sum256([]byte(strings.ToLower(hub) + "\n" + strings.ToLower(registrationID)))
		if best == "" || string(sum[:]) > string(bestSum[:]) {
			best, bestSum = hub, sum
		}
	}
	return best, nil
}

// usable returns the linked hubs that the terms allow, in the terms' order.
func usable(linked, wanted []string) []string {
	if len(wanted) == 0 {
		return linked
	}
	var hubs []string
	for _, w := range wanted {
		if contains(linked, w) {
			hubs = append(hubs, w)
		}
	}
	return hubs
}

func contains(hubs []string, hub string) bool {
	for _, h := range hubs {
		if strings.EqualFold(h, hub) {
			return true
		}
	}
	return false
}
