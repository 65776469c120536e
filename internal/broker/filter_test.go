package broker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Cases of MQTT 3.1.1 section 4.7, and those where mochi differs.
func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player2", false},
		{"#", "a", true}, {"#", "/", true}, {"#", "$SYS/a", false}, {"+/a", "$SYS/a", false}, {"+", "$a", false},
		{"$SYS/#", "$SYS/a", true}, {"$SYS/#", "$SYS", true}, {"$SYS/+", "$SYS/a", true},
		{"sport/tennis/+", "sport/tennis/player1", true}, {"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false}, {"sport/+", "sport/", true}, {"+/+", "/finance", true}, {"/+", "/finance", true},
		{"+", "/finance", false}, {"+", "a", true}, {"+/#", "a", true}, {"a/+/#", "a/b", true}, {"a/+/#", "a", false},
		{"a/+/c", "a/b/c", true}, {"a//c", "a//c", true}, {"a/+/c", "a//c", true}, {"ab", "a", false}, {"a/", "a", false},
		{"$dps/registrations/res/#", "$dps/registrations/res/202/?$rid=1", true},
	} {
		require.Equal(t, tc.want, Matches(tc.filter, tc.topic), "%s on %s", tc.filter, tc.topic)
	}
}

func TestFilterFault(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "/", "#", "+", "a/#", "+/a/+", "a//b", "$share/g/a", "a b"} {
		require.Empty(t, filterFault(good), good)
	}
	for _, bad := range []string{"", "sport#", "a/#/b", "#/a", "a+/b", "+a", "a/b+", "a\x00", "\xff", "##", "++"} {
		require.NotEmpty(t, filterFault(bad), bad)
	}
}

func TestTopicFault(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"a": "", "/": "", "$iothub/twin/GET/?$rid=1": "", "ü b": "", "": "it is empty", "a/+": "+ and # belong into filters only", "a#": "+ and # belong into filters only",
		"a+b": "+ and # belong into filters only", "a\xff": "it is not UTF-8 text", "a\x00": "it is not UTF-8 text",
	} {
		require.Equal(t, want, topicFault(topic), topic)
	}
}

func TestSpokenLevels(t *testing.T) {
	t.Parallel()
	require.Equal(t, `protocol "MQIsdp" level 3 or protocol "MQTT" level 4 or protocol "MQTT" level 5`, spoken([]byte{3, 4, 5}))
}

// A filter without wildcards matches its own text only, and a topic that matches a filter still does so
// below a trailing #.
func FuzzMatches(f *testing.F) {
	f.Add("a/+/#", "a/b")
	f.Add("$SYS/#", "$SYS/x")
	f.Add("+", "")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if filterFault(filter) != "" || topicFault(topic) != "" {
			return
		}
		got := Matches(filter, topic)
		if !strings.ContainsAny(filter, "+#") {
			require.Equal(t, filter == topic, got)
		}
		if got && !strings.HasSuffix(filter, "#") {
			require.True(t, Matches(filter+"/#", topic+"/x"))
			require.True(t, Matches(filter+"/#", topic))
		}
	})
}
