package control

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"net/http/httptest"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func seqs(t *testing.T, body string) []uint64 {
	t.Helper()
	var list []uint64
	for line := range strings.Lines(body) {
		var e journal.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		list = append(list, e.Seq)
	}
	return list
}

func fill(j *journal.Journal) {
	j.Append(journal.Event{Platform: "dps", Endpoint: "fakecloud-dps", Kind: journal.Connect, Device: "dev-01", Address: "127.0.0.1:5", Conn: 1})
	j.Append(journal.Event{Platform: "iothub", Endpoint: "fakecloud-hub", Kind: journal.Telemetry, Device: "dev-01", Conn: 2, Payload: []byte(`{"temperature":21.5}`), Properties: map[string]string{"k": "v"}})
	j.Append(journal.Event{Platform: "iothub", Endpoint: "fakecloud-hub", Kind: journal.Telemetry, Device: "dev-02", Conn: 3, Payload: []byte(`{"temperature":4}`)})
	j.Refuse(journal.Event{Platform: "iothub", Endpoint: "fakecloud-hub", Device: "dev-03", Conn: 4}, &rule.Refusal{Rule: "HUB-16/cn", Code: 5})
}

func TestEventsFilters(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	fill(in.journal())
	for query, want := range map[string][]uint64{
		"":                                {1, 2, 3, 4},
		"?platform=dps":                   {1},
		"?endpoint=fakecloud-hub":         {2, 3, 4},
		"?device=dev-0[12]":               {1, 2, 3},
		"?kind=telemetry":                 {2, 3},
		"?rule=HUB-16":                    {4},
		"?rule=HUB-16/cn":                 {4},
		"?rule=hub-16/CN":                 {4},
		"?conn=3":                         {3},
		"?address=127.0.0.1":              {1},
		"?since=2":                        {3, 4},
		"?since=99":                       nil,
		"?limit=2":                        {1, 2},
		"?match=payload.temperature%3E20": {2},
		"?match=payload.temperature&match=device~*-02": {3},
		"?match=properties.k%3Dv":                      {2},
		"?kind=telemetry&since=1&limit=1":              {2},
	} {
		a := in.get(t, "/api/v1/events"+query)
		require.Equal(t, http.StatusOK, a.status, query)
		require.Equal(t, "application/x-ndjson", a.header.Get("Content-Type"))
		require.Equal(t, want, seqs(t, a.body), query)
		next, err := strconv.ParseUint(a.header.Get("X-Next-Since"), 10, 64)
		require.NoError(t, err)
		if strings.Contains(query, "limit") {
			require.Equal(t, want[len(want)-1], next)
		} else {
			require.GreaterOrEqual(t, next, uint64(4))
		}
	}
}

func TestEventsRefuseBadQueries(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for query, want := range map[string]string{
		"?devcie=s3cret":            "",
		"?since=s3cret":             "",
		"?limit=0":                  "",
		"?limit=1000000":            "",
		"?count=-1":                 "",
		"?kind=s3cret":              "kind: no event is of this kind; the kinds are tls, connect, ",
		"?kind=telemtry":            "kind: no event is of this kind; did you mean telemetry?",
		"?platform=iohub":           "platform: there is no such platform; did you mean iothub?",
		"?platform=s3cret":          "platform: there is no such platform; the platforms are dps, iothub, edge, mindsphere, iotda, arm, door",
		"?rule=HUB-s3cret":          "rule: there is no such rule; GET /api/v1/rules lists them",
		"?rule=HUB-16/s3cret":       "rule: HUB-16 has no such cause; GET /api/v1/rules/HUB-16 lists them",
		"?wait=s3cret":              "wait has to be a duration",
		"?wait=11m":                 "wait has to be a duration",
		"?match=s3cret%3D1":         "match: position 1: the path has to start with a field of an event",
		"?match=payload.a%3E":       "match: position 11: a value has to stand here",
		"?match=payload.a%20s3cret": "match: position 11: an operator has to stand here",
		"?match=payload[s3cret]":    "match: position 8: an index has to stand here",
		"?match=payload.%22s3cret":  "match: position 9: this quoted name does not end properly",
		"?match=payload.":           "match: position 9: a name has to stand here",
	} {
		a := in.get(t, "/api/v1/events"+query)
		require.True(t, a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity, "%s: %d", query, a.status)
		require.Contains(t, a.problem(t).Detail, want, query)
		require.NotContains(t, a.body, "s3cret", query)
	}
	require.Equal(t, http.StatusBadRequest, in.get(t, "/api/v1/events?wait=1s", "Accept", "text/event-stream").status)
}

func TestEventsGoPageByPage(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for i := range 1000 {
		in.journal().Append(journal.Event{Platform: "iothub", Kind: journal.Telemetry, Payload: []byte(`{"n":` + strconv.Itoa(i) + `}`)})
	}
	require.Len(t, seqs(t, in.get(t, "/api/v1/events").body), 1000)
	a := in.get(t, "/api/v1/events?limit=700")
	require.Len(t, seqs(t, a.body), 700)
	require.Equal(t, "700", a.header.Get("X-Next-Since"))
	a = in.get(t, "/api/v1/events?limit=2&match=payload.n%3E%3D900")
	require.Equal(t, []uint64{901, 902}, seqs(t, a.body))
	require.Equal(t, "902", a.header.Get("X-Next-Since"))
}

// TestWait runs the handler itself in a bubble, where time-outs cost nothing.
func TestWait(t *testing.T) {
	p, _, _ := newPlane(t)
	synctest.Test(t, func(t *testing.T) {
		p.Journal = journal.New(p.Clock, p.Rules, journal.Options{}) // its channels have to be the bubble's
		h := New(p, Options{})
		ask := func(query string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/events?"+query, http.NoBody))
			return w
		}
		got := make(chan *httptest.ResponseRecorder)
		go func() { got <- ask("kind=telemetry&match=payload.temperature%3E20&wait=5s&count=2") }()
		for i := range 5 {
			synctest.Wait()
			p.Journal.Append(journal.Event{Platform: "iothub", Kind: journal.Telemetry, Payload: []byte(`{"temperature":` + strconv.Itoa(18+i) + `}`)})
		}
		w := <-got
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, []uint64{4, 5}, seqs(t, w.Body.String()))
		require.Equal(t, "5", w.Header().Get("X-Next-Since"))

		fill(p.Journal)
		began := time.Now()
		w = ask("kind=telemetry&device=dev-01&since=5&wait=3s&count=2")
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, http.StatusGatewayTimeout, w.Code)
		var timeout problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &timeout))
		require.Equal(t, 1, *timeout.Matched)
		require.Equal(t, 2, timeout.Wanted)
		require.Equal(t, "9", w.Header().Get("X-Next-Since"))
		require.Len(t, timeout.NearMisses, 2)
		require.Equal(t, "kind", timeout.NearMisses[0].Differs)
		require.Equal(t, "device", timeout.NearMisses[1].Differs)

		w = ask("rule=HUB-17&since=5&count=1")
		require.Equal(t, http.StatusGatewayTimeout, w.Code, "without wait the answer is immediate")
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &timeout))
		require.Len(t, timeout.Refused, 1)
	})
}

func (in *instance) follow(t *testing.T, query string, headers ...string) (*bufio.Scanner, io.Closer) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+"/api/v1/events"+query, nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := in.client.Do(r)
	require.NoError(t, err)
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	return bufio.NewScanner(response.Body), response.Body
}

func nextData(t *testing.T, lines *bufio.Scanner) journal.Event {
	t.Helper()
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e journal.Event
			require.NoError(t, json.Unmarshal([]byte(data), &e))
			return e
		}
	}
	require.FailNow(t, "the stream has ended")
	return journal.Event{}
}

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	fill(in.journal())
	lines, body := in.follow(t, "?kind=telemetry", "Last-Event-ID", "2")
	defer body.Close()
	require.EqualValues(t, 3, nextData(t, lines).Seq)
	in.journal().Append(journal.Event{Kind: journal.Connect})
	in.journal().Append(journal.Event{Kind: journal.Telemetry, Device: "new"})
	require.Equal(t, "new", nextData(t, lines).Device)
}

// TestNextSinceOfAStream holds X-Next-Since of server-sent events to the last one that is sent.
func TestNextSinceOfAStream(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for range 9 {
		in.journal().Append(journal.Event{Platform: "iothub", Kind: journal.Telemetry})
	}
	for query, want := range map[string]string{"?limit=4": "4", "?limit=2&since=5": "7", "?limit=9": "9"} {
		a := in.get(t, "/api/v1/events"+query, "Accept", "text/event-stream")
		require.Equal(t, want, a.header.Get("X-Next-Since"), query)
		require.Contains(t, a.body, "id: "+want+"\n", query)
	}
	for _, query := range []string{"", "?limit=10"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+"/api/v1/events"+query, nil)
		require.NoError(t, err)
		r.Header.Set("Accept", "text/event-stream")
		response, err := in.client.Do(r)
		require.NoError(t, err)
		require.Empty(t, response.Header.Values("X-Next-Since"), "what is still to come has no number: %s", query)
		require.NoError(t, response.Body.Close())
	}
}

func TestHeartbeatAndEndOfAFollower(t *testing.T) {
	p, _, _ := newPlane(t)
	synctest.Test(t, func(t *testing.T) {
		p.Journal = journal.New(p.Clock, p.Rules, journal.Options{}) // its channels have to be the bubble's
		h := New(p, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/api/v1/events", http.NoBody)
		r.Header.Set("Accept", "text/event-stream")
		done := make(chan struct{})
		go func() { defer close(done); h.ServeHTTP(w, r) }()
		<-time.After(heartbeat + time.Second)
		cancel()
		<-done
		require.Equal(t, ": fakecloud\n\n: alive\n\n", w.Body.String())
	})
}

func TestClosingEndsFollowersAndWaits(t *testing.T) {
	t.Parallel()
	p, _, _ := newPlane(t)
	l, client := listen(t)
	s := Serve(New(p, Options{}), nil, l)
	in := &instance{plane: p, url: "http://" + l.Addr().String(), client: client}
	lines, body := in.follow(t, "")
	defer body.Close()
	require.True(t, lines.Scan())
	waiting := make(chan int)
	go func() {
		response, err := client.Get(in.url + "/api/v1/events?wait=10m")
		if err != nil {
			waiting <- 0
			return
		}
		response.Body.Close()
		waiting <- response.StatusCode
	}()
	p.Journal.Append(journal.Event{Kind: journal.Connect})
	require.Equal(t, http.StatusOK, <-waiting)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	for lines.Scan() {
	}
}

// TestStalledReader never reads: the journal goes on, and the handler ends with the connection's write
// deadline instead of holding what it could not send.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	p, _, _ := newPlane(t)
	for range 2000 {
		p.Journal.Append(journal.Event{Kind: journal.Telemetry, Payload: make([]byte, 10_000)})
	}
	a := &api{plane: p}
	stalled := &stalledWriter{header: http.Header{}, budget: 100_000}
	s := &selection{}
	last, _ := a.end(s)
	a.send(newWriter(stalled), s, last)
	require.Less(t, stalled.tries, pageSize+1, "nothing is written after the first page that failed")
}

// stalledWriter fails as a socket does whose write deadline has passed.
type stalledWriter struct {
	header        http.Header
	budget, tries int
}

func (w *stalledWriter) Header() http.Header { return w.header }
func (w *stalledWriter) WriteHeader(int)     {}
func (w *stalledWriter) Write(b []byte) (int, error) {
	w.tries++
	if w.budget -= len(b); w.budget < 0 {
		return 0, context.DeadlineExceeded
	}
	return len(b), nil
}
