package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

// pkiBench runs pki commands on a data directory and an output directory of their own.
type pkiBench struct {
	t         *testing.T
	data, out string
}

func newPKIBench(t *testing.T) pkiBench {
	t.Helper()
	dir := t.TempDir()
	return pkiBench{t, filepath.Join(dir, "data"), filepath.Join(dir, "out")}
}

// run returns exit code, standard output and standard error; --data comes from the environment.
func (b pkiBench) run(args ...string) (int, string, string) {
	b.t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, env: func(name string) string {
		return map[string]string{"FAKECLOUD_DATA": b.data}[name]
	}}
	code := a.run(context.Background(), append([]string{"pki"}, args...))
	return code, out.String(), errs.String()
}

func (b pkiBench) ok(args ...string) string {
	b.t.Helper()
	code, out, errs := b.run(args...)
	require.Zero(b.t, code, errs)
	require.Empty(b.t, errs)
	return out
}

func (b pkiBench) file(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.out, name))
	require.NoError(b.t, err)
	return data
}

func TestPKIDevice(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	out := b.ok("device", "dev1", "--out", b.out)
	require.Contains(t, out, "CN=dev1")
	require.Contains(t, out, "mosquitto_pub -h localhost")
	require.Contains(t, out, "fakecloud device azure --id dev1")
	pair, err := tls.X509KeyPair(b.file("dev1_chain.pem"), b.file("dev1.key"))
	require.NoError(t, err)
	require.Len(t, pair.Certificate, 2)
	require.Equal(t, 1, bytes.Count(b.file("dev1.pem"), []byte("BEGIN CERTIFICATE")))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(filepath.Join(b.out, "dev1.key"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	require.NoFileExists(t, filepath.Join(b.data, "pki", "root.pem"))

	before := b.file("dev1.key")
	code, _, errs := b.run("device", "dev1", "--out", b.out)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--force")
	require.Equal(t, before, b.file("dev1.key"))
	b.ok("device", "dev1", "--out", b.out, "--force", "--days", "10", "--v1")
	require.NotEqual(t, before, b.file("dev1.key"))

	require.Contains(t, b.ok("device", "Flexy205Self", "--self", "--out", b.out), "fakecloud add hub-device Flexy205Self --cert")
	require.Contains(t, b.ok("device", "../a b/'c", "--out", b.out), `'../a b/'\''c'`)
	require.NotEmpty(t, b.file("_a_b__c.pem"))
}

func TestPKIDeviceFormats(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	out := b.ok("device", "mydevice001", "--key", "rsa2048", "--format", "pfx", "--password", "12345678", "--out", b.out)
	require.Contains(t, out, "new X509Certificate2(")
	_, leaf, chain, err := pkcs12.DecodeChain(b.file("mydevice001.pfx"), "12345678")
	require.NoError(t, err)
	require.Equal(t, "mydevice001", leaf.Subject.CommonName)
	require.Len(t, chain, 1)

	b.ok("device", "s7", "--format", "c", "--out", b.out)
	require.NotContains(t, string(b.file("s7.h")), "fakecloud_root_ca")
	b.ok("root")
	b.ok("device", "s7", "--format", "c", "--out", b.out, "--force")
	require.Contains(t, string(b.file("s7.h")), "fakecloud_root_ca")
}

func TestPKIRoot(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	out := b.ok("root", "--domain", "contoso.com")
	require.Contains(t, out, filepath.Join(b.data, "pki", "root.pem"))
	require.Contains(t, out, "contoso.com")
	block, _ := pem.Decode([]byte(b.ok("root", "--out", "-")))
	require.NotNil(t, block)
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.Contains(t, root.PermittedDNSDomains, "contoso.com")
	copied := filepath.Join(t.TempDir(), "ca.pem")
	require.Contains(t, b.ok("root", "--out", copied), copied)
	require.FileExists(t, copied)
	require.Contains(t, newPKIBench(t).ok("root", "--root-unconstrained"), "no name constraints")
}

func TestPKIAuthorities(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	require.Contains(t, b.ok("ca", "plant"), "fakecloud pki device dev1 --ca plant --data ")
	b.ok("ca", "line1", "--parent", "plant", "--key", "rsa2048", "--days", "90")
	out := b.ok("chain", "fleet", "--depth", "3", "--device", "sensor7", "--out", b.out)
	require.Contains(t, out, "device CA fleet-2")
	require.Equal(t, 4, bytes.Count(b.file("sensor7_chain.pem"), []byte("BEGIN CERTIFICATE")))

	out = b.ok("proof", "75B86466DA34D2B0", "--ca", "plant", "--out", b.out)
	require.Contains(t, out, "plant_proof.pem")
	proof, _ := pem.Decode(b.file("plant_proof.pem"))
	cert, err := x509.ParseCertificate(proof.Bytes)
	require.NoError(t, err)
	require.Equal(t, "75B86466DA34D2B0", cert.Subject.CommonName)

	other := newPKIBench(t)
	caFile := filepath.Join(b.data, "pki", "plant.pem")
	require.Contains(t, other.ok("ca", "camexia", "--import", caFile), "to issue with it")
	code, _, errs := other.run("device", "d", "--ca", "camexia", "--out", other.out)
	require.Equal(t, 2, code)
	require.Contains(t, errs, "no private key")
	other.ok("ca", "camexia", "--import", caFile, "--import-key", filepath.Join(b.data, "pki", "plant.key"))
	other.ok("device", "d", "--ca", "camexia", "--out", other.out)

	list := b.ok("list")
	for _, want := range []string{"demo-ca", "line1", "CN=plant", "fleet-root", "2049-12-31"} {
		require.Contains(t, list, want)
	}
	require.Regexp(t, `camexia +CN=plant +self +\S+ +yes`, other.ok("list"))
}

func TestPKIThumbprint(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	out := b.ok("device", "dev1", "--out", b.out)
	prints := b.ok("thumbprint", filepath.Join(b.out, "dev1_chain.pem"))
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "SHA-") {
			require.Contains(t, prints, line)
		}
	}
	require.Contains(t, prints, "CN=fakecloud demo-ca")
}

func TestPKIBroken(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	for _, kind := range []string{"expired", "not-yet-valid", "wrong-cn", "wrong-ca", "v1", "no-eku", "server-eku", "sha1", "negative-serial"} {
		out := b.ok("broken", kind, "--cn", "dev-"+kind, "--out", b.out)
		require.Contains(t, out, "fakecloud explain dev-"+kind)
		require.NotEmpty(t, b.file("dev-"+kind+"_chain.pem"))
	}
	_, out, _ := b.run("broken", "--help")
	require.Contains(t, out, "wrong-ca")
}

func TestPKIWrongUsage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args string
		want string
	}{
		"unknown command":  {"frob", "unknown command"},
		"no name":          {"device", "pki device wants CN; see"},
		"unknown flag":     {"device d --frob", "unknown flag"},
		"format":           {"device d --format der", "pem, pfx, c"},
		"key":              {"device d --key dsa", "ecdsa, rsa2048"},
		"password":         {"device d --password x", "pfx only"},
		"days":             {"device d --days -1", "pki broken expired"},
		"no days":          {"device d --days 0", "it is 1 to 36500"},
		"long name":        {"device " + strings.Repeat("x", 65), "1 to 64"},
		"unknown CA":       {"device d --ca nope", "fakecloud pki ca nope"},
		"self with CA":     {"device d --self --ca demo-ca", "one or the other"},
		"unknown kind":     {"broken rotten", "expired, not-yet-valid"},
		"CA name":          {"ca a/b", "letters, digits"},
		"server's name":    {"ca root", "taken"},
		"CA exists":        {"ca demo-ca", "exists already"},
		"unknown parent":   {"ca x --parent nope", "no such device CA"},
		"depth":            {"chain x --depth 99", "1 to 9"},
		"long code":        {"proof " + strings.Repeat("x", 65), "1 to 64"},
		"key alone":        {"ca x --import-key k", "--import"},
		"import and made":  {"ca x --import c --v1", "--import takes"},
		"import of nought": {"ca x --import /nowhere.pem", "/nowhere.pem"},
		"no file":          {"thumbprint /nowhere.pem", "/nowhere.pem"},
		"no certificate":   {"thumbprint -", "neither PEM nor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newPKIBench(t)
			code, _, errs := b.run(strings.Fields(tc.args)...)
			require.Equal(t, 2, code, errs)
			require.Contains(t, errs, tc.want)
			require.NoDirExists(t, b.out)
		})
	}
}

func TestPKIBrokenDirectory(t *testing.T) {
	t.Parallel()
	b := newPKIBench(t)
	require.NoError(t, os.WriteFile(b.data, nil, 0o600))
	code, _, errs := b.run("device", "d", "--out", b.out)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--data")
	require.NotContains(t, errs, "panic")
}
