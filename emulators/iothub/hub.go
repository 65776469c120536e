package iothub

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// Hub is one IoT hub. Host is its key and the journal's endpoint.
type Hub struct {
	Name string
	// Host is the full host name in lower case; empty takes Name + ".azure-devices.net".
	Host string
	// Policies are the shared access policies; nil takes the usual five with random keys.
	Policies         []Policy
	DisableDeviceSAS bool
	DisableModuleSAS bool
	CAs              []CA
	Switches         Switches

	order int // the first hub put is the default one
}

// CA is a certificate authority uploaded to a hub. Only a verified one authenticates devices.
type CA struct {
	Name        string
	Certificate *x509.Certificate // not changed after it was put
	Verified    bool
}

// Switches choose between answers where the sources differ or are silent. The zero value is the default.
type Switches struct {
	// DisabledCode is the CONNACK return code for a disabled device: 3 (default) or 5.
	DisabledCode int
	// SASSkew is how long after its expiry a token is still accepted at CONNECT; nil is 5 minutes.
	SASSkew *time.Duration
	// ExpiryGrace is how long after its token's expiry a connection lives on; nil is 10 minutes.
	ExpiryGrace *time.Duration
	// RejectFilters answers SUBACK 0x80 for an unsupported filter; false closes the connection.
	RejectFilters bool
	// Throttle is the tier whose limits hold, one of S1, S2, S3; empty has none.
	Throttle string
	// IgnoreFaultProperties leaves telemetry with AzIoTHub_FaultOperationType alone; false carries out the
	// fault that it asks for, for the SDKs' own end-to-end suites.
	IgnoreFaultProperties bool
	// Scenarios makes the identities of scenario devices (fault.Scenario) when they first come.
	Scenarios bool
}

// The defaults of Switches.
const (
	DefaultSASSkew     = 5 * time.Minute
	DefaultExpiryGrace = 10 * time.Minute
)

func (w Switches) skew() time.Duration {
	if w.SASSkew != nil {
		return *w.SASSkew
	}
	return DefaultSASSkew
}

func (w Switches) grace() time.Duration {
	if w.ExpiryGrace != nil {
		return *w.ExpiryGrace
	}
	return DefaultExpiryGrace
}

func (h Hub) clone() Hub {
	h.Policies = slices.Clone(h.Policies)
	h.CAs = slices.Clone(h.CAs)
	return h
}

// Suffixes of the vendor's host names.
const (
	globalSuffix = ".azure-devices.net"
	chinaSuffix  = ".azure-devices.cn"
)

// hubName is the vendor's alphabet for hub names (resource naming rules: 3 to 50 characters).
var hubName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// hubHost accepts any host name, for hubs that stand under a tester's own domain.
var hubHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// PutHub adds a hub or replaces the settings of the one with the same host; its devices stay. Policies
// without keys get random ones. The result is what was stored.
func (s *Service) PutHub(h Hub) (Hub, error) {
	if h.Host == "" {
		h.Host = h.Name + globalSuffix
	}
	h.Host = strings.ToLower(h.Host)
	if h.Name == "" {
		h.Name, _, _ = strings.Cut(h.Host, ".")
	}
	if err := h.validate(); err != nil {
		return Hub{}, err
	}
	h = h.clone()
	if h.Policies == nil {
		h.Policies = DefaultPolicies()
	}
	for i := range h.Policies {
		if err := h.Policies[i].complete(); err != nil {
			return Hub{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.hubs.Get(h.Host); ok {
		h.order = old.order
	} else {
		s.order++
		h.order = s.order
	}
	s.hubs.Put(h.Host, h)
	s.setThrottle(h.Host, h.Switches.Throttle)
	return h, nil
}

func (h Hub) validate() error {
	switch {
	case !hubName.MatchString(h.Name):
		return fmt.Errorf("%w: hub name %q: letters, digits and hyphens are allowed, at most 63", ErrInvalid, h.Name)
	case !hubHost.MatchString(h.Host):
		return fmt.Errorf("%w: hub host %q is not a host name", ErrInvalid, h.Host)
	case h.Switches.DisabledCode != 0 && h.Switches.DisabledCode != 3 && h.Switches.DisabledCode != 5:
		return fmt.Errorf("%w: the return code for disabled devices is 3 or 5, not %d", ErrInvalid, h.Switches.DisabledCode)
	}
	if err := validThrottle(h.Switches.Throttle); err != nil {
		return err
	}
	for _, ca := range h.CAs {
		if err := ca.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (ca CA) validate() error {
	if ca.Name == "" || ca.Certificate == nil {
		return fmt.Errorf("%w: a CA needs a name and a certificate", ErrInvalid)
	}
	return nil
}

// GetHub returns the hub that answers to host: its own name or one of the vendor's other forms of it.
func (s *Service) GetHub(host string) (Hub, error) {
	for _, form := range hostForms(host) {
		if h, ok := s.hubs.Get(form); ok {
			return h, nil
		}
	}
	return Hub{}, fmt.Errorf("hub %q: %w", host, ErrNotFound)
}

// Hubs returns all hubs, the default one first.
func (s *Service) Hubs() []Hub {
	hubs := s.hubs.List("")
	sort.SliceStable(hubs, func(i, j int) bool { return hubs[i].order < hubs[j].order })
	return hubs
}

// DeleteHub removes a hub with everything in it and closes its connections.
func (s *Service) DeleteHub(host string) error {
	h, err := s.GetHub(host)
	if err != nil {
		return err
	}
	for _, d := range s.Devices(h.Host) {
		if err := s.DeleteDevice(h.Host, d.DeviceID, ""); err != nil {
			return err
		}
	}
	s.hubs.Delete(h.Host)
	return nil
}

// PutCA adds a CA to a hub or replaces the one of the same name.
func (s *Service) PutCA(hub string, ca CA) error {
	if err := ca.validate(); err != nil {
		return err
	}
	return s.updateHub(hub, func(h *Hub) {
		h.CAs = slices.DeleteFunc(h.CAs, func(old CA) bool { return old.Name == ca.Name })
		h.CAs = append(h.CAs, ca)
	})
}

// DeleteCA removes a CA; ErrNotFound when the hub has none of that name.
func (s *Service) DeleteCA(hub, name string) error {
	found := false
	err := s.updateHub(hub, func(h *Hub) {
		n := len(h.CAs)
		h.CAs = slices.DeleteFunc(h.CAs, func(ca CA) bool { return ca.Name == name })
		found = len(h.CAs) < n
	})
	if err == nil && !found {
		err = fmt.Errorf("CA %q: %w", name, ErrNotFound)
	}
	return err
}

func (s *Service) updateHub(host string, change func(*Hub)) error {
	h, err := s.GetHub(host)
	if err != nil {
		return err
	}
	_, err = s.hubs.Update(h.Host, func(h Hub) (Hub, error) {
		change(&h)
		return h, nil
	})
	return err
}

// Names returns every host name that leads to the hub: its own, and for the vendor's names also the
// .device. and .service. forms and the same under the other cloud's suffix.
func (h Hub) Names() []string {
	name, global := strings.CutSuffix(h.Host, globalSuffix)
	if !global {
		var china bool
		if name, china = strings.CutSuffix(h.Host, chinaSuffix); !china {
			return []string{h.Host}
		}
	}
	names := []string{h.Host}
	for _, suffix := range []string{globalSuffix, chinaSuffix} {
		for _, kind := range []string{"", ".device", ".service"} {
			if n := name + kind + suffix; n != h.Host {
				names = append(names, n)
			}
		}
	}
	return names
}

// hostForms returns the keys under which a hub that answers to host may be stored.
func hostForms(host string) []string {
	host = strings.ToLower(host)
	for _, suffix := range []string{globalSuffix, chinaSuffix} {
		name, ok := strings.CutSuffix(host, suffix)
		if !ok {
			continue
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".device"), ".service")
		return []string{host, name + globalSuffix, name + chinaSuffix}
	}
	return []string{host}
}

// vendorHost reports whether host stands under the vendor's suffix for hubs.
func vendorHost(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, globalSuffix) || strings.HasSuffix(host, chinaSuffix)
}
