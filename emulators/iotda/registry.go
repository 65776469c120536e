package iotda

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
)

// Limits of the registry ("Limitations", iot_04_0010; our own where the page has none).
const (
	maxApps     = 100
	maxProducts = 10_000
	maxDevices  = 200_000
	maxChildren = 50_000
	maxCAs      = 100

	maxTemplates = 1000
	maxPolicies  = 1000
)

var (
	instanceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)
	projectID    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	identifier   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// PutInstance adds or replaces an instance and returns it completed. A new one gets its default space.
func (s *Service) PutInstance(i Instance) (Instance, error) {
	if i.Region == "" {
		i.Region = DefaultRegion
	}
	switch {
	case !instanceName.MatchString(i.Name):
		return i, invalid("instance name %q: 1 to 64 letters, digits and -", clip(i.Name))
	case i.ProjectID != "" && !projectID.MatchString(i.ProjectID):
		return i, invalid("project id %q: 32 hexadecimal digits in lower case", clip(i.ProjectID))
	case i.DefaultApp != "" && (len(i.DefaultApp) > maxDeviceID || !identifier.MatchString(i.DefaultApp)):
		return i, invalid("default resource space %q: letters, digits, _ and -", clip(i.DefaultApp))
	case i.StampTolerance != nil && (*i.StampTolerance < 0 || *i.StampTolerance > 24):
		return i, invalid("stamp tolerance of %d hours: 0 to 24", *i.StampTolerance)
	case i.CommandTimeout < 0:
		return i, invalid("command timeout %s is negative", i.CommandTimeout)
	}
	i.Name = strings.ToLower(i.Name)
	s.admin.Lock()
	defer s.admin.Unlock()
	old, replaces := s.instances.Get(i.Name)
	if i.ProjectID == "" {
		i.ProjectID = old.ProjectID
	}
	if i.ProjectID == "" {
		i.ProjectID = s.ids.Hex(32)
	}
	s.instances.Put(i.Name, i)
	if !replaces {
		id := orText(i.DefaultApp, s.ids.Hex(32))
		s.apps.Put(key(i.Name, id), App{AppID: id, Name: "DefaultApp_" + i.Name, Default: true, Created: s.clock.Wall().UTC()})
	}
	return i, nil
}

// Instance returns the instance of that name.
func (s *Service) Instance(name string) (Instance, bool) { return s.instances.Get(name) }

// Instances returns all instances, ordered by name.
func (s *Service) Instances() []Instance { return s.instances.List("") }

// DeleteInstance closes an instance's connections, removes it with all its records and reports whether
// there was one.
func (s *Service) DeleteInstance(name string) bool {
	s.admin.Lock()
	defer s.admin.Unlock()
	if !s.instances.Delete(name) {
		return false
	}
	s.cut(func(c *Session) bool { return c.id.Instance == name }, errDeleted)
	prefix := name + keySeparator
	drop(s.apps, prefix)
	drop(s.products, prefix)
	drop(s.devices, prefix)
	drop(s.cas, prefix)
	drop(s.templates, prefix)
	drop(s.policies, prefix)
	drop(s.shadows, prefix)
	drop(s.messages, prefix)
	drop(s.families, prefix)
	drop(s.routing, prefix)
	drop(s.actions, prefix)
	drop(s.objects.table, prefix)
	drop(s.packages, prefix)
	drop(s.tasks, prefix)
	drop(s.groups, prefix)
	drop(s.queues, prefix)
	drop(s.tunnels, prefix)
	return true
}

var errDeleted = errors.New("the device was deleted")

func drop[V any](t *store.Table[V], prefix string) {
	for _, k := range t.Keys(prefix) {
		t.Delete(k)
	}
}

// known says whether an instance exists.
func (s *Service) known(instance string) error {
	if _, ok := s.instances.Get(instance); !ok {
		return notFound("instance", instance)
	}
	return nil
}

// PutApp adds or renames a resource space; an empty id is generated.
func (s *Service) PutApp(instance string, a App) (App, error) {
	if err := s.known(instance); err != nil {
		return a, err
	}
	if a.Name == "" || len(a.Name) > 64 {
		return a, invalid("app_name: 1 to 64 characters")
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if a.AppID == "" {
		a.AppID = s.ids.Hex(32)
	}
	old, replaces := s.apps.Get(key(instance, a.AppID))
	if !replaces && len(s.apps.Keys(instance+keySeparator)) >= maxApps {
		return a, conflict("there are %d resource spaces already, which is the limit", maxApps)
	}
	a.Default, a.Created = old.Default, old.Created
	if !replaces {
		a.Created = s.clock.Wall().UTC()
	}
	s.apps.Put(key(instance, a.AppID), a)
	return a, nil
}

// Apps returns the resource spaces of an instance, ordered by id.
func (s *Service) Apps(instance string) []App { return s.apps.List(instance + keySeparator) }

// App returns one resource space; an empty id is the default one.
func (s *Service) App(instance, id string) (App, error) {
	if id != "" {
		if a, ok := s.apps.Get(key(instance, id)); ok {
			return a, nil
		}
		return App{}, notFound("resource space", id)
	}
	for _, a := range s.Apps(instance) {
		if a.Default {
			return a, nil
		}
	}
	return App{}, notFound("resource space", "default")
}

// DeleteApp removes an empty resource space; the default one stays.
func (s *Service) DeleteApp(instance, id string) error {
	a, err := s.App(instance, id)
	if err != nil || id == "" {
		return errors.Join(err, notFoundIf(id == "", "resource space", id))
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	inUse := slices.ContainsFunc(s.Products(instance), func(p Product) bool { return p.AppID == id })
	if a.Default || inUse {
		return conflict("resource space %s is the default one, or has products", id)
	}
	s.apps.Delete(key(instance, id))
	return nil
}

func notFoundIf(is bool, what, id string) error {
	if is {
		return notFound(what, id)
	}
	return nil
}

// PutProduct adds or replaces a product and returns it completed.
func (s *Service) PutProduct(instance string, p Product) (Product, error) {
	if err := s.known(instance); err != nil {
		return p, err
	}
	if err := p.complete(); err != nil {
		return p, err
	}
	app, err := s.App(instance, p.AppID)
	if err != nil {
		return p, err
	}
	p.AppID = app.AppID
	s.admin.Lock()
	defer s.admin.Unlock()
	if p.ProductID == "" {
		p.ProductID = s.ids.Hex(24)
	}
	old, replaces := s.products.Get(key(instance, p.ProductID))
	p.Created = old.Created
	if !replaces {
		if len(s.products.Keys(instance+keySeparator)) >= maxProducts {
			return p, conflict("there are %d products already, which is the limit", maxProducts)
		}
		p.Created = s.clock.Wall().UTC()
	}
	s.products.Put(key(instance, p.ProductID), p)
	event := created
	if replaces {
		event = updated
	}
	s.tellProduct(instance, p, event)
	return p, nil
}

// Product returns one product.
func (s *Service) Product(instance, id string) (Product, error) {
	p, ok := s.products.Get(key(instance, id))
	if !ok {
		return p, notFound("product", id)
	}
	return p, nil
}

// Products returns the products of an instance, ordered by id.
func (s *Service) Products(instance string) []Product {
	return s.products.List(instance + keySeparator)
}

// DeleteProduct removes a product without devices.
func (s *Service) DeleteProduct(instance, id string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if slices.ContainsFunc(s.Devices(instance), func(d Device) bool { return d.ProductID == id }) {
		return conflict("product %s has devices", clip(id))
	}
	p, _ := s.Product(instance, id)
	if !s.products.Delete(key(instance, id)) {
		return notFound("product", id)
	}
	s.tellDeletedProduct(instance, p)
	return nil
}

// Device returns one device, its secrets included.
func (s *Service) Device(instance, id string) (Device, error) {
	d, ok := s.devices.Get(key(instance, id))
	if !ok {
		return d, &Error{Code: CodeNoDevice, Text: fmt.Sprintf("device %q does not exist", clip(id))}
	}
	return d, nil
}

// Devices returns the devices of an instance, secrets included, ordered by id.
func (s *Service) Devices(instance string) []Device {
	return s.devices.List(instance + keySeparator)
}

// DeviceFilter picks devices. What is empty picks all.
type DeviceFilter struct {
	ProductID, GatewayID, NodeID, Name, AppID string
	From, To                                  time.Time // of the registration, both ends in
}

func (f DeviceFilter) fits(d Device) bool {
	for _, field := range [][2]string{{f.ProductID, d.ProductID}, {f.GatewayID, d.Gateway()}, {f.NodeID, d.NodeID}, {f.Name, d.Name}, {f.AppID, d.AppID}} {
		if want := field[0]; want != "" && want != field[1] {
			return false
		}
	}
	made := d.Created.Truncate(time.Second) // as the API shows it
	return (f.From.IsZero() || !made.Before(f.From)) && (f.To.IsZero() || !made.After(f.To))
}

// FindDevices returns the devices that a filter picks, secrets included, ordered by id.
func (s *Service) FindDevices(instance string, f DeviceFilter) ([]Device, error) {
	if !f.From.IsZero() && !f.To.IsZero() && f.From.After(f.To) {
		return nil, &Error{Code: CodePeriod, Text: "start_time lies after end_time"}
	}
	return slices.DeleteFunc(s.Devices(instance), func(d Device) bool { return !f.fits(d) }), nil
}

// Children returns the devices of a gateway, ordered by id.
func (s *Service) Children(instance, gateway string) []Device {
	if _, any := s.families.Get(key(instance, gateway)); !any {
		return nil // most devices are no gateways, and all devices need not be looked at
	}
	return slices.DeleteFunc(s.Devices(instance), func(d Device) bool { return d.GatewayID != gateway })
}

// updateDevice changes a stored device, and announces what an application sees of it.
func (s *Service) updateDevice(instance, id string, change func(*Device) error) (Device, error) {
	var before Device
	d, err := s.devices.Update(key(instance, id), func(d Device) (Device, error) {
		before = d
		err := change(&d)
		return d, err
	})
	if errors.Is(err, store.ErrNotFound) {
		_, err = s.Device(instance, id)
	}
	if err == nil && !sameToTell(before, d) {
		s.tellDevice(instance, d, updated)
	}
	return d, err
}
