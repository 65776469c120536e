package iothub

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// Rights are what a shared access policy allows.
type Rights byte

// The rights.
const (
	RegistryRead Rights = 1 << iota
	RegistryWrite
	ServiceConnect
	DeviceConnect
)

var rightNames = [...]string{"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"}

// String lists the rights as the vendor's tools do: "RegistryRead, RegistryWrite".
func (r Rights) String() string {
	var names []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// ParseRights reads a comma-separated list of right names.
func ParseRights(text string) (Rights, error) {
	var r Rights
next:
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		for i, known := range rightNames {
			if strings.EqualFold(name, known) {
				r |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("%w: right %q; known are %s", ErrInvalid, name, strings.Join(rightNames[:], ", "))
	}
	return r, nil
}

// Policy is a shared access policy. Keys are base64.
type Policy struct {
	Name         string
	PrimaryKey   string
	SecondaryKey string
	Rights       Rights
}

// DefaultPolicies returns the five policies that every new hub has, still without keys.
func DefaultPolicies() []Policy {
	return []Policy{
		{Name: "iothubowner", Rights: RegistryRead | RegistryWrite | ServiceConnect | DeviceConnect},
		{Name: "service", Rights: ServiceConnect},
		{Name: "device", Rights: DeviceConnect},
		{Name: "registryRead", Rights: RegistryRead},
		{Name: "registryReadWrite", Rights: RegistryRead | RegistryWrite},
	}
}

// complete validates the policy and makes the keys that are missing.
func (p *Policy) complete() error {
	if p.Name == "" || len(p.Name) > 64 {
		return fmt.Errorf("%w: policy name %q: 1 to 64 characters", ErrInvalid, p.Name)
	}
	if p.Rights == 0 {
		return fmt.Errorf("%w: policy %q has no rights", ErrInvalid, p.Name)
	}
	for _, k := range []*string{&p.PrimaryKey, &p.SecondaryKey} {
		if *k == "" {
			*k = newKey()
		} else if _, err := decodeKey(*k); err != nil {
			return fmt.Errorf("policy %q: %w", p.Name, err)
		}
	}
	return nil
}

// newKey returns 32 random bytes in base64, as the hub generates keys.
func newKey() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return base64.StdEncoding.EncodeToString(b)
}

// Key lengths that the registry accepts, in bytes before base64.
const minKey, maxKey = 16, 64

// decodeKey reads a base64 key; its errors never hold the key.
func decodeKey(text string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: a key is not base64", ErrInvalid)
	}
	if len(b) < minKey || len(b) > maxKey {
		return nil, fmt.Errorf("%w: a key has %d bytes, %d to %d are allowed", ErrInvalid, len(b), minKey, maxKey)
	}
	return b, nil
}
