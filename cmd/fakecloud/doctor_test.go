package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority is a certificate that can sign others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// certified makes a certificate; change adjusts it, and by nil it signs itself.
func certified(t *testing.T, by *authority, cn string, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	change(template)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

func signing(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
func serving(c *x509.Certificate) {
	c.DNSNames, c.IPAddresses = []string{"gw.test"}, []net.IP{net.IPv4(127, 0, 0, 1)}
}

func (a *authority) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
	return name
}

// broker answers TLS connections with a chain, and CONNECT with answer; an empty one closes.
func tlsBroker(t *testing.T, leaf *authority, more []*authority, answer string) string {
	t.Helper()
	chain := tls.Certificate{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key}
	for _, a := range more {
		chain.Certificate = append(chain.Certificate, a.cert.Raw)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{chain}})
	require.NoError(t, err)
	return serveAnswers(t, l, answer)
}

func serveAnswers(t *testing.T, l net.Listener, answer string) string {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, answer)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// examined runs the doctor and returns its exit code and what it said.
func examined(t *testing.T, args ...string) (int, string) {
	t.Helper()
	a, out, errOut := testApp(t)
	code := a.run(t.Context(), append([]string{"--admin", "http://127.0.0.1:1", "doctor"}, args...))
	return code, out.String() + errOut.String()
}

// What is wrong with a server's chain is named, each with its mend.
func TestDoctorChains(t *testing.T) {
	t.Parallel()
	root := certified(t, nil, "root", signing)
	inter := certified(t, root, "inter", signing)
	same := certified(t, nil, "root", signing) // another key under the same name
	leaf := certified(t, inter, "gw", serving)
	old := certified(t, inter, "gw", func(c *x509.Certificate) {
		serving(c)
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)
	})
	young := certified(t, inter, "gw", func(c *x509.Certificate) { serving(c); c.NotBefore = time.Now().Add(30 * time.Minute) })
	client := certified(t, inter, "gw", func(c *x509.Certificate) { serving(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	noName := certified(t, inter, "gw.test", func(*x509.Certificate) {})
	alone := certified(t, nil, "self", serving)
	notCA := certified(t, root, "not a CA", func(c *x509.Certificate) {})
	under := certified(t, notCA, "gw", serving)

	for name, tc := range map[string]struct {
		leaf  *authority
		more  []*authority
		ca    *authority
		args  []string
		code  int
		wants []string
	}{
		"all is well":          {leaf, []*authority{inter}, root, nil, 0, []string{"chain: CN=gw <- CN=inter <- CN=root, trusted by", "the certificate is for 127.0.0.1", "CONNECT: accepted", "A device can connect here."}},
		"by its name":          {leaf, []*authority{inter}, root, []string{"--name", "gw.test"}, 0, []string{"the certificate is for gw.test"}},
		"wrong gateway name":   {leaf, []*authority{inter}, root, []string{"--name", "gateway"}, 1, []string{"FAIL name check: the certificate is not for gateway but for gw.test, 127.0.0.1", "GatewayHostName", "--name gw.test", "1 fault found"}},
		"missing intermediate": {leaf, nil, root, nil, 1, []string{"FAIL chain: CN=gw was issued by CN=inter, which the server does not send and", "its certificate file holds the chain, the leaf first"}},
		"missing root":         {leaf, []*authority{inter, root}, alone, nil, 1, []string{"FAIL chain: it ends at the root CN=root, which", "does not hold"}},
		"another root":         {leaf, []*authority{inter}, same, nil, 1, []string{"holds a root CN=root, but with another key than the one that signed"}},
		"expired":              {old, []*authority{inter}, root, nil, 1, []string{"FAIL chain: the certificate of CN=gw expired at", "ok   chain: CN=gw"}},
		"not yet":              {young, []*authority{inter}, root, nil, 1, []string{"CN=gw is not good before", "this machine's clock is behind"}},
		"for clients":          {client, []*authority{inter}, root, nil, 1, []string{"is not one for servers", "serverAuth"}},
		"no names":             {noName, []*authority{inter}, root, nil, 1, []string{`names no host (no subjectAltName), only the common name "gw.test"`, "subjectAltName = DNS:127.0.0.1"}},
		"self-signed":          {alone, nil, root, nil, 1, []string{"CN=self is self-signed and not trusted"}},
		"issued by no CA":      {under, []*authority{notCA}, root, nil, 1, []string{"FAIL chain: "}},
		"system's roots":       {leaf, []*authority{inter, root}, nil, nil, 1, []string{"which this system's roots does not hold"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{tlsBroker(t, tc.leaf, tc.more, "\x20\x02\x00\x00")}, tc.args...)
			if tc.ca != nil {
				args = append(args, "--ca", tc.ca.file(t))
			}
			code, text := examined(t, args...)
			require.Equal(t, tc.code, code, text)
			for _, want := range tc.wants {
				require.Contains(t, text, want)
			}
		})
	}
}

// Ends other than CONNACK 0.
func TestDoctorConnect(t *testing.T) {
	t.Parallel()
	root := certified(t, nil, "root", func(c *x509.Certificate) { signing(c); serving(c) })
	ca := root.file(t)
	for want, tc := range map[string]struct {
		answer string
		args   []string
		code   int
	}{
		"there is an MQTT broker":            {"\x20\x02\x00\x05", nil, 0},
		"return code 5 (not authorized)":     {"\x20\x02\x00\x05", []string{"--client-id", "x"}, 1},
		"return code 99 (not a return code":  {"\x20\x02\x00\x63", []string{"--client-id", "x", "--username", "u", "--password", "p"}, 1},
		"closes the connection of a client":  {"", nil, 0},
		"closes the connection without a CO": {"", []string{"--client-id", "x"}, 1},
		"is no CONNACK":                      {"HTTP", []string{"--client-id", "x"}, 1},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			code, text := examined(t, append([]string{tlsBroker(t, root, nil, tc.answer), "--ca", ca}, tc.args...)...)
			require.Equal(t, tc.code, code, text)
			require.Contains(t, text, want)
		})
	}
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := serveAnswers(t, l, "\x20\x02\x00\x00")
		code, text := examined(t, address, "--plain", "--client-id", "x")
		require.Equal(t, 0, code, text)
		code, text = examined(t, address)
		require.Equal(t, 1, code)
		require.Contains(t, text, "closes the connection during the handshake")
		require.Contains(t, text, "fakecloud doctor "+address+" --plain")
		l, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		code, text = examined(t, serveAnswers(t, l, "HTTP/1.1 400 Bad Request\r\n\r\n"))
		require.Equal(t, 1, code)
		require.Contains(t, text, "does not speak TLS on this port")
	})
	t.Run("client certificate wanted", func(t *testing.T) {
		t.Parallel()
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert,
			Certificates: []tls.Certificate{{Certificate: [][]byte{root.cert.Raw}, PrivateKey: root.key}}})
		require.NoError(t, err)
		code, text := examined(t, serveAnswers(t, l, ""), "--ca", ca)
		require.Equal(t, 1, code)
		require.Contains(t, text, "the server asked for a certificate of the device: give it with --cert and --key-file")
	})
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		code, text := examined(t, l.Addr().String(), "--timeout", "100ms")
		require.Equal(t, 1, code)
		require.Contains(t, text, "does not answer the handshake")
		code, text = examined(t, l.Addr().String(), "--timeout", "100ms", "--plain")
		require.Equal(t, 1, code)
		require.Contains(t, text, "CONNECT: no answer")
	})
}

// Names and ports that lead nowhere.
func TestDoctorReach(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	free := l.Addr().String()
	require.NoError(t, l.Close())
	code, text := examined(t, free)
	require.Equal(t, 1, code)
	require.Contains(t, text, "FAIL TCP: nothing listens on port")

	a, out, _ := testApp(t)
	d := &doctor{deviceBase: deviceBase{app: a, timeout: time.Second}, report: &report{out: out}, now: time.Now}
	for want, err := range map[string]error{
		"no such host":                  &net.DNSError{IsNotFound: true},
		"the name server does not answ": &net.DNSError{IsTimeout: true},
		"no address":                    nil,
		"odd":                           errors.New("odd"),
	} {
		d.lookup = func(context.Context, string) ([]string, error) { return nil, err }
		require.Nil(t, d.resolve(t.Context(), "hub.test"))
		require.Contains(t, out.String(), "hub.test does not resolve: "+want)
	}
	d.lookup = func(context.Context, string) ([]string, error) {
		return []string{"127.0.0.1", "10.0.0.1", "20.1.2.3"}, nil
	}
	require.Len(t, d.resolve(t.Context(), "hub.test"), 3)
	require.Contains(t, out.String(), "(this machine and a private network and the internet)")
	for want, err := range map[string]error{
		"does not answer":   &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"cannot be reached": errors.New("connect: no route to host"),
		"odd":               errors.New("odd"),
	} {
		what, _ := tcpTrouble(err, "h", "1")
		require.Contains(t, what, want)
	}
}

// Against an instance: its root is known, a device of it is accepted, a refusal leads to explain.
func TestDoctorInstance(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t)
	address := cloud.MQTTSAddr()
	doctor := func(args ...string) (int, string) {
		a, out, errOut := testApp(t)
		code := a.run(t.Context(), append([]string{"--admin", admin, "doctor"}, args...))
		return code, out.String() + errOut.String()
	}
	code, text := doctor(address, "--name", "fakecloud-hub.azure-devices.net", "--connection-string", demoSASString)
	require.Equal(t, 0, code, text)
	require.Contains(t, text, "trusted by the running instance")
	require.Contains(t, text, "CONNECT: fakecloud-hub.azure-devices.net accepts demo-sas")
	gateway := net.JoinHostPort("127.0.0.1", strconv.Itoa(cloud.Ports().Edge))
	for _, args := range [][]string{{address, "--name", "mygateway.contoso.com"}, {gateway}} {
		code, text = doctor(args...)
		require.Equal(t, 0, code, text)
		require.Contains(t, text, "CN=Azure_IoT_Hub_CA_Cert_Test_Only")
		require.Contains(t, text, "trusted by the running instance")
	}
	code, text = doctor(address, "--connection-string", "HostName=fakecloud-hub.azure-devices.net;DeviceId=demo-sas;SharedAccessKey=AAAA")
	require.Equal(t, 1, code)
	require.Contains(t, text, "return code 5 (not authorized)\n     -> why: fakecloud explain --last")
	code, text = doctor(address, "--name", "gateway.example.com")
	require.Equal(t, 1, code)
	require.Contains(t, text, "it has no certificate for the name gateway.example.com")
	code, text = doctor("127.0.0.1:" + strconv.Itoa(cloud.Ports().HTTPS[0]))
	require.Equal(t, 0, code, text)
	require.Contains(t, text, "CONNECT: not tried")

	issued, err := cloud.IssueDevice("pump-1")
	require.NoError(t, err)
	both := filepath.Join(t.TempDir(), "both.pem")
	require.NoError(t, os.WriteFile(both, append(issued.KeyPEM(), issued.ChainPEM()...), 0o600))
	code, text = doctor(address, "--cert", both, "--client-id", "demo_pump-1")
	require.Equal(t, 1, code)
	require.Contains(t, text, "client certificate: CN=pump-1 issued by")
	require.Contains(t, text, "MindSphere eu1 does so while it provisions a new agent")

	code, text = doctor()
	require.Equal(t, 0, code, text)
	require.Contains(t, text, "ok   port: MQTT over TLS accepts on")
	require.Contains(t, text, "ok   clock: it is")
}

// This machine without an instance: taken ports, wrong clock, names, proxies.
func TestDoctorMachine(t *testing.T) {
	t.Parallel()
	a, out, _ := testApp(t)
	a.adminURL = ""
	settings := map[string]string{"FAKECLOUD_DATA": t.TempDir(), "HTTPS_PROXY": "http://proxy:3128"}
	a.env = func(name string) string { return settings[name] }
	d := &doctor{deviceBase: deviceBase{app: a, timeout: time.Second}, report: &report{out: out}}
	d.now = func() time.Time { return time.Unix(0, 0) }
	d.lookup = func(_ context.Context, name string) ([]string, error) {
		switch name {
		case "localhost":
			return []string{"20.1.2.3"}, nil
		case "fakecloud-hub.azure-devices.net":
			return []string{"127.0.0.1"}, nil
		case "global.azure-devices-provisioning.net":
			return []string{"20.1.2.4"}, nil
		}
		return nil, &net.DNSError{IsNotFound: true}
	}
	d.clock(t.Context())
	require.NoError(t, d.names(t.Context()))
	d.proxies()
	for _, want := range []string{
		"FAIL clock: it is 1970-01-01", "ok   names: fakecloud-hub.azure-devices.net lead to this machine", "global.azure-devices-provisioning.net lead to the internet",
		"more do not resolve", "FAIL names: localhost does not lead to this machine", "HTTPS_PROXY is set",
	} {
		require.Contains(t, out.String(), want)
	}
	require.Equal(t, 2, d.report.faults)
	settings["NO_PROXY"] = "localhost,127.0.0.1"
	out.Reset()
	d.proxies()
	require.Empty(t, out.String())
	require.Equal(t, exitCode(1), d.report.end(""))
}

func TestDoctorUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"is not HOST:PORT": {"localhost"},
		"has no host":      {":8883"},
		"is no port":       {"h:99999"},
		"doctor wants [HOST:PORT], and got 2 arguments": {"a:1", "b:2"},
		"flags are for a connection":                    {"--name", "x"},
		"--key-file needs --cert":                       {"h:1", "--key-file", "x"},
		"--plain has no certificates":                   {"h:1", "--plain", "--ca", "x"},
		"leave --client-id":                             {"h:1", "--connection-string", "x", "--client-id", "y"},
		"--password needs --username":                   {"h:1", "--password", "x"},
		"--timeout must be positive":                    {"h:1", "--timeout", "0s"},
	} {
		code, text := examined(t, args...)
		require.Equal(t, 2, code, want)
		require.Contains(t, text, want)
	}
	for want, args := range map[string][]string{
		"--ca: /nowhere/x does not exi": {"--ca", "/nowhere/x"},
		"no certificate in PEM form":    {"--ca", os.DevNull},
		"--cert: /nowhere/x does not e": {"--cert", "/nowhere/x"},
		"--connection-string: ":         {"--connection-string", "HostName=h"},
		"x509=true: give the certifica": {"--connection-string", "HostName=h;DeviceId=d;x509=true"},
	} {
		code, text := examined(t, append([]string{"h:1"}, args...)...)
		require.Equal(t, 2, code, want)
		require.Contains(t, text, want)
		require.NotContains(t, text, "A connection to", "nothing is tried before")
	}
}

// The literal bytes of a CONNECT, also with a remaining length of two bytes.
func TestDoctorPacket(t *testing.T) {
	t.Parallel()
	require.Equal(t, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x", string(connectPacket("x", "", "")))
	long := string(make([]byte, 200))
	require.Equal(t, "\x10\xda\x01\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01x\x00\x01u\x00\xc8"+long, string(connectPacket("x", "u", long)))
}
