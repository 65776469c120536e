package door

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHandOver(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		advertised []string
		name       string
		vendor     bool
		local      string
		want       string
	}{
		{nil, dpsName, true, "127.0.0.1", ""},
		{nil, dpsName, true, "172.18.0.2", ""},
		{nil, "", false, "127.0.0.1", "127.0.0.1"},
		{nil, "localhost", false, "127.0.0.1", "127.0.0.1"},
		{nil, "localhost", false, "::1", "127.0.0.1"},
		{nil, "", false, "127.0.0.7", "127.0.0.7"}, // an instance on a loopback address of its own
		{nil, "", false, "", "127.0.0.1"},
		{nil, "fakecloud", false, "172.18.0.2", "172.18.0.2"},
		{nil, "fakecloud.test", false, "172.18.0.2", "fakecloud.test"},
		{nil, "", false, "192.168.1.9", "192.168.1.9"},
		{nil, "", false, "2001:db8::1", "2001:db8::1"},
		{[]string{"192.168.1.9"}, "", false, "172.18.0.2", "192.168.1.9"}, // a mapped port
		{[]string{"x.test", "192.168.1.9"}, "", false, "192.168.1.9", "192.168.1.9"},
		{[]string{"192.168.1.9"}, "", false, "127.0.0.1", "127.0.0.1"},
	} {
		n := newNames(row.advertised)
		local, _ := netip.ParseAddr(row.local)
		require.Equal(t, row.want, n.handOver(row.name, row.vendor, local), "%+v", row)
	}
}

func TestAcceptedNames(t *testing.T) {
	t.Parallel()
	n := newNames([]string{"Build.Test."})
	local := netip.MustParseAddr("10.0.0.5")
	require.Equal(t, []string{"localhost", "127.0.0.1", "::1", "build.test"}, n.accepted("", netip.MustParseAddr("127.0.0.1")))
	require.Equal(t, []string{"localhost", "127.0.0.1", "::1", "build.test", "fakecloud", "10.0.0.5"}, n.accepted("fakecloud", local))
	require.Len(t, n.always, 4, "one connection's names do not reach another")
	require.Len(t, n.accepted("localhost", netip.Addr{}), 4)
}
