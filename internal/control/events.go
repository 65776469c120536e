package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/near"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	pageSize     = 256              // events that are copied out of the journal at a time
	writeTimeout = 10 * time.Second // how long a reader may stall before it is dropped
	heartbeat    = 15 * time.Second // silence after which a stream says that it is alive
	maxWait      = 10 * time.Minute
	maxCount     = 10_000
)

type eventsInput struct {
	Platform string   `query:"platform" doc:"dps, iothub, …, door"`
	Endpoint string   `query:"endpoint"`
	Device   string   `query:"device" maxLength:"512" doc:"device, or a glob in which * crosses slashes"`
	Address  string   `query:"address" maxLength:"128" doc:"the client's host, or host:port"`
	Kind     string   `query:"kind" maxLength:"32"`
	Rule     string   `query:"rule" doc:"a row matches all its causes"`
	Conn     uint64   `query:"conn" doc:"connection number"`
	Since    uint64   `query:"since" doc:"only events after this sequence number; 0 is the whole ring"`
	Limit    int      `query:"limit" minimum:"1" maximum:"100000" doc:"at most so many events"`
	Match    []string `query:"match,explode" maxItems:"8" doc:"condition on the event's JSON, e.g. payload.temperature>20; all given must hold. PATH, or PATH OP VALUE with OP one of = != < <= > >= ~ (glob)"`
	Wait     string   `query:"wait" doc:"wait so long (5s, 2m) until count events match"`
	Count    int      `query:"count" minimum:"1" maximum:"10000" doc:"events to wait for, 1 when not given"`
	Accept   string   `header:"Accept" doc:"text/event-stream follows as server-sent events"`
	LastID   string   `header:"Last-Event-ID" doc:"as since, sent by a browser that reconnects"`
}

func (a *api) events() {
	op := call(http.MethodGet, "/api/v1/events", "events", "The journal: NDJSON, one event per line; server-sent events that go on by Accept: text/event-stream")
	op.Errors = append(op.Errors, http.StatusGatewayTimeout, http.StatusServiceUnavailable)
	op = stream(op, "application/x-ndjson", "text/event-stream")
	op.Responses["200"].Headers = map[string]*huma.Param{"X-Next-Since": {
		Description: "the since that continues after this answer; not at server-sent events whose last is still to come: each has its id", Schema: &huma.Schema{Type: "integer"}}}
	register(a, op, a.getEvents)
}

// selection is a filter whose conditions run outside the journal's lock.
type selection struct {
	filter     journal.Filter // without Since, Limit and Match
	conditions []*condition
	since      uint64
	limit      int // 0 is none
}

func (in *eventsInput) selection(rules *rule.Table) (*selection, error) {
	id, unknown := checkRule(in.Rule, rules)
	if err := cmp.Or(checkGlob("device", in.Device), checkPlatform(in.Platform), checkKind(in.Kind), unknown); err != nil {
		return nil, err
	}
	s := &selection{since: in.Since, limit: in.Limit, filter: journal.Filter{
		Platform: in.Platform, Endpoint: in.Endpoint, Device: in.Device, Address: in.Address,
		Kind: journal.Kind(in.Kind), Rule: id, Conn: in.Conn,
	}}
	if in.LastID != "" {
		last, err := strconv.ParseUint(in.LastID, 10, 64)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "Last-Event-ID has to be a sequence number")
		}
		s.since = max(s.since, last)
	}
	for _, text := range in.Match {
		c, err := parseCondition(text)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, err.Error())
		}
		s.conditions = append(s.conditions, c)
	}
	return s, nil
}

// checkKind refuses a kind that no event has, for which a reader would wait in vain.
func checkKind(kind string) error {
	names := make([]string, len(journal.Kinds))
	for i, k := range journal.Kinds {
		names[i] = string(k)
	}
	return checkName(kind, names, "kind: no event is of this kind; ", "the kinds are ")
}

// checkPlatform refuses a platform that there is not: nothing would ever match it.
func checkPlatform(platform string) error {
	return checkName(platform, journal.Platforms, "platform: there is no such platform; ", "the platforms are ")
}

// checkName refuses a name that is none of those that there are. What was given is not said again.
func checkName(given string, names []string, what, all string) error {
	if given == "" || slices.Contains(names, given) {
		return nil
	}
	if name := near.Name(given, names, 4); name != "" {
		return refuse(http.StatusUnprocessableEntity, what+"did you mean "+name+"?")
	}
	return refuse(http.StatusUnprocessableEntity, what+all+strings.Join(names, ", "))
}

// checkRule refuses a rule that no event can have, and returns the id as events have it.
func checkRule(given string, rules *rule.Table) (rule.ID, error) {
	if given == "" {
		return "", nil
	}
	row, ok := rule.FindRow(rules, rule.ID(given))
	cause := strings.ToLower(rule.ID(given).Cause())
	switch {
	case !ok:
		return "", refuse(http.StatusUnprocessableEntity, "rule: there is no such rule; GET /api/v1/rules lists them")
	case cause == "":
		return row.ID, nil
	case !slices.ContainsFunc(row.Causes, func(c rule.Cause) bool { return c.ID == cause }):
		return "", refuse(http.StatusUnprocessableEntity, "rule: "+string(row.ID)+" has no such cause; GET /api/v1/rules/"+string(row.ID)+" lists them")
	}
	return row.ID + "/" + rule.ID(cause), nil
}

func (in *eventsInput) wait() (time.Duration, error) {
	if in.Wait == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(in.Wait)
	if err != nil || d < 0 || d > maxWait {
		return 0, refuse(http.StatusBadRequest, "wait has to be a duration of at most 10m with its unit, like 5s")
	}
	return d, nil
}

func (a *api) getEvents(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	s, err := in.selection(a.plane.Rules)
	if err != nil {
		return nil, err
	}
	d, err := in.wait()
	if err != nil {
		return nil, err
	}
	waits, follows := in.Wait != "" || in.Count > 0, accepts(in.Accept, "text/event-stream")
	if waits && follows {
		return nil, refuse(http.StatusBadRequest, "wait and count do not go with server-sent events, which wait anyhow")
	}
	select {
	case a.slots <- struct{}{}:
	default:
		return nil, refuse(http.StatusServiceUnavailable, "too many streams are open")
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer func() { <-a.slots }()
		r, w := humago.Unwrap(c)
		out := newWriter(w)
		switch {
		case follows:
			a.follow(r.Context(), out, s)
		case waits:
			a.waitFor(r.Context(), out, s, d, max(in.Count, 1))
		default:
			last, _ := a.end(s)
			a.send(out, s, last)
		}
	}}, nil
}

func accepts(accept, want string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(media), want) {
			return true
		}
	}
	return false
}

// page returns up to pageSize matching events after since and the place to go on from. Past is set when
// nothing is left.
func (a *api) page(s *selection, since uint64) (events []journal.Event, next uint64, past bool) {
	f := s.filter
	f.Since, f.Limit = since, pageSize
	found, next := a.plane.Journal.Select(f)
	past = len(found) < pageSize
	events = found[:0]
	for i := range found {
		if s.holds(&found[i]) {
			events = append(events, found[i])
		}
	}
	return events, next, past
}

func (s *selection) holds(e *journal.Event) bool {
	for _, c := range s.conditions {
		if !c.holds(e) {
			return false
		}
	}
	return true
}

// end returns the sequence number up to which a bounded answer goes, so that X-Next-Since is known before
// the first event is written and no more than a page is held. Filled says that its limit is reached.
func (a *api) end(s *selection) (last uint64, filled bool) {
	last = max(a.plane.Journal.Last(), s.since)
	if s.limit == 0 {
		return last, false
	}
	count := 0
	for since := s.since; ; {
		events, next, past := a.page(s, since)
		if count+len(events) >= s.limit {
			return events[s.limit-count-1].Seq, true
		}
		count += len(events)
		if past {
			return next, false
		}
		since = next
	}
}

// send writes the matching events up to and including end.
func (a *api) send(out *writer, s *selection, end uint64) {
	out.next(end)
	out.head("application/x-ndjson")
	for since := s.since; ; {
		events, next, past := a.page(s, since)
		for i := range events {
			if events[i].Seq > end {
				return
			}
			out.line(&events[i])
		}
		if out.flush() != nil || past || next >= end {
			return
		}
		since = next
	}
}

// waitFor answers as soon as count events match; 504 with near misses when time is up before.
func (a *api) waitFor(ctx context.Context, out *writer, s *selection, d time.Duration, count int) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	out.unhurried()
	matched, next, err := a.collect(ctx, s, count)
	if err == nil {
		out.next(next)
		out.head("application/x-ndjson")
		for i := range matched {
			out.line(&matched[i])
		}
		_ = out.flush() // a reader that has gone needs nothing
		return
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		refuse(http.StatusServiceUnavailable, "the wait was broken off: the instance is closing").write(out.w)
		return
	}
	p := refuse(http.StatusGatewayTimeout, "only "+strconv.Itoa(len(matched))+" of "+strconv.Itoa(count)+" events came in time")
	n := len(matched)
	p.Matched, p.Wanted, p.Next = &n, count, next
	p.NearMisses, p.Refused = a.nearMisses(s, next)
	out.next(next)
	p.write(out.w)
}

// collect returns the first count matching events. Between looks it sleeps until the journal grows; each
// look goes on where the last one ended.
func (a *api) collect(ctx context.Context, s *selection, count int) (matched []journal.Event, next uint64, err error) {
	next = s.since
	for {
		events, to, past := a.page(s, next)
		next = to
		for i := range events {
			matched = append(matched, events[i])
			if len(matched) == count {
				return matched, events[i].Seq, nil
			}
		}
		if !past {
			continue
		}
		if _, _, err := a.plane.Journal.Wait(ctx, journal.Filter{Since: next}, 1); err != nil {
			return matched, next, err
		}
	}
}

// follow writes server-sent events until the reader goes or stalls, the limit is reached or the instance closes.
func (a *api) follow(ctx context.Context, out *writer, s *selection) {
	out.unhurried()
	if last, filled := a.end(s); filled {
		out.next(last) // else its last event is still to come; each has its id
	}
	out.head("text/event-stream")
	out.comment("fakecloud")
	left := s.limit
	for since := s.since; ; {
		events, next, past := a.page(s, since)
		since = next
		for i := range events {
			out.event(&events[i])
			if left--; left == 0 {
				_ = out.flush() // the last one; nothing to do when the reader has gone
				return
			}
		}
		if out.flush() != nil {
			return
		}
		if !past {
			continue
		}
		quiet, cancel := context.WithTimeout(ctx, heartbeat)
		_, _, err := a.plane.Journal.Wait(quiet, journal.Filter{Since: since}, 1)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			out.comment("alive")
		}
	}
}

// writer writes a stream with a deadline for each flush, so that a reader that stalls is dropped.
type writer struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	err error
}

func newWriter(w http.ResponseWriter) *writer {
	return &writer{w: w, ctl: http.NewResponseController(w)}
}

// unhurried lifts the server's deadlines for an answer that takes its time; a recorder in a test has none.
func (o *writer) unhurried() {
	_ = o.ctl.SetReadDeadline(time.Time{})
	_ = o.ctl.SetWriteDeadline(time.Time{})
}

// next says where to go on after this answer.
func (o *writer) next(since uint64) { o.w.Header().Set("X-Next-Since", strconv.FormatUint(since, 10)) }

func (o *writer) head(kind string) {
	o.w.Header().Set("Content-Type", kind)
	o.w.WriteHeader(http.StatusOK)
}

func (o *writer) line(e *journal.Event) {
	if o.err != nil {
		return // nobody is there to encode it for
	}
	text, err := json.Marshal(e)
	if err == nil {
		o.write(append(text, '\n'))
	}
}

func (o *writer) event(e *journal.Event) {
	if o.err != nil {
		return
	}
	text, err := json.Marshal(e)
	if err == nil {
		o.write([]byte("id: " + strconv.FormatUint(e.Seq, 10) + "\nevent: " + string(e.Kind) + "\ndata: " + string(text) + "\n\n"))
	}
}

func (o *writer) comment(text string) { o.write([]byte(": " + text + "\n\n")) }

func (o *writer) write(b []byte) {
	if o.err != nil {
		return
	}
	_ = o.ctl.SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder has none
	_, o.err = o.w.Write(b)
}

func (o *writer) flush() error {
	if o.err == nil {
		_ = o.ctl.Flush() // buffered by a recorder; errors of a socket show at the next write
	}
	return o.err
}
