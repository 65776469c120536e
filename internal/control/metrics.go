package control

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fakecloud/fakecloud/internal/journal"
)

func (a *api) metrics() {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(a))
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
	}))
}

// collector reads the journal and the devices when it is asked. Events are counted from where the last
// scrape ended, so that a scrape costs what is new; those that the ring dropped in between are missing
// from the counts by kind and rule, and show in fakecloud_journal_dropped_total.
type collector struct {
	api *api

	mu      sync.Mutex
	since   uint64
	kinds   map[[2]string]float64 // platform and kind
	refused map[[2]string]float64 // platform and rule
}

var (
	infoDesc    = prometheus.NewDesc("fakecloud_info", "Always 1.", []string{"version"}, nil)
	seqDesc     = prometheus.NewDesc("fakecloud_journal_events_total", "Events recorded so far.", nil, nil)
	droppedDesc = prometheus.NewDesc("fakecloud_journal_dropped_total", "Events that the journal's limits have pushed out.", nil, nil)
	kindDesc    = prometheus.NewDesc("fakecloud_events_total", "Events by platform and kind.", []string{"platform", "kind"}, nil)
	refusedDesc = prometheus.NewDesc("fakecloud_refused_total", "Refusals by platform and rule.", []string{"platform", "rule"}, nil)
	devicesDesc = prometheus.NewDesc("fakecloud_devices", "Registered devices.", []string{"platform", "endpoint"}, nil)
	onlineDesc  = prometheus.NewDesc("fakecloud_devices_connected", "Devices that are connected now.", []string{"platform", "endpoint"}, nil)
)

func newCollector(a *api) *collector {
	return &collector{api: a, kinds: map[[2]string]float64{}, refused: map[[2]string]float64{}}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{infoDesc, seqDesc, droppedDesc, kindDesc, refusedDesc, devicesDesc, onlineDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	p := c.api.plane
	gauge(infoDesc, 1, p.Version)
	counter(seqDesc, float64(p.Journal.Last()))
	counter(droppedDesc, float64(p.Journal.Dropped()))
	registered, online := map[[2]string]float64{}, map[[2]string]float64{}
	for _, d := range p.Devices.List() {
		key := [2]string{d.Platform, d.Endpoint}
		registered[key]++
		if d.Connected {
			online[key]++
		}
	}
	for key, n := range registered {
		gauge(devicesDesc, n, key[0], key[1])
		gauge(onlineDesc, online[key], key[0], key[1])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	for key, n := range c.kinds {
		counter(kindDesc, n, key[0], key[1])
	}
	for key, n := range c.refused {
		counter(refusedDesc, n, key[0], key[1])
	}
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
