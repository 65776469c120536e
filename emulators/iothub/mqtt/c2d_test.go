package mqtt_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

func (c *cloud) send(m iothub.C2D) {
	c.t.Helper()
	_, err := c.hub.SendC2D(contoso, "dev-01", "", m)
	require.NoError(c.t, err)
}

// settled waits for n messages to have left the queue.
func (c *cloud) settled(n int) {
	c.t.Helper()
	_, _, err := c.journal.Wait(c.t.Context(), journal.Filter{Kind: journal.C2D,
		Match: func(e *journal.Event) bool { return e.Properties["outcome"] != "" }}, n)
	require.NoError(c.t, err)
}

const toDev01 = "devices/dev-01/messages/devicebound/%24.to=%2Fdevices%2Fdev-01%2Fmessages%2FdeviceBound"

func TestC2DTopic(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	c.send(iothub.C2D{Body: []byte("first")})
	c.send(iothub.C2D{MessageID: "m 1", CorrelationID: "c", UserID: "u", ContentType: "text/plain", ContentEncoding: "utf-8", Ack: iothub.AckFull,
		Expiry:     c.clock.Wall().Add(time.Hour),
		Properties: []iothub.C2DProperty{{Name: "k", Value: "v&=/"}, {Name: "null", Null: true}, {Name: "empty"}}})
	conn.Send(brokertest.Subscribe(1, 2, devicebound))
	conn.Expect(0x90, 3, 0, 1, 1)
	p := conn.NextPublish()
	require.Equal(t, toDev01, p.Topic)
	require.Equal(t, "first", string(p.Payload))
	require.EqualValues(t, 1, p.QoS)
	conn.Send(brokertest.Puback(p.ID))
	p = conn.NextPublish()
	require.Regexp(t, `^devices/dev-01/messages/devicebound/%24\.mid=m%201&%24\.to=%2Fdevices%2Fdev-01%2Fmessages%2FdeviceBound&%24\.cid=c&%24\.uid=u`+
		`&%24\.exp=\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\d\.\d{7}Z&%24\.ct=text%2Fplain&%24\.ce=utf-8&iothub-ack=full&k=v%26%3D%2F&null&empty=$`, p.Topic)
	conn.Send(brokertest.Puback(p.ID))
	c.settled(2)
	require.EqualValues(t, iothub.Completed, c.hub.Feedback(contoso, 0)[0].StatusCode)
	rule.Proves(t, "HUB-38", "HUB-41")
}

func TestC2DPlusFilter(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.put("dev-02", keys())
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, "devices/+/messages/devicebound/#"))
	conn.Expect(0x90, 3, 0, 1, 1)
	_, err := c.hub.SendC2D(contoso, "dev-02", "", iothub.C2D{Body: []byte("other's")})
	require.NoError(t, err)
	c.send(iothub.C2D{Body: []byte("own")})
	require.Equal(t, "own", string(conn.NextPublish().Payload))
	rule.Proves(t, "HUB-39")
}

func TestC2DRedelivery(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, devicebound))
	conn.Expect(0x90, 3, 0, 1, 1)
	for i := range 3 {
		c.send(iothub.C2D{Body: fmt.Append(nil, i), Ack: iothub.AckPositive, MessageID: fmt.Sprint("m", i)})
	}
	first := conn.NextPublish()
	conn.NextPublish()
	conn.NextPublish()
	conn.Send(brokertest.Puback(first.ID))
	c.settled(1)
	require.NoError(t, conn.Close())

	conn = c.connect()
	conn.Send(brokertest.Subscribe(1, 1, devicebound))
	conn.Expect(0x90, 3, 0, 1, 1)
	for i := 1; i < 3; i++ {
		p := conn.NextPublish()
		require.Equal(t, fmt.Sprint(i), string(p.Payload))
		conn.Send(brokertest.Puback(p.ID))
	}
	c.settled(3)
	require.Len(t, c.hub.Feedback(contoso, 0), 3)
	conn.Send(brokertest.Subscribe(2, 1, devicebound), brokertest.Pingreq)
	conn.Expect(0x90, 3, 0, 2, 1)
	conn.Expect(brokertest.Pingresp...)
	rule.Proves(t, "HUB-42")
}

func TestC2DQueueLimits(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for range 50 {
		c.send(iothub.C2D{Body: []byte("x")})
	}
	var r *rule.Refusal
	_, err := c.hub.SendC2D(contoso, "dev-01", "", iothub.C2D{})
	require.True(t, errors.As(err, &r))
	require.Equal(t, iothub.CodeQueueFull, r.Code)
	c.expectRefused("HUB-43/full")
	_, err = c.hub.SendC2D(contoso, "dev-01", "", iothub.C2D{Body: []byte(strings.Repeat("x", 64<<10+1))})
	require.True(t, errors.As(err, &r))
	c.expectRefused("HUB-43/size")
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 0, devicebound))
	conn.Expect(0x90, 3, 0, 1, 0)
	for range 50 {
		require.Zero(t, conn.NextPublish().QoS)
	}
	c.settled(50) // QoS 0: sent is complete
	rule.Proves(t, "HUB-43", "HUB-43/full", "HUB-43/size")
}

func TestC2DWithKeptSession(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hello := login()
	hello.Session = true
	conn := c.signIn(hello)
	conn.Send(brokertest.Subscribe(1, 1, devicebound), brokertest.Disconnect)
	conn.Expect(0x90, 3, 0, 1, 1)
	conn.ExpectClosed()
	c.send(iothub.C2D{Body: []byte("kept")})
	conn = c.dial()
	conn.Send(hello.Bytes())
	conn.Expect(resumed...)
	require.Equal(t, "kept", string(conn.NextPublish().Payload))
	require.NoError(t, conn.Close())

	conn = c.connect() // clean: nothing until SUBSCRIBE
	conn.Send(brokertest.Pingreq)
	conn.Expect(brokertest.Pingresp...)
	conn.Send(brokertest.Subscribe(1, 1, devicebound))
	conn.Expect(0x90, 3, 0, 1, 1)
	require.Equal(t, "kept", string(conn.NextPublish().Payload))
	rule.Proves(t, "HUB-44")
}

func TestC2DExpires(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.clock.Freeze()
	c.send(iothub.C2D{MessageID: "gone", Ack: iothub.AckFull})
	require.NoError(t, c.clock.Advance(time.Hour+time.Second))
	c.send(iothub.C2D{Body: []byte("fresh")})
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, devicebound))
	conn.Expect(0x90, 3, 0, 1, 1)
	require.Equal(t, "fresh", string(conn.NextPublish().Payload))
	require.EqualValues(t, "Expired", c.hub.Feedback(contoso, 0)[0].StatusCode)
	rule.Proves(t, "HUB-45")
}

func TestC2DForAModule(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.signIn(loginModule())
	conn.Send(brokertest.Subscribe(1, 1, "devices/dev-01/modules/mod-a/#"))
	conn.Expect(0x90, 3, 0, 1, 1)
	_, err := c.hub.SendC2D(contoso, "dev-01", "mod-a", iothub.C2D{Body: []byte("m")})
	require.NoError(t, err)
	p := conn.NextPublish()
	require.Equal(t, "devices/dev-01/modules/mod-a/messages/devicebound/%24.to=%2Fdevices%2Fdev-01%2Fmodules%2Fmod-a%2Fmessages%2FdeviceBound", p.Topic)
}

// An id with # or + cannot stand in a topic as it is (MQTT 3.1.1, 3.3.2-2), and one with % may be written both ways.
func TestC2DForAnIDThatNeedsEscapes(t *testing.T) {
	t.Parallel()
	for _, h := range []struct{ id, filter, topic string }{
		{"Dev#01", "devices/Dev%2301/messages/devicebound/#", "devices/Dev%2301/messages/devicebound/"},
		{"Dev#01", "devices/+/messages/devicebound/#", "devices/Dev%2301/messages/devicebound/"},
		{"a+b", "devices/a%2Bb/messages/devicebound/#", "devices/a%2Bb/messages/devicebound/"},
		{"a%b", "devices/a%b/messages/devicebound/#", "devices/a%b/messages/devicebound/"},
		{"a%b", "devices/a%25b/messages/devicebound/#", "devices/a%25b/messages/devicebound/"},
	} {
		t.Run(h.id+" by "+h.filter, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			c.put(h.id, keys())
			conn := c.signIn(brokertest.Connect{ClientID: h.id, Username: brokertest.Text(contoso + "/" + azure.Escape(h.id) + "/?api-version=2021-04-12"),
				Password: brokertest.Text(sas(contoso+"/devices/"+h.id, ""))})
			conn.Send(brokertest.Subscribe(1, 1, h.filter))
			conn.Expect(0x90, 3, 0, 1, 1)
			_, err := c.hub.SendC2D(contoso, h.id, "", iothub.C2D{Body: []byte("x")})
			require.NoError(t, err)
			p := conn.NextPublish()
			require.Equal(t, h.topic+"%24.to=%2Fdevices%2F"+azure.Escape(h.id)+"%2Fmessages%2FdeviceBound", p.Topic)
		})
	}
}

// A message that no topic can hold stays in the queue and keeps nobody waiting.
func TestC2DTooLongForATopicHoldsUpNone(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, devicebound))
	conn.Expect(0x90, 3, 0, 1, 1)
	c.send(iothub.C2D{Properties: []iothub.C2DProperty{{Name: "k", Value: strings.Repeat("ä", 11_000)}}})
	c.send(iothub.C2D{Body: []byte("next")})
	p := conn.NextPublish()
	require.Equal(t, toDev01, p.Topic)
	require.Equal(t, "next", string(p.Payload))
	conn.Send(brokertest.Puback(p.ID))
	c.settled(1)
	passed, _ := c.journal.Select(journal.Filter{Kind: journal.C2D, Match: func(e *journal.Event) bool { return strings.Contains(e.Detail, "passed over") }})
	require.Len(t, passed, 1)
	require.Equal(t, "1", passed[0].Properties["sequenceNumber"])
	d, err := c.hub.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	require.Equal(t, 1, d.CloudToDeviceMessageCount, "it waits for its time to live")
}

// What a request over HTTPS abandons is in the queue again (HUB-63), and a connected subscriber is sent it.
func TestC2DAbandonedElsewhereIsDelivered(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.send(iothub.C2D{Body: []byte("x")})
	polls := iothub.Identity{Hub: contoso, DeviceID: "dev-01"}
	m, ok := c.hub.ReceiveC2D(polls, 0)
	require.True(t, ok)
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, devicebound), brokertest.Pingreq)
	conn.Expect(0x90, 3, 0, 1, 1, 0xd0, 0)
	require.NoError(t, c.hub.SettleC2D(polls, m.Lock, iothub.Abandoned))
	p := conn.NextPublish()
	require.Equal(t, "x", string(p.Payload))
	conn.Send(brokertest.Puback(p.ID))
	c.settled(1)
}
