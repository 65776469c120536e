package iotda

import (
	"strings"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// scenarioDevice is what a scenario device is registered as where the instance has them, when it first comes:
// with the known secret, or for a client that shows a certificate and no password with its fingerprint. What
// stands before the scenario's beginning is the product.
func (s *Service) scenarioDevice(c Credentials, device string) (Device, bool) {
	i, _ := s.Instance(c.Instance)
	scenario, ok := fault.FindScenario(device)
	product, node, split := strings.Cut(device, "_"+fault.ScenarioPrefix)
	if !i.Scenarios || !ok || !split {
		return Device{}, false
	}
	p, err := s.Product(c.Instance, product)
	if err != nil {
		return Device{}, false
	}
	d := Device{DeviceID: device, AppID: p.AppID, ProductID: product, NodeID: fault.ScenarioPrefix + node, Name: "scenario " + scenario.Name,
		Frozen: scenario.Disabled, Auth: AuthInfo{Type: AuthSecret, Secret: fault.ScenarioSecret}}
	if c.Password == "" && len(c.Certificates) > 0 {
		d.Auth = AuthInfo{Type: AuthCertificates}
	}
	return d, true
}

// welcome registers a scenario device whose credential is right.
func (s *Service) welcome(d Device, id iotda.ClientID, c Credentials) (Device, *rule.Refusal) {
	if d.Auth.Type == AuthCertificates {
		if _, r := s.checkChain(c.Instance, d.AppID, c.Certificates); r != nil {
			return d, r
		}
	} else if r := s.byPassword(d, id, c); r != nil {
		return d, r
	}
	d, err := s.CreateDevice(c.Instance, NewDevice{Device: d})
	if err != nil {
		if old, known := s.devices.Get(key(c.Instance, d.DeviceID)); known { // it came twice at once
			return old, nil
		}
		r := s.unknownDevice(c, d.DeviceID)
		r.Detail += "; the scenario device was not made: " + err.Error()
		return d, r
	}
	s.journal.Append(journal.Event{Platform: Platform, Endpoint: c.Instance, Device: d.DeviceID, Conn: c.Conn, Address: c.Address,
		Kind: journal.World, Detail: "this scenario device was registered: it had not come before", Source: fault.ScenarioSource,
		Properties: map[string]string{"scenario": fault.ScenarioName(d.DeviceID)}})
	return d, nil
}
