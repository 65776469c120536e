package control

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sort"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// metrics serves the Prometheus text format. VictoriaMetrics' writer does without the protocol buffers
// that the usual client brings along, which are a tenth of the whole program.
func (a *api) metrics() {
	c := newCollector(a)
	a.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var text bytes.Buffer
		c.write(&text)
		metrics.WriteProcessMetrics(&text)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(text.Bytes()) // a scraper that has gone needs no answer
	})
}

// collector reads the journal and the devices when it is asked. Events are counted from where the last
// scrape ended, so that a scrape costs what is new; those that the ring dropped in between are missing
// from the counts by kind and rule, and show in fakecloud_journal_dropped_total.
type collector struct {
	api *api

	mu      sync.Mutex
	since   uint64
	kinds   map[[2]string]uint64 // platform and kind
	refused map[[2]string]uint64 // platform and rule
}

func newCollector(a *api) *collector {
	return &collector{api: a, kinds: map[[2]string]uint64{}, refused: map[[2]string]uint64{}}
}

// write writes what there is to know now: journal totals, events and refusals by platform, devices.
func (c *collector) write(w *bytes.Buffer) {
	p := c.api.plane
	metrics.WriteGaugeUint64(w, fmt.Sprintf("fakecloud_info{version=%q}", p.Version), 1)
	metrics.WriteCounterUint64(w, "fakecloud_journal_events_total", p.Journal.Last())
	metrics.WriteCounterUint64(w, "fakecloud_journal_dropped_total", p.Journal.Dropped())
	registered, online := map[[2]string]uint64{}, map[[2]string]uint64{}
	for _, d := range p.Devices.List() {
		key := [2]string{d.Platform, d.Endpoint}
		registered[key]++
		if d.Connected {
			online[key]++
		}
	}
	for _, key := range sorted(registered) {
		labels := fmt.Sprintf("{endpoint=%q,platform=%q}", key[1], key[0])
		metrics.WriteGaugeUint64(w, "fakecloud_devices"+labels, registered[key])
		metrics.WriteGaugeUint64(w, "fakecloud_devices_connected"+labels, online[key])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	for _, key := range sorted(c.kinds) {
		metrics.WriteCounterUint64(w, fmt.Sprintf("fakecloud_events_total{kind=%q,platform=%q}", key[1], key[0]), c.kinds[key])
	}
	for _, key := range sorted(c.refused) {
		metrics.WriteCounterUint64(w, fmt.Sprintf("fakecloud_refused_total{platform=%q,rule=%q}", key[0], key[1]), c.refused[key])
	}
}

func sorted(m map[[2]string]uint64) [][2]string {
	keys := slices.Collect(maps.Keys(m))
	sort.Slice(keys, func(i, j int) bool { return slices.Compare(keys[i][:], keys[j][:]) < 0 })
	return keys
}

// count adds what is new. The caller holds mu.
func (c *collector) count() {
	for {
		events, next, past := c.api.page(&selection{}, c.since)
		for i := range events {
			e := &events[i]
			c.kinds[[2]string{e.Platform, string(e.Kind)}]++
			if e.Kind == journal.Refused {
				c.refused[[2]string{e.Platform, string(e.Rule)}]++
			}
		}
		c.since = next
		if past {
			return
		}
	}
}
