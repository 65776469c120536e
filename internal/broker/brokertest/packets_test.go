package brokertest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLiteralBytes(t *testing.T) {
	t.Parallel()
	require.Equal(t, []byte("\x10\x12\x00\x04MQTT\x04\xc2\x00\x0a\x00\x01d\x00\x01u\x00\x00"),
		Connect{ClientID: "d", Username: Text("u"), Password: Text(""), KeepAlive: 10}.Bytes())
	require.Equal(t, []byte("\x10\x15\x00\x06MQIsdp\x03\x2c\x00\x00\x00\x00\x00\x01w\x00\x02by"),
		Connect{Level: 3, Session: true, Will: &Publish{Topic: "w", Payload: []byte("by"), QoS: 1, Retain: true}}.Bytes())
	require.Equal(t, []byte("\x33\x06\x00\x01t\x01\x02x"), Publish{Topic: "t", Payload: []byte("x"), QoS: 1, ID: 258, Retain: true}.Bytes())
	require.Equal(t, []byte("\x82\x0a\x00\x01\x00\x01a\x01\x00\x01b\x01"), Subscribe(1, 1, "a", "b"))
	require.Equal(t, []byte("\xa2\x05\x00\x02\x00\x01a"), Unsubscribe(2, "a"))
	require.Equal(t, []byte("\x40\x02\x00\x07"), Puback(7))
}

func TestReadPacketAndParsePublish(t *testing.T) {
	t.Parallel()
	want := Publish{Topic: "a/b", Payload: bytes.Repeat([]byte("x"), 300), QoS: 1, ID: 9, Dup: true}
	packet, err := ReadPacket(bytes.NewReader(want.Bytes()))
	require.NoError(t, err)
	got, err := ParsePublish(packet)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, bad := range []string{"", "\x40\x02\x00\x01", "\x30\x02\x00\x09", "\x32\x03\x00\x01t"} {
		_, err := ParsePublish([]byte(bad))
		require.Error(t, err)
	}
}
