package e2e

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

// soakWorld has a second device of IoTDA, and faults that break a small share of everything that a client survives. It is
// laid over the default world once the logs are full.
const soakWorld = `iotda: {instances: [{name: fakecloud, devices: [{deviceId: demo_node2, productId: demo, secret: "12345678"}]}]}
faults:
  - {id: f1, match: {step: tls}, action: {reset: true}, probability: 0.01, seed: 1}
  - {id: f2, match: {step: connect}, action: {code: 3}, probability: 0.01, seed: 2}
  - {id: f3, match: {step: subscribe}, action: {close: true}, probability: 0.005, seed: 3}
  - {id: f4, match: {step: publish}, action: {close: true}, probability: 0.002, seed: 4}
  - {id: f5, match: {step: publish}, action: {duplicate: true}, probability: 0.01, seed: 5}
  - {id: f6, match: {step: publish}, action: {delay: 50ms}, probability: 0.01, seed: 6}
  - {id: f7, match: {step: puback}, action: {close: true}, probability: 0.002, seed: 7}
  - {id: f8, match: {step: dps.register}, action: {throttle: 1}, probability: 0.02, seed: 8}
  - {id: f9, match: {step: twin.patch}, action: {throttle: 1}, probability: 0.01, seed: 9}
  - {id: f10, match: {step: method}, action: {drop: true}, probability: 0.01, seed: 10}
`

// run starts the load, which ends with ctx. Ids come from small pools, so that what the instance has to remember
// is bounded.
func (s *soak) run(ctx context.Context, group *sync.WaitGroup) {
	for _, w := range []struct {
		kind    string
		workers int
		work    func(ctx context.Context, worker, round int) error
	}{
		{"azure", 4, s.azureDevice}, {"back end", 1, s.backEnd}, {"https", 1, s.httpsDevice},
		{"mindsphere", 2, s.agent}, {"eu2", 1, s.agentEU2},
		{"iotda", 2, s.node}, {"application", 1, s.application},
		{"edge", 1, s.child}, {"upstream", 1, s.upstream},
		{"reader", 2, s.reader}, {"stranger", 1, s.stranger},
	} {
		s.tally.expect(w.kind)
		for worker := range w.workers {
			group.Go(func() {
				for round := 0; ctx.Err() == nil; round++ {
					within, cancel := context.WithTimeout(ctx, time.Minute)
					err := w.work(within, worker, round)
					cancel()
					if ctx.Err() == nil {
						s.tally.note(w.kind, err)
					}
					if err != nil { // one that fails at once shall not spin
						_ = wait(ctx, time.Second)
					}
				}
			})
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dial leads the vendors' ports to the process's.
func (s *soak) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to := map[string]int{"8883": s.ports.MQTTS, "443": s.ports.HTTPS, "1883": s.ports.MQTT}[port]
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(to)))
}

func (s *soak) trust() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.root)
	roots.AppendCertsFromPEM(s.edge)
	return &tls.Config{RootCAs: roots}
}

// azureDevice is provisioned, works with its hub and goes, by MQTT and WebSocket in turn.
func (s *soak) azureDevice(ctx context.Context, worker, round int) error {
	id := fmt.Sprintf("soak-%d-%d", worker, round%3)
	mac := hmac.New(sha256.New, must(base64.StdEncoding.DecodeString(groupKey)))
	mac.Write([]byte(id))
	credential, err := azure.SymmetricKey(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	if err != nil {
		return err
	}
	if _, err := azure.Provision(ctx, azure.ProvisionConfig{IDScope: idScope, RegistrationID: id, Credential: credential,
		TLS: s.trust(), Dial: s.dial, WebSocket: round%2 == 1}); err != nil {
		return err
	}
	hub, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, DeviceID: id, Credential: credential, TLS: s.trust(), Dial: s.dial, WebSocket: round%2 == 1})
	if err != nil {
		return err
	}
	defer hub.Close(context.WithoutCancel(ctx))
	err = errors.Join(
		hub.HandleMethod(ctx, azure.AnyMethod, func(context.Context, azure.MethodCall) (int, json.RawMessage) { return 200, json.RawMessage(`{}`) }),
		hub.OnMessage(ctx, func(context.Context, azure.Received) {}),
		hub.OnDesired(ctx, func(context.Context, azure.DesiredChange) {}))
	for i := 0; err == nil && i < 50; i++ {
		err = hub.Send(ctx, azure.Message{Body: []byte(`{"n":` + strconv.Itoa(i) + `}`), Properties: map[string]string{"round": strconv.Itoa(round)}})
		if err == nil && i%10 == 0 {
			_, err = hub.UpdateReported(ctx, map[string]any{"round": round, "i": i})
		}
	}
	return err
}

// backEnd calls, writes to and configures the devices, which are there or not.
func (s *soak) backEnd(ctx context.Context, _, round int) error {
	id := fmt.Sprintf("soak-%d-%d", rand.IntN(4), rand.IntN(3))
	path := "/api/v1/iothub/fakecloud-hub"
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPost, path + "/messages/" + id, `{"body":"hello"}`},
		{http.MethodPatch, path + "/twins/" + id, fmt.Sprintf(`{"properties":{"desired":{"round":%d}}}`, round)},
		{http.MethodPost, path + "/methods/" + id, `{"methodName":"m","responseTimeoutInSeconds":5}`},
		{http.MethodGet, path + "/twins/" + id, ""},
		{http.MethodGet, "/api/v1/devices", ""},
		{http.MethodGet, "/api/v1/explain?last=1", ""},
	} {
		status, answer, err := s.call(ctx, c.method, c.path, c.body)
		if err != nil {
			return err
		}
		if status == http.StatusBadRequest || status == http.StatusUnprocessableEntity && c.body != "" && !strings.Contains(c.path, "messages") {
			return fmt.Errorf("%s %s: %d %s", c.method, c.path, status, answer)
		}
	}
	if round%20 == 19 {
		_, _, err := s.call(ctx, http.MethodDelete, path+"/messages/"+id, "")
		return err
	}
	return wait(ctx, 50*time.Millisecond)
}

// httpsDevice sends by HTTPS, on a connection of its own.
func (s *soak) httpsDevice(ctx context.Context, _, _ int) error {
	transport := &http.Transport{DialContext: s.dial, TLSClientConfig: s.trust()}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for range 10 {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+demoHub+"/devices/demo-sas/messages/events?api-version=2021-04-12", strings.NewReader("x"))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", sign(demoHub+"/devices/demo-sas", demoKey, later, ""))
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			return errors.New(answer.Status)
		}
	}
	return nil
}

// certificate has the instance make one.
func (s *soak) certificate(ctx context.Context, commonName string) (tls.Certificate, error) {
	status, body, err := s.call(ctx, http.MethodPost, "/api/v1/pki/devices", `{"commonName":"`+commonName+`","key":"ecdsa"}`)
	if err != nil || status/100 != 2 {
		return tls.Certificate{}, fmt.Errorf("pki: %d %s %w", status, body, err)
	}
	var made struct{ Chain, PrivateKey string }
	if err := json.Unmarshal(body, &made); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair([]byte(made.Chain), []byte(made.PrivateKey))
}

func (s *soak) agent(ctx context.Context, worker, round int) error {
	return s.mindSphere(ctx, mindsphere.Config{Region: mindsphere.EU1, Tenant: "demo"}, fmt.Sprintf("soak-%d-%d", worker, round%5))
}

func (s *soak) agentEU2(ctx context.Context, _, round int) error {
	return s.mindSphere(ctx, mindsphere.Config{Region: mindsphere.EU2, Tenant: "demo2", IDScope: "0ne00FAKE02"}, fmt.Sprintf("demo2_soak-%d", round%5))
}

// mindSphere onboards an agent, sends what it measures and goes.
func (s *soak) mindSphere(ctx context.Context, config mindsphere.Config, name string) error {
	cert, err := s.certificate(ctx, name)
	if err != nil {
		return err
	}
	config.Certificate, config.TLS, config.Dial = cert, s.trust(), s.dial
	agent, err := mindsphere.Dial(ctx, config)
	if err != nil {
		return err
	}
	defer agent.Close(context.WithoutCancel(ctx))
	if _, err := agent.ApplyModel(ctx, demoModel(config.Tenant), nil); err != nil {
		return err
	}
	for i := 0; err == nil && i < 30; i++ {
		err = agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: "t1", Value: i}}})
	}
	return err
}

// node reports, asks for its shadow and answers commands.
func (s *soak) node(ctx context.Context, worker, _ int) error {
	config := iotda.Config{Host: iotdaMQTT, DeviceID: "demo_node" + strconv.Itoa(worker+1), Credential: iotda.Secret("12345678"), Dial: s.dial}
	if worker == 0 {
		config.TLS = s.trust()
	} else {
		config.Plain = true
	}
	d, err := iotda.Dial(ctx, config)
	if err != nil {
		return err
	}
	defer d.Close(context.WithoutCancel(ctx))
	d.OnCommand(func(_ context.Context, c iotda.Command) (iotda.Response, error) {
		return iotda.Response{Name: "ok"}, nil
	})
	for i := 0; err == nil && i < 30; i++ {
		err = d.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": i}})
	}
	if err == nil {
		_, err = d.Shadow(ctx, "Battery")
	}
	return err
}

// application is IoTDA's other side.
func (s *soak) application(ctx context.Context, _, round int) error {
	transport := &http.Transport{DialContext: s.dial, TLSClientConfig: s.trust()}
	defer transport.CloseIdleConnections()
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPost, "/devices/demo_node1/messages", `{"message":"hello","ttl":1}`},
		{http.MethodPost, "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"c","paras":{}}`},
		{http.MethodPut, "/devices/demo_node1/shadow", fmt.Sprintf(`{"shadow":[{"service_id":"Battery","desired":{"batteryLevel":%d}}]}`, round%100)},
		{http.MethodGet, "/devices", ""},
	} {
		request, err := http.NewRequestWithContext(ctx, c.method, "https://"+iotdaAPI+iotdaProject+c.path, strings.NewReader(c.body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		answer, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusUnauthorized {
			return fmt.Errorf("%s %s: %s %s", c.method, c.path, answer.Status, text)
		}
	}
	return nil
}

// child sends through the gateway, which stores while its hub is away.
func (s *soak) child(ctx context.Context, _, _ int) error {
	key, err := azure.SymmetricKey(demoKey)
	if err != nil {
		return err
	}
	hub, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, GatewayHost: edgeGateway, DeviceID: "demo-leaf", Credential: key, TLS: s.trust(), Dial: s.dial})
	if err != nil {
		return err
	}
	defer hub.Close(context.WithoutCancel(ctx))
	for i := 0; err == nil && i < 30; i++ {
		err = hub.Send(ctx, azure.Message{Body: []byte("child")})
	}
	return err
}

// upstream takes the gateway's hub away for a moment.
func (s *soak) upstream(ctx context.Context, _, _ int) error {
	for _, state := range []string{"down", "up"} {
		status, answer, err := s.call(ctx, http.MethodPost, "/api/v1/edge/"+edgeGateway+"/upstream", `{"state":"`+state+`"}`)
		if err != nil || status/100 != 2 {
			return fmt.Errorf("%d %s %w", status, answer, err)
		}
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// reader follows the journal for a while: as server-sent events, and every fifth time without reading at all.
func (s *soak) reader(ctx context.Context, _, round int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin+"/api/v1/events?since=1", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	answer, err := adminClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	if round%5 == 4 {
		return wait(ctx, 2*time.Second)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 4<<20)
	for range 500 {
		if !lines.Scan() {
			return lines.Err()
		}
	}
	return nil
}

// stranger is what comes by chance: a port probe, a client without TLS, one with a wrong key, one that asks for what is
// not there.
func (s *soak) stranger(ctx context.Context, _, round int) error {
	conn, err := s.dial(ctx, "tcp", ":8883")
	if err != nil {
		return err
	}
	if round%2 == 0 {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	}
	conn.Close()
	wrong, err := azure.SymmetricKey("d3Jvbmc=")
	if err != nil {
		return err
	}
	if hub, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: wrong, TLS: s.trust(), Dial: s.dial}); err == nil {
		return errors.Join(errors.New("a wrong key was accepted"), hub.Close(ctx))
	}
	status, _, err := s.call(ctx, http.MethodGet, "/api/v1/events?wait=100ms&device=nobody", "")
	if err == nil && status != http.StatusGatewayTimeout {
		err = fmt.Errorf("a wait in vain was answered with %d", status)
	}
	return err
}

// fill sends until the journal and the hub's log of messages hold as much as they ever will.
func (s *soak) fill(t *testing.T) {
	t.Helper()
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	hub, err := azure.Dial(t.Context(), azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: key, TLS: s.trust(), Dial: s.dial})
	require.NoError(t, err)
	defer hub.Close(context.Background())
	var senders sync.WaitGroup
	const each, messages = 16, 6000 // of 16 KiB: more than the 64 MiB that either holds
	body := make([]byte, 16<<10)
	for range each {
		senders.Go(func() {
			for range messages / each {
				if err := hub.Send(t.Context(), azure.Message{Body: body}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
}

// must is for constants.
func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}
