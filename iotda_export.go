package fakecloud

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// exportIoTDA writes the IoTDA instances with what applications have registered in them.
func (c *generation) exportIoTDA(known map[string]string) ([]world.IoTDAInstance, error) {
	var all []world.IoTDAInstance
	for _, i := range c.cores.iot.Instances() {
		out := world.IoTDAInstance{Name: i.Name, Region: i.Region, ProjectID: i.ProjectID, StampTolerance: i.StampTolerance,
			BootstrapAddress: i.BootstrapAddress, Strategies: i.Strategies, Scenarios: trueOrNil(i.Scenarios)}
		if i.CommandTimeout != 0 {
			d := world.Duration(i.CommandTimeout)
			out.CommandTimeout = &d
		}
		for _, s := range i.Scopes {
			out.Scopes = append(out.Scopes, world.IoTDAScope{ID: s.ID, Secret: s.Secret})
		}
		for _, k := range i.AccessKeys {
			out.AccessKeys = append(out.AccessKeys, world.AccessKey{Access: k.Access, Secret: k.Secret})
		}
		for _, a := range c.cores.iot.Apps(i.Name) {
			if a.Default {
				out.DefaultSpace = a.AppID
			} else {
				out.Spaces = append(out.Spaces, world.Space{ID: a.AppID, Name: a.Name})
			}
		}
		if err := c.exportIoTDARecords(&out, i.Name, known); err != nil {
			return nil, fmt.Errorf("iotda.instances[%s]: %w", i.Name, err)
		}
		all = append(all, out)
	}
	return all, nil
}

func (c *generation) exportIoTDARecords(out *world.IoTDAInstance, instance string, known map[string]string) error {
	core := c.cores.iot
	for _, t := range core.Templates(instance) {
		text, err := json.Marshal(t.Body)
		if err != nil {
			return err
		}
		w := world.IoTDATemplate{ID: t.ID, Name: t.Name, Description: t.Description}
		if err := json.Unmarshal(text, &w.Body); err != nil {
			return err
		}
		out.Templates = append(out.Templates, w)
	}
	for _, ca := range core.CAs(instance) {
		certs, err := pki.ParseCertificates([]byte(ca.Certificate))
		if err != nil {
			return fmt.Errorf("certificates[%s]: %w", ca.ID, err)
		}
		w := world.IoTDACertificate{CACertificate: exportCA(known, ca.ID, certs[0], ca.Verified), Space: ca.AppID}
		if ca.ProvisionEnable {
			w.Template = ca.TemplateID
		}
		out.Certificates = append(out.Certificates, w)
	}
	for _, p := range core.Products(instance) {
		out.Products = append(out.Products, exportProduct(p))
	}
	devices := core.Devices(instance)
	sort.SliceStable(devices, func(i, j int) bool { return level(devices[i]) < level(devices[j]) })
	for _, d := range devices {
		out.Devices = append(out.Devices, exportIoTDADevice(d))
	}
	for _, p := range core.Policies(instance) {
		w := world.DevicePolicy{ID: p.ID, Name: p.Name, Space: p.AppID, Devices: p.Devices, Products: p.Products}
		for _, s := range p.Statements {
			w.Statements = append(w.Statements, world.PolicyStatement(s))
		}
		out.Policies = append(out.Policies, w)
	}
	actions := core.RoutingActions(instance)
	for _, r := range core.RoutingRules(instance) {
		active := r.Active
		w := world.Forwarding{ID: r.ID, Name: r.Name, Resource: r.Subject.Resource, Event: r.Subject.Event, Select: r.Select, Where: r.Where, Active: &active}
		if r.AppType == "APP" {
			w.Space = r.AppID
		}
		for _, a := range actions {
			if a.RuleID == r.ID && a.Channel == iotda.ChannelHTTP {
				w.Actions = append(w.Actions, world.ForwardAction{ID: a.ID, URL: a.URL()})
			}
		}
		out.Forwarding = append(out.Forwarding, w)
	}
	return nil
}

// level sorts gateways before their children.
func level(d iotda.Device) int {
	if d.GatewayID == "" {
		return 0
	}
	return 1
}

func exportIoTDADevice(d iotda.Device) world.IoTDADevice {
	w := world.IoTDADevice{DeviceID: d.DeviceID, ProductID: d.ProductID, NodeID: d.NodeID, Name: d.Name, GatewayID: d.GatewayID, Description: d.Description,
		AuthType: d.Auth.Type, Secret: d.Auth.Secret, SecondarySecret: d.Auth.SecondarySecret, Fingerprint: d.Auth.Fingerprint,
		SecondaryFingerprint: d.Auth.SecondaryFingerprint, SecureAccess: trueOrNil(d.Auth.SecureAccess), Frozen: trueOrNil(d.Frozen)}
	if d.Auth.Timeout != 0 {
		w.Timeout = &d.Auth.Timeout
	}
	for _, t := range d.Tags {
		w.Tags = append(w.Tags, world.Tag{Key: t.Key, Value: t.Value})
	}
	return w
}

func exportProduct(p iotda.Product) world.Product {
	w := world.Product{ProductID: p.ProductID, Name: p.Name, Space: p.AppID, DeviceType: p.DeviceType, Protocol: p.ProtocolType, DataFormat: p.DataFormat,
		Manufacturer: p.ManufacturerName, Industry: p.Industry, Description: p.Description}
	for _, t := range p.Topics {
		w.Topics = append(w.Topics, world.ProductTopic{Topic: t.Suffix, Operation: t.Operation})
	}
	for _, c := range p.Services {
		s := world.ModelService{ServiceID: c.ServiceID, ServiceType: c.ServiceType, Option: c.Option, Description: c.Description}
		for _, property := range c.Properties {
			s.Properties = append(s.Properties, world.ModelProperty{Name: property.Name, Method: property.Method, ModelValue: exportValue(property.Value)})
		}
		for _, command := range c.Commands {
			m := world.ModelCommand{Name: command.Name, Paras: exportParas(command.Paras)}
			for _, r := range command.Responses {
				m.Responses = append(m.Responses, world.ModelResponse{Name: r.Name, Paras: exportParas(r.Paras)})
			}
			s.Commands = append(s.Commands, m)
		}
		for _, e := range c.Events {
			s.Events = append(s.Events, world.ModelEvent{Type: e.EventType, Paras: exportParas(e.Paras)})
		}
		w.Services = append(w.Services, s)
	}
	return w
}

func exportParas(list []iotda.Para) []world.ModelPara {
	var out []world.ModelPara
	for _, p := range list {
		out = append(out, world.ModelPara{Name: p.Name, ModelValue: exportValue(p.Value)})
	}
	return out
}

func exportValue(v iotda.Value) world.ModelValue {
	w := world.ModelValue{DataType: v.DataType, Required: trueOrNil(v.Required), Enum: v.EnumList, Min: v.Min, Max: v.Max, Unit: v.Unit, Description: v.Description}
	if v.MaxLength != 0 {
		w.MaxLength = &v.MaxLength
	}
	if v.Step != 0 {
		w.Step = strconv.FormatFloat(v.Step, 'g', -1, 64)
	}
	return w
}
