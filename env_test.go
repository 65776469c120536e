package fakecloud

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A child finds the root wherever it runs, and the instance although this machine has a proxy of its own.
func TestEnvForAChildElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("https_proxy", "http://proxy.example:3128")
	cloud := Start(t)
	env, err := cloud.Env(".")
	require.NoError(t, err)
	last := map[string]string{} // of several values of a name a child has the last (os/exec)
	for _, one := range env {
		name, value, _ := strings.Cut(one, "=")
		last[name] = value
	}
	for _, name := range []string{"FAKECLOUD_CA_FILE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"} {
		require.True(t, filepath.IsAbs(last[name]), "%s=%s", name, last[name])
		require.FileExists(t, last[name])
	}
	require.Equal(t, "http://"+last["FAKECLOUD_PROXY"], last["HTTPS_PROXY"])
	require.Equal(t, last["HTTPS_PROXY"], last["https_proxy"])
}

func TestNothingStartsAfterItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := New(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
