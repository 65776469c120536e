package iotda

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The notification of the page "SQL Statements" (iot_01_0025), with a list and a key that needs quotes.
const sqlSource = `{"resource":"device.message","event":"report","event_time":"20151212T121212Z","notify_data":{"header":{"device_id":"d1","product_id":"ABC123456789",` +
	`"tags":[{"tag_value":"testTagValue","tag_key":"testTagName"}]},"body":{"topic":"topic","content":{"temperature":40,"humidity":24,"on":true,"msg-type":"x","none":null,"big":9007199254740993}}}}`

func TestSQL(t *testing.T) {
	t.Parallel()
	const content = "notify_data.body.content."
	for _, c := range []struct{ selects, where, want string }{
		{"", "", sqlSource},
		{"*", content + "temperature > 38", sqlSource},
		{"notify_data.header.device_id AS device_id, notify_data.body.content", content + "temperature > 38",
			`{"device_id":"d1","notify_data.body.content":{"temperature":40,"humidity":24,"on":true,"msg-type":"x","none":null,"big":9007199254740993}}`},
		{"SELECT notify_data.header.tags[0].tag_value as tag, 'hall' AS place, 7 AS n", "WHERE resource = 'device.message'", `{"tag":"testTagValue","place":"hall","n":7}`},
		{content + `"msg-type" AS type, ` + content + "big AS big, " + content + "gone, notify_data.header.tags[1] AS second", "", `{"type":"x","big":9007199254740993}`},
		{"*, notify_data.header.device_id AS id", content + "on", strings.TrimSuffix(sqlSource, "}") + `,"id":"d1"}`},
		{"*", content + "temperature <= 40 and (" + content + "humidity < 20 OR " + content + "humidity >= 24)", sqlSource},
		{"*", "event = 'other' OR event = 'report' AND " + content + "humidity != 25", sqlSource},
		{"*", content + "none = null and " + content + "gone = NULL and " + content + "on <> false", sqlSource},
		{"*", content + "temperature > " + content + "humidity", sqlSource},
		{"*", content + "temperature > -1.5 and '38' != " + content + "temperature", sqlSource},

		{"*", content + "temperature > 40", ""},
		{"*", content + "temperature > '38'", ""}, // a text and a number have no order
		{"*", content + "gone > 1", ""},
		{"*", content + "temperature", ""}, // not true
		{"*", content + "on = 'true'", ""},
		{"*", "notify_data.body = notify_data.body", ""},
		{"*", "event = 'report' AND event = 'other' OR event = 'Report'", ""},
	} {
		st, err := parseSQL(c.selects, c.where)
		require.NoError(t, err, c)
		body, ok := st.apply([]byte(sqlSource))
		require.Equal(t, c.want != "", ok, c)
		if ok {
			require.JSONEq(t, c.want, string(body))
		}
	}
}

func TestSQLRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ selects, where, says string }{
		{"a AS", "", "a name of at most 32 characters"},
		{"a AS b.c", "", "a name of at most 32 characters"},
		{"a AS " + strings.Repeat("x", 33), "", "a name of at most 32 characters"},
		{"'constant'", "", "AS and a name"},
		{"a b", "", `at "b": expected a comma`},
		{"a,", "", "at the end: expected a variable"},
		{"GET_TAG('x') AS tag", "", "functions are not emulated"},
		{"a..b", "", `at "a..b"`},
		{"a[x]", "", "a variable, a constant or an operator"},
		{"a # b", "", `at "# b"`},
		{strings.Repeat("a", 2501), "", "at most 2500 characters"},
		{"", "a =", "at the end: expected a variable"},
		{"", "(a = 1", "expected )"},
		{"", "a = 1 b", "AND, OR or the end"},
		{"", "a = 'open", "at \"'open\""},
		{"", "a = 1.2.3", `at "1.2.3"`},
		{"", strings.Repeat("(", 33) + "a" + strings.Repeat(")", 33), "at most 32 parentheses"},
	} {
		_, err := parseSQL(c.selects, c.where)
		require.ErrorContains(t, err, c.says, c)
	}
}

func FuzzSQL(f *testing.F) {
	f.Add("notify_data.header.device_id AS device_id, notify_data.body.content", "notify_data.body.content.temperature > 38")
	f.Add("*, 'x' AS y, a.\"b-c\"[1]", "(a = 1 OR b <> null) AND c")
	f.Fuzz(func(t *testing.T, selects, where string) {
		st, err := parseSQL(selects, where)
		if err != nil {
			return
		}
		if body, ok := st.apply([]byte(sqlSource)); ok {
			require.NotEmpty(t, body)
		}
	})
}
