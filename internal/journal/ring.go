package journal

// chunkEvents is how many events one allocation holds: growing costs no copy of what is there.
const chunkEvents = 256

// ring is a queue of events in chunks; a chunk that has been emptied is used again.
type ring struct {
	chunks []*[chunkEvents]Event
	head   int // index of the oldest event, counted from the first chunk
	tail   int // index after the newest one
	spare  *[chunkEvents]Event
}

func (r *ring) len() int { return r.tail - r.head }

// at returns the i-th oldest event.
func (r *ring) at(i int) *Event {
	i += r.head
	return &r.chunks[i/chunkEvents][i%chunkEvents]
}

func (r *ring) push(e *Event) {
	if r.tail == len(r.chunks)*chunkEvents {
		next := r.spare
		if r.spare = nil; next == nil {
			next = new([chunkEvents]Event)
		}
		r.chunks = append(r.chunks, next)
	}
	r.chunks[r.tail/chunkEvents][r.tail%chunkEvents] = *e
	r.tail++
}

// pop forgets the oldest event.
func (r *ring) pop() {
	*r.at(0) = Event{}
	if r.head++; r.head == chunkEvents {
		r.spare, r.chunks[0] = r.chunks[0], nil
		r.chunks = r.chunks[1:]
		r.head, r.tail = 0, r.tail-chunkEvents
	}
}
