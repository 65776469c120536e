package iotda

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The lengths of a device's names (section "Creating a Device" of the API reference).
const (
	maxNodeID   = 64
	maxDeviceID = 128
	maxText     = 2048
	maxTags     = 10
)

// The legal secrets.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{8,32}$`)

// NewDevice is a device to register. Empty ids and secrets are made.
type NewDevice struct {
	Device
	Desired []iotda.ServiceData // the shadow that the device starts with
	quiet   bool                // its gateway asked for it and is answered, not notified
}

// CreateDevice registers a device and returns it completed, its secret included. A child is announced to
// its gateway.
func (s *Service) CreateDevice(instance string, n NewDevice) (Device, error) {
	d := n.Device
	if d.ProductID == "" {
		return d, invalid("product_id: that of the device's product")
	}
	p, err := s.Product(instance, d.ProductID)
	if err != nil {
		return d, err
	}
	if d.AppID != "" && d.AppID != p.AppID {
		return d, invalid("app_id %q: product %s belongs to resource space %s", clip(d.AppID), p.ProductID, p.AppID)
	}
	d.AppID = p.AppID
	if err := s.completeDevice(instance, &d); err != nil {
		return d, err
	}
	s.admin.Lock()
	err = s.insert(instance, &d)
	s.admin.Unlock()
	if err != nil {
		return d, err
	}
	if len(n.Desired) > 0 {
		if err := s.desire(instance, d, n.Desired); err != nil {
			s.devices.Delete(key(instance, d.DeviceID))
			return d, err
		}
	}
	s.watchActivation(instance, d)
	s.tellDevice(instance, d, created)
	if d.GatewayID != "" {
		s.childAdded(instance, d, n.quiet)
	}
	return d, nil
}

// PutDevice registers a device, or gives one that is registered other names, tags and credentials, as a
// world file does. What the device has done stays; product and gateway cannot change.
func (s *Service) PutDevice(instance string, n NewDevice) (Device, error) {
	want := n.Device
	if want.DeviceID == "" {
		want.DeviceID = want.ProductID + "_" + want.NodeID
	}
	old, err := s.Device(instance, want.DeviceID)
	if err != nil {
		return s.CreateDevice(instance, n)
	}
	if old.ProductID != want.ProductID || old.GatewayID != want.GatewayID {
		return old, invalid("device %s has product %q and gateway %q, which cannot change; delete it first", old.DeviceID, old.ProductID, old.GatewayID)
	}
	if want.Auth.Type != AuthCertificates && want.Auth.Secret == "" {
		want.Auth.Secret = old.Auth.Secret
	}
	if err := s.completeDevice(instance, &want); err != nil {
		return old, err
	}
	return s.updateDevice(instance, old.DeviceID, func(d *Device) error {
		d.Name, d.Description, d.Tags, d.Auth, d.ExtensionInfo = want.Name, want.Description, want.Tags, want.Auth, want.ExtensionInfo
		return nil
	})
}

// Masked returns d without its secrets.
func (d Device) Masked() Device {
	for _, secret := range []*string{&d.Auth.Secret, &d.Auth.SecondarySecret} {
		if *secret != "" {
			*secret = "***"
		}
	}
	return d
}

func (s *Service) insert(instance string, d *Device) error {
	if d.GatewayID != "" {
		gateway, err := s.Device(instance, d.GatewayID)
		switch {
		case err != nil:
			return err
		case gateway.GatewayID != "":
			return invalid("gateway_id %q is itself a child: two levels are the limit", clip(d.GatewayID))
		case s.family(instance, d.GatewayID).Count >= maxChildren:
			return conflict("gateway %s has %d children already, which is the limit", d.GatewayID, maxChildren)
		}
	}
	if s.devices.Len() >= maxDevices {
		return conflict("there are %d devices already, which is the limit", maxDevices)
	}
	if s.devices.Create(key(instance, d.DeviceID), *d) != nil {
		return conflict("device %s exists already", d.DeviceID)
	}
	return nil
}

// completeDevice validates a device that is to be registered, and fills what it leaves open.
func (s *Service) completeDevice(instance string, d *Device) error {
	switch {
	case len(d.NodeID) > maxNodeID || !identifier.MatchString(d.NodeID):
		return invalid("node_id %q: 1 to %d letters, digits, _ and -", clip(d.NodeID), maxNodeID)
	case d.DeviceID == "":
		d.DeviceID = d.ProductID + "_" + d.NodeID
	}
	if len(d.DeviceID) > maxDeviceID || !identifier.MatchString(d.DeviceID) {
		return invalid("device_id %q: 1 to %d letters, digits, _ and -", clip(d.DeviceID), maxDeviceID)
	}
	if len(d.Name) > 256 || len(d.Description) > maxText || len(d.ExtensionInfo) > maxText || len(d.Tags) > maxTags {
		return invalid("device_name has at most 256, description and extension_info %d characters; at most %d tags", maxText, maxTags)
	}
	if d.Name == "" {
		d.Name = d.NodeID
	}
	if err := s.completeAuth(instance, d.DeviceID, &d.Auth); err != nil {
		return err
	}
	d.Status, d.Created, d.Activated, d.StatusChanged = Inactive, s.clock.Wall().UTC(), time.Time{}, time.Time{}
	return nil
}

func (s *Service) completeAuth(instance, device string, a *AuthInfo) error {
	switch a.Type {
	case "", AuthSecret:
		a.Type = AuthSecret
		if a.Fingerprint != "" {
			return invalid("auth_info.fingerprint goes with auth_type CERTIFICATES")
		}
		if a.Secret == "" {
			a.Secret = newSecret()
		}
		for _, secret := range []string{a.Secret, a.SecondarySecret} {
			if secret != "" && !secretForm.MatchString(secret) {
				return invalid("auth_info.secret: 8 to 32 letters, digits, _ and -")
			}
		}
	case AuthCertificates:
		a.Secret, a.SecondarySecret = "", ""
		for _, f := range []*string{&a.Fingerprint, &a.SecondaryFingerprint} {
			if err := s.checkFingerprint(instance, device, *f); err != nil {
				return err
			}
			*f = strings.ToLower(*f)
		}
	default:
		return invalid("auth_info.auth_type %q: SECRET or CERTIFICATES", clip(a.Type))
	}
	if a.Timeout < 0 {
		return invalid("auth_info.timeout %d is negative", a.Timeout)
	}
	return nil
}

var fingerprintForm = regexp.MustCompile(`^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$`)

// checkFingerprint judges the form of a certificate's fingerprint (DA-18).
func (s *Service) checkFingerprint(instance, device, text string) error {
	if text == "" || fingerprintForm.MatchString(text) {
		return nil
	}
	r := &rule.Refusal{Rule: "DA-18/form", Detail: "the fingerprint is neither a SHA-1 nor a SHA-256 one",
		Seen: "fingerprint " + clip(text), Expected: "40 (SHA-1) or 64 (SHA-256) hexadecimal digits"}
	if bare := strings.ReplaceAll(text, ":", ""); fingerprintForm.MatchString(bare) {
		r.Rule, r.Detail, r.Expected = "DA-18/colons", "the fingerprint still has its colons", bare
	}
	return s.refuseAPI(instance, device, CodeInvalid, r)
}

func newSecret() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

// watchActivation deletes a device that has not connected within the timeout of its auth_info.
func (s *Service) watchActivation(instance string, d Device) {
	if d.Auth.Timeout == 0 {
		return
	}
	s.clock.AfterFunc(time.Duration(d.Auth.Timeout)*time.Second, func() {
		now, err := s.Device(instance, d.DeviceID)
		if err == nil && now.Status == Inactive && now.Created.Equal(d.Created) {
			_ = s.DeleteDevice(instance, d.DeviceID) // gone already is as good
		}
	})
}

// Change is an update of a device; nil leaves as it is.
type Change struct {
	Name, Description *string
	ExtensionInfo     *[]byte
	SecureAccess      *bool
}

// UpdateDevice changes a device's record and returns it.
func (s *Service) UpdateDevice(instance, id string, c Change) (Device, error) {
	return s.updateDevice(instance, id, func(d *Device) error {
		if c.Name != nil {
			if len(*c.Name) > 256 {
				return invalid("device_name: at most 256 characters")
			}
			d.Name = *c.Name
		}
		if c.Description != nil {
			if len(*c.Description) > maxText {
				return invalid("description: at most %d characters", maxText)
			}
			d.Description = *c.Description
		}
		if c.ExtensionInfo != nil {
			if len(*c.ExtensionInfo) > maxText {
				return invalid("extension_info: at most %d characters", maxText)
			}
			d.ExtensionInfo = slices.Clone(*c.ExtensionInfo)
		}
		if c.SecureAccess != nil {
			d.Auth.SecureAccess = *c.SecureAccess
		}
		return nil
	})
}

// DeleteDevice closes the device's connection and removes it with its shadow, its messages and, of a
// gateway, its children.
func (s *Service) DeleteDevice(instance, id string) error {
	d, err := s.Device(instance, id)
	if err != nil {
		return err
	}
	children := s.Children(instance, id)
	s.admin.Lock()
	s.devices.Delete(key(instance, id))
	s.shadows.Delete(key(instance, id))
	s.dropMessages(instance, id)
	s.admin.Unlock()
	s.cut(func(c *Session) bool { return c.id.Instance == instance && c.id.DeviceID == id }, errDeleted)
	for _, child := range children {
		_ = s.DeleteDevice(instance, child.DeviceID) // gone already is as good
	}
	s.families.Delete(key(instance, id))
	s.tellDeletedDevice(instance, d)
	if d.GatewayID != "" {
		s.childDeleted(instance, d)
	}
	return nil
}

// ResetSecret gives a device another secret, an empty one is made, and returns it. With disconnect the
// live connection ends; else it goes on until it ends by itself.
func (s *Service) ResetSecret(instance, id, secret string, secondary, disconnect bool) (string, error) {
	if secret == "" {
		secret = newSecret()
	}
	if !secretForm.MatchString(secret) {
		return "", invalid("secret: 8 to 32 letters, digits, _ and -")
	}
	_, err := s.updateDevice(instance, id, func(d *Device) error {
		switch {
		case d.Auth.Type != AuthSecret:
			return invalid("device %s authenticates by certificate", id)
		case secondary:
			d.Auth.SecondarySecret = secret
		default:
			d.Auth.Secret = secret
		}
		return nil
	})
	if err == nil && disconnect {
		s.Disconnect(instance, id)
	}
	return secret, err
}

// ResetFingerprint gives a certificate device another fingerprint; an empty one is learned at the next
// connection.
func (s *Service) ResetFingerprint(instance, id, fingerprint string, secondary, disconnect bool) (Device, error) {
	if err := s.checkFingerprint(instance, id, fingerprint); err != nil {
		return Device{}, err
	}
	d, err := s.updateDevice(instance, id, func(d *Device) error {
		switch {
		case d.Auth.Type != AuthCertificates:
			return invalid("device %s authenticates by secret", id)
		case secondary:
			d.Auth.SecondaryFingerprint = strings.ToLower(fingerprint)
		default:
			d.Auth.Fingerprint, d.Auth.Learned = strings.ToLower(fingerprint), false
		}
		return nil
	})
	if err == nil && disconnect {
		s.Disconnect(instance, id)
	}
	return d, err
}

// Freeze bars a device and closes its connection, or admits it again.
func (s *Service) Freeze(instance, id string, frozen bool) error {
	_, err := s.updateDevice(instance, id, func(d *Device) error {
		d.Frozen = frozen
		return nil
	})
	if err == nil && frozen {
		s.Disconnect(instance, id)
	}
	return err
}

// SetTags binds tags to a device, replacing those of the same key.
func (s *Service) SetTags(instance, id string, tags []Tag) error {
	_, err := s.updateDevice(instance, id, func(d *Device) error {
		kept := slices.Clone(d.Tags)
		for _, t := range tags {
			if t.Key == "" || len(t.Key) > 64 || len(t.Value) > 128 {
				return invalid("a tag has a key of 1 to 64 and a value of at most 128 characters")
			}
			kept = slices.DeleteFunc(kept, func(k Tag) bool { return k.Key == t.Key })
			kept = append(kept, t)
		}
		if len(kept) > maxTags {
			return invalid("a device has at most %d tags", maxTags)
		}
		d.Tags = kept
		return nil
	})
	return err
}

// DropTags removes tags by key.
func (s *Service) DropTags(instance, id string, keys []string) error {
	_, err := s.updateDevice(instance, id, func(d *Device) error {
		d.Tags = slices.DeleteFunc(slices.Clone(d.Tags), func(t Tag) bool { return slices.Contains(keys, t.Key) })
		return nil
	})
	return err
}

// ChangeGateway moves a child to another gateway, which learns of it.
func (s *Service) ChangeGateway(instance, id, gateway string) (Device, error) {
	to, err := s.Device(instance, gateway)
	if err != nil {
		return Device{}, err
	}
	if to.GatewayID != "" {
		return Device{}, invalid("gateway_id %q is itself a child: two levels are the limit", clip(gateway))
	}
	var before Device
	d, err := s.updateDevice(instance, id, func(d *Device) error {
		if d.GatewayID == "" {
			return invalid("device %s connects itself and is no child", clip(id))
		}
		before = *d
		d.GatewayID = gateway
		return nil
	})
	if err != nil || before.GatewayID == gateway {
		return d, err
	}
	s.childDeleted(instance, before)
	s.childAdded(instance, d, false)
	return d, nil
}
