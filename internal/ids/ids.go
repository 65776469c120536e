package ids

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Source is a seeded stream of ids, safe for concurrent use.
type Source struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// New returns the stream that belongs to seed.
func New(seed uint64) *Source {
	return &Source{rng: rand.New(rand.NewPCG(seed, 0x66616b65636c6f75))}
}

// Bytes returns n bytes of the stream.
func (s *Source) Bytes(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return b
}

// Hex returns n lower-case hexadecimal digits.
func (s *Source) Hex(n int) string {
	return hex.EncodeToString(s.Bytes((n + 1) / 2))[:n]
}

// GUID returns a version 4 UUID in lower case.
func (s *Source) GUID() string {
	b := s.Bytes(16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Float64 returns a number in [0,1), for choices such as a fault's probability.
func (s *Source) Float64() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64()
}

// Uint64 returns 64 bits of the stream.
func (s *Source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Uint64()
}
