//go:build vendor

package sdk

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// java has what scripts/vendor.sh has built: classes and lib.
func java() string {
	if path := os.Getenv("FAKECLOUD_JAVA"); path != "" {
		return path
	}
	return "../../build/java"
}

// storePassword protects key stores that hold nothing worth protecting.
const storePassword = "changeit"

// machine is a Java virtual machine that runs one device after another.
type machine struct {
	cloud *fakecloud.Cloud
	lost  bool // a device did not come to its end, and holds the machine
	in    io.Writer
	out   io.Reader
}

// newMachine starts a virtual machine that trusts the cloud.
func newMachine(t *testing.T, cloud *fakecloud.Cloud) *machine {
	t.Helper()
	block, _ := pem.Decode(cloud.RootsPEM())
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	store, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{root}, storePassword)
	require.NoError(t, err)
	return startMachine(t, cloud, "-Djavax.net.ssl.trustStore="+write(t, "trust.p12", store), "-Djavax.net.ssl.trustStorePassword="+storePassword)
}

func startMachine(t *testing.T, cloud *fakecloud.Cloud, options ...string) *machine {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	options = append(options, "-cp", filepath.Join(java(), "classes")+string(os.PathListSeparator)+filepath.Join(java(), "lib", "*"), "Device")
	cmd := exec.CommandContext(ctx, "java", options...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("java wrote:\n%s", stderr.String())
		}
	})
	return &machine{cloud: cloud, in: in, out: out}
}

// start runs a device with its settings.
func (m *machine) start(t *testing.T, env map[string]string) *running {
	t.Helper()
	require.False(t, m.lost, "the machine hangs on an earlier device")
	m.lost = true
	line, err := json.Marshal(env)
	require.NoError(t, err)
	_, err = m.in.Write(append(line, '\n'))
	require.NoError(t, err)
	r := &running{T: t, name: "java", steps: make(chan step, 64), ended: make(chan int, 1)}
	go func() {
		status := readSteps(m.out, r.steps)
		code, err := strconv.Atoi(status)
		if err != nil {
			code = -1
		}
		r.ended <- code
		m.lost = false
		close(r.steps)
	}()
	return r
}

// pfx turns a credential in PEM files into one in a PKCS #12 file, which Java reads by itself.
func pfx(t *testing.T, cloud *fakecloud.Cloud, env map[string]string) map[string]string {
	t.Helper()
	if env["CERT_FILE"] == "" {
		return env
	}
	name := env["PROVISIONING_REGISTRATION_ID"]
	if name == "" {
		name = env["DEVICE_ID"]
		if module := env["MODULE_ID"]; module != "" {
			name += "/" + module
		}
	}
	return with(env, pfxOf(t, cloud, name))
}

func pfxOf(t *testing.T, cloud *fakecloud.Cloud, name string) map[string]string {
	t.Helper()
	device, err := cloud.IssueDevice(name)
	require.NoError(t, err)
	pair := device.TLS()
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		chain = append(chain, c)
	}
	file, err := pkcs12.Modern.Encode(pair.PrivateKey, chain[0], chain[1:], storePassword)
	require.NoError(t, err)
	return map[string]string{"PFX_FILE": write(t, "device.p12", file)}
}

var javaTransports = []string{"mqtt", "ws", "http"}

// The Azure SDK for Java: everything that the SDKs for Python and Node do, in one virtual machine.
func TestAzureSDKForJava(t *testing.T) {
	cloud := real(t)
	sessionWorld(t, cloud)
	m := newMachine(t, cloud)
	for _, transport := range javaTransports {
		for _, credential := range []string{"key", "x509"} {
			t.Run(joined("provision", transport, credential), func(t *testing.T) { m.provision(t, transport, credential) })
			for _, module := range []string{"", "mod"} {
				if module != "" && transport == "http" {
					continue // the SDK refuses modules over HTTPS
				}
				t.Run(joined("use", transport, credential, module), func(t *testing.T) { m.use(t, transport, credential, module) })
			}
		}
		t.Run(joined("refused", transport), func(t *testing.T) { m.refused(t, transport) })
	}
	t.Run("gateway", m.gateway)
	t.Run("upload", m.upload)
}

func (m *machine) provision(t *testing.T, transport, credential string) {
	doors := []struct{ name, dps, hub string }{{"vendor", globalDPS, demoHub}, {"loopback", "127.0.0.1", "127.0.0.1"}}
	if transport == "ws" || credential == "x509" {
		doors = doors[:1] // the SDK takes six seconds for each
	}
	for _, door := range doors {
		id := "sdk-java-" + transport + "-" + credential + "-" + door.name
		env := map[string]string{"TRANSPORT": transport, "PROVISIONING_HOST": door.dps, "PROVISIONING_IDSCOPE": idScope, "PROVISIONING_REGISTRATION_ID": id}
		if credential == "x509" {
			env = with(env, pfxOf(t, m.cloud, id))
		} else {
			env["DEVICE_KEY"] = deviceKey(t, id)
		}
		steps, code := m.start(t, env).rest()
		require.Zero(t, code)
		require.Equal(t, step{Step: "registered", Status: "assigned", Hub: door.hub, Device: id}, steps[0])
		require.Equal(t, "sent", steps[len(steps)-1].Step)
		expectTelemetry(t, m.cloud, id)
	}
}

func (m *machine) use(t *testing.T, transport, credential, module string) {
	s := &session{cloud: m.cloud, device: credential, messages: module == "", connected: transport != "http", since: last(m.cloud)}
	if module != "" {
		s.device += "/" + module
	}
	env := pfx(t, m.cloud, sessionCredential(t, m.cloud, credential, module))
	env["TRANSPORT"] = transport
	s.running = m.start(t, env)
	s.exchange()
}

// refused shows the SDK's own errors and the journal's rules beside each other.
func (m *machine) refused(t *testing.T, transport string) {
	for _, c := range []struct {
		name  string
		env   map[string]string
		rule  rule.ID
		error string
	}{
		{"hub wrong key", map[string]string{"HUB_HOST": demoHub, "DEVICE_ID": "demo-sas", "DEVICE_KEY": wrongKey}, "HUB-5", "IotHubClientException"},
		{"hub unknown certificate", with(pfxOf(t, m.cloud, "demo-sas"), map[string]string{"HUB_HOST": demoHub, "DEVICE_ID": "demo-sas"}), "HUB-15", "IotHubClientException"},
		{"dps wrong key", map[string]string{"PROVISIONING_HOST": globalDPS, "PROVISIONING_IDSCOPE": idScope,
			"PROVISIONING_REGISTRATION_ID": "sdk-bad", "DEVICE_KEY": wrongKey}, "DPS-15", "ProvisioningDeviceClientException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			since := last(m.cloud)
			c.env["TRANSPORT"] = transport
			steps, code := m.start(t, c.env).rest()
			require.Equal(t, 3, code)
			last := steps[len(steps)-1]
			require.Equal(t, step{Step: "failed", Error: c.error, Text: last.Text}, last)
			refused := m.cloud.Events(fakecloud.Filter{Kind: "refused", Rule: c.rule, Since: since})
			require.NotEmpty(t, refused, "the journal names %s", c.rule)
		})
	}
}

func (m *machine) gateway(t *testing.T) {
	steps, code := m.start(t, map[string]string{"HUB_HOST": demoHub, "DEVICE_ID": "demo-sas", "DEVICE_KEY": demoKey, "GATEWAY_HOST": "127.0.0.1"}).rest()
	require.Zero(t, code)
	require.Equal(t, "sent", steps[len(steps)-1].Step)
	expectTelemetry(t, m.cloud, "demo-sas")
}

func (m *machine) upload(t *testing.T) {
	for _, u := range []upload{{"mqtt", "key", 5}, {"mqtt", "key", 9 << 20}, {"mqtt", "x509", 5}} {
		since := last(m.cloud)
		file := write(t, "upload.bin", bytes.Repeat([]byte("x"), u.size))
		env := pfx(t, m.cloud, sessionCredential(t, m.cloud, u.credential, ""))
		steps, code := m.start(t, with(env, map[string]string{"TRANSPORT": u.transport, "SESSION": "", "UPLOAD": "logs/java.bin", "UPLOAD_FILE": file})).rest()
		require.Zero(t, code)
		require.Equal(t, step{Step: "uploaded", Text: strconv.Itoa(u.size)}, steps[len(steps)-1])
		uploaded(t, m.cloud, since, u.credential, "logs/java.bin", u.size)
	}
}
