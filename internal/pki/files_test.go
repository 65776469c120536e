package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFolderErrorsNameFileAndRemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := openFolder(dir)
	require.NoError(t, err)
	path := filepath.Join(dir, "x.pem")

	require.NoError(t, os.Mkdir(path, 0o700))
	_, err = f.read("x.pem")
	require.ErrorContains(t, err, path+" is no PEM file")

	_, err = folder(filepath.Join(dir, "gone")).names()
	require.ErrorContains(t, err, "gone cannot be read")
	err = folder(filepath.Join(dir, "gone")).create("x.key", []byte("k"), true)
	require.ErrorContains(t, err, "x.key cannot be written")

	// The tests may run as root, for whom every directory is writable: judge the texts themselves.
	require.ErrorContains(t, readError(path, fs.ErrPermission), "give it to the user that runs fakecloud")
	require.ErrorContains(t, f.writeError(path, fs.ErrPermission), "--ephemeral")
	require.ErrorContains(t, f.writeError(path, &fs.PathError{Op: "open", Path: path, Err: errReadOnly}), "make the directory writable")
}

func TestCreateWithoutHardLinks(t *testing.T) {
	t.Parallel()
	f := folder(t.TempDir())
	path := f.where("x.key")
	require.NoError(t, f.createPlain(path, []byte("first"), 0o600))
	require.ErrorIs(t, f.createPlain(path, []byte("second"), 0o600), fs.ErrExist)
	data, err := f.read("x.key")
	require.NoError(t, err)
	require.Equal(t, "first", string(data))
}

func TestForeignKeys(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	text, err := encodeKey(key)
	require.NoError(t, err)
	now := time.Now()
	cert, err := blank{subject: pkix.Name{}, from: now.Add(-time.Hour), to: now.Add(time.Hour), ca: true, public: key.Public()}.sign(nil, key)
	require.NoError(t, err)
	require.Equal(t, "(no name)", Name(cert.Subject))

	a := open(t, Options{})
	_, err = a.ImportCA("ed", encodeCertificates(cert), text)
	require.NoError(t, err)
	for _, r := range []DeviceRequest{{CommonName: "dev1", CA: "ed"}, {CommonName: "dev1", CA: "ed", X509v1: true}} {
		i, err := a.IssueDevice(r)
		require.NoError(t, err)
		require.NoError(t, VerifyChain([]*x509.Certificate{i.Leaf}, i.Issuers, now))
	}
	_, err = a.Broken("sha1", DeviceRequest{CommonName: "dev1", CA: "ed"})
	require.ErrorIs(t, err, ErrRequest)

	ec, err := newKey(ECDSA)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	require.NoError(t, err)
	parsed, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	require.Equal(t, ec.Public(), parsed.Public())
	for _, kind := range []string{"RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"} {
		_, err = ParseKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("rubbish")}))
		require.ErrorContains(t, err, "private key:", kind)
	}
	_, err = ParseKey(make([]byte, maxPEM+1))
	require.ErrorContains(t, err, "at most")
}
