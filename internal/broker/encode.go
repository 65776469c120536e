package broker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// appendLength appends MQTT's variable length integer.
func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// packetSize is the size on the wire of a packet with so many bytes after its fixed header.
func packetSize(remaining int) int64 {
	size := int64(remaining) + 2
	for n := remaining; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// publishSize is an upper bound of the size of a PUBLISH.
func publishSize(m *Outgoing) int { return len(m.Topic) + len(m.Payload) + 10 }

func appendPublish(b []byte, q *queued, level byte) []byte {
	first := byte(packets.Publish<<4) | q.qos<<1
	if q.Retain {
		first |= 1
	}
	if q.Dup && q.qos > 0 {
		first |= 8
	}
	n := 2 + len(q.Topic) + len(q.Payload)
	if q.qos > 0 {
		n += 2
	}
	if level == 5 {
		n++
	}
	b = appendLength(append(b, first), n)
	b = binary.BigEndian.AppendUint16(b, uint16(len(q.Topic)))
	b = append(b, q.Topic...)
	if q.qos > 0 {
		b = binary.BigEndian.AppendUint16(b, q.fly.id)
	}
	if level == 5 {
		b = append(b, 0) // no properties
	}
	return append(b, q.Payload...)
}
