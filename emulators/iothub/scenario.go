package iothub

import (
	"errors"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// scenarioDevice is the identity that a scenario device gets where the hub has them, when it first comes: with
// the known key, or for a client that shows a certificate with that of one of the hub's CAs.
func scenarioDevice(hub Hub, deviceID string, certificate bool) (Device, bool) {
	scenario, ok := fault.FindScenario(deviceID)
	if !ok || !hub.Switches.Scenarios {
		return Device{}, false
	}
	d := Device{DeviceID: deviceID, Status: Enabled, StatusReason: "scenario device",
		Authentication: Authentication{Type: AuthSAS, SymmetricKey: SymmetricKey{PrimaryKey: fault.ScenarioKey, SecondaryKey: fault.ScenarioKey}}}
	if certificate {
		d.Authentication = Authentication{Type: AuthCA}
	}
	if scenario.Disabled {
		d.Status = Disabled
	}
	return d, true
}

// Welcome registers a scenario device that has shown the right credential to whoever asks, where the hub has
// them. It reports whether the device is registered.
func (s *Service) Welcome(host, deviceID string, certificate bool) bool {
	hub, err := s.GetHub(host)
	if err != nil {
		return false
	}
	d, ok := scenarioDevice(hub, deviceID, certificate)
	if !ok {
		return false
	}
	_, err = s.register(hub, d)
	return err == nil
}

// register adds a scenario device, or returns the one that is there.
func (s *Service) register(hub Hub, d Device) (Device, error) {
	made, err := s.CreateDevice(hub.Host, d)
	if errors.Is(err, ErrExists) {
		return s.GetDevice(hub.Host, d.DeviceID)
	}
	if err == nil {
		s.journal.Append(journal.Event{Platform: Platform, Endpoint: hub.Host, Device: d.DeviceID, Kind: journal.World,
			Detail: "the identity of this scenario device was made: it had not come before", Source: fault.ScenarioSource,
			Properties: map[string]string{"scenario": fault.ScenarioName(d.DeviceID)}})
	}
	return made, err
}

// welcome registers the scenario device that has just proved who it is.
func (s *Service) welcome(who *subject) *rule.Refusal {
	if !who.fresh {
		return nil
	}
	d, err := s.register(who.hub, who.device)
	if err != nil {
		r := s.unknownDevice(who.hub.Host, who.device.DeviceID)
		r.Detail += "; the scenario device was not made: " + err.Error()
		return r
	}
	who.device, who.genID = d, d.GenerationID
	return nil
}
