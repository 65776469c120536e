package main

import (
	"io"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/world"
)

// resolved is what serve makes of arguments, environment and world.
func resolved(t *testing.T, text string, env map[string]string, args ...string) (*serveFlags, error) {
	t.Helper()
	w, err := world.Parse("w", []byte(text))
	require.NoError(t, err)
	f := &serveFlags{}
	cmd := &cobra.Command{Use: "serve"}
	cmd.SetErr(io.Discard)
	f.register(cmd.Flags())
	require.NoError(t, cmd.ParseFlags(args))
	return f, f.resolve(cmd, func(name string) string { return env[name] }, w)
}

func TestProfileSetsWhatNothingElseDoes(t *testing.T) {
	t.Parallel()
	f, err := resolved(t, "", nil, "--profile", "ci")
	require.NoError(t, err)
	require.True(t, f.ephemeral)
	require.Equal(t, []string{"ecdsa", "json"}, []string{f.serverKey, f.logFormat})

	f, err = resolved(t, "serve: {log-format: text}", map[string]string{"FAKECLOUD_PROFILE": "ci", "FAKECLOUD_SERVER_KEY": "rsa"}, "--data", "state")
	require.NoError(t, err)
	require.False(t, f.ephemeral, "who names a directory wants it")
	require.Equal(t, []string{"rsa", "text"}, []string{f.serverKey, f.logFormat})

	f, err = resolved(t, "", map[string]string{"FAKECLOUD_ADVERTISE": "a.test, b.test"})
	require.NoError(t, err)
	require.Equal(t, []string{"a.test", "b.test"}, f.advertise)

	f, err = resolved(t, "serve: {profile: classroom}", nil)
	require.NoError(t, err)
	require.True(t, f.lan)
	require.Equal(t, "debug", f.logLevel)
	config, _, err := f.build("")
	require.NoError(t, err)
	require.Equal(t, "classroom", config.Profile)

	_, err = resolved(t, "", map[string]string{"FAKECLOUD_PROFILE": "hostil"})
	require.ErrorContains(t, err, `FAKECLOUD_PROFILE "hostil": it is one of default, ci, strict, hostile, classroom; did you mean hostile?`)
}
