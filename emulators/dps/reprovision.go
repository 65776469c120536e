package dps

import (
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// ReprovisionPolicy says what becomes of a device that registers again (Learn, Device reprovisioning).
type ReprovisionPolicy struct {
	// UpdateHubAssignment chooses a hub again; without it the device stays on its hub for good.
	UpdateHubAssignment bool `json:"updateHubAssignment"`
	// MigrateDeviceData takes the twin along to another hub; without it the twin starts over from the
	// initial twin, also where the hub stays the same. It says nothing without UpdateHubAssignment.
	MigrateDeviceData bool `json:"migrateDeviceData"`
}

// lastSticky is the last api-version whose devices stay on their hub where no policy is given.
const lastSticky = "2018-04-01"

// reprovisioning is the policy of the terms for a device that speaks apiVersion.
func (t Terms) reprovisioning(apiVersion string) ReprovisionPolicy {
	switch {
	case t.ReprovisionPolicy != nil:
		return *t.ReprovisionPolicy
	case apiVersion != "" && apiVersion <= lastSticky:
		return ReprovisionPolicy{}
	}
	return ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}
}

// hubFor returns the hub of a device. One that has a hub keeps it as long as the policy forbids another
// choice, or the hub may be used and the choice is not a fixed one.
func (s *Service) hubFor(i Instance, c Caller, a admission, old Registration) (string, error) {
	if old.AssignedHub != "" && !a.terms.reprovisioning(c.APIVersion).UpdateHubAssignment {
		return old.AssignedHub, nil
	}
	hubs := usable(i.LinkedHubs, a.terms.IoTHubs)
	policy := a.terms.AllocationPolicy
	if policy == "" {
		policy = i.AllocationPolicy
	}
	if policy != Static && old.AssignedHub != "" && contains(hubs, old.AssignedHub) {
		return old.AssignedHub, nil
	}
	return choose(policy, hubs, c.RegistrationID)
}

// plan is what the hub is asked for, and the substatus of it. The initial twin goes with the first
// assignment, with a reset, and with one to a hub that has lost the device.
func (s *Service) plan(i Instance, c Caller, a admission, old Registration) (Assignment, string, error) {
	hub, err := s.hubFor(i, c, a, old)
	if err != nil {
		return Assignment{}, "", err
	}
	as, substatus := s.move(hub, c, a, old)
	return as, substatus, nil
}

// move is what the hub is asked for where the device goes to hub.
func (s *Service) move(hub string, c Caller, a admission, old Registration) (Assignment, string) {
	policy := a.terms.reprovisioning(c.APIVersion)
	out := Assignment{Hub: hub, DeviceID: a.deviceID, Group: a.groupID, Auth: a.auth, Capabilities: a.terms.Capabilities, InitialTwin: a.terms.InitialTwin}
	if old.AssignedHub == "" || old.DeviceID != a.deviceID {
		return out, azure.DPSInitialAssignment
	}
	held := s.Allocator.Holds(old.AssignedHub, a.deviceID)
	if strings.EqualFold(old.AssignedHub, hub) {
		out.Hub = old.AssignedHub // in the spelling that it had
		out.Reset = held && policy.UpdateHubAssignment && !policy.MigrateDeviceData
		if held && !out.Reset {
			out.InitialTwin = nil
		}
		return out, old.Substatus
	}
	substatus := azure.DPSDeviceDataReset
	out.Reset = !held || !policy.MigrateDeviceData
	if !out.Reset {
		substatus, out.InitialTwin = azure.DPSDeviceDataMigrated, nil
	}
	if held {
		out.From = old.AssignedHub
	}
	if contains(old.FormerHubs, hub) {
		substatus = azure.DPSReprovisionedToInit
	}
	return out, substatus
}

// formerHubs are the hubs that a device was on before hub, oldest first, each once.
func formerHubs(old Registration, hub string) []string {
	if old.AssignedHub == "" || strings.EqualFold(old.AssignedHub, hub) {
		return old.FormerHubs
	}
	former := slices.DeleteFunc(slices.Clone(old.FormerHubs), func(h string) bool { return strings.EqualFold(h, old.AssignedHub) })
	former = append(former, old.AssignedHub)
	if len(former) > maxHubs {
		former = former[1:]
	}
	return former
}
