package mindsphere_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// carrier keeps what it is given.
type carrier struct {
	to   []string
	sent []mindsphere.Message
}

func (c *carrier) Deliver(to mindsphere.Identity, m mindsphere.Message) mindsphere.Delivery {
	c.to, c.sent = append(c.to, to.ClientID), append(c.sent, m)
	return mindsphere.Delivered
}

const hub = "conn-demo2-iothub.azure-devices.net"

// The eu2 way: registered by DPS, a model and data through the hub, answers through the carrier.
func TestEU2(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.PutTenant(mindsphere.Tenant{Name: "demo2", Region: mindsphere.EU2, Hub: hub, IDScope: "0ne00FAKE02"}))
	c := &carrier{}
	f.Carry(mindsphere.EU2, c)
	for range 2 {
		require.NoError(t, f.RegisterAgent("demo2", "demo2_Agent"))
	}
	require.Equal(t, "demo2_Agent", f.Assets("demo2")[0].ExternalID)
	for id, want := range map[string]string{"Agent": "demo2_Agent", "demo2_": "demo2_demo2", "camexia_Agent": "demo2_Agent"} {
		var r *rule.Refusal
		require.ErrorAs(t, f.RegisterAgent("demo2", id), &r)
		require.Equal(t, rule.ID("MS-14/prefix"), r.Rule)
		require.Contains(t, r.Expected, `CN="`+want+`"`)
	}
	require.ErrorContains(t, f.RegisterAgent("demo2", "demo2_a/b"), "cannot stand in a topic")
	require.ErrorIs(t, f.RegisterAgent("camexia", "camexia_a"), mindsphere.ErrNotFound)
	require.Equal(t, "TenantEnrollmentGroup-TenantCACertificate-demo2", mindsphere.EnrollmentGroup("demo2"))

	text, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	send := func(property, body string) (answered bool) {
		name, value, _ := strings.Cut(property, "=")
		answer := f.ReceiveFromHub(mindsphere.HubMessage{Hub: strings.ToUpper(hub), DeviceID: "demo2_Agent", Properties: map[string]string{name: value}, Body: []byte(body)})
		if answer != nil {
			answer()
		}
		return answer != nil
	}
	require.True(t, send("amo_v4=mi", strings.ReplaceAll(string(text), "camexia.", "demo2.")))
	require.Equal(t, []string{"demo2_Agent", "demo2_Agent", "demo2_Agent"}, c.to)
	name, value := c.sent[2].Channel.Property()
	require.Equal(t, "amo_v4=mip", name+"="+value)
	var r struct{ Data struct{ Status string } }
	require.NoError(t, json.Unmarshal(c.sent[2].Payload, &r))
	require.Equal(t, "Success", r.Data.Status)

	require.False(t, send("mc_v3=ts", `{"timeseries":[{"timestamp":"2026-01-01T00:00:00Z","values":[{"dataPointId":"rpm","value":"1"},{"dataPointId":"x","value":"1"}]}]}`))
	for _, a := range f.Assets("demo2") {
		if a.Name == "Machine" {
			require.Len(t, f.TimeSeries("demo2", a.AssetID, "mechanics", "rpm", time.Time{}, time.Time{}), 1)
		}
	}
	events, _ := f.journal.Select(journal.Filter{Rule: "MS-23/unmapped"})
	require.Len(t, events, 1)
	require.Equal(t, "mc_v3=ts", events[0].Topic)

	_, err = f.CreateJob("demo2", mindsphere.Job{Name: "n", ClientIDs: []string{"demo2_Agent"}, Data: json.RawMessage(`{}`)})
	require.NoError(t, err)
	require.Equal(t, "cmd_v3/c", c.sent[3].Channel.String())
	for property, id := range map[string]rule.ID{"agm_v3=t": "MS-31/token", "amo_v3=ms": "MS-31/channel", "colour=red": "MS-31/channel"} {
		require.False(t, send(property, "{}"))
		events, _ := f.journal.Select(journal.Filter{Rule: id})
		require.NotEmpty(t, events, id)
	}
	seen := f.journal.Last()
	require.Nil(t, f.ReceiveFromHub(mindsphere.HubMessage{Hub: "other", DeviceID: "demo2_Agent", Properties: map[string]string{"mc_v3": "ts"}}))
	require.Nil(t, f.ReceiveFromHub(mindsphere.HubMessage{Hub: hub, DeviceID: "meter-1", Properties: map[string]string{"mc_v3": "ts"}}))
	require.Equal(t, seen, f.journal.Last(), "other hubs and devices are none of its business")
}

// enrolled is an Enroller that keeps the last call, and may refuse.
type enrolled struct {
	cas  []mindsphere.CA
	fail error
}

func (e *enrolled) Enroll(_ mindsphere.Tenant, cas []mindsphere.CA) error {
	if e.fail == nil {
		e.cas = cas
	}
	return e.fail
}

// DPS hears of every change of a tenant's CAs; what it does not take is not kept here either.
func TestEnrollment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	e := &enrolled{fail: errors.New("no DPS instance")}
	f.EnrollAt(e)
	tenant := mindsphere.Tenant{Name: "demo2", Region: mindsphere.EU2, Hub: hub, IDScope: "0ne00FAKE02"}
	require.ErrorContains(t, f.PutTenant(tenant), "no DPS instance")
	_, ok := f.Tenant("demo2")
	require.False(t, ok)
	e.fail = nil
	require.NoError(t, f.PutTenant(tenant))
	moved := tenant
	moved.IDScope = "0ne00FAKE03"
	require.ErrorContains(t, f.PutTenant(moved), "idScope cannot change")

	ca, err := f.PutCA("demo2", mindsphere.CA{ID: "z", Certificate: f.ca(t, "eu2-ca")})
	require.NoError(t, err)
	require.Equal(t, []mindsphere.CA{ca}, e.cas)
	proof := f.leaf(t, "eu2-ca", ca.RegistrationCode)
	require.NoError(t, f.VerifyCA("demo2", "z", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proof.Leaf.Raw}))))
	require.True(t, e.cas[0].Verified)
	f.clock.Skew(time.Second)
	_, err = f.PutCA("demo2", mindsphere.CA{ID: "a", Certificate: f.ca(t, "eu2-second"), Verified: true})
	require.NoError(t, err)
	require.Equal(t, []string{"z", "a"}, []string{e.cas[0].ID, e.cas[1].ID}, "the older one first")

	e.fail = errors.New("the link is gone")
	_, err = f.PutCA("demo2", mindsphere.CA{ID: "a", Certificate: f.ca(t, "eu2-third")})
	require.ErrorContains(t, err, "the link is gone")
	kept, _ := f.CA("demo2", "a")
	require.True(t, kept.Verified, "the certificate before is back")
	e.fail = nil
	require.True(t, f.DeleteCA("demo2", "z"))
	require.Equal(t, "a", e.cas[0].ID)
	require.True(t, f.DeleteTenant("demo2"))
	require.Empty(t, e.cas)

	group, ok := f.TenantOfGroup("TenantEnrollmentGroup-TenantCACertificate-camexia")
	require.False(t, ok, "%s is of region eu1", group)
}
