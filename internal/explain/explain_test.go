package explain

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

var update = flag.Bool("update", false, "write the golden files anew")

// list is a journal of events that are given with their times.
type list []journal.Event

func (l list) Select(f journal.Filter) (events []journal.Event, next uint64) {
	next = f.Since
	for _, e := range l {
		next = max(next, e.Seq)
		if e.Seq <= f.Since || (f.Kind != "" && f.Kind != e.Kind) || (f.Conn != 0 && f.Conn != e.Conn) ||
			(f.Address != "" && f.Address != e.Address && f.Address != hostOf(e.Address)) {
			continue
		}
		if events = append(events, e); len(events) == f.Limit {
			return events, e.Seq
		}
	}
	return events, next
}

var table = rule.NewTable([]rule.Rule{
	{ID: "HUB-16", Title: "A CA device needs its id as common name", Source: "vendor page", Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "cn", Why: "The common name is another device's.", Fix: "Issue a certificate with the device id as common name."}}},
	{ID: "HUB-35", Title: "A topic that the hub does not know closes the connection", Source: "vendor page", Grade: rule.Assumed, Assumption: "without a PUBACK",
		Causes: []rule.Cause{{ID: "topic", Why: "The topic is none of the hub's.", Fix: "Publish to devices/{id}/messages/events/."}}},
	{ID: "HUB-21", Title: "A second connection ends the first", Source: "vendor page", Grade: rule.Measured,
		Causes: []rule.Cause{{ID: "takeover", Why: "w", Fix: "Use one client id per connection."}}},
	{ID: "DPS-15", Title: "A wrong key shows at the register", Source: "vendor page", Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "key", Why: "The signature does not fit the key.", Fix: "Use the enrollment's key."}}},
	{ID: "TLS-1", Title: "The client ends the handshake with an alert", Source: "RFC 8446", Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "unknown-ca", Why: "The client does not trust the root.", Fix: "Give it root.pem."}}},
})

// TestGolden explains what testdata/*.txtar tell: events.ndjson holds the journal, query the Query as
// JSON, text the report that comes out.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			var events list
			var q Query
			want := -1
			for i, f := range archive.Files {
				switch f.Name {
				case "events.ndjson":
					events = parseEvents(t, f.Data)
				case "query":
					require.NoError(t, json.Unmarshal(f.Data, &q))
				case "text":
					want = i
				}
			}
			require.GreaterOrEqual(t, want, 0)
			var got bytes.Buffer
			report := Explain(events, table, q)
			require.NoError(t, Text(&got, report, false))
			require.NoError(t, Page(&bytes.Buffer{}, report))
			if *update {
				archive.Files[want].Data = got.Bytes()
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o600))
				return
			}
			require.Equal(t, string(archive.Files[want].Data), got.String())
		})
	}
}

func parseEvents(t *testing.T, text []byte) list {
	t.Helper()
	var events list
	for line := range strings.Lines(string(text)) {
		var e journal.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		events = append(events, e)
	}
	return events
}

func TestTextIsFitForATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := journal.Event{Seq: 1, Kind: journal.Refused, Rule: "HUB-16/cn", Device: "a\x1b[2J\u202eb", Seen: "x\ny\x07", Detail: "\x9b31m"}
	require.NoError(t, Text(&out, Explain(list{e}, table, Query{}), false))
	require.NotRegexp(t, regexp.MustCompile("[\x00-\x09\x0b-\x1f\u0080-\u009f\u202e]"), out.String())
	out.Reset()
	require.NoError(t, Text(&out, Explain(list{e}, table, Query{}), true))
	require.Contains(t, out.String(), "\x1b[31mHUB-16/cn\x1b[0m")
}

func TestPageEscapesAndKeepsItsPolicy(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := journal.Event{Seq: 1, Kind: journal.Refused, Rule: "HUB-16/cn", Device: "<script>x</script>", Seen: `"><img src=x>`}
	require.NoError(t, Page(&out, Explain(list{e}, table, Query{})))
	require.NotContains(t, out.String(), "<script")
	require.NotContains(t, out.String(), "<img")
	_, rest, ok := strings.Cut(out.String(), "<style>")
	require.True(t, ok)
	inside, _, ok := strings.Cut(rest, "</style>")
	require.True(t, ok)
	require.Equal(t, style, inside, "the policy names the hash of the style as it is sent")
}

func TestManyRefusalsAreGrouped(t *testing.T) {
	t.Parallel()
	var events list
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range uint64(3000) {
		events = append(events, journal.Event{Seq: i + 1, Time: at.Add(time.Duration(i) * time.Second), Conn: i + 1, Kind: journal.Refused,
			Rule: "HUB-16/cn", Platform: "iothub", Device: "dev-" + strconv.FormatUint(i%7, 10)})
	}
	r := Explain(events, table, Query{})
	require.Len(t, r.Explanations, most)
	require.EqualValues(t, 3000, r.Explanations[0].Seq)
	r = Explain(events, table, Query{Device: "dev-3"})
	require.Len(t, r.Explanations, 1)
	require.Equal(t, 429, r.Explanations[0].Times)
	require.Len(t, Explain(events, table, Query{Last: true}).Explanations, 1)
}

func TestClosest(t *testing.T) {
	t.Parallel()
	known := []string{"dev-01", "dev-02", "pump", "dev-01"}
	require.Equal(t, []string{"dev-01", "dev-02"}, Closest("DEV-01 ", known))
	require.Equal(t, []string{"dev-02"}, Closest("dev-01", []string{"dev-01", "dev-02"}))
	require.Empty(t, Closest("thermometer", known))
	require.Empty(t, Closest(strings.Repeat("x", 1000), known))
}

// What was taken although a rule is not kept is no refusal; the report says how to mend it all the same.
func TestNotices(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j := list{
		{Seq: 1, Time: at, Platform: "iothub", Device: "dev-1", Kind: journal.Telemetry, Rule: "HUB-35/topic", Seen: "topic a"},
		{Seq: 2, Time: at, Platform: "iothub", Device: "dev-1", Kind: journal.Telemetry, Rule: "HUB-35/topic", Seen: "topic b"},
		{Seq: 3, Time: at, Platform: "iothub", Device: "dev-2", Kind: journal.Telemetry, Rule: "HUB-16/cn"},
		{Seq: 4, Time: at, Platform: "iothub", Device: "dev-1", Kind: journal.Provisioned, Rule: "HUB-16"},
	}
	r := Explain(j, table, Query{Device: "dev-1"})
	require.False(t, r.Refused)
	require.Equal(t, []string{"HUB-35/topic: The topic is none of the hub's; seen: topic b; fix: Publish to devices/{id}/messages/events/."}, r.Advice)
}
