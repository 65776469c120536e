package iothub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// The item types of query results (azure-iot-sdk-csharp, QueryResult.cs).
const (
	ItemTwin      = "twin"
	ItemDeviceJob = "deviceJob"
	ItemRaw       = "raw"
)

// QueryRows is one page of a query's result. Unlike the real hub's, it is never behind the registry.
type QueryRows struct {
	Rows []map[string]any
	Type string // one of the item types
	// Continuation asks for the next page; empty on the last one.
	Continuation string
}

// queryCursor is what a continuation token holds: where the last page ended, of which query.
type queryCursor struct {
	Query uint64 `json:"q"`
	After string `json:"k,omitempty"` // key of the last row
	Given int    `json:"n"`           // rows on the pages so far
}

// Query returns the next page of a query: at most size rows, after the page that continuation came with.
// Errors: a *hubquery.SyntaxError, ErrNotFound for the hub, ErrInvalid for a continuation of another query.
func (s *Service) Query(hub, text string, size int, continuation string) (QueryRows, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return QueryRows{}, err
	}
	q, err := hubquery.Parse(text)
	if err != nil {
		return QueryRows{}, err
	}
	cursor, err := readCursor(text, continuation)
	if err != nil {
		return QueryRows{}, err
	}
	if q.Grouped() {
		return s.grouped(h.Host, q, size, cursor), nil
	}
	return s.rows(h.Host, q, size, cursor), nil
}

func queryHash(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text)) // never fails
	return h.Sum64()
}

func readCursor(text, continuation string) (queryCursor, error) {
	c := queryCursor{Query: queryHash(text)}
	if continuation == "" {
		return c, nil
	}
	bad := fmt.Errorf("%w: the continuation token is of no query or of another one", ErrInvalid)
	raw, err := base64.StdEncoding.DecodeString(continuation)
	if err != nil {
		return c, bad
	}
	var given queryCursor
	if err := json.Unmarshal(raw, &given); err != nil || given.Query != c.Query || given.Given < 0 {
		return c, bad
	}
	return given, nil
}

func (c queryCursor) token() string { return base64.StdEncoding.EncodeToString(mustJSON(c)) }

// rows returns a page of rows that are of one document each.
func (s *Service) rows(hub string, q *hubquery.Query, size int, at queryCursor) QueryRows {
	page := QueryRows{Rows: []map[string]any{}, Type: ItemTwin}
	switch {
	case q.Raw():
		page.Type = ItemRaw
	case q.From == hubquery.Jobs:
		page.Type = ItemDeviceJob
	}
	next := at
	for k, doc := range s.documents(hub, q.From, at.After) {
		if q.Top > 0 && next.Given >= q.Top {
			return page
		}
		if !q.Match(doc) {
			continue
		}
		if len(page.Rows) == size {
			page.Continuation = next.token()
			return page
		}
		page.Rows = append(page.Rows, q.Row(doc))
		next.After = k
		next.Given++
	}
	return page
}

// grouped returns a page of rows that are made of many documents.
func (s *Service) grouped(hub string, q *hubquery.Query, size int, at queryCursor) QueryRows {
	groups := q.Groups()
	for _, doc := range s.documents(hub, q.From, "") {
		if q.Match(doc) {
			groups.Add(doc)
		}
	}
	rows := groups.Rows()
	if q.Top > 0 {
		rows = rows[:min(q.Top, len(rows))]
	}
	from := min(at.Given, len(rows))
	to := min(from+size, len(rows))
	page := QueryRows{Rows: rows[from:to], Type: ItemRaw}
	if to < len(rows) {
		at.Given = to
		page.Continuation = at.token()
	}
	return page
}

// documents goes through a collection by key, from the one after a key on.
func (s *Service) documents(hub string, from hubquery.Collection, after string) iter.Seq2[string, map[string]any] {
	prefix := hub + keySeparator
	var keys []string
	switch from {
	case hubquery.Modules:
		keys = s.modules.Keys(prefix)
	case hubquery.Jobs:
		keys = s.side.deviceJobs.Keys(prefix)
	default:
		keys = s.devices.Keys(prefix)
	}
	slices.Sort(keys)
	start, found := slices.BinarySearch(keys, prefix+after)
	if found {
		start++
	}
	if after == "" {
		start = 0
	}
	return func(yield func(string, map[string]any) bool) {
		for _, k := range keys[start:] {
			id := k[len(prefix):]
			if doc := s.document(hub, from, k, id); doc != nil && !yield(id, doc) {
				return
			}
		}
	}
}

// document returns one document of a collection, nil when it has gone meanwhile.
func (s *Service) document(hub string, from hubquery.Collection, k, id string) map[string]any {
	if from == hubquery.Jobs {
		row, ok := s.side.deviceJobs.Get(k)
		if !ok {
			return nil
		}
		return row.document()
	}
	device, module, _ := strings.Cut(id, keySeparator)
	doc, err := s.TwinDocument(hub, device, module)
	if err != nil {
		return nil
	}
	return doc
}
