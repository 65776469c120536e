package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// A thousand waits at once each get their own event; beyond what may be open the answer is immediate, and what
// has ended makes room.
func TestAThousandWaiters(t *testing.T) {
	p, _, _ := newPlane(t)
	synctest.Test(t, func(t *testing.T) {
		p.Journal = journal.New(p.Clock, p.Rules, journal.Options{}) // its channels have to be the bubble's
		h := New(p, Options{})
		ask := func(query string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/events?"+query, http.NoBody))
			return w
		}
		answers := make([]*httptest.ResponseRecorder, maxOpen)
		var waiting sync.WaitGroup
		for i := range answers {
			waiting.Go(func() { answers[i] = ask("wait=1m&device=dev-" + strconv.Itoa(i)) })
		}
		synctest.Wait()
		a := ask("wait=1m")
		require.Equal(t, http.StatusServiceUnavailable, a.Code)
		require.Contains(t, a.Body.String(), "too many streams are open")
		for i := range answers[1:] {
			p.Journal.Append(journal.Event{Kind: journal.Telemetry, Device: "dev-" + strconv.Itoa(i+1)})
		}
		waiting.Wait()
		require.Equal(t, http.StatusGatewayTimeout, answers[0].Code, "nothing came for the first")
		for i, a := range answers[1:] {
			require.Equal(t, http.StatusOK, a.Code)
			require.Equal(t, []uint64{uint64(i + 1)}, seqs(t, a.Body.String()))
			require.Equal(t, strconv.Itoa(i+1), a.Header().Get("X-Next-Since"))
		}
		require.Equal(t, http.StatusOK, ask("wait=1m&since=1").Code, "there is room again")
	})
}

// X-Next-Since chains waits and reads without a gap and without an event that comes twice.
func TestWaitsChain(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for i := range 10 {
		kind := journal.Telemetry
		if i%2 == 0 {
			kind = journal.Connect
		}
		in.journal().Append(journal.Event{Kind: kind})
	}
	var got []uint64
	since := "0"
	for range 2 {
		a := in.get(t, "/api/v1/events?kind=telemetry&wait=1s&count=2&since="+since)
		require.Equal(t, http.StatusOK, a.status)
		got = append(got, seqs(t, a.body)...)
		since = a.header.Get("X-Next-Since")
	}
	a := in.get(t, "/api/v1/events?kind=telemetry&wait=0s&count=2&since="+since)
	require.Equal(t, http.StatusGatewayTimeout, a.status)
	p := a.problem(t)
	require.Equal(t, 1, *p.Matched)
	require.Equal(t, 2, p.Wanted)
	require.EqualValues(t, 10, p.Next)
	got = append(got, seqs(t, in.get(t, "/api/v1/events?kind=telemetry&since="+since).body)...)
	require.Equal(t, []uint64{2, 4, 6, 8, 10}, got)
}

// Followers that never read, over sockets whose buffers are full, hold up neither the journal nor other calls
// nor the end.
func TestFollowersThatNeverRead(t *testing.T) {
	t.Parallel()
	p, _, _ := newPlane(t)
	l, client := listen(t)
	s := Serve(New(p, Options{}), nil, l)
	in := &instance{plane: p, url: "http://" + l.Addr().String(), client: client}
	for range 10 {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.(*net.TCPConn).SetReadBuffer(4096))
		_, err = fmt.Fprintf(c, "GET /api/v1/events HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", l.Addr())
		require.NoError(t, err)
		first := make([]byte, 12)
		_, err = io.ReadFull(c, first) // it follows; from here on nobody reads
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200", string(first))
	}
	payload := make([]byte, 8<<10)
	for range 1000 {
		p.Journal.Append(journal.Event{Kind: journal.Publish, Payload: payload})
	}
	p.Journal.Append(journal.Event{Kind: journal.Telemetry, Device: "last"})
	a := in.get(t, "/api/v1/events?device=last&wait=20s")
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, []uint64{1001}, seqs(t, a.body))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = s.Close(ctx) // says that connections had to be closed
	require.Less(t, time.Since(began), writeTimeout, "nobody waited for the readers' deadline")
}
