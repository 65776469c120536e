package mindsphere

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Limits of the stored data of all tenants; the oldest goes first.
const (
	maxPoints     = 200_000
	maxPointBytes = 64 << 20
	maxEvents     = 50_000
	maxEventBytes = 32 << 20
	maxFiles      = 10_000
	maxFileBytes  = 32 << 20
)

// overhead is what a stored value counts beside its texts.
const overhead = 128

// Point is one stored value of a variable.
type Point struct {
	Time        time.Time `json:"time"`
	Value       string    `json:"value"`                 // as sent, numbers and booleans as text
	QualityCode string    `json:"qualityCode,omitempty"` // empty where none was sent
	DataType    string    `json:"dataType,omitempty"`    // of the variable; empty where it is not known
	Agent       string    `json:"agent"`                 // client id
}

// record is a point with its place.
type record struct {
	Tenant   string `json:"tenant"`
	Asset    string `json:"asset"`
	Aspect   string `json:"aspect"`
	Variable string `json:"variable"`
	Point    Point  `json:"point"`
	Seq      uint64 `json:"seq"` // number in the log
}

// AgentEvent is an event that an agent has sent.
type AgentEvent struct {
	Tenant        string          `json:"tenant"`
	Agent         string          `json:"agent"` // client id
	ID            string          `json:"id,omitempty"`
	CorrelationID string          `json:"correlationId,omitempty"`
	Time          time.Time       `json:"timestamp"`
	Severity      string          `json:"severity"`
	Type          string          `json:"type"`
	Description   string          `json:"description,omitempty"`
	Details       json.RawMessage `json:"details,omitempty"`
	Seq           uint64          `json:"seq"` // number in the log
}

// AgentFile is a file that an agent has sent.
type AgentFile struct {
	Tenant  string    `json:"tenant"`
	Agent   string    `json:"agent"` // client id
	Name    string    `json:"name"`
	Created time.Time `json:"creationDate,omitzero"`
	Content []byte    `json:"content"`
	Seq     uint64    `json:"seq"` // number in the log
}

// data is what agents have sent.
type data struct {
	points *store.Log[record]
	events *store.Log[AgentEvent]
	files  *store.Log[AgentFile]
}

func newData(s *store.Store) data {
	return data{
		points: store.NewLog(s, store.LogSpec[record]{Name: "mindsphere.points", Count: maxPoints, Bytes: maxPointBytes, Cost: func(r *record) int {
			return overhead + len(r.Tenant) + len(r.Asset) + len(r.Aspect) + len(r.Variable) + len(r.Point.Value) + len(r.Point.QualityCode) + len(r.Point.Agent)
		}, Number: func(r *record, n uint64) { r.Seq = n }}),
		events: store.NewLog(s, store.LogSpec[AgentEvent]{Name: "mindsphere.events", Count: maxEvents, Bytes: maxEventBytes, Cost: func(e *AgentEvent) int {
			return overhead + len(e.Agent) + len(e.ID) + len(e.Type) + len(e.Description) + len(e.Details)
		}, Number: func(e *AgentEvent, n uint64) { e.Seq = n }}),
		files: store.NewLog(s, store.LogSpec[AgentFile]{Name: "mindsphere.files", Count: maxFiles, Bytes: maxFileBytes, Cost: func(f *AgentFile) int {
			return overhead + len(f.Name) + len(f.Content)
		}, Number: func(f *AgentFile, n uint64) { f.Seq = n }}),
	}
}

// TimeSeries returns the stored values of a variable, oldest first, from and to included; zero times do not
// limit. Of several values for one time the last one sent counts.
func (s *Service) TimeSeries(tenant, asset, aspect, variable string, from, to time.Time) []Point {
	return s.AspectSeries(tenant, asset, aspect, from, to)[variable]
}

// AspectSeries returns the stored values of all variables of an asset's aspect as TimeSeries does, by variable.
func (s *Service) AspectSeries(tenant, asset, aspect string, from, to time.Time) map[string][]Point {
	kept := s.remembered(func(f forgotten) uint64 { return f.Points })
	records, _ := s.data.points.Read(0, func(r *record) bool {
		return r.Tenant == tenant && r.Asset == asset && r.Aspect == aspect &&
			(from.IsZero() || !r.Point.Time.Before(from)) && (to.IsZero() || !r.Point.Time.After(to)) && kept(r.Seq, r.Point.Agent)
	}, 0)
	found := map[string][]Point{}
	for _, r := range records {
		found[r.Variable] = append(found[r.Variable], r.Point)
	}
	for variable, points := range found {
		sort.SliceStable(points, func(i, j int) bool { return points[i].Time.Before(points[j].Time) })
		last := points[:0]
		for i, p := range points {
			if i+1 == len(points) || !points[i+1].Time.Equal(p.Time) {
				last = append(last, p)
			}
		}
		found[variable] = last
	}
	return found
}

// AgentEvents returns the stored events of a tenant, in the order they were sent.
func (s *Service) AgentEvents(tenant string) []AgentEvent {
	kept := s.remembered(func(f forgotten) uint64 { return f.Events })
	events, _ := s.data.events.Read(0, func(e *AgentEvent) bool { return e.Tenant == tenant && kept(e.Seq, e.Agent) }, 0)
	return events
}

// AgentFiles returns the stored files of a tenant, in the order they were sent.
func (s *Service) AgentFiles(tenant string) []AgentFile {
	kept := s.remembered(func(f forgotten) uint64 { return f.Files })
	files, _ := s.data.files.Read(0, func(f *AgentFile) bool { return f.Tenant == tenant && kept(f.Seq, f.Agent) }, 0)
	return files
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
	var stored []record
	for _, item := range items {
		stored = append(stored, readItem(from, item, targets, &lost)...)
	}
	if len(stored) > 0 {
		s.data.points.Append(stored...)
	}
	e := from.event
	e.Kind, e.Properties = journal.Telemetry, map[string]string{"stored": strconv.Itoa(len(stored)), "lost": strconv.Itoa(lost.count)}
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

// readItem reads the values of one timestamp; lost takes what goes nowhere.
func readItem(from sender, item node, targets map[string][]Mapping, lost *loss) (records []record) {
	at, ok := readTime(item.get("timestamp").value)
	if !ok {
		lost.add("MS-23/timestamp", item.get("timestamp"), "a time such as 2026-01-01T00:00:00.000Z", "no time%s", item.get("timestamp").but())
		return nil
	}
	values := item.get("values")
	if _, array := values.value.([]any); !array {
		lost.add("MS-23/json", values, "an array of values", "no array%s", values.but())
		return nil
	}
	for _, v := range values.list() {
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
			records = append(records, record{Tenant: from.Tenant, Asset: m.AssetID, Aspect: m.Aspect, Variable: m.Variable, Point: Point{at, value, quality, m.DataType, from.ClientID}})
		}
	}
	return records
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
		ev := AgentEvent{Tenant: from.Tenant, Agent: from.ClientID, ID: n.get("id").text(), CorrelationID: n.get("correlationId").text(), Type: n.get("type").need(),
			Severity: n.get("severity").scalar(), Description: n.get("description").text()}
		if details := n.get("details"); details.value != nil {
			ev.Details = mindsphere.Encode(details.value)
		}
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
	if len(events) > 0 {
		s.data.events.Append(events...)
	}
	e := from.event
	e.Kind, e.Properties = journal.Telemetry, map[string]string{"events": strconv.Itoa(len(events))}
	s.journal.Append(e)
	if unknown.value != nil {
		return swallowed("MS-24/event-type", fmt.Sprintf("%s: the tenant has no event type %q; the event is lost", unknown.path, clip(unknown.text())), unknown.path,
			"one of the tenant's event types: "+names(t.EventTypes))
	}
	return Outcome{}
}

// storeFile stores a file (MS-24). The vendor's sample cuts the base64 text short, so its end may be anything.
func (s *Service) storeFile(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	file := root.get("file")
	var f AgentFile
	if root.ok() && file.object() {
		f = AgentFile{Tenant: from.Tenant, Agent: from.ClientID, Name: file.get("name").need()}
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
	s.data.files.Append(f)
	e := from.event
	e.Kind, e.Properties = journal.File, map[string]string{"name": clip(f.Name), "bytes": strconv.Itoa(len(f.Content))}
	s.journal.Append(e)
	return Outcome{}
}

// base64Text removes what may stand between base64 digits, and leads both alphabets to one.
var base64Text = strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "", "-", "+", "_", "/")

// lenientBase64 decodes base64 of either alphabet, with or without padding and line breaks; of an incomplete last
// group it keeps whole bytes.
func lenientBase64(text string) ([]byte, error) {
	text = strings.TrimRight(base64Text.Replace(text), "=")
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	return base64.RawStdEncoding.DecodeString(text)
}
