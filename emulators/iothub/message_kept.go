package iothub

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
)

// keptMessage keeps telemetry as lengths and bytes: JSON would cost more than all else that is done for a
// message. In order: hub, device, module, time in nanoseconds, body, system properties, application
// properties (count plus one, 0 for none).
func keptMessage() store.Codec[Message] {
	known := interner{}
	return store.NewCodec(
		func(b []byte, m Message) []byte {
			b = appendText(appendText(appendText(b, m.Hub), m.DeviceID), m.ModuleID)
			b = binary.AppendVarint(b, m.EnqueuedAt.UnixNano())
			b = append(binary.AppendUvarint(b, uint64(len(m.Body))), m.Body...)
			return appendBag(appendBag(b, m.System), m.Properties)
		},
		func(b []byte) (Message, error) {
			r := reader{rest: b, known: known}
			m := Message{Hub: r.text(), DeviceID: r.text(), ModuleID: r.text()}
			m.EnqueuedAt = time.Unix(0, r.varint()).UTC()
			m.Body = append([]byte{}, r.bytes()...)
			m.System, m.Properties = r.bag(), r.bag()
			if r.short || len(r.rest) > 0 {
				return m, errors.New("not a message")
			}
			return m, nil
		})
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendBag(b []byte, bag map[string]string) []byte {
	if bag == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(bag))+1)
	for name, value := range bag {
		b = appendText(appendText(b, name), value)
	}
	return b
}

// interner shares the texts that every message repeats.
type interner map[string]string

// internLimit bounds what is shared: ids and names, not values that differ with each message.
const internLimit = 4096

func (known interner) text(b []byte) string {
	if s, ok := known[string(b)]; ok {
		return s
	}
	if len(known) >= internLimit {
		clear(known)
	}
	s := string(b)
	known[s] = s
	return s
}

// reader takes a kept message apart; short says that it ended too early.
type reader struct {
	rest  []byte
	known interner
	short bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * uint64(r.skip(n))
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.skip(n))
}

// skip moves on by n bytes and returns 1, or 0 where there are none.
func (r *reader) skip(n int) int {
	if n <= 0 || n > len(r.rest) {
		r.rest, r.short = nil, true
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.rest, r.short = nil, true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() string { return r.known.text(r.bytes()) }

func (r *reader) bag() map[string]string {
	n := r.uvarint()
	if n == 0 || n-1 > uint64(len(r.rest)) {
		r.short = r.short || n > 0
		return nil
	}
	bag := make(map[string]string, n-1)
	for range n - 1 {
		name := r.text()
		bag[name] = r.text()
	}
	return bag
}
