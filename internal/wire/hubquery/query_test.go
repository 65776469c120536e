package hubquery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const twin = `{"deviceId":"dev-1","status":"enabled","capabilities":{"iotEdge":false},
	"tags":{"location":{"region":"US","floor":3},"odd key":1,"list":[1,{"a":"b"}],"none":null,"select":7},
	"properties":{"desired":{"$version":4},"reported":{"battery":0.5,"name":"it's","on":true,"big":12345678901}}}`

func doc(t testing.TB, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v))
	return v
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{
		"":                                          true,
		"*":                                         true,
		"deviceId = 'dev-1'":                        true,
		`deviceId = "dev-1"`:                        true,
		"deviceId='DEV-1'":                          false,
		"DEVICEID = 'dev-1'":                        false,
		"deviceId != 'x'":                           true,
		"deviceId <> 'x'":                           true,
		"deviceId IN ['a', 'dev-1']":                true,
		"deviceId in ('a','b')":                     false,
		"deviceId NIN ['a']":                        true,
		"deviceId NOT IN ['dev-1']":                 false,
		"tags.nope IN ['a']":                        false,
		"tags.nope NIN ['a']":                       false,
		"devices.deviceId = 'dev-1'":                true,
		"tags.location.region = 'US'":               true,
		"tags['location'].floor >= 3":               true,
		"tags['odd key'] = 1":                       true,
		"tags.[[select]] = 7":                       true,
		"tags.select = 7":                           true,
		"[[tags]].location.floor < 3":               false,
		"tags.list[0] = 1":                          true,
		"tags.list[1].a = 'b'":                      true,
		"tags.list[9] = 1":                          false,
		"tags.none = null":                          true,
		"is_null(tags.none)":                        true,
		"tags.nope = null":                          false,
		"tags.nope = undefined":                     false,
		"tags.nope != 'x'":                          false,
		"NOT tags.nope = 'x'":                       false,
		"NOT is_defined(tags.nope)":                 true,
		"is_defined(tags.location)":                 true,
		"tags.nope = 1 OR tags.location.floor = 3":  true,
		"tags.nope = 1 AND tags.location.floor = 3": false,
		"NOT (tags.nope = 1 AND deviceId = 'x')":    true,
		"deviceId = 'x' AND deviceId = 'x' OR status = 'enabled'": true,
		"capabilities.iotEdge = false":                            true,
		"NOT capabilities.iotEdge":                                true,
		"properties.reported.on":                                  true,
		"properties.reported.on = true and 1 = 1":                 true,
		"properties.reported.battery = 5e-1":                      true,
		"properties.reported.battery*100 > 49 + 1 - .5":           true,
		"properties.reported.battery > -1":                        true,
		"properties.reported.big = 12345678901":                   true,
		"properties.desired.$version % 3 = 1":                     true,
		"properties.desired.$version = 0x4":                       true,
		"properties.desired.$version / 0 > 1":                     false,
		`properties.reported.name = 'it\'s'`:                      true,
		`properties.reported.name = "it's"`:                       true,
		`deviceId = '\u0064ev-1'`:                                 true,
		"starts_with(deviceId, 'dev')":                            true,
		"ENDS_WITH(deviceId, 'dev')":                              false,
		"contains(deviceId, '-')":                                 true,
		"contains(tags.nope, '-')":                                false,
		"deviceId > 'dev-0'":                                      true,
		"deviceId > 5":                                            false,
		"tags.location.floor = '3'":                               false,
		"tags.location.floor != '3'":                              true,
		"tags.list = tags.list AND tags = tags":                   true,
		"is_array(tags.list) and is_object(tags) and is_number(tags.list[0]) and is_string(deviceId) and is_bool(properties.reported.on) and is_primitive(status)": true,
	} {
		c, err := ParseCondition(Devices, condition)
		require.NoError(t, err, condition)
		require.Equal(t, want, c.Match(doc(t, twin)), condition)
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("(", 100) + "1=1" + strings.Repeat(")", 100)
	for query, want := range map[string]string{
		"":                                                                         "SELECT is expected, at the end of the query (line 1, column 1)",
		"SELEC * FROM devices":                                                     "SELECT is expected, near 'SELEC' (line 1, column 1)",
		"SELECT * FORM devices":                                                    "FROM is expected, near 'FORM' (line 1, column 10)",
		"SELECT * FROM twins":                                                      "unknown collection; known are devices, devices.modules and devices.jobs, near 'twins' (line 1, column 15)",
		"SELECT * FROM devices WHERE":                                              "a property, a value or a function is expected, at the end of the query (line 1, column 28)",
		"SELECT *\nFROM devices\nWHERE a = = 1":                                    "a property, a value or a function is expected, near '=' (line 3, column 11)",
		"SELECT * FROM devices WHERE ä = 'x":                                       "this text has no closing quotation mark, near ''x' (line 1, column 33)",
		"SELECT * FROM devices WHERE a = 1 b":                                      "the query should end here; AND, OR or an operator may be missing, near 'b' (line 1, column 35)",
		"SELECT * FROM devices; DROP":                                              "this character has no meaning here, near ';' (line 1, column 22)",
		"SELECT TOP 0 * FROM devices":                                              "TOP needs a whole number of rows, 1 or more, near '0' (line 1, column 12)",
		"SELECT TOP x * FROM devices":                                              "TOP needs a whole number of rows, 1 or more, near 'x' (line 1, column 12)",
		"SELECT a, tags.a FROM devices":                                            "two columns are called \"a\"; name one of them with AS, near 'tags' (line 1, column 11)",
		"SELECT * FROM devices WHERE f(a)":                                         "unknown function; known are CONTAINS,",
		"SELECT * FROM devices WHERE COUNT() > 1":                                  "COUNT may only stand in the select list, near 'COUNT' (line 1, column 29)",
		"SELECT * FROM devices WHERE is_defined()":                                 "IS_DEFINED takes 1, not 0, near 'is_defined' (line 1, column 29)",
		"SELECT AVG() FROM devices":                                                "AVG needs a property, near ')' (line 1, column 12)",
		"SELECT deviceId, COUNT() FROM devices":                                    "a column beside an aggregate must stand in GROUP BY, near 'deviceId' (line 1, column 8)",
		"SELECT * FROM devices GROUP BY status":                                    "SELECT * cannot be grouped; select the grouped properties and aggregates, near 'GROUP' (line 1, column 23)",
		"SELECT deviceId FROM devices.jobs":                                        "devices.jobs can only be read with SELECT *, near 'deviceId' (line 1, column 8)",
		"SELECT TOP 1 COUNT() AS n FROM devices.jobs":                              "devices.jobs can only be read with SELECT *, near 'COUNT' (line 1, column 14)",
		"SELECT * FROM devices WHERE a IN 'x'":                                     "a list in square brackets is expected after IN: ['a', 'b'], near ''x'' (line 1, column 34)",
		"SELECT * FROM devices WHERE a IN ['x'":                                    "']' is expected, at the end of the query (line 1, column 38)",
		"SELECT * FROM devices WHERE a = 'b\\n'":                                   `unknown escape; known are \' \" \\ and \uXXXX, near '\n' (line 1, column 35)`,
		"SELECT * FROM devices WHERE a = '\\u12'":                                  `\u needs four hexadecimal digits`,
		"SELECT * FROM devices WHERE a = 1x":                                       "this is no number, near '1x' (line 1, column 33)",
		"SELECT * FROM devices WHERE a. = 1":                                       "a property's name is expected after the dot, near '=' (line 1, column 32)",
		"SELECT * FROM devices WHERE a[x] = 1":                                     "a quoted name or an index is expected in the brackets, near 'x' (line 1, column 31)",
		"SELECT * FROM devices WHERE " + deep:                                      "the query is nested deeper than 64",
		"SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 100) + "a":         "the query is nested deeper than 64",
		"SELECT * FROM devices WHERE a = \xff":                                     "the query is not UTF-8",
		"SELECT * FROM devices WHERE a = '" + strings.Repeat("x", MaxLength) + "'": "the query is longer than 16384 bytes",
	} {
		_, err := Parse(query)
		var syntax *SyntaxError
		require.True(t, errors.As(err, &syntax), "%s: %v", query, err)
		require.Contains(t, err.Error(), want, query)
	}
	_, err := ParseCondition(Devices, "tags.a = 1 GROUP BY x")
	require.ErrorContains(t, err, "the query should end here")
}

func TestRows(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"SELECT deviceId, tags.location.floor AS floor, tags.nope FROM devices":      `{"deviceId":"dev-1","floor":3}`,
		"SELECT d.deviceId, d.tags.location FROM devices d WHERE d.status='enabled'": `{"deviceId":"dev-1","location":{"region":"US","floor":3}}`,
		"select top 5 devices.tags.list[0], 1+1, status as 'a b' from devices":       `{"$1":1,"$2":2,"a b":"enabled"}`,
	} {
		q, err := Parse(query)
		require.NoError(t, err, query)
		require.True(t, q.Raw())
		require.False(t, q.Grouped())
		d := doc(t, twin)
		require.True(t, q.Match(d))
		row, err := json.Marshal(q.Row(d))
		require.NoError(t, err)
		require.JSONEq(t, want, string(row), query)
	}
	q, err := Parse("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j'")
	require.NoError(t, err)
	require.Equal(t, Jobs, q.From)
	require.False(t, q.Raw())
	require.True(t, q.Match(map[string]any{"jobId": "j"}))
}

func TestGroups(t *testing.T) {
	t.Parallel()
	docs := []string{`{"s":"a","n":1}`, `{"s":"b","n":2}`, `{"s":"a","n":5.5}`, `{"n":"text"}`, `{"s":"b"}`}
	for query, want := range map[string]string{
		"SELECT COUNT() AS n FROM devices":                   `[{"n":5}]`,
		"SELECT COUNT(*) AS n FROM devices WHERE s = 'nope'": `[{"n":0}]`,
		"SELECT COUNT() FROM devices":                        `[{"$1":5}]`,
		"SELECT COUNT(n) AS c, SUM(n) AS s, AVG(n) AS a, MIN(n) AS lo, MAX(n) AS hi FROM devices WHERE is_number(n)": `[{"c":3,"s":8.5,"a":2.8333333333333335,"lo":1,"hi":5.5}]`,
		"SELECT AVG(n) AS a, SUM(n) AS s FROM devices WHERE s = 'nope'":                                              `[{"s":0}]`,
		"SELECT s AS status, COUNT() AS n FROM devices GROUP BY s":                                                   `[{"status":"a","n":2},{"status":"b","n":2},{"n":1}]`,
		"SELECT COUNT() AS n FROM devices d GROUP BY d.s, d.n":                                                       `[{"n":1},{"n":1},{"n":1},{"n":1},{"n":1}]`,
	} {
		q, err := Parse(query)
		require.NoError(t, err, query)
		require.True(t, q.Grouped())
		g := q.Groups()
		for _, text := range docs {
			if d := doc(t, text); q.Match(d) {
				g.Add(d)
			}
		}
		rows, err := json.Marshal(g.Rows())
		require.NoError(t, err)
		require.JSONEq(t, want, string(rows), query)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"SELECT * FROM devices WHERE tags['a'].b[0] IN ['x', 1e3] AND NOT is_defined([[x]]) OR -a % 2 <> .5",
		`SELECT TOP 3 a AS b, COUNT() AS n, AVG(c.d) FROM devices.modules AS m GROUP BY m.a`,
		`SELECT * FROM devices.jobs WHERE devices.jobs.x = "\u00e4\"" OR contains(a, 'b')`,
	} {
		f.Add(seed)
	}
	d := doc(f, twin)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			var syntax *SyntaxError
			require.True(t, errors.As(err, &syntax))
			require.Positive(t, syntax.Line)
			require.Positive(t, syntax.Column)
			return
		}
		q.Match(d)
		var rows any
		if q.Grouped() {
			g := q.Groups()
			g.Add(d)
			rows = g.Rows()
		} else {
			rows = q.Row(d)
		}
		_, err = json.Marshal(rows)
		require.NoError(t, err)
	})
}
