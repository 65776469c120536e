package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

// swarmStats counts what a swarm does. It has one size, however long the swarm runs.
type swarmStats struct {
	mu         sync.Mutex
	began      time.Time
	took       time.Duration
	tried      int
	up         int
	drops      int
	failures   map[string]int
	connecting latencies
	messages   latencies
}

func (s *swarmStats) begin() { s.began, s.failures = time.Now(), map[string]int{} }
func (s *swarmStats) end()   { s.took = time.Since(s.began) }

func (s *swarmStats) started() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
}

func (s *swarmStats) connected(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up++
	s.connecting.add(after)
}

func (s *swarmStats) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops++
}

func (s *swarmStats) acknowledged(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages.add(after)
}

// maxKinds bounds the kinds of failure that are told apart.
const maxKinds = 50

func (s *swarmStats) failed(what string, err error) {
	kind := what + ": " + failureKind(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.failures[kind]; !known && len(s.failures) >= maxKinds {
		kind = what + ": other"
	}
	s.failures[kind]++
}

// sums are the counters that progress shows.
type sums struct{ tried, up, acknowledged, failed int }

func (s *swarmStats) sums() sums {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := sums{tried: s.tried, up: s.up, acknowledged: s.messages.count}
	for _, n := range s.failures {
		t.failed += n
	}
	return t
}

// failureKind names a failure without what differs between devices.
func failureKind(err error) string {
	var hub *azure.ConnectError
	var dps *azure.ProvisionError
	var node *iotda.ConnectError
	var agent *mindsphere.ConnectError
	var dropped *mindsphere.DroppedError
	var job *mindsphere.JobError
	var verify *tls.CertificateVerificationError
	var alert *clientkit.CertificateError
	switch {
	case errors.As(err, &hub):
		return "return code " + strconv.Itoa(int(hub.ReturnCode))
	case errors.As(err, &node):
		return "return code " + strconv.Itoa(int(node.ReturnCode))
	case errors.As(err, &agent):
		return "return code " + strconv.Itoa(int(agent.ReturnCode))
	case errors.As(err, &dps):
		return fmt.Sprintf("DPS answers %d, error code %d", dps.Status, dps.ErrorCode)
	case errors.As(err, &dropped):
		return "closed without a CONNACK"
	case errors.As(err, &job):
		return "the model failed"
	case errors.As(err, &verify):
		return "the server's certificate is not trusted"
	case errors.As(err, &alert):
		return "the server does not accept the certificate: " + alert.Alert
	case errors.Is(err, context.DeadlineExceeded):
		return "not in time"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	text := []rune(err.Error())
	return string(text[:min(len(text), 80)])
}

// counted is a thing and how often it was.
type counted struct {
	What string `json:"what"`
	N    int    `json:"n"`
}

// byNumber lists the most frequent first.
func byNumber(counts map[string]int) []counted {
	list := []counted{}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, counted{what, counts[what]})
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].N > list[j].N })
	return list
}

// Latencies are kept in buckets of one sixteenth of a power of two, from a microsecond to half a day.
const (
	latencyPart    = 4 // bits within a power of two
	latencyBuckets = 36 << latencyPart
)

// latencies is a histogram: percentiles are right to a sixteenth.
type latencies struct {
	count   int
	longest time.Duration
	buckets [latencyBuckets]int
}

func (l *latencies) add(d time.Duration) {
	l.count++
	l.longest = max(l.longest, d)
	l.buckets[latencyBucket(d)]++
}

// latencyBucket is the bucket of d: the first sixteen hold a microsecond each.
func latencyBucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < 1<<latencyPart {
		return int(us)
	}
	power := bits.Len64(us) - 1 - latencyPart
	return min((power+1)<<latencyPart+int(us>>power&(1<<latencyPart-1)), latencyBuckets-1)
}

// latencyAt is the longest time of a bucket.
func latencyAt(bucket int) time.Duration {
	if bucket < 1<<latencyPart {
		return time.Duration(bucket) * time.Microsecond
	}
	power := bucket>>latencyPart - 1
	return time.Duration(((1<<latencyPart|bucket&(1<<latencyPart-1))+1)<<power-1) * time.Microsecond
}

// percentile returns the time within which a share of all, from 0 to 1, was.
func (l *latencies) percentile(share float64) time.Duration {
	rest := int(share * float64(l.count))
	for bucket, n := range l.buckets {
		if rest -= n; rest < 0 {
			return min(latencyAt(bucket), l.longest)
		}
	}
	return l.longest
}
