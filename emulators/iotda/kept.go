package iotda

import (
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
)

// The rows of a store's directory, for records whose own JSON is the API's and leaves something out.

type appRow struct {
	App
	At time.Time `json:"at"`
}

func keptApp() store.Codec[App] {
	return store.As(func(a App) appRow { return appRow{a, a.Created} },
		func(r appRow) (App, error) { r.App.Created = r.At; return r.App, nil })
}

type productRow struct {
	Product
	At time.Time `json:"at"`
}

func keptProduct() store.Codec[Product] {
	return store.As(func(p Product) productRow { return productRow{p, p.Created} },
		func(r productRow) (Product, error) { r.Product.Created = r.At; return r.Product, nil })
}

type packageRow struct {
	Package
	At time.Time `json:"at"`
}

func keptPackage() store.Codec[Package] {
	return store.As(func(p Package) packageRow { return packageRow{p, p.Created} },
		func(r packageRow) (Package, error) { r.Package.Created = r.At; return r.Package, nil })
}

type templateRow struct {
	Template
	At time.Time `json:"at"`
}

func keptTemplate() store.Codec[Template] {
	return store.As(func(t Template) templateRow { return templateRow{t, t.Created} },
		func(r templateRow) (Template, error) { r.Template.Created = r.At; return r.Template, nil })
}

type policyRow struct {
	Policy
	OfDevices  []string `json:"devices"`
	OfProducts []string `json:"products"`
	OfApps     []string `json:"apps"`
}

func keptPolicy() store.Codec[Policy] {
	return store.As(func(p Policy) policyRow { return policyRow{p, p.Devices, p.Products, p.Apps} },
		func(r policyRow) (Policy, error) {
			r.Policy.Devices, r.Policy.Products, r.Policy.Apps = r.OfDevices, r.OfProducts, r.OfApps
			return r.Policy, nil
		})
}

type deviceRow struct {
	Device
	Learned bool `json:"learned"`
}

func keptDevice() store.Codec[Device] {
	return store.As(func(d Device) deviceRow { return deviceRow{d, d.Auth.Learned} },
		func(r deviceRow) (Device, error) { r.Device.Auth.Learned = r.Learned; return r.Device, nil })
}

// resume sets what an earlier life of the process has left: nobody is connected, and time limits run on.
func (s *Service) resume() {
	for _, k := range s.devices.Keys("") {
		instance, id, _ := strings.Cut(k, keySeparator)
		d, _ := s.devices.Get(k)
		if d.Status == Online {
			d, _ = s.updateDevice(instance, id, func(d *Device) error {
				d.Status = Offline
				return nil
			})
		}
		if d.Status == Inactive {
			s.watchActivation(instance, d)
		}
	}
	for _, k := range s.messages.Keys("") {
		instance, id, _ := strings.Cut(k, keySeparator)
		box, _ := s.messages.Get(k)
		for _, m := range box.Messages {
			if m.Status == Pending {
				s.watchMessage(instance, id, m)
			}
		}
	}
}
