package edge

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fakecloud/fakecloud/internal/store"
)

// model is the queue as a plain list.
type model struct{ held []stored }

func (m *model) live(now time.Time) []stored {
	return slices.DeleteFunc(slices.Clone(m.held), func(s stored) bool { return s.expired(now) })
}

// first returns what is sent first: the lowest priority number, then the order of coming.
func (m *model) first(endpoint string, now time.Time, most int) []stored {
	var of []stored
	for _, s := range m.live(now) {
		if s.Endpoint == endpoint {
			of = append(of, s)
		}
	}
	slices.SortStableFunc(of, func(a, b stored) int { return a.Priority - b.Priority })
	n := 0
	for n < len(of) && n < most && of[n].Priority == of[0].Priority {
		n++
	}
	return of[:n]
}

// The queue against a list: order per priority, time to live, limits, and what a restart finds.
func TestQueueAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const mostMessages = 12
		mostBytes := rapid.IntRange(overhead, 20*overhead).Draw(t, "bytes")
		rows := store.NewTable[stored](store.New(), "queue", nil)
		q, m := openQueue(rows, "gw"), &model{}
		now, n := time.Unix(1_700_000_000, 0), 0
		endpoints := []string{upstreamEndpoint, "m/i"}
		size := func() (bytes int) {
			for _, s := range m.held {
				bytes += s.Message.size() + overhead
			}
			return bytes
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				n++
				s := stored{Message: Message{DeviceID: "d", Body: []byte(fmt.Sprint(n))}, Endpoint: rapid.SampledFrom(endpoints).Draw(t, "endpoint"),
					Priority: rapid.SampledFrom([]int{0, 5, defaultPriority}).Draw(t, "priority")}
				if ttl := rapid.IntRange(0, 5).Draw(t, "ttl"); ttl > 0 {
					s.Deadline = now.Add(time.Duration(ttl) * time.Second)
				}
				full := len(m.held) >= mostMessages || size()+s.Message.size()+overhead > mostBytes
				_, err := q.put(s, mostMessages, mostBytes)
				require.Equal(t, full, err != nil)
				if err == nil {
					s.Number = q.last
					m.held = append(m.held, s)
				}
			},
			"send": func(t *rapid.T) {
				endpoint, most := rapid.SampledFrom(endpoints).Draw(t, "endpoint"), rapid.IntRange(1, 4).Draw(t, "most")
				batch, _ := q.next(endpoint, now, most)
				require.Equal(t, m.first(endpoint, now, most), append([]stored(nil), batch...))
				for _, s := range batch {
					q.done(s.Number)
				}
				q.expire(now)
				m.held = slices.DeleteFunc(m.held, func(s stored) bool {
					_, kept := rows.Get(q.key(s.Number))
					sent := slices.ContainsFunc(batch, func(b stored) bool { return b.Number == s.Number })
					require.True(t, kept || sent || s.expired(now), "message %d is lost", s.Number)
					return !kept
				})
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
				q.expire(now)
				m.held = slices.DeleteFunc(m.held, func(s stored) bool {
					_, kept := rows.Get(q.key(s.Number))
					require.True(t, kept || s.expired(now))
					return !kept
				})
			},
			"restart": func(*rapid.T) { q = openQueue(rows, "gw") },
			"": func(t *rapid.T) {
				require.Equal(t, len(m.held), q.count)
				require.Equal(t, size(), q.bytes)
				require.Equal(t, q.count, rows.Len())
				v := q.view()
				require.Equal(t, q.count, v.Messages)
			},
		})
	})
}

// Draining does not slow down as the queue grows.
func BenchmarkDrain100k(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		rows := store.NewTable[stored](store.New(), "queue", nil)
		q := openQueue(rows, "gw")
		for range 100_000 {
			_, err := q.put(stored{Message: Message{DeviceID: "d", Body: make([]byte, 100)}, Endpoint: upstreamEndpoint, Priority: defaultPriority}, 200_000, 1<<30)
			require.NoError(b, err)
		}
		b.StartTimer()
		for q.waits(upstreamEndpoint) {
			batch, _ := q.next(upstreamEndpoint, time.Now(), batchMessages)
			numbers := make([]uint64, len(batch))
			for i := range batch {
				numbers[i] = batch[i].Number
			}
			q.done(numbers...)
		}
	}
}
