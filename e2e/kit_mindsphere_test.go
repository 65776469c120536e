package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// mindConfig is an agent of the default tenant of region eu1. Its pauses pass on the cloud's clock.
func mindConfig(t *testing.T, cloud *fakecloud.Cloud, cn string) mindsphere.Config {
	t.Helper()
	issued, err := cloud.IssueDevice(cn)
	require.NoError(t, err)
	return mindsphere.Config{
		Region: mindsphere.EU1, Tenant: "demo", Certificate: issued.TLS(), TLS: trusting(t, cloud), Dial: cloud.DialContext,
		Timing: mindsphere.Timing{After: onCloudTime(t, cloud)},
	}
}

func trusting(t *testing.T, cloud *fakecloud.Cloud) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	return &tls.Config{RootCAs: roots}
}

// onCloudTime is Timing.After for pauses between attempts: they pass at once, and the cloud's clock with them.
// Limits for answers stay real.
func onCloudTime(t *testing.T, cloud *fakecloud.Cloud) func(time.Duration) <-chan time.Time {
	return func(d time.Duration) <-chan time.Time {
		if d >= 20*time.Second {
			return time.After(d)
		}
		if err := cloud.Advance(d); err != nil {
			t.Errorf("advance: %v", err)
		}
		passed := make(chan time.Time, 1)
		passed <- time.Now()
		return passed
	}
}

// kitStates collects the states of a device.
type kitStates[S any] struct {
	mu   sync.Mutex
	seen []S
	news chan struct{}
}

func newStates[S any]() *kitStates[S] { return &kitStates[S]{news: make(chan struct{}, 1000)} }

func (k *kitStates[S]) note(s S, _ error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = append(k.seen, s)
	k.news <- struct{}{}
}

// await returns the states so far once they satisfy f.
func (k *kitStates[S]) await(t *testing.T, ctx context.Context, f func([]S) bool) []S {
	t.Helper()
	for {
		k.mu.Lock()
		seen := append([]S(nil), k.seen...)
		k.mu.Unlock()
		if f(seen) {
			return seen
		}
		select {
		case <-k.news:
		case <-ctx.Done():
			t.Fatalf("states: %v", seen)
		}
	}
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*rawmqtt.Patience)
	t.Cleanup(cancel)
	return ctx
}

func demoModel(tenant string) mindsphere.Model {
	return mindsphere.Model{
		AspectTypes: []mindsphere.AspectType{{ID: tenant + ".climate", Name: "climate", Category: "dynamic", Scope: "private",
			Variables: []mindsphere.Variable{{Name: "temperature", DataType: "DOUBLE", Unit: "C", QualityCode: true}}}},
		AssetTypes: []mindsphere.AssetType{{ID: tenant + ".pump", Name: "pump", ParentTypeID: "core.basicasset", Instantiable: true,
			Scope: "private", Aspects: []mindsphere.Aspect{{Name: "climate", AspectTypeID: tenant + ".climate"}}}},
		Assets:   []mindsphere.Asset{{ReferenceID: "pump", TypeID: tenant + ".pump", Name: "Pump 7"}},
		Mappings: []mindsphere.Mapping{{DataPointID: "t1", AssetReferenceID: "pump", AspectName: "climate", VariableName: "temperature"}},
	}
}

// An agent of eu1 from its first drop to its token.
func TestMindSphereKit(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	cfg := mindConfig(t, cloud, "pump-9")
	states := newStates[mindsphere.State]()
	cfg.OnState = states.note
	agent, err := mindsphere.Dial(ctx, cfg)
	require.NoError(t, err)
	defer agent.Close(context.Background())
	require.Equal(t, "demo_pump-9", agent.ClientID())
	seen := states.await(t, ctx, func(s []mindsphere.State) bool { return s[len(s)-1] == mindsphere.Connected })
	require.Equal(t, []mindsphere.State{mindsphere.Connecting, mindsphere.Disconnected, mindsphere.Connecting}, seen[:3], "the first connection is dropped")
	require.NotEmpty(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "refused", Rule: "MS-1"}))

	// Version 3: an error that names the path, a model, its instance.
	model := demoModel("demo")
	model.ExternalID = "PumpModel"
	_, err = agent.Instantiate(ctx, "PumpModel", nil, nil)
	var failure *mindsphere.JobError
	require.ErrorAs(t, err, &failure)
	require.Contains(t, failure.Errors[0].Path, "modelExternalId")
	_, err = agent.CreateModel(ctx, model)
	require.NoError(t, err)
	var progress []string
	_, err = agent.Instantiate(ctx, "PumpModel", nil, func(p mindsphere.Progress) { progress = append(progress, p.Status) })
	require.NoError(t, err)
	require.Equal(t, "Success", progress[len(progress)-1])
	require.Greater(t, len(progress), 1)

	// Version 4.
	_, err = agent.ApplyModel(ctx, demoModel("other"), nil)
	require.ErrorAs(t, err, &failure)
	last, err := agent.ApplyModel(ctx, demoModel("demo"), nil)
	require.NoError(t, err)
	require.Len(t, last.ModelID, 26, "a ULID")
	url, err := agent.ModelURL(ctx)
	require.NoError(t, err)
	require.Contains(t, url, "https://")

	require.NoError(t, agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: "t1", Value: 21.5}, {DataPoint: "t2", Value: 1}}}))
	events, err := cloud.Await(ctx, fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: "demo_pump-9"}, 1)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"stored": "1", "lost": "1"}, events[0].Properties)
	require.NoError(t, agent.SendEvents(ctx, mindsphere.Event{Type: "demo.Event", Description: "hot", Details: map[string]int{"t": 90}}))
	events, err = cloud.Await(ctx, fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: "demo_pump-9"}, 2)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"events": "1"}, events[1].Properties)
	require.NoError(t, agent.SendFile(ctx, mindsphere.File{Name: "log.txt", Content: []byte("hello")}))
	events, err = cloud.Await(ctx, fakecloud.Filter{Platform: "mindsphere", Kind: "file", Device: "demo_pump-9"}, 1)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"name": "log.txt", "bytes": "5"}, events[0].Properties)

	token, err := agent.Token(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"mdsp:core:DefaultAgent"}, token.Scope)
	require.WithinDuration(t, time.Now().Add(time.Hour), token.Expires, time.Minute)

	// The connection is lost under a message, which arrives all the same.
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Close: true}, Count: 1})
	require.NoError(t, agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: "t1", Value: 22.5}}}))

	require.NoError(t, agent.Close(ctx))
	require.ErrorIs(t, agent.SendFile(ctx, mindsphere.File{Name: "x"}), mindsphere.ErrClosed)
}

// Two agents with one client id take the connection from each other: each is told, and comes back.
func TestMindSphereKitTakeover(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	cfg := mindConfig(t, cloud, "pump-9")
	states := newStates[mindsphere.State]()
	cfg.OnState = states.note
	first, err := mindsphere.Dial(ctx, cfg)
	require.NoError(t, err)
	defer first.Close(context.Background())
	connections := func(n int) func([]mindsphere.State) bool {
		return func(seen []mindsphere.State) bool {
			for _, s := range seen {
				if s == mindsphere.Connected {
					n--
				}
			}
			return n <= 0
		}
	}
	states.await(t, ctx, connections(1))
	cfg.OnState = nil
	second, err := mindsphere.Dial(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, second.Close(ctx))
	states.await(t, ctx, connections(2))
	require.NoError(t, first.SendFile(ctx, mindsphere.File{Name: "back"}))
}

// The broker says nothing, whatever is wrong; the kit says what it can be.
func TestMindSphereKitRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	cfg := mindConfig(t, cloud, "pump-9")
	cfg.Tenant, cfg.Onboarding = "other", time.Nanosecond
	_, err := mindsphere.Dial(ctx, cfg)
	var dropped *mindsphere.DroppedError
	require.ErrorAs(t, err, &dropped)
	require.Equal(t, "other_pump-9", dropped.ClientID)
	require.Positive(t, dropped.Attempts)
	events, err := cloud.Await(ctx, fakecloud.Filter{Kind: "refused"}, 1)
	require.NoError(t, err)
	require.NotEmpty(t, events[0].Fix)

	untrusted := mindConfig(t, cloud, "pump-9")
	untrusted.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	_, err = mindsphere.Dial(ctx, untrusted)
	var verify *tls.CertificateVerificationError
	require.ErrorAs(t, err, &verify)
}

// In region eu2 the certificate carries the client id, and DPS names the hub.
func TestMindSphereKitEU2(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	cfg := mindConfig(t, cloud, "demo2_pump-9")
	cfg.Region, cfg.Tenant, cfg.IDScope = mindsphere.EU2, "demo2", "0ne00FAKE02"
	agent, err := mindsphere.Dial(ctx, cfg)
	require.NoError(t, err)
	defer agent.Close(context.Background())
	model := demoModel("demo2")
	model.ExternalID = "PumpModel"
	_, err = agent.CreateModel(ctx, model)
	require.NoError(t, err)
	_, err = agent.Instantiate(ctx, "Other", nil, nil)
	var failure *mindsphere.JobError
	require.ErrorAs(t, err, &failure)
	_, err = agent.Instantiate(ctx, "PumpModel", nil, nil)
	require.NoError(t, err)
	require.NoError(t, agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: "t1", Value: 1}}}))
	events, err := cloud.Await(ctx, fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: "demo2_pump-9"}, 1)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"stored": "1", "lost": "0"}, events[0].Properties)

	cfg = mindConfig(t, cloud, "demo2_pump-9")
	cfg.Region, cfg.Tenant, cfg.IDScope = mindsphere.EU2, "demo2", "0ne00FAKE99"
	_, err = mindsphere.Dial(ctx, cfg)
	var refused *azure.ProvisionError
	require.ErrorAs(t, err, &refused)
}
