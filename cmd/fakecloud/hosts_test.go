package main

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func TestHostsFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out, stderr, code := s.command("hosts", "--address", "192.168.1.20")
	require.Zero(t, code, stderr)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	require.Equal(t, hostsBegin, lines[0])
	require.Equal(t, hostsEnd, lines[len(lines)-1])
	for _, name := range []string{globalDPSHost, "global.azure-devices-provisioning.cn", "fakecloud-hub.azure-devices.net",
		"fakecloud-hub.device.azure-devices.net", "fakecloud-hub.service.azure-devices.net"} {
		require.Contains(t, lines, "192.168.1.20 "+name)
	}
	out, _, code = s.command("hosts", "--remove")
	require.Zero(t, code)
	require.Equal(t, "sed -i.fakecloud-backup '/^# fakecloud begin$/,/^# fakecloud end$/d' /etc/hosts\n", out)
}

func TestHostsFormatsAreYAML(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, format := range []string{"compose", "github", "gitlab", "k8s"} {
		out, stderr, code := s.command("hosts", "--format", format, "--address", "10.0.0.9")
		require.Zero(t, code, stderr)
		require.Contains(t, out, globalDPSHost)
		var parsed map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(out), &parsed), out)
		require.NotEmpty(t, parsed)
	}
}

func TestHostsRefusals(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--format", "bind"}, "--format is one of hosts, compose, github, gitlab, k8s"},
		{[]string{"--format", "k8s"}, "--format k8s wants --address"},
		{[]string{"--address", "localhost"}, `--address wants an IP address such as 192.168.1.20, not "localhost"`},
		{[]string{"--format", "compose", "--remove"}, "--remove is for hosts files"},
	} {
		_, stderr, code := s.command(append([]string{"hosts"}, c.args...)...)
		require.Equal(t, 2, code)
		require.Contains(t, stderr, c.says)
	}
}
