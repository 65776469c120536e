package fakecloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

// MindSphere's region eu2 stands on DPS and IoT Hub. What follows joins them; none knows of the others.

// hubReader shows MindSphere what the hubs' devices send.
type hubReader struct{ mind *mindsphere.Service }

var _ iothub.Consumer = hubReader{}

// Consume implements iothub.Consumer.
func (r hubReader) Consume(m iothub.Message, from iothub.Origin) func() {
	if m.ModuleID != "" {
		return nil
	}
	return r.mind.ReceiveFromHub(mindsphere.HubMessage{Hub: m.Hub, DeviceID: m.DeviceID, Conn: from.Conn, Address: from.Address,
		Properties: m.Properties, Body: m.Body})
}

// hubCarrier takes messages to agents of region eu2 as cloud-to-device messages.
type hubCarrier struct {
	hub  *iothub.Service
	mind *mindsphere.Service
}

var _ mindsphere.Carrier = hubCarrier{}

// Deliver implements mindsphere.Carrier. A message that the hub's queue does not take is in the journal by the
// hub's own rule.
func (c hubCarrier) Deliver(to mindsphere.Identity, m mindsphere.Message) mindsphere.Delivery {
	t, ok := c.mind.Tenant(to.Tenant)
	if !ok {
		return mindsphere.Lost
	}
	app, topic := m.Channel.Property()
	_, err := c.hub.SendC2D(t.Hub, to.ClientID, "", iothub.C2D{Body: m.Payload, Shown: m.Shown, Properties: []iothub.C2DProperty{{Name: app, Value: topic}}})
	switch _, online := c.hub.Connection(t.Hub, to.ClientID); {
	case err != nil:
		return mindsphere.Lost
	case online:
		return mindsphere.Delivered
	}
	return mindsphere.Waiting
}

// enroller keeps the tenants of region eu2 as enrollment groups.
type enroller struct {
	dps *dps.Service
	hub *iothub.Service
}

var _ mindsphere.Enroller = enroller{}

// Enroll implements mindsphere.Enroller.
func (e enroller) Enroll(t mindsphere.Tenant, cas []mindsphere.CA) error {
	i, ok := e.dps.InstanceOf(t.IDScope)
	if !ok {
		return fmt.Errorf("%w: no DPS instance has the ID scope %s", mindsphere.ErrInvalid, t.IDScope)
	}
	group := dps.Group{ID: mindsphere.EnrollmentGroup(t.Name)}
	group.IoTHubs = []string{t.Hub}
	names := []string{"TenantCACertificate-" + t.Name, "TenantCACertificate-" + t.Name + "-2"}
	if len(cas) == 0 {
		e.dps.DeleteGroup(i.Name, group.ID)
	} else if !slices.ContainsFunc(i.LinkedHubs, func(h string) bool { return strings.EqualFold(h, t.Hub) }) {
		return fmt.Errorf("%w: the DPS instance %s has no linked hub %s", mindsphere.ErrInvalid, i.Name, t.Hub)
	}
	x := &dps.X509{}
	for n, ca := range cas {
		if old, ok := e.dps.CA(i.Name, names[n]); ok && old.Certificate == ca.Certificate && old.Verified == ca.Verified {
			*[]*string{&x.PrimaryCA, &x.SecondaryCA}[n] = names[n]
			continue
		}
		if err := e.dps.PutCA(i.Name, dps.CA{Name: names[n], Certificate: ca.Certificate, Verified: ca.Verified}); err != nil {
			return err
		}
		*[]*string{&x.PrimaryCA, &x.SecondaryCA}[n] = names[n]
	}
	group.Attestation.X509 = x
	old, _ := e.dps.Group(i.Name, group.ID)
	same := old.Attestation.X509 != nil && *old.Attestation.X509 == *x && slices.Equal(old.IoTHubs, group.IoTHubs)
	if len(cas) > 0 && !same {
		if _, err := e.dps.PutGroup(i.Name, group); err != nil {
			return err
		}
	}
	for _, name := range names[len(cas):] {
		e.dps.DeleteCA(i.Name, name)
	}
	return nil
}

// deleteAgent forgets an agent, in region eu2 with its device and its registration, and reports whether there
// was one.
func (c *generation) deleteAgent(endpoint, id string) bool {
	a, ok := c.cores.mind.Agent(id)
	if !ok || a.Tenant != endpoint {
		return false
	}
	if t, ok := c.cores.mind.Tenant(endpoint); ok && t.Region == mindsphere.EU2 {
		if err := c.cores.hub.DeleteDevice(t.Hub, id, ""); err != nil && !errors.Is(err, iothub.ErrNotFound) {
			c.config.Log.Warn("device not deleted", "endpoint", t.Hub, "device", id, "cause", err)
		}
		if i, ok := c.cores.dps.InstanceOf(t.IDScope); ok {
			c.cores.dps.DeleteRegistration(i.Name, id)
		}
	}
	return c.cores.mind.DeleteAgent(id)
}
