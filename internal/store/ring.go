package store

// chunkSize is how many elements one allocation holds: growing costs no copy of what is there.
const chunkSize = 256

// ring is a queue in chunks; a chunk that has been emptied is used again.
type ring[E any] struct {
	chunks []*[chunkSize]E
	head   int // index of the oldest element, counted from the first chunk
	tail   int // index after the newest one
	spare  *[chunkSize]E
}

func (r *ring[E]) len() int { return r.tail - r.head }

// at returns the i-th oldest element.
func (r *ring[E]) at(i int) *E {
	i += r.head
	return &r.chunks[i/chunkSize][i%chunkSize]
}

func (r *ring[E]) push(e E) {
	if r.tail == len(r.chunks)*chunkSize {
		next := r.spare
		if r.spare = nil; next == nil {
			next = new([chunkSize]E)
		}
		r.chunks = append(r.chunks, next)
	}
	r.chunks[r.tail/chunkSize][r.tail%chunkSize] = e
	r.tail++
}

// pop forgets the oldest element.
func (r *ring[E]) pop() {
	var zero E
	*r.at(0) = zero
	if r.head++; r.head == chunkSize {
		r.spare, r.chunks[0] = r.chunks[0], nil
		r.chunks = r.chunks[1:]
		r.head, r.tail = 0, r.tail-chunkSize
	}
}
