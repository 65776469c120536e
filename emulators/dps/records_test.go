package dps_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
)

// requireField demands a *dps.FieldError for field that says problem.
func requireField(t *testing.T, err error, field, problem string) {
	t.Helper()
	var wrong *dps.FieldError
	require.True(t, errors.As(err, &wrong), "%v", err)
	require.Equal(t, field, wrong.Field)
	require.Contains(t, wrong.Problem, problem)
}

func TestPutInstanceRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	minus := -1
	for _, c := range []struct {
		instance       dps.Instance
		field, problem string
	}{
		{dps.Instance{Name: "a/b", IDScope: "0ne1"}, "name", "no instance name"},
		{dps.Instance{Name: "x", IDScope: ""}, "idScope", "0ne00FAKE01"},
		{dps.Instance{Name: "x", IDScope: "0ne/1"}, "idScope", "no ID scope"},
		{dps.Instance{Name: "x", IDScope: scope}, "idScope", "belongs to instance fakecloud-dps"},
		{dps.Instance{Name: instance, IDScope: "0neOTHER"}, "idScope", "cannot change"},
		{dps.Instance{Name: "x", IDScope: "0ne2", RetryAfter: 301}, "retryAfter", "between 1 and 300"},
		{dps.Instance{Name: "x", IDScope: "0ne2", Rounds: &minus}, "rounds", "between 0 and 100"},
		{dps.Instance{Name: "x", IDScope: "0ne2", AllocationPolicy: "custom"}, "allocationPolicy", "belongs to an enrollment"},
		{dps.Instance{Name: "x", IDScope: "0ne2", AllocationPolicy: "best"}, "allocationPolicy", "hashed"},
		{dps.Instance{Name: "x", IDScope: "0ne2", LinkedHubs: []string{"a b"}}, "linkedHubs[0]", "no host name"},
		{dps.Instance{Name: "x", IDScope: "0ne2", LinkedHubs: make([]string, 51)}, "linkedHubs", "limit is 50"},
	} {
		requireField(t, w.PutInstance(c.instance), c.field, c.problem)
	}
	require.Len(t, w.Instances(), 1)
}

func TestPutEnrollmentRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := dps.Attestation{SymmetricKey: &dps.SymmetricKey{}}
	leaf := issue(t, "d", nil)
	for _, c := range []struct {
		enrollment     dps.Enrollment
		field, problem string
	}{
		{dps.Enrollment{RegistrationID: "", Attestation: key}, "registrationId", "1 to 128"},
		{dps.Enrollment{RegistrationID: strings.Repeat("a", 129), Attestation: key}, "registrationId", "1 to 128"},
		{dps.Enrollment{RegistrationID: "a_", Attestation: key}, "registrationId", "at the end"},
		{dps.Enrollment{RegistrationID: "d", DeviceID: "a/b", Attestation: key}, "deviceId", "1 to 128"},
		{dps.Enrollment{RegistrationID: "d"}, "attestation", "neither"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{X509: &dps.X509{}, SymmetricKey: &dps.SymmetricKey{}}}, "attestation", "both"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{X509: &dps.X509{}}}, "attestation.x509.clientCertificates.primary", "missing"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{X509: &dps.X509{PrimaryCA: "ca"}}}, "attestation.x509.caReferences", "only groups"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{X509: &dps.X509{Primary: "hello"}}}, "attestation.x509.clientCertificates.primary", "neither PEM"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{X509: &dps.X509{Primary: leaf.pem(), Secondary: "-----BEGIN CERTIFICATE-----"}}}, "attestation.x509.clientCertificates.secondary", "PEM"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: "not base64!"}}}, "attestation.symmetricKey.primaryKey", "not base64"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: keyOf(15)}}}, "attestation.symmetricKey.primaryKey", "15 bytes"},
		{dps.Enrollment{RegistrationID: "d", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Secondary: keyOf(65)}}}, "attestation.symmetricKey.secondaryKey", "65 bytes"},
		{dps.Enrollment{RegistrationID: "d", Attestation: key, Terms: dps.Terms{InitialTwin: []byte(`[1]`)}}, "initialTwin", "form"},
		{dps.Enrollment{RegistrationID: "d", Attestation: key, Terms: dps.Terms{InitialTwin: []byte(`{"desired":{}}`)}}, "initialTwin", "desired"},
		{dps.Enrollment{RegistrationID: "d", Attestation: key, Terms: dps.Terms{InitialTwin: []byte(`{"tags":{"a":"` + strings.Repeat("x", 70_000) + `"}}`)}}, "initialTwin", "limit"},
		{dps.Enrollment{RegistrationID: "d", Attestation: key, Terms: dps.Terms{IoTHubs: []string{""}}}, "iotHubs[0]", "no host name"},
		{dps.Enrollment{RegistrationID: "d", Attestation: key, Terms: dps.Terms{AllocationPolicy: "custom"}}, "customAllocationDefinition", "needs a webhookUrl"},
	} {
		_, err := w.PutEnrollment(instance, c.enrollment)
		requireField(t, err, c.field, c.problem)
	}
	_, err := w.PutEnrollment("nowhere", dps.Enrollment{RegistrationID: "d", Attestation: key})
	require.ErrorIs(t, err, dps.ErrNotFound)
	require.Empty(t, w.Enrollments(instance))
}

func TestPutGroupAndCARefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca, leaf := issue(t, "ca", nil, isCA), issue(t, "leaf", nil, func(c *x509.Certificate) { c.BasicConstraintsValid = true })
	require.NoError(t, w.PutCA(instance, dps.CA{Name: "ca", Certificate: base64.StdEncoding.EncodeToString(ca.cert.Raw)}))
	stored, ok := w.CA(instance, "CA")
	require.True(t, ok)
	require.Equal(t, ca.pem(), stored.Certificate, "base64 of DER is kept as PEM")
	for _, c := range []struct {
		x              dps.X509
		field, problem string
	}{
		{dps.X509{}, "attestation.x509.signingCertificates.primary", "missing"},
		{dps.X509{Primary: leaf.pem()}, "attestation.x509.signingCertificates.primary", "CA:FALSE"},
		{dps.X509{Primary: ca.pem(), PrimaryCA: "ca"}, "attestation.x509", "both"},
		{dps.X509{PrimaryCA: "nope"}, "attestation.x509.caReferences.primary", `no CA certificate named "nope"`},
		{dps.X509{PrimaryCA: "ca", SecondaryCA: "nope"}, "attestation.x509.caReferences.secondary", "nope"},
	} {
		_, err := w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{X509: &c.x}})
		requireField(t, err, c.field, c.problem)
	}
	requireField(t, w.PutCA(instance, dps.CA{Name: "", Certificate: ca.pem()}), "name", "1 to 64")
	requireField(t, w.PutCA(instance, dps.CA{Name: "x", Certificate: "x"}), "certificate", "neither PEM")
	requireField(t, w.PutCA(instance, dps.CA{Name: "x", Certificate: strings.Repeat("A", 65<<10)}), "certificate", "longer")
	requireField(t, w.PutCA(instance, dps.CA{Name: "x", Certificate: leaf.pem()}), "certificate", "CA:FALSE")
	require.ErrorIs(t, w.PutCA("nowhere", dps.CA{Name: "ca", Certificate: ca.pem()}), dps.ErrNotFound)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := issue(t, "ca", nil, isCA)
	for n := range 25 {
		require.NoError(t, w.PutCA(instance, dps.CA{Name: fmt.Sprint("ca", n), Certificate: ca.pem()}))
	}
	require.ErrorContains(t, w.PutCA(instance, dps.CA{Name: "more", Certificate: ca.pem()}), "limit")
	require.NoError(t, w.PutCA(instance, dps.CA{Name: "ca0", Certificate: ca.pem(), Verified: true}), "replacing is no addition")
	for n := range 101 {
		_, err := w.PutGroup(instance, dps.Group{ID: fmt.Sprint("g", n), Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{}}})
		if n < 100 {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "limit")
		}
	}
	_, err := w.PutGroup(instance, dps.Group{ID: "x", Attestation: dps.Attestation{X509: &dps.X509{PrimaryCA: "ca0"}}})
	require.NoError(t, err, "the limits of the two kinds are apart")
}

func TestRecordsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: "Dev-1", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{}}})
	require.NoError(t, err)
	require.Len(t, unbase64(t, e.Attestation.SymmetricKey.Primary), 64)
	require.NotEqual(t, e.Attestation.SymmetricKey.Primary, e.Attestation.SymmetricKey.Secondary)
	got, ok := w.Enrollment(instance, "dev-1")
	require.True(t, ok)
	require.Equal(t, e, got)
	got.Attestation.SymmetricKey.Primary = "changed"
	again, _ := w.Enrollment(instance, "DEV-1")
	require.Equal(t, e, again, "records are copies")
	again.Terms.Disabled = true
	put, err := w.PutEnrollment(instance, again)
	require.NoError(t, err)
	require.Equal(t, e.Created, put.Created)
	require.NotEqual(t, e.ETag, put.ETag)

	put, err = w.PutEnrollment(instance, dps.Enrollment{RegistrationID: "dev-1", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: individualKey}}})
	require.NoError(t, err)
	require.Equal(t, individualKey, put.Attestation.SymmetricKey.Primary)
	require.Equal(t, e.Attestation.SymmetricKey.Secondary, put.Attestation.SymmetricKey.Secondary, "a key that is left out stays")

	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hub}, RetryAfter: 9}))
	i, ok := w.InstanceOf(scope)
	require.True(t, ok)
	require.Equal(t, 9, i.RetryAfter)
	require.Len(t, w.Enrollments(instance), 1, "changing an instance keeps its records")

	require.True(t, w.DeleteInstance(instance))
	require.False(t, w.DeleteInstance(instance))
	require.Empty(t, w.Enrollments(instance))
	_, ok = w.InstanceOf(scope)
	require.False(t, ok)
	require.NoError(t, w.PutInstance(dps.Instance{Name: "other", IDScope: scope}), "the scope is free again")
}

// A reset empties the store; nothing of before may answer afterwards.
func TestResetLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := issue(t, "ca", nil, isCA)
	w.enrollCA(t, "g", ca, true)
	leaf := issue(t, "dev1", &ca)
	s := w.Open(withChain("dev1", leaf.cert))
	op := operationID(t, s.Register(t.Context(), nil))
	w.store.Clear()
	a := s.Poll(t.Context(), op)
	require.EqualValues(t, "DPS-26/scope", a.Refusal.Rule)
	require.Empty(t, w.Registrations(instance))
}
