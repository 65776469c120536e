package door

import "bytes"

// methods start an HTTP request.
var methods = [][]byte{
	[]byte("GET "), []byte("POST"), []byte("PUT "), []byte("HEAD"), []byte("DELE"), []byte("PATC"),
	[]byte("OPTI"), []byte("CONN"), []byte("HTTP"),
}

// guess names the protocol that b, the first bytes of a connection, looks like: http, tls, mqtt, or empty.
func guess(b []byte) string {
	for _, m := range methods {
		if len(b) >= 3 && bytes.HasPrefix(m, b[:min(len(b), len(m))]) {
			return "http"
		}
	}
	switch {
	case len(b) >= 2 && b[0] == 0x16 && b[1] == 0x03: // handshake record, version 3.x
		return "tls"
	case len(b) >= 1 && b[0]>>4 >= 1 && b[0]>>4 <= 14 && plainFlags(b[0]):
		return "mqtt"
	}
	return ""
}

// plainFlags reports whether the flags of an MQTT packet's first byte are those of its type (MQTT 3.1.1,
// table 2.2); a PUBLISH may have any but QoS 3.
func plainFlags(first byte) bool {
	switch kind, flags := first>>4, first&0x0f; kind {
	case 3:
		return flags&0x06 != 0x06
	case 6, 8, 10:
		return flags == 0x02
	default:
		return flags == 0
	}
}
