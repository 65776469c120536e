package pki

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCreateCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cas, err := OpenDeviceCAs(Options{Dir: dir})
	require.NoError(t, err)
	made, err := cas.CreateCA(CARequest{Name: "plant", CommonName: "Plant CA"})
	require.NoError(t, err)
	require.True(t, made.CanIssue())
	require.NoFileExists(t, filepath.Join(dir, "pki", "root.pem"), "the server root is the instance's to make")

	// Another process sees it at once.
	other, err := OpenDeviceCAs(Options{Dir: dir})
	require.NoError(t, err)
	found, err := other.CA("plant")
	require.NoError(t, err)
	require.True(t, found.Certificate.Equal(made.Certificate))
	require.Equal(t, filepath.Join(dir, "pki", "plant.pem"), found.File)
	below, err := other.CreateCA(CARequest{Name: "line-1", Parent: "plant"})
	require.NoError(t, err)
	require.Len(t, below.Chain(), 2)
	below, err = cas.CA("line-1")
	require.NoError(t, err)
	require.Len(t, below.Issuers, 1, "its file holds the chain")

	list, err := cas.CAs()
	require.NoError(t, err)
	var names []string
	for _, ca := range list {
		names = append(names, ca.Name)
	}
	require.Equal(t, []string{"demo-ca", "line-1", "plant"}, names)

	for name, r := range map[string]CARequest{
		"taken":          {Name: "plant"},
		"no name":        {},
		"path":           {Name: "../x"},
		"server's":       {Name: "Root"},
		"unknown parent": {Name: "x", Parent: "nope"},
		"long CN":        {Name: "x", CommonName: string(make([]byte, 65))},
		"key":            {Name: "x", Key: "dsa"},
	} {
		_, err := cas.CreateCA(r)
		require.Error(t, err, name)
		if name != "unknown parent" {
			require.ErrorIs(t, err, ErrRequest, name)
		}
	}
}

func TestImportCA(t *testing.T) {
	t.Parallel()
	source := open(t, Options{})
	made, err := source.CreateCA(CARequest{Name: "camexia", Key: RSA2048, X509v1: true})
	require.NoError(t, err)
	key, err := encodeKey(made.key)
	require.NoError(t, err)
	device, err := source.IssueDevice(DeviceRequest{CommonName: "dev1"})
	require.NoError(t, err)

	a := open(t, Options{Dir: t.TempDir()})
	ca, err := a.ImportCA("camexia", made.PEM(), nil)
	require.NoError(t, err)
	require.False(t, ca.CanIssue())
	_, err = a.IssueDevice(DeviceRequest{CommonName: "dev1", CA: "camexia"})
	require.ErrorContains(t, err, "no private key")
	_, err = a.ImportCA("camexia", made.PEM(), key)
	require.NoError(t, err, "its key comes later")
	_, err = a.ImportCA("camexia", made.PEM(), nil)
	require.NoError(t, err, "again")
	_, err = a.IssueDevice(DeviceRequest{CommonName: "dev1", CA: "camexia"})
	require.NoError(t, err)

	demo, demoKey := DemoPEM()
	for name, tc := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"another":     {demo, demoKey, "another certificate"},
		"no PEM":      {[]byte("x"), nil, "neither PEM"},
		"key only":    {key, nil, "only RSA PRIVATE KEY"},
		"foreign key": {made.PEM(), demoKey, "does not belong"},
		"cert as key": {made.PEM(), demo, "only CERTIFICATE"},
		"device":      {[]byte(device.Certificate), nil, "CA:FALSE"},
		"encrypted":   {made.PEM(), []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "openssl pkey"},
	} {
		_, err := a.ImportCA("camexia", tc.cert, tc.key)
		require.ErrorContains(t, err, tc.want, name)
		require.ErrorIs(t, err, ErrRequest, name)
	}
}

func TestCAsSkipsBrokenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	path := filepath.Join(dir, "pki", "broken.pem")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	list, err := a.CAs()
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = a.CA("broken")
	require.ErrorContains(t, err, path)
	_, err = a.CA("nope")
	require.ErrorIs(t, err, ErrNoCA)
}

func TestParseCertificates(t *testing.T) {
	t.Parallel()
	demo, _ := DemoPEM()
	certs, err := ParseCertificates(append([]byte("Bag Attributes\n"), demo...))
	require.NoError(t, err)
	require.Len(t, certs, 1)
	for name, data := range map[string][]byte{"DER": certs[0].Raw, "base64": []byte(" " + b64(certs[0].Raw) + "\n"),
		"PEM in base64": []byte(b64(demo))} { // the last as azure-iot-sdk-node, provisioning/e2e, enrolls a group
		again, err := ParseCertificates(data)
		require.NoError(t, err, name)
		require.True(t, again[0].Equal(certs[0]), name)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "huge": make([]byte, maxPEM+1), "cut off": demo[:200], "cut off in base64": []byte(b64(demo[:200])), "rubbish inside": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
	} {
		_, err := ParseCertificates(data)
		require.Error(t, err, name)
	}
}

func FuzzParseCertificates(f *testing.F) {
	demo, key := DemoPEM()
	f.Add(demo)
	f.Add(key)
	f.Add([]byte("MIIB"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := ParseCertificates(data)
		require.Equal(t, err == nil, len(certs) > 0)
		_, _ = ParseKey(data)
	})
}
