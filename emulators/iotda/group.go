package iotda

import (
	"slices"
	"time"
)

// maxGroups bounds an instance's device groups; 1,000 is the limit of a resource space (iot_04_0010).
const maxGroups = 1000

// Group is a group of devices.
type Group struct {
	ID          string    `json:"group_id"`
	AppID       string    `json:"app_id,omitempty"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Super       string    `json:"super_group_id,omitempty"`
	Type        string    `json:"group_type"`
	Devices     []string  `json:"devices,omitempty"`
	Created     time.Time `json:"created"`
}

// PutGroup adds a device group, or renames one.
func (s *Service) PutGroup(instance string, g Group) (Group, error) {
	app, err := s.App(instance, g.AppID)
	if err != nil {
		return g, err
	}
	g.AppID = app.AppID
	if g.Type == "" {
		g.Type = "STATIC"
	}
	switch {
	case g.Name == "" || len(g.Name) > 64 || len(g.Description) > 64:
		return g, invalid("name has 1 to 64, description at most 64 characters")
	case g.Type != "STATIC":
		return g, invalid("group_type %q: STATIC; dynamic groups are not emulated", clip(g.Type))
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if g.Super != "" {
		if _, ok := s.groups.Get(key(instance, g.Super)); !ok {
			return g, notFound("device group", g.Super)
		}
	}
	if g.ID == "" {
		if len(s.groups.Keys(instance+keySeparator)) >= maxGroups {
			return g, conflict("there are %d device groups already, which is the limit", maxGroups)
		}
		g.ID, g.Created = s.ids.GUID(), s.clock.Wall().UTC()
	}
	s.groups.Put(key(instance, g.ID), g)
	return g, nil
}

// Group returns one device group.
func (s *Service) Group(instance, id string) (Group, error) {
	g, ok := s.groups.Get(key(instance, id))
	if !ok {
		return g, notFound("device group", id)
	}
	return g, nil
}

// Groups returns the device groups of an instance, ordered by id.
func (s *Service) Groups(instance string) []Group { return s.groups.List(instance + keySeparator) }

// DeleteGroup removes a device group; its devices stay.
func (s *Service) DeleteGroup(instance, id string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if slices.ContainsFunc(s.Groups(instance), func(g Group) bool { return g.Super == id }) {
		return conflict("device group %s has groups below it", clip(id))
	}
	return notFoundIf(!s.groups.Delete(key(instance, id)), "device group", id)
}

// SetInGroup adds a device to a group, or takes it out.
func (s *Service) SetInGroup(instance, id, device string, in bool) error {
	if _, err := s.Device(instance, device); err != nil {
		return err
	}
	_, err := s.groups.Update(key(instance, id), func(g Group) (Group, error) {
		g.Devices = bound(g.Devices, []string{device}, in)
		slices.Sort(g.Devices)
		return g, nil
	})
	if err != nil {
		return notFound("device group", id)
	}
	return nil
}

// Queue is an AMQP queue of data forwarding: a record, as AMQP itself is not emulated.
type Queue struct {
	ID      string    `json:"queue_id"`
	Name    string    `json:"queue_name"`
	Created time.Time `json:"created"`
}

// maxQueues is how many AMQP queues a user may have (iot_04_0010).
const maxQueues = 100

// CreateQueue adds an AMQP queue.
func (s *Service) CreateQueue(instance, name string) (Queue, error) {
	if len(name) < 8 || len(name) > 128 {
		return Queue{}, invalid("queue_name: 8 to 128 characters")
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	all := s.Queues(instance)
	switch {
	case slices.ContainsFunc(all, func(q Queue) bool { return q.Name == name }):
		return Queue{}, conflict("queue %s exists already", clip(name))
	case len(all) >= maxQueues:
		return Queue{}, conflict("there are %d queues already, which is the limit", maxQueues)
	}
	q := Queue{ID: s.ids.GUID(), Name: name, Created: s.clock.Wall().UTC()}
	s.queues.Put(key(instance, q.ID), q)
	return q, nil
}

// Queue returns one AMQP queue.
func (s *Service) Queue(instance, id string) (Queue, error) {
	q, ok := s.queues.Get(key(instance, id))
	if !ok {
		return q, notFound("queue", id)
	}
	return q, nil
}

// Queues returns the AMQP queues of an instance, ordered by id.
func (s *Service) Queues(instance string) []Queue { return s.queues.List(instance + keySeparator) }

// DeleteQueue removes an AMQP queue.
func (s *Service) DeleteQueue(instance, id string) error {
	return notFoundIf(!s.queues.Delete(key(instance, id)), "queue", id)
}
