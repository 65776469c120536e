//go:build vendor

package pki

import (
	"bytes"
	"crypto/x509"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// openssl runs one command in dir; a missing openssl fails the test.
func openssl(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := openssl(t, dir, args...)
	require.NoError(t, err, "openssl %s\n%s", strings.Join(args, " "), out)
	return out
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

func TestOpenSSLVerifiesEveryName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, Options{Domains: gateways})
	write(t, dir, "root.pem", a.RootPEM())
	without, err := a.Certificate("", netip.MustParseAddr("192.168.1.20"))
	require.NoError(t, err)
	write(t, dir, "any.pem", encodeCertificates(without.Leaf))
	for _, name := range dialled {
		cert, err := a.Certificate(name, netip.Addr{})
		require.NoError(t, err)
		write(t, dir, "leaf.pem", encodeCertificates(cert.Leaf))
		check := "-verify_hostname"
		if isAddress(name) {
			check = "-verify_ip"
		}
		must(t, dir, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem", check, name, "leaf.pem")
	}
	for _, args := range [][]string{{"-verify_ip", "192.168.1.20"}, {"-verify_ip", "::1"}, {"-verify_hostname", "localhost"}, {"-verify_hostname", "mygateway.contoso.com"}} {
		must(t, dir, append(append([]string{"verify", "-purpose", "sslserver", "-CAfile", "root.pem"}, args...), "any.pem")...)
	}
	text := must(t, dir, "x509", "-in", "root.pem", "-noout", "-text")
	require.Contains(t, text, "X509v3 Name Constraints: \n", "not critical")
	require.Contains(t, text, "IP:10.0.0.0/255.0.0.0")
}

func TestOpenSSLEnforcesTheConstraints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, Options{})
	write(t, dir, "root.pem", a.RootPEM())
	for _, s := range []subjects{
		{common: "x", names: []string{"example.com"}},
		{common: "x", addrs: []netip.Addr{netip.MustParseAddr("8.8.8.8")}},
		{common: "192.168.1.20", addrs: []netip.Addr{netip.MustParseAddr("192.168.1.20")}}, // why leaf.go avoids this name
	} {
		cert, err := a.mint(s, a.issuer.key, time.Now())
		require.NoError(t, err)
		write(t, dir, "leaf.pem", encodeCertificates(cert.Leaf))
		out, err := openssl(t, dir, "verify", "-CAfile", "root.pem", "leaf.pem")
		require.Error(t, err)
		require.Contains(t, out, "permitted subtree violation")
	}
}

// seedCommands are run as printed, with these mends: $VARIABLES filled, subjects given by -subj instead of
// typed at the prompt, openssl.cnf written (the pages show none that works as it is).
var seedCommands = map[string]struct {
	commands       []string
	leaf, ca, subj string
}{
	"MindSphere onboarding": {[]string{
		"genrsa -out yourtenant.key 2048",
		"req -x509 -sha256 -nodes -days 3650 -new -key yourtenant.key -out yourtenant.pem -config openssl.cnf",
		"genrsa -out agent.key 2048",
		"req -new -key agent.key -out agent.csr -subj /C=DE/ST=Nuernberg/O=Org/OU=IT/CN=agent",
		"x509 -req -in agent.csr -CA yourtenant.pem -CAkey yourtenant.key -CAcreateserial -out agent.pem -days 365 -sha256",
	}, "agent.pem", "yourtenant.pem", "agent"},
	"IoTDA device": {[]string{
		"genrsa -out rootCA.key 2048",
		"req -x509 -new -nodes -key rootCA.key -sha256 -days 1024 -out rootCA.pem -subj /CN=rootCA",
		"genrsa -out deviceCert.key 2048",
		"req -new -key deviceCert.key -out deviceCert.csr -subj /CN=dev1",
		"x509 -req -in deviceCert.csr -CA rootCA.pem -CAkey rootCA.key -CAcreateserial -out deviceCert.pem -days 500 -sha256",
	}, "deviceCert.pem", "rootCA.pem", "dev1"},
	"IoTDA verification": {[]string{
		"genrsa -out rootCA.key 2048",
		"req -x509 -new -nodes -key rootCA.key -sha256 -days 1024 -out rootCA.pem -subj /CN=rootCA",
		"genrsa -out verificationCert.key 2048",
		"req -new -key verificationCert.key -out verificationCert.csr -subj /CN=code",
		"x509 -req -in verificationCert.csr -CA rootCA.pem -CAkey rootCA.key -CAcreateserial -out verificationCert.pem -days 500 -sha256",
	}, "verificationCert.pem", "rootCA.pem", "code"},
	"Flexy self-signed": {[]string{
		"req -x509 -sha256 -nodes -days 3650 -newkey rsa:2048 -keyout FlexySelfPrivateKey.key -out FlexySelfCertificate.crt -config openssl.cnf",
	}, "FlexySelfCertificate.crt", "FlexySelfCertificate.crt", "Flexy205Self"},
}

func TestSeedCommandsAreAccepted(t *testing.T) {
	t.Parallel()
	for name, tc := range seedCommands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "openssl.cnf", []byte("[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=Flexy205Self\n"))
			for _, command := range tc.commands {
				must(t, dir, strings.Fields(command)...)
			}
			var certs []*x509.Certificate
			for _, file := range []string{tc.leaf, tc.ca} {
				data, err := os.ReadFile(filepath.Join(dir, file))
				require.NoError(t, err)
				c, err := ParseCertificates(data)
				require.NoError(t, err)
				certs = append(certs, c[0])
			}
			require.Equal(t, tc.subj, certs[0].Subject.CommonName)
			require.NoError(t, VerifyChain(certs, certs[1:], time.Now()))
			require.NoError(t, VerifyChain(certs[:1], certs[1:], time.Now()))

			sha1, _ := Thumbprints(certs[0])
			out := must(t, dir, "x509", "-noout", "-fingerprint", "-sha1", "-in", tc.leaf)
			require.Contains(t, strings.ReplaceAll(out, ":", ""), sha1)

			if key, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(tc.ca, ".pem")+".key")); err == nil {
				a := open(t, Options{})
				pemCA, err := os.ReadFile(filepath.Join(dir, tc.ca))
				require.NoError(t, err)
				_, err = a.ImportCA("mine", pemCA, key)
				require.NoError(t, err)
				device, err := a.IssueDevice(DeviceRequest{CommonName: "dev2", CA: "mine"})
				require.NoError(t, err)
				write(t, dir, "dev2.pem", []byte(device.Certificate))
				must(t, dir, "verify", "-partial_chain", "-CAfile", tc.ca, "dev2.pem")
			}
		})
	}
}

func TestOpenSSLReadsWhatIsIssued(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, Options{})
	_, err := a.CreateChain("plant", 3, RSA2048)
	require.NoError(t, err)
	demo, err := a.CA(DemoCA)
	require.NoError(t, err)
	root, err := a.CA("plant-root")
	require.NoError(t, err)
	write(t, dir, "demo.pem", demo.PEM())
	write(t, dir, "root.pem", root.PEM())
	for _, tc := range []struct {
		r       DeviceRequest
		anchors string
	}{
		{DeviceRequest{CommonName: "dev1"}, "demo.pem"},
		{DeviceRequest{CommonName: "dev1", X509v1: true, Key: RSA2048}, "demo.pem"},
		{DeviceRequest{CommonName: "dev1", CA: "plant-2", Key: RSA2048}, "root.pem"},
		{DeviceRequest{CommonName: "dev1", CA: "plant-2", X509v1: true}, "root.pem"},
	} {
		i, err := a.IssueDevice(tc.r)
		require.NoError(t, err)
		write(t, dir, "leaf.pem", []byte(i.Certificate))
		write(t, dir, "chain.pem", []byte(i.Chain))
		write(t, dir, "leaf.key", []byte(i.PrivateKey))
		must(t, dir, "verify", "-purpose", "sslclient", "-CAfile", tc.anchors, "-untrusted", "chain.pem", "leaf.pem")
		out := must(t, dir, "x509", "-in", "leaf.pem", "-noout", "-text", "-fingerprint", "-sha256")
		require.Contains(t, strings.ReplaceAll(out, ":", ""), i.SHA256)
		if tc.r.X509v1 {
			require.Contains(t, out, "Version: 1 (0x0)")
		}
		require.Equal(t, must(t, dir, "x509", "-in", "leaf.pem", "-noout", "-pubkey"), must(t, dir, "pkey", "-in", "leaf.key", "-pubout"))

		pfx, err := i.PFX("12345678")
		require.NoError(t, err)
		write(t, dir, "dev.pfx", pfx)
		out = must(t, dir, "pkcs12", "-in", "dev.pfx", "-passin", "pass:12345678", "-nodes")
		require.Equal(t, len(i.Issuers)+1, strings.Count(out, "BEGIN CERTIFICATE"))
	}
	for kind, want := range map[string]string{
		"expired": "certificate has expired", "not-yet-valid": "not yet valid", "wrong-ca": "certificate signature failure",
		"server-eku": "unsuitable certificate purpose", "negative-serial": "", "no-eku": "", "v1": "", "wrong-cn": "",
	} {
		i, err := a.Broken(kind, DeviceRequest{CommonName: "dev1"})
		require.NoError(t, err)
		write(t, dir, "bad.pem", []byte(i.Certificate))
		out, err := openssl(t, dir, "verify", "-purpose", "sslclient", "-CAfile", "demo.pem", "bad.pem")
		if want == "" {
			require.NoError(t, err, out)
			continue
		}
		require.Error(t, err, kind)
		require.Contains(t, out, want, kind)
	}
}
