package iotda_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const instance = "fakecloud"

// nobody is a connection that swallows everything.
type nobody struct{}

func (nobody) Deliver(string, []byte, bool) bool { return true }

func (nobody) Acknowledges(string) bool { return false }

func (nobody) DeliverAcked(string, []byte, func()) (func(), bool) { return nil, false }
func (nobody) Close(error)                                        {}

func newService(t testing.TB) (*iotda.Service, *journal.Journal) {
	t.Helper()
	c := clock.New()
	j := journal.New(c, rule.NewTable(iotda.Rules), journal.Options{Events: 5000})
	s := iotda.New(iotda.Config{Clock: c, IDs: ids.New(1), Journal: j, Store: store.New()})
	_, err := s.PutInstance(iotda.Instance{Name: instance, Scopes: []iotda.Scope{{ID: "scope1"}}})
	require.NoError(t, err)
	_, err = s.PutProduct(instance, iotda.Product{ProductID: "demo", Name: "demo", Services: []iotda.Capability{{ServiceID: "Battery",
		Properties: []iotda.Property{{Name: "batteryLevel", Value: iotda.Value{DataType: "int", Min: "0", Max: "100"}}}}}})
	require.NoError(t, err)
	return s, j
}

func register(t testing.TB, s *iotda.Service, node, gateway string) {
	t.Helper()
	_, err := s.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{NodeID: node, ProductID: "demo", GatewayID: gateway}})
	require.NoError(t, err)
}

func TestClaim(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	register(t, s, "node1", "")
	_, err := s.PutInstance(iotda.Instance{Name: "second"})
	require.NoError(t, err)
	_, err = s.PutProduct("second", iotda.Product{ProductID: "p", Name: "p"})
	require.NoError(t, err)
	_, err = s.CreateDevice("second", iotda.NewDevice{Device: iotda.Device{NodeID: "n", ProductID: "p"}})
	require.NoError(t, err)
	for _, c := range []struct {
		client, username, endpoint string
		near                       string
	}{
		{"demo_node1_0_0_2025041401", "demo_node1", instance, ""},
		{"p_n_0_1_2025041401", "p_n", "second", ""},
		{"unknown_0_0_2025041401", "unknown", instance, ""},
		{"x_0_scope1", "x", instance, ""},
		{"demo_node1_0_0", "demo_node1", instance, ""}, // refused by IoTDA's own rule
		{"demo_node1", "demo_node1", instance, ""},
		{"unknown_0_0", "unknown", instance, ""},
		{"demo_node2_0_0", "", "", "demo_node1_0_0_"},
		{"device-001", "0ne00FAKE01/registrations/device-001/api-version=2019-03-31", "", ""},
		{"", "", "", ""},
	} {
		endpoint, ok, near := s.Claim(c.client, c.username)
		require.Equal(t, c.endpoint, endpoint, c.client)
		require.Equal(t, c.endpoint != "", ok)
		if c.near == "" {
			require.Empty(t, near, c.client)
		}
		require.Contains(t, near, c.near)
	}
}

func TestInstances(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	i, ok := s.Instance(instance)
	require.True(t, ok)
	require.Len(t, i.ProjectID, 32)
	require.Equal(t, "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com", i.Hosts()[0])
	again, err := s.PutInstance(iotda.Instance{Name: "FakeCloud"})
	require.NoError(t, err)
	require.Equal(t, i.ProjectID, again.ProjectID, "a project keeps its id")
	require.Len(t, s.Apps(instance), 1)
	hours := 25
	for _, bad := range []iotda.Instance{{}, {Name: "a.b"}, {Name: "a", ProjectID: "x"}, {Name: "a", StampTolerance: &hours}, {Name: "a", CommandTimeout: -1}} {
		_, err := s.PutInstance(bad)
		require.Error(t, err)
	}
	require.False(t, s.DeleteInstance("nope"))
}

func TestPutDevice(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	put := func(d iotda.Device) (iotda.Device, error) { return s.PutDevice(instance, iotda.NewDevice{Device: d}) }
	made, err := put(iotda.Device{NodeID: "n", ProductID: "demo"})
	require.NoError(t, err)
	session := s.Open(iotda.Identity{Instance: instance, DeviceID: "demo_n"}, iotda.Origin{Conn: 1}, nobody{})
	defer session.Close()
	again, err := put(iotda.Device{NodeID: "n", ProductID: "demo", Name: "new"})
	require.NoError(t, err)
	require.Equal(t, []string{"new", iotda.Online, made.Auth.Secret}, []string{again.Name, again.Status, again.Auth.Secret})
	again, err = put(iotda.Device{NodeID: "n", ProductID: "demo", Auth: iotda.AuthInfo{Secret: "12345678"}})
	require.NoError(t, err)
	require.Equal(t, "12345678", again.Auth.Secret)
	require.Equal(t, "***", again.Masked().Auth.Secret)
	require.Equal(t, "12345678", again.Auth.Secret)
	_, err = put(iotda.Device{NodeID: "n", DeviceID: "demo_n", ProductID: "other"})
	require.Error(t, err)
	_, err = put(iotda.Device{NodeID: "n", ProductID: "demo", Auth: iotda.AuthInfo{Secret: "short"}})
	require.Error(t, err)
}

// Devices come, report, go and are deleted at the same time; the race detector watches.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	register(t, s, "gw", "")
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			node, id := fmt.Sprintf("n%d", n), iotda.Identity{Instance: instance, DeviceID: fmt.Sprintf("demo_n%d", n%4)}
			for i := range 50 {
				_, _ = s.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{NodeID: node, ProductID: "demo", GatewayID: "demo_gw"}})
				c := s.Open(id, iotda.Origin{Conn: uint64(i)}, nobody{})
				c.Publish("$oc/devices/"+id.DeviceID+"/sys/properties/report", []byte(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":7}}]}`))
				_, _ = s.SendMessage(instance, id.DeviceID, iotda.NewMessage{Content: json.RawMessage(`"x"`)})
				_, _ = s.SetDesired(instance, id.DeviceID, []iotda.Desired{{ServiceID: "Battery", Desired: map[string]any{"batteryLevel": json.Number("9")}}})
				_, _ = s.Shadow(instance, id.DeviceID)
				if i%3 == 0 {
					_ = s.DeleteDevice(instance, "demo_"+node)
				}
				c.Close()
			}
		})
	}
	all.Wait()
	require.NoError(t, s.DeleteDevice(instance, "demo_gw"))
	require.Empty(t, s.Devices(instance))
}

// Two thousand reports a second of one device are far from the limit; this is one of them.
func BenchmarkReport(b *testing.B) {
	s, _ := newService(b)
	register(b, s, "node1", "")
	c := s.Open(iotda.Identity{Instance: instance, DeviceID: "demo_node1"}, iotda.Origin{Conn: 1}, nobody{})
	defer c.Close()
	payload := []byte(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		c.Publish("$oc/devices/demo_node1/sys/properties/report", payload)
	}
}

// Whatever a device publishes, the platform answers only under $oc/devices/{its id} and never panics.
func FuzzPublish(f *testing.F) {
	s, _ := newService(f)
	register(f, s, "node1", "")
	register(f, s, "child1", "demo_node1")
	c := s.Open(iotda.Identity{Instance: instance, DeviceID: "demo_node1"}, iotda.Origin{Conn: 1}, nobody{})
	const own = "$oc/devices/demo_node1/sys/"
	for topic, payload := range map[string]string{
		"properties/report":                     `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"x"}]}`,
		"gateway/sub_devices/properties/report": `{"devices":[{"device_id":"demo_child1","services":[{"service_id":"Battery","properties":{"batteryLevel":1e9}}]}]}`,
		"messages/up?request_id=1":              `{"object_device_id":"demo_child1","content":{}}`,
		"events/up":                             `{"services":[{"service_id":"$time_sync","event_type":"time_sync_request","paras":{"device_send_time":1}}]}`,
		"shadow/get/request_id=1":               `{"service_id":"Battery"}`,
		"bootstrap/up":                          `null`,
		"commands/response/request_id=1":        `{}`,
		"properties/report?encoding=gzip":       "\x1f\x8b",
	} {
		f.Add(own+topic, []byte(payload))
	}
	f.Add(own+"events/up", []byte(`{"services":[{"service_id":"$sub_device_manager","event_type":"sub_device_update_status","paras":{"device_statuses":[{"device_id":"demo_child1","status":"ONLINE"}]}}]}`))
	f.Add(own+"events/up", []byte(`{"services":[{"service_id":"$file_manager","event_type":"get_upload_url","paras":{"file_name":"a","file_attributes":{"size":1}}},{"service_id":"$ota","event_type":"upgrade_progress_report","paras":{"result_code":0,"progress":100}}]}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		answers, _ := c.Publish(topic, payload)
		for _, a := range answers {
			if !strings.HasPrefix(a.Topic, own) || !json.Valid(a.Payload) {
				t.Fatalf("answer %q %s", a.Topic, a.Payload)
			}
		}
		c.Subscribe(topic)
		_, _ = s.Authenticate(iotda.Credentials{Instance: instance, ClientID: topic, Username: topic, Password: string(payload)})
	})
}
