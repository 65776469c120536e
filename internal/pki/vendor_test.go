package pki

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The root is there under the vendors' names, follows a new root, and is no device CA.
func TestVendorRoots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copied := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "pki", "vendor", "AmazonRootCA1.pem"))
		require.NoError(t, err)
		return string(text)
	}
	open := func() *Authority {
		a, err := Open(Options{Dir: dir, ServerKey: ServerECDSA})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, a.Close()) })
		return a
	}
	first := open()
	require.Equal(t, string(first.RootPEM()), copied())
	require.Equal(t, string(first.RootPEM()), string(open().RootPEM()))
	require.NoError(t, os.Remove(filepath.Join(dir, "pki", "root.pem")))
	require.NoError(t, os.Remove(filepath.Join(dir, "pki", "root.key")))
	second := open()
	require.NotEqual(t, string(first.RootPEM()), string(second.RootPEM()))
	require.Equal(t, string(second.RootPEM()), copied())
	cas, err := second.CAs()
	require.NoError(t, err)
	require.Len(t, cas, 1, "demo-ca alone")

	blocked := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(blocked, "pki"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(blocked, "pki", "vendor"), nil, 0o600))
	a, err := Open(Options{Dir: blocked, ServerKey: ServerECDSA})
	require.NoError(t, err, "the copies are a convenience")
	require.NoError(t, a.Close())
}
