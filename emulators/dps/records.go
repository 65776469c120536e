package dps

import (
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/store"
)

// ErrNotFound answers calls that name an instance or record that does not exist.
var ErrNotFound = store.ErrNotFound

// Errors of the calls that take an ETag to match: empty wants a new record, * takes any.
var (
	ErrExists       = store.ErrExists
	ErrPrecondition = errors.New("etag does not match")
)

// expect judges a change of a record that is old, or is not there.
func expect(match string, old Terms, exists bool) error {
	switch {
	case match == "*":
		return nil
	case match == "" && exists:
		return ErrExists
	case match != "" && !exists:
		return ErrNotFound
	case match != old.ETag:
		return ErrPrecondition
	}
	return nil
}

// PutInstance adds or replaces an instance. A *FieldError says what is wrong with it.
func (s *Service) PutInstance(i Instance) error {
	if err := i.validate(); err != nil {
		return fmt.Errorf("DPS instance %q: %w", clip(i.Name), err)
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	old, ok := s.instances.Get(i.Name)
	i = i.clone()
	if err := i.completePolicies(old); err != nil {
		return fmt.Errorf("DPS instance %q: %w", clip(i.Name), err)
	}
	if ok && old.IDScope != i.IDScope {
		return fmt.Errorf("DPS instance %q: %w", i.Name, wrong("idScope", "cannot change from %s to %s; delete the instance first", old.IDScope, i.IDScope))
	}
	if owner, ok := s.scopes.Get(i.IDScope); ok && owner != i.Name {
		return fmt.Errorf("DPS instance %q: %w", i.Name, wrong("idScope", "%s belongs to instance %s", i.IDScope, owner))
	}
	s.instances.Put(i.Name, i)
	s.scopes.Put(i.IDScope, i.Name)
	return nil
}

// Instance returns the instance of that name.
func (s *Service) Instance(name string) (Instance, bool) { return s.instances.Get(name) }

// InstanceOf returns the instance that owns an ID scope.
func (s *Service) InstanceOf(scope string) (Instance, bool) {
	name, ok := s.scopes.Get(scope)
	if !ok {
		return Instance{}, false
	}
	return s.instances.Get(name)
}

// Instances returns all instances, ordered by name.
func (s *Service) Instances() []Instance { return s.instances.List("") }

// DeleteInstance removes an instance with all its records and reports whether there was one.
func (s *Service) DeleteInstance(name string) bool {
	s.admin.Lock()
	defer s.admin.Unlock()
	i, ok := s.instances.Get(name)
	if !ok {
		return false
	}
	s.scopes.Delete(i.IDScope)
	s.instances.Delete(name)
	for _, c := range s.cas.List(name + "/") {
		s.cas.Delete(key(name, c.Name))
	}
	for _, e := range s.enrollments.List(name + "/") {
		s.enrollments.Delete(key(name, e.RegistrationID))
	}
	for _, g := range s.groups.List(name + "/") {
		s.groups.Delete(key(name, g.ID))
	}
	for _, r := range s.registrations.List(name + "/") {
		s.DeleteRegistration(name, r.RegistrationID)
	}
	return true
}

// PutCA adds or replaces a CA certificate of an instance.
func (s *Service) PutCA(instance string, c CA) error {
	err := c.normalise()
	return s.put(instance, "CA certificate", c.Name, err, func() error {
		old, replaces := s.cas.Get(key(instance, c.Name))
		if !replaces && len(s.cas.List(instance+"/")) >= maxCAs {
			return fmt.Errorf("the instance has %d CA certificates already, which is the limit", maxCAs)
		}
		s.stampCA(&c, old)
		s.cas.Put(key(instance, c.Name), c)
		return nil
	})
}

// put runs the common part of adding a record: err is its validation, write its last checks and the write itself.
func (s *Service) put(instance, what, id string, err error, write func() error) error {
	if err == nil {
		s.admin.Lock()
		defer s.admin.Unlock()
		if _, ok := s.instances.Get(instance); !ok {
			return fmt.Errorf("%s %q: DPS instance %q: %w", what, clip(id), clip(instance), ErrNotFound)
		}
		err = write()
	}
	if err != nil {
		return fmt.Errorf("%s %q of DPS instance %q: %w", what, clip(id), clip(instance), err)
	}
	return nil
}

// CA returns one CA certificate of an instance.
func (s *Service) CA(instance, name string) (CA, bool) { return s.cas.Get(key(instance, name)) }

// CAs returns the CA certificates of an instance, ordered by name.
func (s *Service) CAs(instance string) []CA { return s.cas.List(instance + "/") }

// DeleteCA removes a CA certificate and reports whether there was one.
func (s *Service) DeleteCA(instance, name string) bool { return s.cas.Delete(key(instance, name)) }

// PutEnrollment adds or replaces an individual enrollment and returns it as stored, with generated
// keys, etag and times.
func (s *Service) PutEnrollment(instance string, e Enrollment) (Enrollment, error) {
	return s.PutEnrollmentIf(instance, e, "*")
}

// PutEnrollmentIf is PutEnrollment for a record whose ETag must be match: empty wants a new one, else
// ErrExists; * takes any; another that does not hold is ErrPrecondition, or ErrNotFound.
func (s *Service) PutEnrollmentIf(instance string, e Enrollment, match string) (Enrollment, error) {
	e = e.clone()
	if old, replaces := s.Enrollment(instance, e.RegistrationID); replaces {
		e.Attestation.keepKeys(old.Attestation)
	}
	err := errors.Join(validRegistrationID("registrationId", e.RegistrationID), e.Attestation.normalise(false), e.Terms.validate(), validInformation(e.DeviceInformation))
	if err == nil && e.DeviceID != "" && !hubDeviceID.MatchString(e.DeviceID) {
		err = wrong("deviceId", "%q is no device id: 1 to 128 of letters, digits and - : . + %% _ # * ? ! ( ) , = @ $ '", clip(e.DeviceID))
	}
	err = s.put(instance, "enrollment", e.RegistrationID, err, func() error {
		k := key(instance, e.RegistrationID)
		old, replaces := s.enrollments.Get(k)
		if err := expect(match, old.Terms, replaces); err != nil {
			return err
		}
		if !replaces && s.enrollments.Len() >= maxEnrollments {
			return fmt.Errorf("there are %d enrollments already, which is the limit", maxEnrollments)
		}
		s.stamp(&e.Terms, old.Terms)
		s.enrollments.Put(k, e)
		return nil
	})
	return e, err
}

// stamp sets what the service owns of a record that replaces old.
func (s *Service) stamp(t *Terms, old Terms) {
	now := s.Clock.Wall().UTC()
	t.Created, t.LastUpdated, t.ETag = now, now, s.tag()
	if !old.Created.IsZero() {
		t.Created = old.Created
	}
}

// Enrollment returns one individual enrollment, keys included.
func (s *Service) Enrollment(instance, registrationID string) (Enrollment, bool) {
	return s.enrollments.Get(key(instance, registrationID))
}

// Enrollments returns the individual enrollments of an instance, keys included, ordered by id.
func (s *Service) Enrollments(instance string) []Enrollment {
	return s.enrollments.List(instance + "/")
}

// DeleteEnrollment removes an individual enrollment and reports whether there was one. The registration
// and the hub's device stay.
func (s *Service) DeleteEnrollment(instance, registrationID string) bool {
	return s.enrollments.Delete(key(instance, registrationID))
}

// DeleteEnrollmentIf is DeleteEnrollment with an ETag to match; empty and * take any.
func (s *Service) DeleteEnrollmentIf(instance, registrationID, match string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	old, ok := s.Enrollment(instance, registrationID)
	if !ok {
		return ErrNotFound
	}
	if match != "" && match != "*" && match != old.ETag {
		return ErrPrecondition
	}
	s.DeleteEnrollment(instance, registrationID)
	return nil
}

// DeleteGroupIf is DeleteGroup with an ETag to match; empty and * take any.
func (s *Service) DeleteGroupIf(instance, id, match string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	old, ok := s.Group(instance, id)
	if !ok {
		return ErrNotFound
	}
	if match != "" && match != "*" && match != old.ETag {
		return ErrPrecondition
	}
	s.DeleteGroup(instance, id)
	return nil
}

// PutGroup adds or replaces an enrollment group and returns it as stored. CA references must name CA
// certificates of the instance.
func (s *Service) PutGroup(instance string, g Group) (Group, error) {
	return s.PutGroupIf(instance, g, "*")
}

// PutGroupIf is PutGroup with an ETag to match, as PutEnrollmentIf.
func (s *Service) PutGroupIf(instance string, g Group, match string) (Group, error) {
	g = g.clone()
	if old, replaces := s.Group(instance, g.ID); replaces {
		g.Attestation.keepKeys(old.Attestation)
	}
	err := errors.Join(validRegistrationID("enrollmentGroupId", g.ID), g.Attestation.normalise(true), g.Terms.validate())
	err = s.put(instance, "enrollment group", g.ID, err, func() error {
		if x := g.Attestation.X509; x != nil {
			for field, name := range map[string]string{"primary": x.PrimaryCA, "secondary": x.SecondaryCA} {
				if _, ok := s.CA(instance, name); name != "" && !ok {
					return wrong("attestation.x509.caReferences."+field, "the instance has no CA certificate named %q", clip(name))
				}
			}
		}
		k := key(instance, g.ID)
		old, replaces := s.groups.Get(k)
		if err := expect(match, old.Terms, replaces); err != nil {
			return err
		}
		if !replaces && s.countGroups(instance, g.Attestation.X509 != nil) >= maxGroups {
			return fmt.Errorf("the instance has %d groups with this kind of attestation already, which is the limit", maxGroups)
		}
		s.stamp(&g.Terms, old.Terms)
		s.groups.Put(k, g)
		return nil
	})
	return g, err
}

func (s *Service) countGroups(instance string, x509 bool) int {
	n := 0
	for _, g := range s.groups.List(instance + "/") {
		if (g.Attestation.X509 != nil) == x509 {
			n++
		}
	}
	return n
}

// Group returns one enrollment group, keys included.
func (s *Service) Group(instance, id string) (Group, bool) { return s.groups.Get(key(instance, id)) }

// Groups returns the enrollment groups of an instance, keys included, ordered by id.
func (s *Service) Groups(instance string) []Group { return s.groups.List(instance + "/") }

// DeleteGroup removes an enrollment group and reports whether there was one. Its registrations and the
// hub's devices stay.
func (s *Service) DeleteGroup(instance, id string) bool { return s.groups.Delete(key(instance, id)) }

// Registration returns the record of one device.
func (s *Service) Registration(instance, registrationID string) (Registration, bool) {
	return s.registrations.Get(key(instance, registrationID))
}

// Registrations returns the records of an instance, ordered by registration id.
func (s *Service) Registrations(instance string) []Registration {
	return s.registrations.List(instance + "/")
}

// DeleteRegistration forgets a device's registration and operations and reports whether there was one.
// The device stays in its hub, as in the real service.
func (s *Service) DeleteRegistration(instance, registrationID string) bool {
	k := key(instance, registrationID)
	defer s.lock(k)()
	s.operations.Delete(k)
	return s.registrations.Delete(k)
}
