package mindsphere_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

func TestVendorsTopics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/topics.txtar")
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 6 || !strings.HasPrefix(line, "tc/") {
			continue
		}
		n++
		want := mindsphere.Topic{Tenant: f[1], ClientID: f[2], Direction: mindsphere.Direction(f[3]), Channel: mindsphere.Channel{App: f[4], Name: f[5]}}
		got, err := mindsphere.ParseTopic(f[0])
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, f[0], want.String())
		require.True(t, mindsphere.Known(got.Direction, got.Channel), f[0])
	}
	require.Equal(t, 15, n)
}

func TestParseTopicRefuses(t *testing.T) {
	t.Parallel()
	for topic, why := range map[string]string{
		"":                         "1 levels instead of 6",
		"tc/t/t_a/o/mc_v3":         "5 levels instead of 6",
		"tc/t/t_a/o/mc_v3/ts/x":    "7 levels",
		"/tc/t/t_a/o/mc_v3/ts":     "7 levels",
		"c/t/t_a/o/mc_v3/ts":       `begins with "c"`,
		"tc/t/t_a/x/mc_v3/ts":      `"x" for i or o`,
		"tc/t//o/mc_v3/ts":         `"" is no level`,
		"tc/t/t_a/o/mc_v3/#":       `"#" is no level`,
		"tc/t/t_a/o/mc_v3/ts\x00":  "is no level",
		"devices/t_a/messages/x/y": "5 levels",
	} {
		_, err := mindsphere.ParseTopic(topic)
		require.ErrorIs(t, err, mindsphere.ErrTopic, topic)
		require.ErrorContains(t, err, why)
	}
}

func TestJudgeFilter(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]mindsphere.FilterKind{
		"tc/t/t_a/i/amo_v3/ms":       mindsphere.FilterOwn,
		"tc/t/t_a/i/amo_v3/#":        mindsphere.FilterOwn,
		"tc/t/t_a/i/#":               mindsphere.FilterOwn,
		"tc/t/t_a/i/+/ms":            mindsphere.FilterOwn,
		"tc/t/t_a/i/":                mindsphere.FilterForm,
		"tc/t/t_a/i":                 mindsphere.FilterForm,
		"tc/t/t_a/o/mc_v3/ts":        mindsphere.FilterOutput,
		"tc/t/t_a/+/amo_v3/ms":       mindsphere.FilterOutput,
		"tc/t/t_a/#":                 mindsphere.FilterOutput,
		"tc/t/t_b/i/amo_v3/ms":       mindsphere.FilterForeign,
		"tc/u/t_a/i/amo_v3/ms":       mindsphere.FilterForeign,
		"tc/t/+/i/amo_v3/ms":         mindsphere.FilterBroad,
		"tc/+/t_a/i/amo_v3/ms":       mindsphere.FilterBroad,
		"#":                          mindsphere.FilterBroad,
		"+/t/t_a/i/amo_v3/ms":        mindsphere.FilterBroad,
		"$SYS/#":                     mindsphere.FilterForm,
		"tc":                         mindsphere.FilterForm,
		"tc/t/t_a":                   mindsphere.FilterForm,
		"tc/t/t_a/i/a/b/c/d/e":       mindsphere.FilterTooLong,
		strings.Repeat("a", 257):     mindsphere.FilterTooLong,
		"/tc/t/t_a/i/amo_v3/ms":      mindsphere.FilterForm,
		"devices/a/messages/devices": mindsphere.FilterForm,
	} {
		require.Equal(t, want, mindsphere.JudgeFilter(filter, "t", "t_a"), filter)
	}
	require.True(t, mindsphere.Covers("tc/t/t_a/i/amo_v3/+", "t", "t_a"))
	require.False(t, mindsphere.Covers("tc/t/t_a/i/amo_v3/sm", "t", "t_a"))
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/+", "a/b", true}, {"a/#", "a/b/c", true}, {"a/#", "a", true},
		{"a/b", "a/c", false}, {"a/b/c", "a/b", false}, {"a", "a/b", false}, {"a/+", "a", false},
	} {
		require.Equal(t, c.want, mindsphere.Matches(c.filter, c.topic), c)
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"tc/t/t_a/o/mc_v3/t":      "mc_v3/ts",
		"tc/t/t_a/o/mc_v4/ts":     "mc_v3/ts",
		"tc/t/t_a/i/mc_v3/ts":     "mc_v3/ts",
		"t_a/o/amo_v3/model":      "amo_v3/m",
		"tc/t/t_a/o/amo_v4/model": "amo_v4/mi",
		"tc/t/t_a/o/CMD_V3/U":     "cmd_v3/u",
	} {
		require.Equal(t, "tc/t/t_a/o/"+want, mindsphere.NearTopic(topic, "t", "t_a"), topic)
	}
	for filter, want := range map[string]string{
		"tc/t/t_a/i/amo_v3/sm": "amo_v3/ms",
		"tc/t/t_a/o/amo_v4/#":  "amo_v4/#",
		"#":                    "#",
		"tc/t/t_b/i/agm_v3/tr": "agm_v3/tr",
	} {
		require.Equal(t, "tc/t/t_a/i/"+want, mindsphere.NearFilter(filter, "t", "t_a"), filter)
	}
}

func TestClientID(t *testing.T) {
	t.Parallel()
	require.Equal(t, "camexia_dash7_gateway_1", mindsphere.ClientID("camexia", "dash7_gateway_1"))
	tenant, device, ok := mindsphere.SplitClientID("camexia_dash7_gateway_1")
	require.True(t, ok)
	require.Equal(t, [2]string{"camexia", "dash7_gateway_1"}, [2]string{tenant, device})
	for _, bad := range []string{"", "dev", "_dev", "t_"} {
		_, _, ok := mindsphere.SplitClientID(bad)
		require.False(t, ok, bad)
	}
	for name, ok := range map[string]bool{"demo": true, "t-1": true, "": false, "a_b": false, "-a": false, "a-": false, "ä": false, strings.Repeat("a", 64): false} {
		require.Equal(t, ok, mindsphere.ValidTenant(name), name)
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	c, ok := mindsphere.FromProperties(map[string]string{"amo_v3": "m", "other": "x"})
	require.True(t, ok)
	require.Equal(t, mindsphere.ModelV3, c)
	_, ok = mindsphere.FromProperties(map[string]string{"amo_v3": "ms"})
	require.False(t, ok)
	name, value := mindsphere.ModelStatusV3.Property()
	require.Equal(t, [2]string{"amo_v3", "ms"}, [2]string{name, value})
}

func FuzzParseTopic(f *testing.F) {
	f.Add("tc/t/t_a/o/mc_v3/ts")
	f.Add("tc/t/t_a/i/#")
	f.Add("//////")
	f.Fuzz(func(t *testing.T, s string) {
		mindsphere.NearTopic(s, "t", "t_a")
		mindsphere.NearFilter(s, "t", "t_a")
		mindsphere.JudgeFilter(s, "t", "t_a")
		topic, err := mindsphere.ParseTopic(s)
		if err == nil {
			require.Equal(t, s, topic.String())
		}
	})
}

// Whatever properties a hub's message has: a channel is found where one is named, else the nearest is named.
func FuzzProperties(f *testing.F) {
	f.Add("amo_v3", "m", "colour", "red")
	f.Add("mc_v3", "tss", "", "")
	f.Add("AMO_V4=mi", "", "tc/t/t_a/o/mc_v3/ts", strings.Repeat("x", 1000))
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		properties := map[string]string{name1: value1, name2: value2}
		c, found := mindsphere.FromProperties(properties)
		if found {
			app, topic := c.Property()
			require.Equal(t, topic, properties[app])
			require.True(t, mindsphere.Known(mindsphere.Outbound, c))
		}
		near, value, _ := strings.Cut(mindsphere.NearProperty(properties), "=")
		require.True(t, mindsphere.Known(mindsphere.Outbound, mindsphere.Channel{App: near, Name: value}))
		require.LessOrEqual(t, len(mindsphere.ShowProperties(properties)), 1000)
	})
}

func TestNearProperty(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		properties map[string]string
		want       string
	}{
		{map[string]string{"amo_v3": "model"}, "amo_v3=m"},
		{map[string]string{"MC_v3": "TS"}, "mc_v3=ts"},
		{map[string]string{"colour": "red", "amo_v4": "mip"}, "amo_v4=mi"},
		{map[string]string{"cmd_v3": "c"}, "cmd_v3=u"},
		{nil, "amo_v3=m"},
	} {
		require.Equal(t, c.want, mindsphere.NearProperty(c.properties))
	}
	require.Equal(t, "no property", mindsphere.ShowProperties(nil))
	require.Equal(t, "a=1 b=2", mindsphere.ShowProperties(map[string]string{"b": "2", "a": "1"}))
}
