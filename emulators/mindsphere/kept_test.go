package mindsphere_test

import (
	"context"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/store/storetest"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

func TestRowsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	s := store.New()
	mindsphere.New(mindsphere.Config{Clock: clock.New(), IDs: ids.New(1), Store: s})
	storetest.RoundTrip(t, s)
}

// lives runs one life of a service in a directory.
func lives(t *testing.T, dir string, life func(*mindsphere.Service, *clock.Control)) {
	t.Helper()
	state, err := store.Open(dir, nil)
	require.NoError(t, err)
	c := clock.New()
	s := mindsphere.New(mindsphere.Config{Clock: c, IDs: ids.New(1), Journal: journal.New(c, rule.NewTable(mindsphere.Rules), journal.Options{}), Store: state})
	require.NoError(t, state.Err())
	life(s, c)
	require.NoError(t, state.Close())
}

// MS-4: a provisioned agent is accepted at once after a restart; its model and data are there.
func TestServiceComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cas, err := pki.OpenDeviceCAs(pki.Options{})
	require.NoError(t, err)
	ca, err := cas.CreateCA(pki.CARequest{Name: "ca"})
	require.NoError(t, err)
	i, err := cas.IssueDevice(pki.DeviceRequest{CommonName: "a", CA: "ca"})
	require.NoError(t, err)
	who := mindsphere.Credentials{ClientID: "camexia_a", Certificates: []*x509.Certificate{i.Leaf}}
	model, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	lives(t, dir, func(s *mindsphere.Service, c *clock.Control) {
		require.NoError(t, s.PutTenant(mindsphere.Tenant{Name: "camexia"}))
		_, err := s.PutCA("camexia", mindsphere.CA{Certificate: string(ca.PEM()), Verified: true})
		require.NoError(t, err)
		_, err = s.Authenticate(who)
		require.ErrorContains(t, err, "MS-1/first")
		require.NoError(t, c.Advance(mindsphere.DefaultProvisioning))
		id, err := s.Authenticate(who)
		require.NoError(t, err)
		session := s.Open(id, mindsphere.Origin{}, silent{})
		require.Nil(t, session.Publish(context.Background(), wire.ModelV4, model).Refusal)
		require.Nil(t, session.Publish(context.Background(), wire.TimeSeries, []byte(`{"timeseries":[{"timestamp":"2026-01-01T00:00:00Z","values":[{"dataPointId":"rpm","value":"1"}]}]}`)).Refusal)
	})
	lives(t, dir, func(s *mindsphere.Service, _ *clock.Control) {
		_, err := s.Authenticate(who)
		require.NoError(t, err)
		for _, a := range s.Assets("camexia") {
			if a.Name == "Machine" {
				require.Len(t, s.TimeSeries("camexia", a.AssetID, "mechanics", "rpm", time.Time{}, time.Time{}), 1)
			}
		}
		require.Len(t, s.Mappings("camexia_a"), 2)
	})
}

// MS-3, MS-4: a provisioning goes on after a restart without the agent coming again, and takes no longer than a whole
// one where the clock was ahead before.
func TestProvisioningGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cas, err := pki.OpenDeviceCAs(pki.Options{})
	require.NoError(t, err)
	ca, err := cas.CreateCA(pki.CARequest{Name: "ca"})
	require.NoError(t, err)
	i, err := cas.IssueDevice(pki.DeviceRequest{CommonName: "a", CA: "ca"})
	require.NoError(t, err)
	who := mindsphere.Credentials{ClientID: "camexia_a", Certificates: []*x509.Certificate{i.Leaf}}
	lives(t, dir, func(s *mindsphere.Service, c *clock.Control) {
		require.NoError(t, s.PutTenant(mindsphere.Tenant{Name: "camexia", Provisioning: duration(time.Minute)}))
		_, err := s.PutCA("camexia", mindsphere.CA{Certificate: string(ca.PEM()), Verified: true})
		require.NoError(t, err)
		require.NoError(t, c.Advance(time.Hour))
		_, err = s.Authenticate(who)
		require.ErrorContains(t, err, "MS-1/first")
	})
	lives(t, dir, func(s *mindsphere.Service, c *clock.Control) {
		_, err := s.Authenticate(who)
		require.ErrorContains(t, err, "MS-2/pending")
		require.Empty(t, s.Assets("camexia"))
		require.NoError(t, c.Advance(time.Minute))
		a, _ := s.Agent("camexia_a")
		require.Equal(t, mindsphere.Ready, a.Status)
		require.Len(t, s.Assets("camexia"), 1)
		_, err = s.Authenticate(who)
		require.NoError(t, err)
	})
}
