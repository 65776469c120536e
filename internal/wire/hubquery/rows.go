package hubquery

import (
	"encoding/json"
	"math"
	"sort"
)

// Match reports whether a document fulfils the query's condition. What is undefined fulfils none.
func (q *Query) Match(doc map[string]any) bool { return holds(q.where, doc) }

// Match reports whether a document fulfils the condition.
func (c *Condition) Match(doc map[string]any) bool { return holds(c.where, doc) }

func holds(where expr, doc map[string]any) bool {
	return where == nil || where.eval(doc) == any(true)
}

// Row returns the row of a document, for queries that are not grouped. The document may be part of it.
func (q *Query) Row(doc map[string]any) map[string]any {
	if q.All {
		return doc
	}
	row := map[string]any{}
	for _, c := range q.columns {
		put(row, c.name, c.value.eval(doc))
	}
	return row
}

func put(row map[string]any, name string, v any) {
	if v != any(undefined) {
		row[name] = v
	}
}

// Groups collects the documents of a grouped query.
type Groups struct {
	query *Query
	rows  map[string]*group
}

type group struct {
	keys []any // by the query's groups
	sums []sum // by its columns
}

// sum is the state of one aggregate.
type sum struct {
	count    int     // rows, of which numbers for AVG and SUM
	total    float64 //
	min, max any
}

// Groups starts to collect. A query without GROUP BY has one group, also over no rows.
func (q *Query) Groups() *Groups {
	g := &Groups{query: q, rows: map[string]*group{}}
	if len(q.groups) == 0 {
		g.group(nil)
	}
	return g
}

func (g *Groups) group(keys []any) *group {
	shown := make([]any, len(keys)) // an undefined key is a group of its own
	for i, k := range keys {
		if k != any(undefined) {
			if n, ok := asNumber(k); ok {
				k = n // 1 and 1.0 are one group
			}
			shown[i] = []any{k}
		}
	}
	id, err := json.Marshal(shown)
	if err != nil {
		panic(err) // the documents came from JSON
	}
	if g.rows[string(id)] == nil {
		g.rows[string(id)] = &group{keys: keys, sums: make([]sum, len(g.query.columns))}
	}
	return g.rows[string(id)]
}

// Add takes a document that matches.
func (g *Groups) Add(doc map[string]any) {
	keys := make([]any, len(g.query.groups))
	for i := range keys {
		keys[i] = g.query.groups[i].eval(doc)
	}
	into := g.group(keys)
	for i, c := range g.query.columns {
		if c.aggregate == "" {
			continue
		}
		var v any = true
		if c.value != nil {
			v = c.value.eval(doc)
		}
		into.sums[i].add(c.aggregate, v)
	}
}

func (s *sum) add(aggregate string, v any) {
	if v == any(undefined) {
		return
	}
	switch aggregate {
	case "COUNT":
		s.count++
	case "AVG", "SUM":
		if n, ok := asNumber(v); ok {
			s.count++
			s.total += n
		}
	default:
		if order, ok := compared(v, s.min); s.min == nil || ok && order < 0 {
			s.min = v
		}
		if order, ok := compared(v, s.max); s.max == nil || ok && order > 0 {
			s.max = v
		}
	}
}

func (s *sum) value(aggregate string) any {
	var v any
	switch aggregate {
	case "COUNT":
		return s.count
	case "SUM":
		v = s.total
	case "AVG":
		if s.count == 0 {
			return undefined
		}
		v = s.total / float64(s.count)
	case "MIN":
		v = s.min
	case "MAX":
		v = s.max
	}
	if n, ok := v.(float64); v == nil || ok && (math.IsInf(n, 0) || math.IsNaN(n)) {
		return undefined
	}
	return v
}

// Rows returns one row for each group, in the order of the groups' values.
func (g *Groups) Rows() []map[string]any {
	var ids []string
	for id := range g.rows {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	rows := make([]map[string]any, len(ids))
	for i, id := range ids {
		from, row := g.rows[id], map[string]any{}
		for j, c := range g.query.columns {
			if c.aggregate != "" {
				put(row, c.name, from.sums[j].value(c.aggregate))
				continue
			}
			for k := range g.query.groups {
				if g.query.groups[k].text() == c.value.(*path).text() {
					put(row, c.name, from.keys[k])
				}
			}
		}
		rows[i] = row
	}
	return rows
}
