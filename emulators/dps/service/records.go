package service

import (
	"github.com/fakecloud/fakecloud/emulators/dps"
)

// kind is what individual enrollments and groups differ in.
type kind struct {
	itemType string
	get      func(s *dps.Service, instance, id string) (record, dps.Attestation, bool)
	put      func(s *dps.Service, instance, id string, r record, match string) (record, error)
	remove   func(s *dps.Service, instance, id, match string) error
	list     func(s *dps.Service, instance string) []record // ordered by id
}

func (r record) id() string {
	if r.GroupID != "" {
		return r.GroupID
	}
	return r.RegistrationID
}

var enrollments = &kind{
	itemType: "Enrollment",
	get: func(s *dps.Service, instance, id string) (record, dps.Attestation, bool) {
		e, ok := s.Enrollment(instance, id)
		r := ofEnrollment(e)
		if reg, registered := s.Registration(instance, id); registered {
			r.State = reg.State()
		}
		return r, e.Attestation, ok
	},
	put: func(s *dps.Service, instance, id string, r record, match string) (record, error) {
		old, _ := s.Enrollment(instance, id)
		terms, err := r.terms()
		if err != nil {
			return r, err
		}
		attestation, err := r.Attestation.attested(old.Attestation)
		if err != nil {
			return r, err
		}
		e, err := s.PutEnrollmentIf(instance, dps.Enrollment{RegistrationID: id, DeviceID: r.DeviceID, Attestation: attestation, DeviceInformation: given(r.DeviceInformation), Terms: terms}, match)
		return withKeys(ofEnrollment(e), e.Attestation), err
	},
	remove: (*dps.Service).DeleteEnrollmentIf,
	list: func(s *dps.Service, instance string) []record {
		var all []record
		for _, e := range s.Enrollments(instance) {
			all = append(all, ofEnrollment(e))
		}
		return all
	},
}

var groups = &kind{
	itemType: "EnrollmentGroup",
	get: func(s *dps.Service, instance, id string) (record, dps.Attestation, bool) {
		g, ok := s.Group(instance, id)
		return ofGroup(g), g.Attestation, ok
	},
	put: func(s *dps.Service, instance, id string, r record, match string) (record, error) {
		old, _ := s.Group(instance, id)
		terms, err := r.terms()
		if err != nil {
			return r, err
		}
		attestation, err := r.Attestation.attested(old.Attestation)
		if err != nil {
			return r, err
		}
		g, err := s.PutGroupIf(instance, dps.Group{ID: id, Attestation: attestation, Terms: terms}, match)
		return withKeys(ofGroup(g), g.Attestation), err
	},
	remove: (*dps.Service).DeleteGroupIf,
	list: func(s *dps.Service, instance string) []record {
		var all []record
		for _, g := range s.Groups(instance) {
			all = append(all, ofGroup(g))
		}
		return all
	},
}

func ofEnrollment(e dps.Enrollment) record {
	r := shown(e.Terms, e.Attestation, false)
	r.RegistrationID, r.DeviceID, r.DeviceInformation = e.RegistrationID, e.DeviceID, e.DeviceInformation
	return r
}

func ofGroup(g dps.Group) record {
	r := shown(g.Terms, g.Attestation, true)
	r.GroupID = g.ID
	return r
}

// withKeys shows a record's keys, made ones too, as the answer to a PUT does: the suites of azure-iot-sdk-java
// (ProvisioningCommon.java), azure-iot-sdk-python and azure-iot-cli-extension read them there.
func withKeys(r record, a dps.Attestation) record {
	r.Attestation.SymmetricKey = a.SymmetricKey
	return r
}
