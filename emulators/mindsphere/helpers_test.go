package mindsphere_test

import (
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
)

// fixture is a service with tenant camexia, its verified CA and a frozen clock.
type fixture struct {
	*mindsphere.Service
	clock   *clock.Control
	journal *journal.Journal
	cas     *pki.DeviceCAs
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	c := clock.New()
	c.Freeze()
	cas, err := pki.OpenDeviceCAs(pki.Options{})
	require.NoError(t, err)
	f := &fixture{clock: c, cas: cas, journal: journal.New(c, rule.NewTable(mindsphere.Rules), journal.Options{})}
	f.Service = mindsphere.New(mindsphere.Config{Clock: c, IDs: ids.New(1), Journal: f.journal, Store: store.New()})
	require.NoError(t, f.PutTenant(mindsphere.Tenant{Name: "camexia"}))
	_, err = f.PutCA("camexia", mindsphere.CA{ID: "ca", Certificate: f.ca(t, "camexia-ca"), Verified: true})
	require.NoError(t, err)
	return f
}

// ca makes a CA and returns its PEM.
func (f *fixture) ca(t *testing.T, name string) string {
	t.Helper()
	ca, err := f.cas.CreateCA(pki.CARequest{Name: name})
	require.NoError(t, err)
	return string(ca.PEM())
}

func (f *fixture) leaf(t *testing.T, ca, cn string) pki.Issued {
	t.Helper()
	i, err := f.cas.IssueDevice(pki.DeviceRequest{CommonName: cn, CA: ca})
	require.NoError(t, err)
	return i
}

func duration(d time.Duration) *time.Duration { return &d }
