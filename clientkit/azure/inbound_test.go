package azure

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// publication is a raw PUBLISH with QoS 0, or with QoS 1 when it has a packet identifier.
func publication(topic, id, payload string) string {
	head := "\x30"
	if id != "" {
		head = "\x32"
	}
	rest := string([]byte{byte(len(topic) >> 8), byte(len(topic))}) + topic + id + payload
	if len(rest) < 128 {
		return head + string([]byte{byte(len(rest))}) + rest
	}
	return head + string([]byte{byte(len(rest)&0x7f | 0x80), byte(len(rest) >> 7)}) + rest
}

// connected is a hub on a cloud that it does not leave.
func connected(t *testing.T) (*Hub, *kittest.Peer) {
	t.Helper()
	c := kittest.NewCloud(t, hubHost)
	return up(t, c, hubConfig(c))
}

// wait runs f beside the test and returns its result by a channel.
func wait[T any](f func() (T, error)) <-chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		v, err := f()
		done <- result[T]{v, err}
	}()
	return done
}

type result[T any] struct {
	value T
	err   error
}

func none(f func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, f() }
}

func TestGetTwin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, p := connected(t)
		got := wait(func() (Twin, error) { return h.GetTwin(t.Context()) })
		p.Grant("$iothub/twin/res/#")
		topic, payload := p.Take()
		require.Equal(t, "$iothub/twin/GET/?$rid=1", topic)
		require.Empty(t, payload)
		p.Send(publication("$iothub/twin/res/200/?$rid=ff", "", `{}`)) // nobody's
		p.Send(publication("$iothub/twin/res/200/?$rid=1", "", `{"desired":{"period":5,"$version":7},"reported":{"$version":2}}`))
		r := <-got
		require.NoError(t, r.err)
		require.Equal(t, Twin{
			Desired: json.RawMessage(`{"period":5,"$version":7}`), DesiredVersion: 7,
			Reported: json.RawMessage(`{"$version":2}`), ReportedVersion: 2,
		}, r.value)

		version := wait(func() (int64, error) {
			return h.UpdateReported(t.Context(), map[string]any{"on": true, "old": nil})
		})
		topic, payload = p.Take() // the subscription stands
		require.Equal(t, "$iothub/twin/PATCH/properties/reported/?$rid=2", topic)
		require.Equal(t, `{"old":null,"on":true}`, payload)
		p.Send(publication("$iothub/twin/res/204/?$rid=2&$version=3", "", ""))
		v := <-version
		require.NoError(t, v.err)
		require.EqualValues(t, 3, v.value)

		version = wait(func() (int64, error) { return h.UpdateReported(t.Context(), json.RawMessage(`{"$version":1}`)) })
		p.Take()
		p.Send(publication("$iothub/twin/res/400/?$rid=3", "", `{"errorCode":400004,"trackingId":"ab-G:1","message":"no"}`))
		require.Equal(t, &TwinError{Status: 400, ErrorCode: 400004, TrackingID: "ab-G:1", Message: "no"}, (<-version).err)

		_, err := h.UpdateReported(t.Context(), []int{1})
		require.EqualError(t, err, "azure: reported properties are [1], expected a JSON object")
	})
}

func TestTwinRequestIsAskedAgainAfterLostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		got := wait(func() (int64, error) { return h.UpdateReported(t.Context(), map[string]int{"a": 1}) })
		p.Grant("$iothub/twin/res/#")
		p.Take()
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Grant("$iothub/twin/res/#")
		topic, payload := p.Take()
		require.Equal(t, "$iothub/twin/PATCH/properties/reported/?$rid=2", topic)
		require.Equal(t, `{"a":1}`, payload)
		p.Send(publication("$iothub/twin/res/204/?$rid=2&$version=9", "", ""))
		r := <-got
		require.NoError(t, r.err)
		require.EqualValues(t, 9, r.value)
	})
}

func TestTwinRequestWithoutAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, p := connected(t)
		start := time.Now()
		got := wait(func() (Twin, error) { return h.GetTwin(t.Context()) })
		p.Grant("$iothub/twin/res/#")
		p.Take()
		require.EqualError(t, (<-got).err, "azure: twin request not answered: no answer within 30s")
		require.Equal(t, 30*time.Second, time.Since(start))

		got = wait(func() (Twin, error) { return h.GetTwin(t.Context()) })
		p.Take()
		ended := wait(none(func() error { return h.Close(t.Context()) }))
		synctest.Wait()
		require.Empty(t, ended, "Close waits for the request, as it does for Send")
		p.Send(publication("$iothub/twin/res/429/?$rid=2", "", ""))
		require.EqualError(t, (<-got).err, "azure: twin request refused: status 429")
		p.Expect(kittest.Disconnect)
		require.NoError(t, (<-ended).err)
	})
}

func TestSubscriptionRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, p := connected(t)
		handler := func(context.Context, Received) {}
		for range 2 { // a refused handler is not set
			got := wait(none(func() error { return h.OnMessage(t.Context(), handler) }))
			p.Send("\x90\x03" + p.Packet()[2:4] + "\x80")
			require.EqualError(t, (<-got).err, "azure: cloud-to-device messages: "+
				"subscription to devices/dev-01/messages/devicebound/# refused with 0x80")
		}
		got := wait(none(func() error { return h.OnMessage(t.Context(), handler) }))
		p.Grant("devices/dev-01/messages/devicebound/#")
		require.NoError(t, (<-got).err)
		require.ErrorIs(t, h.OnMessage(t.Context(), handler), errTaken)
	})
}

func TestMessageIsAcknowledgedAfterItsHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, p := connected(t)
		received, goOn := make(chan Received), make(chan struct{})
		got := wait(none(func() error {
			return h.OnMessage(t.Context(), func(_ context.Context, m Received) {
				received <- m
				<-goOn
			})
		}))
		p.Grant("devices/dev-01/messages/devicebound/#")
		require.NoError(t, (<-got).err)
		p.Send(publication("devices/dev-01/messages/devicebound/%24.mid=m-1&%24.to=%2Fdevices%2Fdev-01%2Fmessages%2FdeviceBound"+
			"&%24.exp=2027-01-01T00:00:00.0000000Z&%24.ct=text%2Fplain&iothub-ack=full&alert=a%20b%2Bc&empty=&null", "\x00\x07", "hello"))
		require.Equal(t, Received{
			Body: []byte("hello"), ID: "m-1", To: "/devices/dev-01/messages/deviceBound", ContentType: "text/plain",
			Expiry: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Ack: "full",
			Properties: map[string]string{"alert": "a b+c", "empty": "", "null": ""},
		}, <-received)
		p.Send(publication("devices/dev-01/messages/devicebound/%24.to=x", "\x00\x08", "second"))
		synctest.Wait()
		require.Empty(t, p.Packets, "no PUBACK while the handler runs")
		goOn <- struct{}{}
		p.Expect("\x40\x02\x00\x07")
		require.Equal(t, "second", string((<-received).Body))
		ended := wait(none(func() error { return h.Close(t.Context()) }))
		synctest.Wait()
		require.Empty(t, ended, "Close waits for the handler")
		goOn <- struct{}{}
		p.Expect("\x40\x02\x00\x08")
		p.Expect(kittest.Disconnect)
		require.NoError(t, (<-ended).err)
	})
}

// With a kept session the hub sends as soon as the CONNACK is out.
func TestMessagesBeforeTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		cfg := hubConfig(c)
		cfg.ModuleID = "mod-a"
		h, p := up(t, c, cfg)
		p.Send(publication("devices/dev-01/modules/mod-a/messages/devicebound/%24.to=x", "\x00\x01", "early"))
		synctest.Wait()
		require.Empty(t, p.Packets)
		bodies := make(chan string, 1)
		got := wait(none(func() error {
			return h.OnMessage(t.Context(), func(_ context.Context, m Received) { bodies <- string(m.Body) })
		}))
		p.Grant("devices/dev-01/modules/mod-a/messages/devicebound/#")
		require.NoError(t, (<-got).err)
		require.Equal(t, "early", <-bodies)
		p.Expect("\x40\x02\x00\x01")
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Grant("devices/dev-01/modules/mod-a/messages/devicebound/#")
	})
}

func TestMethods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		hold := make(chan struct{})
		got := wait(none(func() error {
			return h.HandleMethod(t.Context(), "reboot", func(_ context.Context, m MethodCall) (int, json.RawMessage) {
				<-hold
				return 202, m.Payload
			})
		}))
		p.Grant("$iothub/methods/POST/#")
		require.NoError(t, (<-got).err)
		call := func(name, rid, payload, topic, answer string) {
			t.Helper()
			p.Send(publication("$iothub/methods/POST/"+name+"/?$rid="+rid, "", payload))
			gotTopic, gotAnswer := p.Take()
			require.Equal(t, topic, gotTopic)
			require.Equal(t, answer, gotAnswer)
		}
		p.Send(publication("$iothub/methods/POST/reboot/?$rid=1", "", `{"in":5}`))
		call("other", "2", "", "$iothub/methods/res/501/?$rid=2", "") // beside the one that runs
		require.NoError(t, h.HandleMethod(t.Context(), AnyMethod, func(_ context.Context, m MethodCall) (int, json.RawMessage) {
			if m.Name == "bad" {
				return 200, json.RawMessage(`{`)
			}
			return 200, json.RawMessage(`"` + m.Name + `"`)
		}))
		call("component*command", "3", "", "$iothub/methods/res/200/?$rid=3", `"component*command"`)
		call("bad", "4", "", "$iothub/methods/res/500/?$rid=4", "")

		p.Drop() // the answer of reboot goes over the next connection
		p, _ = c.Accept(kittest.Accepted)
		p.Grant("$iothub/methods/POST/#")
		close(hold)
		topic, payload := p.Take()
		require.Equal(t, "$iothub/methods/res/202/?$rid=1", topic)
		require.Equal(t, `{"in":5}`, payload)
	})
}

func TestDesired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		synctest.Wait() // else the connection, still being set up, may read the twin as well
		changes := make(chan string, 8)
		got := wait(none(func() error {
			return h.OnDesired(t.Context(), func(_ context.Context, d DesiredChange) {
				changes <- fmt.Sprintf("%d %t %s", d.Version, d.Complete, d.Properties)
			})
		}))
		p.Grant("$iothub/twin/PATCH/properties/desired/#")
		require.NoError(t, (<-got).err)
		rid := 0
		document := func(desired string) {
			t.Helper()
			rid++
			topic, _ := p.Take()
			require.Equal(t, fmt.Sprintf("$iothub/twin/GET/?$rid=%x", rid), topic)
			p.Send(publication(fmt.Sprintf("$iothub/twin/res/200/?$rid=%x", rid), "", `{"desired":`+desired+`,"reported":{"$version":1}}`))
		}
		patch := func(version int, body string) {
			p.Send(publication(fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", version), "", body))
		}
		p.Grant("$iothub/twin/res/#")
		document(`{"a":1,"$version":4}`)
		require.Equal(t, `4 true {"a":1,"$version":4}`, <-changes)
		patch(4, `{"a":1,"$version":4}`) // known
		patch(5, `{"a":2,"$version":5}`)
		require.Equal(t, `5 false {"a":2,"$version":5}`, <-changes)
		patch(7, `{"a":4,"$version":7}`) // 6 was lost
		document(`{"a":4,"b":6,"$version":7}`)
		require.Equal(t, `7 true {"a":4,"b":6,"$version":7}`, <-changes)

		for _, tc := range []struct{ desired, change string }{
			{`{"a":4,"b":6,"$version":7}`, ""},
			{`{"$version":8}`, `8 true {"$version":8}`},
		} {
			p.Drop()
			p, _ = c.Accept(kittest.Accepted)
			p.Grant("$iothub/twin/PATCH/properties/desired/#")
			p.Grant("$iothub/twin/res/#")
			document(tc.desired)
			synctest.Wait()
			if tc.change == "" {
				require.Empty(t, changes, "nothing has changed")
			} else {
				require.Equal(t, tc.change, <-changes)
			}
		}
	})
}

func TestDesiredIsReadAgainWhenThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, p := connected(t)
		changes := make(chan DesiredChange, 1)
		got := wait(none(func() error {
			return h.OnDesired(t.Context(), func(_ context.Context, d DesiredChange) { changes <- d })
		}))
		p.Grant("$iothub/twin/PATCH/properties/desired/#")
		require.NoError(t, (<-got).err)
		p.Grant("$iothub/twin/res/#")
		p.Take()
		p.Send(publication("$iothub/twin/res/429/?$rid=1", "", ""))
		p.Take()
		p.Send(publication("$iothub/twin/res/200/?$rid=2", "", `{"desired":{"$version":1},"reported":{"$version":1}}`))
		require.EqualValues(t, 1, (<-changes).Version)
	})
}

// A connection on which the subscriptions are not granted is given up.
func TestSubscriptionNotRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		got := wait(none(func() error { return h.OnMessage(t.Context(), func(context.Context, Received) {}) }))
		p.Grant("devices/dev-01/messages/devicebound/#")
		require.NoError(t, (<-got).err)
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		require.True(t, strings.HasPrefix(p.Packet(), "\x82"))
		p.ExpectEnd()
		p, _ = c.Accept(kittest.Accepted)
		p.Grant("devices/dev-01/messages/devicebound/#")
	})
}
