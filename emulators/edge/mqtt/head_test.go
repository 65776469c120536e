package mqtt_test

import (
	"context"
	"encoding/base64"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/edge/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// nobody is a hub with one child behind the gateway gw, which it cannot be reached by.
type nobody struct{ edge.Upstream }

func (nobody) Hosts(string) []string { return []string{"hub.azure-devices.net"} }

func (nobody) Away(string) bool { return false }

func (nobody) Identities(string) []edge.Identity {
	return []edge.Identity{
		{DeviceID: "gw", GenerationID: "1", AuthType: "sas", IoTEdge: true, DeviceScope: "ms-azure-iot-edge://gw-1"},
		{DeviceID: "leaf", GenerationID: "1", AuthType: "sas", Keys: []string{key}, DeviceScope: "ms-azure-iot-edge://gw-1"},
	}
}

func (n nobody) Identity(_, device, module string) (edge.Identity, error) {
	for _, id := range n.Identities("") {
		if id.DeviceID == device && id.ModuleID == module {
			return id, nil
		}
	}
	return edge.Identity{}, edge.ErrNotFound
}

func (nobody) Welcome(string, string, string, bool) bool { return false }

func (nobody) Open(string, edge.Identity, edge.Origin, edge.CloudSink) (edge.Cloud, error) {
	return nil, edge.ErrAway
}

func (nobody) Visit(string, edge.Identity) (edge.Cloud, error) { return nil, edge.ErrAway }

// EDGE-24: whatever the keep alive, ten minutes of silence are the end.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		keepAlive uint16
		limit     time.Duration
	}{{0, 600 * time.Second}, {1200, 600 * time.Second}, {65535, 600 * time.Second}, {20, 30 * time.Second}} {
		t.Run(strconv.Itoa(int(c.keepAlive)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := clock.New()
				log := journal.New(now, rule.NewTable(edge.Rules), journal.Options{})
				svc := edge.New(edge.Config{Clock: now, IDs: ids.New(1), Journal: log, Store: store.New(), Upstream: nobody{}})
				require.NoError(t, svc.PutGateway(edge.Gateway{Name: "gw.test", Hub: "hub.azure-devices.net", DeviceID: "gw"}))
				svc.Start()
				server, err := broker.New(mqtt.Config(svc, broker.Config{Journal: log, Clock: now}))
				require.NoError(t, err)
				near, far := net.Pipe()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = server.Serve(far, broker.Peer{Conn: 1, Endpoint: "gw.test"})
				}()
				secret, err := base64.StdEncoding.DecodeString(key)
				require.NoError(t, err)
				conn := brokertest.New(t, near)
				conn.Send(brokertest.Connect{ClientID: "leaf", KeepAlive: c.keepAlive,
					Username: brokertest.Text("hub.azure-devices.net/leaf/?api-version=2021-04-12"),
					Password: brokertest.Text(azure.FormatSAS("hub.azure-devices.net/devices/leaf", secret, now.Wall().Add(time.Hour), ""))}.Bytes())
				conn.Expect(0x20, 2, 0, 0)
				start := time.Now()
				conn.ExpectSilence(c.limit - time.Second)
				conn.ExpectClosed()
				require.InDelta(t, c.limit.Seconds(), time.Since(start).Seconds(), 1)
				synctest.Wait()
				events, _ := log.Select(journal.Filter{Rule: "EDGE-24/silent"})
				require.NotEmpty(t, events)
				rule.Proves(t, "EDGE-24", "EDGE-24/silent")
				require.NoError(t, near.Close())
				<-done
				require.NoError(t, server.Close(context.Background()))
				svc.Close()
			})
		})
	}
}
