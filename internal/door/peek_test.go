package door

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Packets written by hand (MQTT 3.1.1, section 3.1; 3.1; 5).
var (
	withWill = packet(0x10, join([]byte{0, 4}, "MQTT", []byte{4, 0xc6, 0, 60}, lengthed("dev-01"),
		lengthed("devices/dev-01/messages/events/"), lengthed("gone"), lengthed("hub/dev-01/?api-version=1"), lengthed("secret")))
	mqtt31 = packet(0x10, join([]byte{0, 6}, "MQIsdp", []byte{3, 0x02, 0, 60}, lengthed("old")))
	mqtt5  = packet(0x10, join([]byte{0, 4}, "MQTT", []byte{5, 0x86, 0, 60}, []byte{5, 0x11, 0, 0, 0, 0}, lengthed("five"),
		[]byte{0}, lengthed("t"), lengthed(""), lengthed("name")))
)

func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func TestReadConnect(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 60_000)
	for name, row := range map[string]struct {
		raw  []byte
		want connect
	}{
		"user name":            {connectPacket("dev-01", "u"), connect{4, "dev-01", "u", true}},
		"no user name":         {connectPacket("dev-01", ""), connect{4, "dev-01", "", false}},
		"user name after will": {withWill, connect{4, "dev-01", "hub/dev-01/?api-version=1", true}},
		"3.1":                  {mqtt31, connect{3, "old", "", false}},
		"5 with properties":    {mqtt5, connect{5, "five", "name", true}},
		"long":                 {connectPacket("id", long), connect{4, "id", long, true}},
		"a longer length":      {append([]byte{0x10, 0x8e, 0x80, 0x00}, connectPacket("ab", "")[2:]...), connect{4, "ab", "", false}},
		"level to come":        {packet(0x10, join([]byte{0, 4}, "MQTT", []byte{9, 2, 0, 0, 0, 0})), connect{9, "", "", false}},
		"a bridge":             {packet(0x10, join([]byte{0, 4}, "MQTT", []byte{0x84, 2, 0, 0, 0, 1}, "b")), connect{0x84, "b", "", false}},
	} {
		for reader, r := range map[string]io.Reader{
			"at once":      bytes.NewReader(row.raw),
			"byte by byte": iotest.OneByteReader(bytes.NewReader(row.raw)),
			"halves":       iotest.HalfReader(bytes.NewReader(row.raw)),
			"with EOF":     iotest.DataErrReader(bytes.NewReader(row.raw)),
		} {
			c, raw, err := readConnect(r)
			require.NoError(t, err, "%s, %s", name, reader)
			require.Equal(t, row.want, c, "%s, %s", name, reader)
			require.Equal(t, row.raw, raw, "%s, %s", name, reader)
		}
	}
	// What follows the CONNECT at once is not lost.
	both := append(connectPacket("a", ""), 0xc0, 0x00)
	_, raw, err := readConnect(bytes.NewReader(both))
	require.NoError(t, err)
	require.Equal(t, both, raw)
}

func TestReadConnectRefuses(t *testing.T) {
	t.Parallel()
	body := connectPacket("dev-01", "user")[2:]
	for name, row := range map[string]struct {
		raw  []byte
		want error
	}{
		"PINGREQ":               {[]byte{0xc0, 0x00}, errNotConnect},
		"CONNECT with flags":    {[]byte{0x11, 0x00}, errNotConnect},
		"TLS":                   {[]byte{0x16, 0x03, 0x01, 0x02, 0x00}, errNotConnect},
		"HTTP":                  {[]byte("GET / HTTP/1.1\r\n"), errNotConnect},
		"zeros":                 {make([]byte, 64), errNotConnect},
		"length of five bytes":  {[]byte{0x10, 0xff, 0xff, 0xff, 0xff, 0x01}, errMalformed},
		"length without end":    {[]byte{0x10, 0x80, 0x80, 0x80, 0x80}, errMalformed},
		"256 MiB":               {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, errTooLarge},
		"64 KiB and one":        {[]byte{0x10, 0xfd, 0xff, 0x03}, errTooLarge},
		"empty":                 {[]byte{0x10, 0x00}, errMalformed},
		"another protocol":      {packet(0x10, join([]byte{0, 4}, "MQXX", body[6:])), errProtocol},
		"cut in the client id":  {packet(0x10, body[:14]), errMalformed},
		"cut in the user name":  {packet(0x10, body[:len(body)-1]), errMalformed},
		"level 0":               {packet(0x10, join([]byte{0, 4}, "MQTT", []byte{0, 2, 0, 0, 0, 0})), errMalformed},
		"properties too long":   {packet(0x10, join([]byte{0, 4}, "MQTT", []byte{5, 2, 0, 0, 0x7f, 0, 0})), errMalformed},
		"properties' length":    {packet(0x10, join([]byte{0, 4}, "MQTT", []byte{5, 2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0})), errMalformed},
		"nothing":               {nil, io.EOF},
		"closed in the middle":  {connectPacket("dev-01", "user")[:9], io.EOF},
		"closed after one byte": {[]byte{0x10}, io.EOF},
	} {
		_, raw, err := readConnect(iotest.OneByteReader(bytes.NewReader(row.raw)))
		require.ErrorIs(t, err, row.want, name)
		require.True(t, bytes.HasPrefix(row.raw, raw), name)
	}
}

// What is held never outgrows what has arrived by much, whatever length the packet claims.
func TestReadConnectAllocatesByWhatArrives(t *testing.T) {
	t.Parallel()
	claims := append([]byte{0x10, 0x80, 0xfa, 0x03}, make([]byte, 3000)...)
	_, raw, err := readConnect(iotest.OneByteReader(bytes.NewReader(claims)))
	require.ErrorIs(t, err, io.EOF)
	require.LessOrEqual(t, cap(raw), 2*len(claims))
}

func FuzzReadConnect(f *testing.F) {
	for _, seed := range [][]byte{withWill, mqtt31, mqtt5, connectPacket("a", "b"), []byte("GET / HTTP/1.1"), {0x10, 0xff, 0xff, 0xff, 0x7f}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, raw, err := readConnect(bytes.NewReader(b))
		if !bytes.HasPrefix(b, raw) {
			t.Fatal("what was read is not what was sent")
		}
		slow, _, slowErr := readConnect(iotest.OneByteReader(bytes.NewReader(b)))
		if c != slow || (err == nil) != (slowErr == nil) {
			t.Fatalf("read at once %+v (%v), byte by byte %+v (%v)", c, err, slow, slowErr)
		}
		if err == nil && len(raw) > maxConnect && len(b) <= maxConnect {
			t.Fatal("more than the limit was read")
		}
		for _, known := range []error{errNotConnect, errTooLarge, errMalformed, errProtocol, io.EOF} {
			if err == nil || errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("unnamed error %v", err)
	})
}
