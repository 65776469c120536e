//go:build vendor

package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	mindConnect = "mindconnectmqtt.eu1.mindsphere.io"
	mindGateway = "gateway.eu1.mindsphere.io"
)

// agentFiles writes an agent's chain and key, and returns the settings of the agent programs.
func agentFiles(t *testing.T, cloud *fakecloud.Cloud, name string) map[string]string {
	t.Helper()
	issued, err := cloud.IssueDevice(name)
	require.NoError(t, err)
	return with(trust(t, cloud), map[string]string{
		"HOST": mindConnect, "PORT": "8883", "TENANT": "demo", "CLIENT_ID": "demo_" + name, "GATEWAY": "https://" + mindGateway,
		"CERT_FILE": write(t, "chain.pem", issued.ChainPEM()), "KEY_FILE": write(t, "key.pem", issued.KeyPEM()),
	})
}

// model is a model of the emulator's own tests, for tenant demo.
func model(t *testing.T, version string) string {
	t.Helper()
	text, err := os.ReadFile("../../emulators/mindsphere/testdata/model-" + version + ".json")
	require.NoError(t, err)
	return write(t, "model.json", []byte(strings.ReplaceAll(string(text), "camexia.", "demo.")))
}

// named returns the status of every step of a name.
func named(steps []step, name string) (statuses []string) {
	for _, s := range steps {
		if s.Step == name {
			statuses = append(statuses, s.Status)
		}
	}
	return statuses
}

// rodeOver checks that an agent was dropped before it was provisioned, then accepted, and stored its value.
func rodeOver(t *testing.T, cloud *fakecloud.Cloud, clientID string) {
	t.Helper()
	drops := cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "refused", Device: clientID})
	require.NotEmpty(t, drops)
	require.EqualValues(t, "MS-1/first", drops[0].Rule)
	for _, e := range drops[1:] {
		require.EqualValues(t, "MS-2/pending", e.Rule)
	}
	require.Len(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "connack", Device: clientID}), 1)
	require.Equal(t, "1", await(t, cloud, fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: clientID})[0].Properties["stored"])
	rule.Proves(t, "MS-1", "MS-3", "MS-22")
}

// Paho for Python, as the vendor's sample uses it: its loop reconnects over the drop.
func TestMindSpherePahoPython(t *testing.T) {
	cloud := real(t)
	steps, code := program{"python", []string{python(), "python/mindsphere_agent.py", model(t, "v3")}}.run(t, agentFiles(t, cloud, "press"))
	require.Zero(t, code)
	require.NotEmpty(t, named(steps, "disconnected"))
	require.Equal(t, []string{"0"}, named(steps, "connected"))
	require.Equal(t, []string{"[1, 1, 1]"}, named(steps, "subscribed"))
	require.Equal(t, []string{"Success"}, named(steps, "model"))
	require.Equal(t, []string{"InProgress", "InProgress", "Success"}, named(steps, "instance"))
	require.Equal(t, []string{"3600"}, named(steps, "token"))
	require.Len(t, named(steps, "done"), 1)
	rodeOver(t, cloud, "demo_press")
}

// MQTT.js on port 8883, and on 443 by ALPN: it reconnects by itself.
func TestMindSphereMQTTjs(t *testing.T) {
	for _, c := range []struct{ name, port, alpn string }{{"mill", "8883", ""}, {"lathe", "443", "x-amzn-mqtt-ca"}} {
		t.Run(c.port, func(t *testing.T) {
			cloud := real(t)
			steps, code := program{"node", []string{"node", "mindsphere/agent.js", model(t, "v4")}}.run(t,
				with(agentFiles(t, cloud, c.name), map[string]string{"PORT": c.port, "ALPN": c.alpn}))
			require.Zero(t, code)
			require.NotEmpty(t, named(steps, "closed"))
			require.Equal(t, []string{"1"}, named(steps, "subscribed"))
			require.Equal(t, []string{"InProgress", "InProgress", "Success"}, named(steps, "answer"))
			require.Len(t, named(steps, "done"), 1)
			rodeOver(t, cloud, "demo_"+c.name)
			if c.alpn != "" {
				rule.Proves(t, "MS-8")
			}
		})
	}
}

// Paho for Go with ConnectRetry: Connect returns once the agent is provisioned.
func TestMindSpherePahoGo(t *testing.T) {
	cloud := real(t)
	issued, err := cloud.IssueDevice("saw")
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tls://" + mindConnect + ":8883").SetClientID("demo_saw").SetCleanSession(false).
		SetProtocolVersion(4).SetTLSConfig(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{issued.TLS()}}).
		SetConnectRetry(true).SetConnectRetryInterval(500 * time.Millisecond))
	wait := func(token paho.Token) {
		t.Helper()
		require.True(t, token.WaitTimeout(20*time.Second), "no answer")
		require.NoError(t, token.Error())
	}
	wait(client.Connect())
	defer client.Disconnect(100)
	answers := make(chan string, 10)
	wait(client.Subscribe("tc/demo/demo_saw/i/amo_v4/mip", 1, func(_ paho.Client, m paho.Message) { answers <- string(m.Payload()) }))
	text, err := os.ReadFile(model(t, "v4"))
	require.NoError(t, err)
	wait(client.Publish("tc/demo/demo_saw/o/amo_v4/mi", 1, false, text))
	for range 3 {
		select {
		case answer := <-answers:
			require.Contains(t, answer, `"requestId"`)
		case <-time.After(20 * time.Second):
			t.Fatal("no answer from the asset modeler")
		}
	}
	wait(client.Publish("tc/demo/demo_saw/o/mc_v3/ts", 1, false, `{"timeseries":[{"timestamp":"2026-01-01T00:00:00.000Z","values":[{"dataPointId":"rpm","value":"7"}]}]}`))
	rodeOver(t, cloud, "demo_saw")
}

// MindSphere's SDK for Node drives delivery jobs over REST; the agent that answers is mosquitto's.
func TestMindSphereSDKDeliveryJobs(t *testing.T) {
	cloud := real(t)
	env := agentFiles(t, cloud, "oven")
	export := "set -e; export HOST=" + env["HOST"] + " CA=" + env["CA_FILE"] + " CERT=" + env["CERT_FILE"] + " KEY=" + env["KEY_FILE"] + "\n"
	const common = `--cafile $CA --cert $CERT --key $KEY -h $HOST -p 8883 -i demo_oven -q 1`
	_, code := shell(t, t.TempDir(), export+"mosquitto_pub "+common+` -t tc/demo/demo_oven/o/agm_v3/t -m '{"id":"1"}'`)
	require.Equal(t, 7, code)
	require.NoError(t, cloud.Advance(4*time.Second))
	// The agent keeps its session, takes one command from it later, and answers.
	_, code = shell(t, t.TempDir(), export+"mosquitto_sub "+common+" -c -E -t tc/demo/demo_oven/i/cmd_v3/c")
	require.Zero(t, code)
	answered := make(chan int, 1)
	go func() {
		_, code := shell(t, t.TempDir(), export+`
command=$(mosquitto_sub `+common+` -c -C 1 -W 30 -t tc/demo/demo_oven/i/cmd_v3/c)
id=$(echo "$command" | sed 's/^{"id":"\([0-9a-f]*\)".*/\1/'); job=$(echo "$command" | sed 's/.*"jobId":"\([0-9a-f]*\)".*/\1/')
mosquitto_pub `+common+` -t tc/demo/demo_oven/o/cmd_v3/u -m "{\"id\":\"u\",\"requestId\":\"$id\",\"data\":{\"timestamp\":\"2026-01-01T00:00:00.000Z\",\"jobId\":\"$job\",\"status\":\"EXECUTED\",\"response\":{\"ok\":\"yes\"}}}"`)
		answered <- code
	}()
	steps, code := program{"node", []string{"node", "mindsphere/rest.js", "jobs"}}.run(t, env)
	require.Zero(t, code)
	require.Zero(t, <-answered)
	require.Contains(t, steps[0].Text, "21 client ids")
	require.Equal(t, "EXECUTED", named(steps, "command")[0])
	require.Equal(t, "EXECUTED", named(steps, "job")[0])
	for _, s := range steps {
		switch s.Step {
		case "command":
			require.JSONEq(t, `{"ok":"yes"}`, s.Text)
		case "list":
			require.Equal(t, "restart", s.Text)
		}
	}
	require.Len(t, named(steps, "deleted"), 1)
	rule.Proves(t, "MS-25", "MS-26", "MS-30")
}

// The token for a private cloud's broker, made by MindSphere's SDK for Node, is mosquitto's password. (The SDK's
// command line, mdsp mqtt-createjwt, fails by itself in this version: it joins numbers as texts.)
func TestMindSphereSDKToken(t *testing.T) {
	cloud := real(t, fakecloud.WithWorld(`mindsphere: {tenants: [{name: site, region: private, host: mqtt.site.test, certificates: [{name: ca, ca: demo-ca}]}]}`))
	dir := t.TempDir()
	certificate, key := cloud.DemoCA()
	writeTo(t, dir, "ca.pem", certificate)
	writeTo(t, dir, "ca.key", key)
	writeTo(t, dir, "root.pem", cloud.RootsPEM())
	_, code := shell(t, dir, `set -e
openssl req -new -newkey rsa:2048 -nodes -keyout press.key -out press.csr -subj /CN=press
openssl x509 -req -in press.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out press.pem -days 365 -sha256`)
	require.Zero(t, code)
	steps, code := program{"node", []string{"node", "mindsphere/rest.js", "token", dir + "/ca.pem", dir + "/press.pem", dir + "/press.key"}}.run(t,
		map[string]string{"CLIENT_ID": "site_press", "TENANT": "site"})
	require.Zero(t, code)
	token := steps[0].Text
	require.Len(t, strings.Split(token, "."), 3)
	connect := func(password string) int {
		t.Helper()
		_, code := shell(t, dir, `mosquitto_sub --cafile root.pem -h mqtt.site.test -p 8883 -V mqttv311 -i site_press -u _CertificateBearer -P '`+password+`' -q 1 -t tc/site/site_press/i/cmd_v3/c -E`)
		return code
	}
	require.Zero(t, connect(token))
	require.Equal(t, 5, connect(token[:len(token)-6]), "connection refused: not authorised")
	rule.Proves(t, "MS-32")
	var shown []string
	for _, e := range cloud.Events(fakecloud.Filter{}) {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		shown = append(shown, string(text))
	}
	require.NotContains(t, strings.Join(shown, "\n"), token)
}
