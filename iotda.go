package fakecloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/world"
)

// applyIoTDA creates or replaces an IoTDA instance with all that a world says of it.
func (p platforms) applyIoTDA(w world.IoTDAInstance, caPEM func(string) ([]byte, error)) error {
	i := iotda.Instance{Name: w.Name, Region: w.Region, ProjectID: w.ProjectID, DefaultApp: w.DefaultSpace, StampTolerance: w.StampTolerance,
		BootstrapAddress: w.BootstrapAddress, Strategies: w.Strategies, Scenarios: isTrue(w.Scenarios)}
	if w.CommandTimeout != nil {
		i.CommandTimeout = w.CommandTimeout.D()
	}
	for _, s := range w.Scopes {
		i.Scopes = append(i.Scopes, iotda.Scope{ID: s.ID, Secret: s.Secret})
	}
	for _, k := range w.AccessKeys {
		i.AccessKeys = append(i.AccessKeys, iotda.AccessKey{Access: k.Access, Secret: k.Secret})
	}
	name := strings.ToLower(w.Name)
	_, exists := p.iot.Instance(name)
	if p.gaps.takes(exists, "IoTDA instance "+w.Name) {
		if _, err := p.iot.PutInstance(i); err != nil {
			return err
		}
	}
	return p.applyIoTDARecords(name, w, caPEM)
}

// applyIoTDARecords puts what lies within an instance, what others refer to first.
func (p platforms) applyIoTDARecords(instance string, w world.IoTDAInstance, caPEM func(string) ([]byte, error)) error {
	for _, s := range w.Spaces {
		if _, err := p.iot.App(instance, s.ID); p.gaps.takes(err == nil, "resource space "+s.ID) {
			if _, err := p.iot.PutApp(instance, iotda.App{AppID: s.ID, Name: or(s.Name, s.ID)}); err != nil {
				return fmt.Errorf("spaces[%s]: %w", s.ID, err)
			}
		}
	}
	for _, t := range w.Templates {
		if _, err := p.iot.Template(instance, t.ID); p.gaps.takes(err == nil, "provisioning template "+t.ID) {
			if err := p.applyTemplate(instance, t); err != nil {
				return fmt.Errorf("templates[%s]: %w", t.ID, err)
			}
		}
	}
	for _, c := range w.Certificates {
		if _, err := p.iot.CA(instance, c.Name); p.gaps.takes(err == nil, "IoTDA certificate "+c.Name) {
			if err := p.applyIoTDACertificate(instance, c, caPEM); err != nil {
				return fmt.Errorf("certificates[%s]: %w", c.Name, err)
			}
		}
	}
	for _, product := range w.Products {
		if _, err := p.iot.Product(instance, product.ProductID); p.gaps.takes(err == nil, "product "+product.ProductID) {
			made, err := productOf(product)
			if err == nil {
				_, err = p.iot.PutProduct(instance, made)
			}
			if err != nil {
				return fmt.Errorf("products[%s]: %w", product.ProductID, err)
			}
		}
	}
	for _, d := range w.Devices {
		if old, err := p.iot.Device(instance, d.DeviceID); p.gaps.takesDevice(err == nil, "device", d.DeviceID) {
			if err := p.applyIoTDADevice(instance, d, old); err != nil {
				return fmt.Errorf("devices[%s]: %w", d.DeviceID, err)
			}
		}
	}
	for _, policy := range w.Policies {
		if _, err := p.iot.Policy(instance, policy.ID); p.gaps.takes(err == nil, "device policy "+policy.ID) {
			if _, err := p.iot.PutPolicy(instance, policyOf(policy)); err != nil {
				return fmt.Errorf("policies[%s]: %w", policy.ID, err)
			}
		}
	}
	for _, f := range w.Forwarding {
		if _, err := p.iot.RoutingRule(instance, f.ID); p.gaps.takes(err == nil, "forwarding "+f.ID) {
			if err := p.applyForwarding(instance, f); err != nil {
				return fmt.Errorf("forwarding[%s]: %w", f.ID, err)
			}
		}
	}
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (p platforms) applyTemplate(instance string, t world.IoTDATemplate) error {
	text, err := json.Marshal(t.Body)
	if err != nil {
		return err
	}
	made := iotda.Template{ID: t.ID, Name: or(t.Name, t.ID), Description: t.Description}
	if err := json.Unmarshal(text, &made.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	_, err = p.iot.PutTemplate(instance, made)
	return err
}

func (p platforms) applyIoTDACertificate(instance string, c world.IoTDACertificate, caPEM func(string) ([]byte, error)) error {
	text, err := certificatePEM(c.CACertificate, caPEM)
	if err != nil {
		return err
	}
	_, err = p.iot.UploadCA(instance, iotda.CA{ID: c.Name, AppID: c.Space, Certificate: string(text), Verified: c.IsVerified(),
		ProvisionEnable: c.Template != "", TemplateID: c.Template})
	return err
}

func (p platforms) applyIoTDADevice(instance string, d world.IoTDADevice, old iotda.Device) error {
	n := iotda.Device{DeviceID: d.DeviceID, NodeID: d.Node(), Name: d.Name, ProductID: d.ProductID, GatewayID: d.GatewayID, Description: d.Description,
		ExtensionInfo: old.ExtensionInfo, Auth: iotda.AuthInfo{Type: d.AuthType, Secret: d.Secret, SecondarySecret: d.SecondarySecret,
			Fingerprint: d.Fingerprint, SecondaryFingerprint: d.SecondaryFingerprint, SecureAccess: isTrue(d.SecureAccess)}}
	if n.Auth.Type == "" && d.Fingerprint != "" {
		n.Auth.Type = iotda.AuthCertificates
	}
	if d.Timeout != nil {
		n.Auth.Timeout = *d.Timeout
	}
	for _, t := range d.Tags {
		n.Tags = append(n.Tags, iotda.Tag{Key: t.Key, Value: t.Value})
	}
	if _, err := p.iot.PutDevice(instance, iotda.NewDevice{Device: n}); err != nil {
		return err
	}
	if frozen := isTrue(d.Frozen); frozen != old.Frozen {
		return p.iot.Freeze(instance, d.DeviceID, frozen)
	}
	return nil
}

// keepPlaces refuses a world that gives registered devices another product or gateway, which no device can
// change: rehearsed on empty cores that goes unnoticed.
func (p platforms) keepPlaces(w *world.World) error {
	for _, i := range w.IoTDA.Instances {
		for _, d := range i.Devices {
			old, err := p.iot.Device(strings.ToLower(i.Name), d.DeviceID)
			if err == nil && (old.ProductID != d.ProductID || old.GatewayID != d.GatewayID) {
				return fmt.Errorf("iotda.instances[%s].devices[%s]: it has product %q and gateway %q, which cannot change; delete it first", i.Name, d.DeviceID, old.ProductID, old.GatewayID)
			}
		}
	}
	return nil
}

func (p platforms) applyForwarding(instance string, f world.Forwarding) error {
	made := iotda.RoutingRule{ID: f.ID, Name: or(f.Name, f.ID), Subject: iotda.Subject{Resource: f.Resource, Event: f.Event}, AppID: f.Space, Select: f.Select, Where: f.Where,
		Active: f.Active == nil || *f.Active}
	if f.Space != "" {
		made.AppType = "APP"
	}
	if _, err := p.iot.PutRoutingRule(instance, made); err != nil {
		return err
	}
	for _, a := range f.Actions {
		detail, err := json.Marshal(map[string]any{"http_forwarding": map[string]string{"url": a.URL}})
		if err != nil {
			return err
		}
		if _, err := p.iot.PutRoutingAction(instance, iotda.RoutingAction{ID: a.ID, RuleID: f.ID, Channel: iotda.ChannelHTTP, Detail: detail}); err != nil {
			return fmt.Errorf("actions[%s]: %w", a.ID, err)
		}
	}
	return nil
}

func policyOf(w world.DevicePolicy) iotda.Policy {
	p := iotda.Policy{ID: w.ID, AppID: w.Space, Name: or(w.Name, w.ID), Devices: slices.Clone(w.Devices), Products: slices.Clone(w.Products)}
	for _, s := range w.Statements {
		p.Statements = append(p.Statements, iotda.Statement(s))
	}
	return p
}

// productOf writes a product of the world in the API's terms.
func productOf(w world.Product) (iotda.Product, error) {
	p := iotda.Product{ProductID: w.ProductID, AppID: w.Space, Name: or(w.Name, w.ProductID), DeviceType: w.DeviceType, ProtocolType: w.Protocol,
		DataFormat: w.DataFormat, ManufacturerName: w.Manufacturer, Industry: w.Industry, Description: w.Description}
	for _, t := range w.Topics {
		p.Topics = append(p.Topics, iotda.ProductTopic{Suffix: t.Topic, Operation: or(t.Operation, "ALL")})
	}
	for _, s := range w.Services {
		c := iotda.Capability{ServiceID: s.ServiceID, ServiceType: or(s.ServiceType, s.ServiceID), Option: s.Option, Description: s.Description}
		for _, property := range s.Properties {
			v, err := valueOf(property.ModelValue)
			if err != nil {
				return p, fmt.Errorf("services[%s].properties[%s]: %w", s.ServiceID, property.Name, err)
			}
			c.Properties = append(c.Properties, iotda.Property{Name: property.Name, Method: property.Method, Value: v})
		}
		for _, command := range s.Commands {
			paras, err := parasOf(command.Paras)
			if err != nil {
				return p, fmt.Errorf("services[%s].commands[%s]: %w", s.ServiceID, command.Name, err)
			}
			made := iotda.Command{Name: command.Name, Paras: paras}
			for _, r := range command.Responses {
				paras, err := parasOf(r.Paras)
				if err != nil {
					return p, fmt.Errorf("services[%s].commands[%s].responses[%s]: %w", s.ServiceID, command.Name, r.Name, err)
				}
				made.Responses = append(made.Responses, iotda.ServiceResponse{Name: r.Name, Paras: paras})
			}
			c.Commands = append(c.Commands, made)
		}
		for _, e := range s.Events {
			paras, err := parasOf(e.Paras)
			if err != nil {
				return p, fmt.Errorf("services[%s].events[%s]: %w", s.ServiceID, e.Type, err)
			}
			c.Events = append(c.Events, iotda.ServiceEvent{EventType: e.Type, Paras: paras})
		}
		p.Services = append(p.Services, c)
	}
	return p, nil
}

func parasOf(list []world.ModelPara) ([]iotda.Para, error) {
	var out []iotda.Para
	for _, w := range list {
		v, err := valueOf(w.ModelValue)
		if err != nil {
			return nil, fmt.Errorf("paras[%s]: %w", w.Name, err)
		}
		out = append(out, iotda.Para{Name: w.Name, Value: v})
	}
	return out, nil
}

func valueOf(w world.ModelValue) (iotda.Value, error) {
	v := iotda.Value{DataType: w.DataType, Required: isTrue(w.Required), EnumList: slices.Clone(w.Enum), Min: w.Min, Max: w.Max, Unit: w.Unit, Description: w.Description}
	if w.MaxLength != nil {
		v.MaxLength = *w.MaxLength
	}
	if w.Step != "" {
		step, err := strconv.ParseFloat(w.Step, 64)
		if err != nil {
			return v, fmt.Errorf("step: %w", err)
		}
		v.Step = step
	}
	return v, nil
}
