package world

import "strconv"

// iotda checks every instance of IoTDA: that what refers to a product, a device, a template or a resource
// space finds it.
func (v *validator) iotda() {
	for _, i := range v.w.IoTDA.Instances {
		at := element("iotda.instances", lower(i.Name))
		products, devices, templates, spaces := i.names()
		inSpace := func(at, space string) { v.refers(at+".space", space, "resource space", "spaces", spaces) }
		for _, t := range i.Templates {
			if len(t.Body) == 0 {
				v.report(element(at+".templates", t.ID), "needs body: the template_body with parameters and resources")
			}
		}
		for _, c := range i.Certificates {
			here := element(at+".certificates", lower(c.Name))
			v.certificates(at+".certificates", []CACertificate{c.CACertificate})
			v.refers(here+".template", c.Template, "template", "templates", templates)
			inSpace(here, c.Space)
		}
		for _, p := range i.Products {
			here := element(at+".products", p.ProductID)
			inSpace(here, p.Space)
			v.model(here, p)
		}
		for _, d := range i.Devices {
			v.iotdaDevice(element(at+".devices", d.DeviceID), d, products, devices)
		}
		for _, p := range i.Policies {
			here := element(at+".policies", p.ID)
			inSpace(here, p.Space)
			if len(p.Statements) == 0 {
				v.report(here, "needs statements: effect, actions and resources")
			}
			for n, s := range p.Statements {
				if s.Effect == "" || len(s.Actions) == 0 || len(s.Resources) == 0 {
					v.report(element(here+".statements", strconv.Itoa(n)), "needs effect, actions and resources")
				}
			}
		}
		for _, f := range i.Forwarding {
			here := element(at+".forwarding", f.ID)
			inSpace(here, f.Space)
			if f.Resource == "" || f.Event == "" {
				v.report(here, "needs resource and event, such as device.property and report")
			}
			for _, a := range f.Actions {
				if a.URL == "" {
					v.report(element(here+".actions", a.ID), "needs url")
				}
			}
		}
	}
}

// names lists what an instance's elements may refer to. Resource spaces are nil where the default one has
// an id that nobody knows yet.
func (i IoTDAInstance) names() (products, devices, templates, spaces []string) {
	for _, p := range i.Products {
		products = append(products, p.ProductID)
	}
	for _, d := range i.Devices {
		devices = append(devices, d.DeviceID)
	}
	for _, t := range i.Templates {
		templates = append(templates, t.ID)
	}
	for _, s := range i.Spaces {
		spaces = append(spaces, s.ID)
	}
	if i.DefaultSpace != "" {
		spaces = append(spaces, i.DefaultSpace)
	}
	return products, devices, templates, spaces
}

// refers wants name, where it is given, to be among known.
func (v *validator) refers(at, name, what, key string, known []string) {
	for _, k := range known {
		if k == name {
			return
		}
	}
	if name != "" {
		v.report(at, "no %s %s in this instance's %s%s", what, quote(name), key, didYouMean(name, known))
	}
}

func (v *validator) model(at string, p Product) {
	for _, s := range p.Services {
		for _, property := range s.Properties {
			here := element(element(at+".services", s.ServiceID)+".properties", property.Name)
			switch {
			case property.DataType == "":
				v.report(here, "needs dataType, such as int or string")
			case property.DataType == "enum" && len(property.Enum) == 0:
				v.report(here, "is an enum and needs enum: the list of its values")
			}
		}
	}
}

func (v *validator) iotdaDevice(at string, d IoTDADevice, products, devices []string) {
	if d.ProductID == "" {
		v.report(at, "needs productId: one of this instance's products")
	}
	v.refers(at+".productId", d.ProductID, "product", "products", products)
	v.refers(at+".gatewayId", d.GatewayID, "device", "devices", devices)
	if d.GatewayID == d.DeviceID && d.GatewayID != "" {
		v.report(at+".gatewayId", "is the device itself; leave it out for a device that connects itself")
	}
	certificate := d.AuthType == "CERTIFICATES" || d.AuthType == "" && d.Fingerprint != ""
	switch {
	case certificate && d.Secret != "":
		v.report(at+".secret", "goes with authType SECRET, but the device proves itself by certificate")
	case !certificate && (d.Fingerprint != "" || d.SecondaryFingerprint != ""):
		v.report(at+".fingerprint", "goes with authType CERTIFICATES, but the device proves itself by secret")
	}
}
