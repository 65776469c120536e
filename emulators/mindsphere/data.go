package mindsphere

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Limits of the stored data; the oldest goes first.
const (
	maxPoints = 10_000  // per variable
	maxSeries = 20_000  // variables with data
	maxEvents = 10_000  // per tenant
	maxFiles  = 1000    // per tenant
	maxBytes  = 8 << 20 // of files, per tenant
)

// Point is one stored value of a variable.
type Point struct {
	Time        time.Time
	Value       string // as sent, numbers and booleans as text
	QualityCode string // empty where none was sent
	DataType    string // of the variable; empty where it is not known
	Agent       string // client id
}

// AgentEvent is an event that an agent has sent.
type AgentEvent struct {
	Agent, ID, CorrelationID    string
	Time                        time.Time
	Severity, Type, Description string
	Details                     any
}

// AgentFile is a file that an agent has sent.
type AgentFile struct {
	Agent, Name string
	Created     time.Time
	Content     []byte
}

// data is what agents have sent. It lives in memory.
type data struct {
	mu     sync.RWMutex
	series map[string][]Point
	events map[string][]AgentEvent
	files  map[string][]AgentFile
}

func (d *data) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.series, d.events, d.files = map[string][]Point{}, map[string][]AgentEvent{}, map[string][]AgentFile{}
}

func seriesKey(tenant, asset, aspect, variable string) string {
	return strings.Join([]string{tenant, asset, aspect, variable}, "\x00")
}

// add stores a point in the order of its time and reports whether there was room for its series.
func (d *data) add(key string, p Point) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	points, ok := d.series[key]
	if !ok && len(d.series) >= maxSeries {
		return false
	}
	i := len(points)
	for i > 0 && points[i-1].Time.After(p.Time) {
		i--
	}
	if i > 0 && points[i-1].Time.Equal(p.Time) { // a second value of the same time replaces the first
		points[i-1] = p
	} else {
		points = slices.Insert(points, i, p)
	}
	if len(points) > maxPoints {
		points = slices.Delete(points, 0, 1)
	}
	d.series[key] = points
	return true
}

// TimeSeries returns the stored values of a variable, oldest first, from and to included; zero times do not
// limit.
func (s *Service) TimeSeries(tenant, asset, aspect, variable string, from, to time.Time) []Point {
	s.data.mu.RLock()
	defer s.data.mu.RUnlock()
	var found []Point
	for _, p := range s.data.series[seriesKey(tenant, asset, aspect, variable)] {
		if (from.IsZero() || !p.Time.Before(from)) && (to.IsZero() || !p.Time.After(to)) {
			found = append(found, p)
		}
	}
	return found
}

// AspectSeries returns the stored values of all variables of an asset's aspect as TimeSeries does, by variable.
func (s *Service) AspectSeries(tenant, asset, aspect string, from, to time.Time) map[string][]Point {
	prefix := seriesKey(tenant, asset, aspect, "")
	var variables []string
	s.data.mu.RLock()
	for k := range s.data.series {
		if variable, ok := strings.CutPrefix(k, prefix); ok {
			variables = append(variables, variable)
		}
	}
	s.data.mu.RUnlock()
	found := map[string][]Point{}
	for _, v := range variables {
		if points := s.TimeSeries(tenant, asset, aspect, v, from, to); len(points) > 0 {
			found[v] = points
		}
	}
	return found
}

// AgentEvents returns the stored events of a tenant, oldest first.
func (s *Service) AgentEvents(tenant string) []AgentEvent {
	s.data.mu.RLock()
	defer s.data.mu.RUnlock()
	return slices.Clone(s.data.events[tenant])
}

// AgentFiles returns the stored files of a tenant, oldest first.
func (s *Service) AgentFiles(tenant string) []AgentFile {
	s.data.mu.RLock()
	defer s.data.mu.RUnlock()
	return slices.Clone(s.data.files[tenant])
}

// loss collects what a message of time series loses, by its cause.
type loss struct {
	rule      rule.ID // of the first
	path      string
	why, want string
	count     int
}

func (l *loss) add(id rule.ID, at node, want, format string, args ...any) {
	if l.count++; l.count == 1 {
		l.rule, l.path, l.want = id, at.path, want
		l.why = fmt.Sprintf(format, args...)
	}
}

// storeTimeSeries stores the values of mapped data points and loses the others in silence (MS-22, MS-23).
func (s *Service) storeTimeSeries(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	if root.ok() {
		root.object()
	}
	series := root.get("timeseries")
	if root.ok() && series.value == nil {
		series.fail("is missing")
	}
	items := series.list()
	if !root.ok() {
		return swallowed("MS-23/json", "the whole message is lost: "+root.doc.summary(), root.doc.problems[0].Path,
			`{"timeseries":[{"timestamp":"2026-01-01T00:00:00.000Z","values":[{"dataPointId":…,"value":"1.3","qualityCode":"0"}]}]}`)
	}
	targets := map[string][]Mapping{}
	for _, m := range s.Mappings(from.ClientID) {
		targets[m.DataPointID] = append(targets[m.DataPointID], m)
	}
	var lost loss
	stored := 0
	for _, item := range items {
		stored += s.storeItem(from, item, targets, &lost)
	}
	e := from.event
	e.Kind, e.Properties = journal.Telemetry, map[string]string{"stored": strconv.Itoa(stored), "lost": strconv.Itoa(lost.count)}
	s.journal.Append(e)
	if lost.count == 0 {
		return Outcome{}
	}
	detail := lost.path + ": " + lost.why
	if lost.count > 1 {
		detail += fmt.Sprintf(" (and %d more values lost)", lost.count-1)
	}
	return swallowed(lost.rule, detail, lost.path, lost.want)
}

// storeItem stores the values of one timestamp and returns how many there were.
func (s *Service) storeItem(from sender, item node, targets map[string][]Mapping, lost *loss) (stored int) {
	at, ok := readTime(item.get("timestamp").value)
	if !ok {
		lost.add("MS-23/timestamp", item.get("timestamp"), "a time such as 2026-01-01T00:00:00.000Z", "no time%s", item.get("timestamp").but())
		return 0
	}
	for _, v := range item.get("values").list() {
		point, _ := v.get("dataPointId").value.(string)
		mapped := targets[point]
		switch {
		case len(targets) == 0:
			lost.add("MS-23/not-instantiated", v.get("dataPointId"), "a model that was instantiated with Success before", "the agent has no data mappings yet")
			continue
		case len(mapped) == 0:
			lost.add("MS-23/unmapped", v.get("dataPointId"), "one of the mapped data points: "+names(sortedKeys(targets)), "the data point %q is not mapped", clip(point))
			continue
		}
		for _, m := range mapped {
			value, fits := fitsType(v.get("value").value, m.DataType)
			if !fits {
				lost.add("MS-23/value", v.get("value"), "a value of type "+m.DataType, "the value does not fit variable %s.%s%s", clip(m.Aspect), clip(m.Variable), v.get("value").but())
				continue
			}
			quality := ""
			if q := v.get("qualityCode"); q.value != nil {
				quality = q.scalar()
			}
			if s.data.add(seriesKey(from.Tenant, m.AssetID, m.Aspect, m.Variable), Point{at, value, quality, m.DataType, from.ClientID}) {
				stored++
			}
		}
	}
	return stored
}

func sortedKeys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// readTime reads a timestamp: RFC 3339 with any number of digits after the second.
func readTime(v any) (time.Time, bool) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UTC(), err == nil
}

// fitsType returns a value as text, and whether it is of a variable's type. The pages show values as strings;
// agents in the field also send numbers and booleans.
func fitsType(v any, dataType string) (string, bool) {
	n := node{doc: &document{}, value: v}
	text := n.scalar()
	if !n.ok() {
		return "", false
	}
	var err error
	switch dataType {
	case "DOUBLE":
		_, err = strconv.ParseFloat(text, 64)
	case "INT":
		_, err = strconv.ParseInt(text, 10, 32)
	case "LONG":
		_, err = strconv.ParseInt(text, 10, 64)
	case "BOOLEAN":
		return text, text == "true" || text == "false"
	case "TIMESTAMP":
		_, ok := readTime(text)
		return text, ok
	}
	return text, err == nil
}

// storeEvents stores an agent's events (MS-24).
func (s *Service) storeEvents(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	if root.ok() {
		root.object()
	}
	if list := root.get("events"); root.ok() && list.value == nil {
		list.fail("is missing")
	}
	t, _ := s.Tenant(from.Tenant)
	var events []AgentEvent
	var unknown node
	for _, n := range root.get("events").list() {
		if !n.object() {
			continue
		}
		ev := AgentEvent{Agent: from.ClientID, ID: n.get("id").text(), CorrelationID: n.get("correlationId").text(), Type: n.get("type").need(),
			Severity: n.get("severity").scalar(), Description: n.get("description").text(), Details: n.get("details").value}
		at, ok := readTime(n.get("timestamp").value)
		if !ok {
			n.get("timestamp").fail("a time such as 2026-01-01T00:00:00.000Z is wanted%s", n.get("timestamp").but())
		}
		ev.Time = at
		if len(t.EventTypes) > 0 && !slices.Contains(t.EventTypes, ev.Type) {
			unknown = n.get("type")
			continue
		}
		events = append(events, ev)
	}
	if !root.ok() {
		return swallowed("MS-24/event", "the message is lost: "+root.doc.summary(), root.doc.problems[0].Path,
			`{"events":[{"timestamp":"2026-01-01T00:00:00.000Z","severity":"20","type":…,"description":…}]}`)
	}
	s.data.mu.Lock()
	s.data.events[from.Tenant] = last(append(s.data.events[from.Tenant], events...), maxEvents)
	s.data.mu.Unlock()
	e := from.event
	e.Kind, e.Properties = journal.Telemetry, map[string]string{"events": strconv.Itoa(len(events))}
	s.journal.Append(e)
	if unknown.value != nil {
		return swallowed("MS-24/event-type", fmt.Sprintf("%s: the tenant has no event type %q; the event is lost", unknown.path, clip(unknown.text())), unknown.path,
			"one of the tenant's event types: "+names(t.EventTypes))
	}
	return Outcome{}
}

// last returns the last n elements in memory of their own once there are more.
func last[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	return slices.Clone(list[len(list)-n:])
}

// storeFile stores a file (MS-24). The vendor's sample cuts the base64 text short, so its end may be anything.
func (s *Service) storeFile(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	file := root.get("file")
	var f AgentFile
	if root.ok() && file.object() {
		f = AgentFile{Agent: from.ClientID, Name: file.get("name").need()}
		content, err := lenientBase64(file.get("content").need())
		if err != nil {
			file.get("content").fail("no base64: %v", err)
		}
		f.Content = content
		if at, ok := readTime(file.get("creationDate").value); ok {
			f.Created = at
		}
	}
	if !root.ok() {
		return swallowed("MS-24/file", "the file is lost: "+root.doc.summary(), root.doc.problems[0].Path,
			`{"file":{"name":…,"creationDate":"2026-01-01T00:00:00.000Z","content":"{base64}"}}`)
	}
	s.data.mu.Lock()
	files := last(append(s.data.files[from.Tenant], f), maxFiles)
	size := 0
	for i := len(files) - 1; i >= 0; i-- {
		if size += len(files[i].Content); size > maxBytes {
			files = last(files, len(files)-1-i)
			break
		}
	}
	s.data.files[from.Tenant] = files
	s.data.mu.Unlock()
	e := from.event
	e.Kind, e.Properties = journal.File, map[string]string{"name": clip(f.Name), "bytes": strconv.Itoa(len(f.Content))}
	s.journal.Append(e)
	return Outcome{}
}

// lenientBase64 decodes base64 with or without padding; of an incomplete last group it keeps whole bytes.
func lenientBase64(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	return base64.RawStdEncoding.DecodeString(text)
}
