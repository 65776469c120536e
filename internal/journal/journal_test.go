package journal

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func testJournal(opt Options) *Journal {
	rules := rule.NewTable([]rule.Rule{{ID: "HUB-16", Title: "t", Source: "vendor page", Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "cn", Why: "why", Fix: "fix"}}}})
	return New(clock.New(), rules, opt)
}

func TestRefuseExplainsFromTheTable(t *testing.T) {
	j := testJournal(Options{})
	j.Refuse(Event{Platform: "iothub", Device: "dev-01"}, &rule.Refusal{Rule: "HUB-16/cn", Code: 5, Seen: "CN=x", Expected: "CN=dev-01"})
	events, next := j.Select(Filter{Kind: Refused})
	require.Len(t, events, 1)
	require.EqualValues(t, 1, next)
	e := events[0]
	require.Equal(t, "fix", e.Fix)
	require.Equal(t, "why", e.Detail)
	require.Equal(t, "vendor page", e.Source)
	require.Equal(t, 5, *e.Code)
}

func TestFilters(t *testing.T) {
	j := testJournal(Options{})
	j.Append(Event{Platform: "dps", Kind: Connect, Device: "a", Address: "[::1]:999"})
	j.Append(Event{Platform: "iothub", Kind: Connect, Device: "a/mod", Address: "127.0.0.1:5"})
	j.Append(Event{Platform: "iothub", Kind: Refused, Device: "b", Rule: "HUB-16/cn"})
	count := func(f Filter) int { events, _ := j.Select(f); return len(events) }
	require.Equal(t, 3, count(Filter{}))
	require.Equal(t, 2, count(Filter{Since: 1}))
	require.Equal(t, 0, count(Filter{Since: 99}))
	require.Equal(t, 2, count(Filter{Device: "a*"}))
	require.Equal(t, 1, count(Filter{Device: "a"}))
	require.Equal(t, 1, count(Filter{Rule: "HUB-16"}))
	require.Equal(t, 1, count(Filter{Address: "::1"}))
	require.Equal(t, 1, count(Filter{Address: "127.0.0.1:5"}))
	events, next := j.Select(Filter{Limit: 2})
	require.Len(t, events, 2)
	require.EqualValues(t, 2, next)
}

func TestMalformedGlobs(t *testing.T) {
	for _, glob := range []string{"", "job", "job-*", "a?c", "[a-z]*", `a\`, `*\*`, "*/mod", "ü*"} {
		require.NoError(t, CheckGlob(glob), glob)
	}
	for _, glob := range []string{"job[", "[]", "a[b", "*[", "[z-", `*\`} {
		require.ErrorIs(t, CheckGlob(glob), ErrGlob, glob)
		require.False(t, Glob(glob, glob))
	}
}

func TestRingDropsTheOldest(t *testing.T) {
	j := testJournal(Options{Events: 3})
	for range 5000 {
		j.Append(Event{Kind: Publish})
	}
	events, _ := j.Select(Filter{})
	require.Len(t, events, 3)
	require.EqualValues(t, 4998, events[0].Seq)
	require.EqualValues(t, 4997, j.Dropped())

	j = testJournal(Options{Bytes: 10_000})
	for range 100 {
		j.Append(Event{Kind: Publish, Payload: make([]byte, 1000)})
	}
	events, _ = j.Select(Filter{})
	require.Len(t, events, 7)
}

func TestRestorePutsAnEarlierLifeFirst(t *testing.T) {
	j := testJournal(Options{Events: 5})
	j.Continue(100)
	require.EqualValues(t, 101, j.Append(Event{Kind: Connect}))
	j.Restore([]Event{{Seq: 3, Kind: Publish}, {Seq: 7, Kind: Publish}, {Seq: 9, Kind: Refused}})
	seqs := func(events []Event) (all []uint64) {
		for _, e := range events {
			all = append(all, e.Seq)
		}
		return all
	}
	since := func(n uint64) []uint64 { events, _ := j.Select(Filter{Since: n}); return seqs(events) }
	require.Equal(t, []uint64{3, 7, 9, 101}, since(0))
	require.Equal(t, []uint64{7, 9, 101}, since(4))
	require.Equal(t, []uint64{101}, since(50))
	require.Empty(t, since(101))
	require.Equal(t, []uint64{9, 101}, seqs(j.Newest(0, 2)))
	require.Equal(t, []uint64{101}, seqs(j.Newest(9, 2)))
	require.Empty(t, j.Newest(101, 2))
	j.Append(Event{})
	j.Append(Event{})
	require.Equal(t, []uint64{7, 9, 101, 102, 103}, since(0), "the oldest goes first")
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := testJournal(Options{})
		got := make(chan []Event)
		go func() {
			events, _, err := j.Wait(t.Context(), Filter{Kind: Telemetry}, 2)
			require.NoError(t, err)
			got <- events
		}()
		j.Append(Event{Kind: Telemetry})
		j.Append(Event{Kind: Connect})
		synctest.Wait()
		j.Append(Event{Kind: Telemetry})
		require.Len(t, <-got, 2)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		events, _, err := j.Wait(ctx, Filter{Kind: Telemetry}, 3)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, events, 2)
	})
}

func TestJSONRoundTrip(t *testing.T) {
	in := Event{Seq: 4, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Kind: Publish, Dir: In, Topic: "a/b",
		Payload: []byte("{}"), Properties: map[string]string{"k": "v"}}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"seq":4,"time":"2026-01-02T03:04:05.000006Z","kind":"publish","dir":"in","topic":"a/b","qos":0,"payload":"{}","properties":{"k":"v"}}`, string(text))
	var out Event
	require.NoError(t, json.Unmarshal(text, &out))
	require.Equal(t, in, out)

	text, err = json.Marshal(Event{Kind: Publish, Payload: []byte{0xff, 0}})
	require.NoError(t, err)
	require.Contains(t, string(text), `"payloadBase64":"/wA="`)
}

func BenchmarkAppend(b *testing.B) {
	j := testJournal(Options{})
	e := Event{Platform: "iothub", Device: "dev-01", Kind: Publish, Topic: "devices/dev-01/messages/events/", Payload: make([]byte, 256)}
	b.ReportAllocs()
	for b.Loop() {
		j.Append(e)
	}
}
