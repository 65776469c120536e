package mqtt_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// result is what a blocking call of the application has come to.
type result struct {
	reply iotda.Reply
	err   error
}

// background runs a blocking call.
func background(call func() (iotda.Reply, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		reply, err := call()
		done <- result{reply, err}
	}()
	return done
}

func ringCommand() wire.CommandCall {
	return wire.CommandCall{ServiceID: "Battery", CommandName: "ring", Paras: map[string]any{"n": json.Number("2")}}
}

// DA-21, DA-23, DA-26, DA-49: commands.
func TestCommand(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		done := background(func() (iotda.Reply, error) { return c.Command(t.Context(), instance, demo, ringCommand()) })
		p := conn.NextPublish()
		prefix := "$oc/devices/demo_node1/sys/commands/"
		require.True(t, strings.HasPrefix(p.Topic, prefix+"request_id="), p.Topic)
		require.Zero(t, p.QoS)
		require.Equal(t, `{"object_device_id":"demo_node1","service_id":"Battery","command_name":"ring","paras":{"n":2}}`, string(p.Payload))
		id := strings.TrimPrefix(p.Topic, prefix)

		c.publish(conn, prefix+"response/request_id=other", `{"result_code":0}`)
		c.refusedAs("DA-26/unknown")
		c.publish(conn, prefix+"response/"+id, `done`)
		c.refusedAs("DA-26/json")
		c.publish(conn, "$oc/devices/demo_node1/sys/properties/set/response/"+id, `{"result_code":0}`) // another kind
		answer := `{"result_code":0,"response_name":"COMMAND_RESPONSE","paras":{"result":"success"}}`
		c.publish(conn, prefix+"response/"+id, answer)
		got := <-done
		require.NoError(t, got.err)
		require.Equal(t, answer, string(got.reply.Response))
		require.Equal(t, "request_id="+got.reply.RequestID, id)
		c.publish(conn, prefix+"response/"+id, answer) // late
		conn.Send(brokertest.Pingreq)
		conn.Expect(brokertest.Pingresp...)

		gw := c.join(gateway)
		done = background(func() (iotda.Reply, error) { return c.Command(t.Context(), instance, child, ringCommand()) })
		p = gw.NextPublish()
		require.Contains(t, p.Topic, "$oc/devices/demo_gw1/sys/commands/request_id=")
		require.Contains(t, string(p.Payload), `"object_device_id":"demo_child1"`)
		c.publish(gw, strings.Replace(p.Topic, "commands/", "commands/response/", 1), `{"result_code":0}`)
		require.NoError(t, (<-done).err)
		rule.Proves(t, "DA-21", "DA-23", "DA-26", "DA-26/unknown", "DA-26/json", "DA-49")
	})
}

// The time limit and the offline device, as the application sees them.
func TestCommandFails(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		_, err := c.Command(t.Context(), instance, demo, ringCommand())
		var e *iotda.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, iotda.CodeNotOnline, e.Code)
		c.refusedAs("DA-25/offline")
		_, err = c.GetProperties(t.Context(), instance, child, "Battery")
		require.ErrorAs(t, err, &e)
		require.Equal(t, iotda.CodeNotOnline, e.Code)

		conn := c.join(demo)
		began := time.Now()
		done := background(func() (iotda.Reply, error) { return c.GetProperties(t.Context(), instance, demo, "Battery") })
		require.Equal(t, `{"object_device_id":"demo_node1","service_id":"Battery"}`, string(conn.NextPublish().Payload))
		require.ErrorAs(t, (<-done).err, &e)
		require.Equal(t, iotda.CodeTimeout, e.Code)
		require.Equal(t, 20*time.Second, time.Since(began))
		c.refusedAs("DA-24/timeout")
	})
}

func TestGetAndSetProperties(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		done := background(func() (iotda.Reply, error) { return c.GetProperties(t.Context(), instance, demo, "") })
		p := conn.NextPublish()
		require.Contains(t, p.Topic, "$oc/devices/demo_node1/sys/properties/get/request_id=")
		c.publish(conn, strings.Replace(p.Topic, "get/", "get/response/", 1), seedReport)
		require.Equal(t, seedReport, string((<-done).reply.Response))
		done = background(func() (iotda.Reply, error) {
			return c.SetProperties(t.Context(), instance, demo, []wire.ServiceData{{ServiceID: "Battery", Properties: map[string]any{"batteryLevel": json.Number("5")}}})
		})
		p = conn.NextPublish()
		require.Contains(t, p.Topic, "$oc/devices/demo_node1/sys/properties/set/request_id=")
		require.Equal(t, `{"object_device_id":"demo_node1","services":[{"service_id":"Battery","properties":{"batteryLevel":5}}]}`, string(p.Payload))
		c.publish(conn, strings.Replace(p.Topic, "set/", "set/response/", 1), `{"result_code":0,"result_desc":"success"}`)
		require.NoError(t, (<-done).err)
	})
}

func text(s string) json.RawMessage { return wire.Encode(s) }

func minutes(n int) *int { return &n }

// DA-22, DA-27: messages.
func TestMessages(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		waiting, err := c.SendMessage(instance, demo, iotda.NewMessage{ID: "m1", Name: "n", Content: text("hello")})
		require.NoError(t, err)
		require.Equal(t, iotda.Pending, waiting.Status)
		lapsing, err := c.SendMessage(instance, demo, iotda.NewMessage{Content: text("late"), TTL: minutes(5)})
		require.NoError(t, err)
		failed, err := c.SendMessage(instance, demo, iotda.NewMessage{Content: text("now or never"), TTL: minutes(0)})
		require.NoError(t, err)
		require.Equal(t, []string{iotda.Failed, "IOTDA.014016"}, []string{failed.Status, string(failed.Error.Code)})
		time.Sleep(5 * time.Minute) // of the bubble
		synctest.Wait()
		lapsing, err = c.Message(instance, demo, lapsing.ID)
		require.NoError(t, err)
		require.Equal(t, iotda.TimedOut, lapsing.Status)

		conn := c.join(demo)
		p := conn.NextPublish()
		require.Equal(t, "$oc/devices/demo_node1/sys/messages/down", p.Topic)
		require.Equal(t, `{"object_device_id":"demo_node1","name":"n","id":"m1","content":"hello"}`, string(p.Payload))
		require.Zero(t, p.QoS)
		synctest.Wait()
		waiting, err = c.Message(instance, demo, "m1")
		require.NoError(t, err)
		require.Equal(t, iotda.Delivered, waiting.Status)

		// Two subscriptions that overlap: once, with the higher QoS.
		conn.Send(brokertest.Subscribe(1, 1, "$oc/devices/demo_node1/sys/messages/down"), brokertest.Subscribe(2, 0, "$oc/devices/demo_node1/sys/#"))
		conn.Expect(0x90, 3, 0, 1, 1, 0x90, 3, 0, 2, 0)
		_, err = c.SendMessage(instance, demo, iotda.NewMessage{Content: text("aGk="), Encoding: "base64", PayloadFormat: "raw"})
		require.NoError(t, err)
		p = conn.NextPublish()
		require.Equal(t, "hi", string(p.Payload))
		require.EqualValues(t, 1, p.QoS)
		conn.Send(brokertest.Puback(p.ID))
		conn.ExpectSilence(time.Second)
		rule.Proves(t, "DA-22", "DA-27")
	})
}

// Messages on other topics need a subscription.
func TestMessageTopics(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		_, err := c.SendMessage(instance, demo, iotda.NewMessage{Content: text("x"), Topic: "up"})
		require.Error(t, err, "not declared for devices to subscribe to")
		conn := c.join(demo)
		m, err := c.SendMessage(instance, demo, iotda.NewMessage{Content: text("x"), Topic: "down"})
		require.NoError(t, err)
		require.Equal(t, "IOTDA.014112", string(m.Error.Code))
		conn.Send(brokertest.Subscribe(1, 1, "$oc/devices/demo_node1/user/down", "/free/+"))
		conn.Expect(0x90, 4, 0, 1, 1, 1)
		for _, n := range []iotda.NewMessage{{Topic: "down"}, {TopicFullName: "/free/x"}} {
			n.Content, n.PayloadFormat = json.RawMessage(`{"a":1}`), "raw"
			m, err = c.SendMessage(instance, demo, n)
			require.NoError(t, err)
			require.Equal(t, iotda.Delivered, m.Status)
			p := conn.NextPublish()
			require.Equal(t, m.Topic, p.Topic)
			require.Equal(t, `{"a":1}`, string(p.Payload))
			conn.Send(brokertest.Puback(p.ID))
		}
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()
		m, err = c.SendMessage(instance, demo, iotda.NewMessage{Content: text("later"), TopicFullName: "/free/x", PayloadFormat: "raw"})
		require.NoError(t, err)
		require.Equal(t, iotda.Pending, m.Status)
		conn = c.join(demo)
		conn.ExpectSilence(time.Second) // the subscription is not there yet
		conn.Send(brokertest.Subscribe(1, 0, "/free/#", "$oc/broadcast/all"))
		conn.Expect(0x90, 4, 0, 1, 0, 0)
		require.Equal(t, "later", string(conn.NextPublish().Payload))

		app, err := c.App(instance, "")
		require.NoError(t, err)
		n, err := c.Broadcast(instance, app.AppID, "$oc/broadcast/all", []byte("all"))
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, "$oc/broadcast/all", conn.NextPublish().Topic)
	})
}

// DA-53, DA-51: the shadow's desired part, pushed at the next CONNECT, and the shadow as the device asks for it.
func TestShadow(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		level := func(n string) []iotda.Desired {
			return []iotda.Desired{{ServiceID: "Battery", Desired: map[string]any{"batteryLevel": json.Number(n)}}}
		}
		_, err := c.SetDesired(instance, demo, level("7"))
		require.NoError(t, err)
		conn := c.join(demo)
		p := conn.NextPublish()
		require.Contains(t, p.Topic, "$oc/devices/demo_node1/sys/properties/set/request_id=")
		require.Equal(t, `{"object_device_id":"demo_node1","services":[{"service_id":"Battery","properties":{"batteryLevel":7}}]}`, string(p.Payload))
		c.publish(conn, strings.Replace(p.Topic, "set/", "set/response/", 1), `{"result_code":0}`)
		c.publish(conn, report, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":7},"event_time":"20151212T121212Z"},{"service_id":"Connectivity","properties":{"dailyActivityTime":1},"event_time":"20151212T121212Z"}]}`)
		_, err = c.SetDesired(instance, demo, level("7"))
		require.NoError(t, err)
		conn.ExpectSilence(time.Second) // nothing differs
		_, err = c.SetDesired(instance, demo, level("8"))
		require.NoError(t, err)
		require.Contains(t, string(conn.NextPublish().Payload), `"batteryLevel":8`)

		conn.Send(brokertest.Publish{Topic: "$oc/devices/demo_node1/sys/shadow/get/request_id=r1", Payload: []byte(`{"object_device_id":"demo_node1"}`)}.Bytes())
		p = conn.NextPublish()
		require.Equal(t, "$oc/devices/demo_node1/sys/shadow/get/response/request_id=r1", p.Topic)
		require.Equal(t, `{"object_device_id":"demo_node1","shadow":[`+
			`{"service_id":"Battery","desired":{"properties":{"batteryLevel":8},"event_time":"20260101T003001Z"},"reported":{"properties":{"batteryLevel":7},"event_time":"20151212T121212Z"},"version":5},`+
			`{"service_id":"Connectivity","desired":{"properties":{}},"reported":{"properties":{"dailyActivityTime":1},"event_time":"20151212T121212Z"},"version":1}]}`, string(p.Payload))
		conn.Send(brokertest.Publish{Topic: "$oc/devices/demo_node1/sys/shadow/get/request_id=r2", Payload: []byte(`{"service_id":"Connectivity"}`)}.Bytes())
		require.NotContains(t, string(conn.NextPublish().Payload), "Battery")

		gw := c.join(gateway)
		gw.Send(brokertest.Publish{Topic: "$oc/devices/demo_child1/sys/shadow/get/request_id=r3"}.Bytes()) // as the Python SDK does
		p = gw.NextPublish()
		require.Equal(t, "$oc/devices/demo_gw1/sys/shadow/get/response/request_id=r3", p.Topic)
		require.Equal(t, `{"object_device_id":"demo_child1","shadow":[]}`, string(p.Payload))
		gw.Send(brokertest.Publish{Topic: "$oc/devices/demo_node1/sys/shadow/get/request_id=r4"}.Bytes())
		gw.ExpectSilence(time.Second)
		rule.Proves(t, "DA-51", "DA-53")
	})
}

// DA-39, DA-40, DA-41: subscriptions.
func TestSubscriptions(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		for _, v := range []struct {
			filter string
			qos    byte
			want   byte
			id     rule.ID
		}{
			{"$oc/devices/demo_node1/sys/commands/#", 2, 1, ""},
			{"$oc/devices/demo_node1/sys/messages/down", 0, 0, ""},
			{"#", 1, 1, ""},
			{"$oc/devices/demo_gw1/sys/commands/#", 1, 0x80, "DA-39/device"},
			{"$oc/devices/+/sys/commands/#", 1, 0x80, "DA-39/filter"},
			{"$SYS/#", 1, 0x80, "DA-39/filter"},
			{"$oc/devices/demo_node1/user/up", 1, 0x80, "DA-56/operation"},
		} {
			conn.Send(brokertest.Subscribe(1, v.qos, v.filter))
			conn.Expect(0x90, 3, 0, 1, v.want)
			if v.id != "" {
				require.Equal(t, v.filter, c.refusedAs(v.id).Topic)
				rule.Proves(t, v.id)
			}
		}
		require.Equal(t, "$oc/devices/demo_node1/sys/commands/#", c.refusedAs("DA-39/device").Expected)
		for i := range 97 {
			filter := fmt.Sprintf("/free/%d", i)
			if i >= 49 {
				filter = fmt.Sprintf("$oc/devices/demo_node1/sys/commands/request_id=%d", i)
			}
			conn.Send(brokertest.Subscribe(1, 0, filter))
			conn.Expect(0x90, 3, 0, 1, 0)
			if i == 48 { // 49 and the one for everything
				conn.Send(brokertest.Subscribe(1, 0, "/free/more"))
				conn.Expect(0x90, 3, 0, 1, 0x80)
				c.refusedAs("DA-41/custom")
			}
		}
		conn.Send(brokertest.Subscribe(1, 0, "$oc/devices/demo_node1/sys/events/down"))
		conn.Expect(0x90, 3, 0, 1, 0x80)
		c.refusedAs("DA-41/count")
		conn.Send(brokertest.Subscribe(1, 1, "#"), brokertest.Unsubscribe(2, "#"), brokertest.Subscribe(3, 0, "$oc/devices/demo_node1/sys/events/down"))
		conn.Expect(0x90, 3, 0, 1, 1, 0xb0, 2, 0, 2, 0x90, 3, 0, 3, 0)
		rule.Proves(t, "DA-39", "DA-40", "DA-41", "DA-41/count", "DA-41/custom")
	})
}

// DA-42: a will is accepted and never sent; a retained message is not kept.
func TestWillAndRetain(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		watcher := c.join(gateway)
		watcher.Send(brokertest.Subscribe(1, 1, "/free/#"))
		watcher.Expect(0x90, 3, 0, 1, 1)
		conn := c.dial(way{})
		hello := login(demo+"_0_0_2025041401", demo, passV1)
		hello.Will = &brokertest.Publish{Topic: "/free/will", Payload: []byte("gone")}
		conn.Send(hello.Bytes())
		conn.Expect(0x20, 2, 0, 0)
		conn.Send(brokertest.Publish{Topic: "/free/kept", Payload: []byte("x"), QoS: 1, ID: 9, Retain: true}.Bytes())
		conn.Expect(0x40, 2, 0, 9)
		require.NoError(t, conn.Close())
		watcher.ExpectSilence(time.Second)
		require.Equal(t, "/free/will", c.told("DA-42/will").Topic)
		require.Equal(t, "/free/kept", c.told("DA-42/retain").Topic)
		require.Equal(t, iotda.Offline, c.status(demo))
		again := c.join(demo)
		again.Send(brokertest.Subscribe(1, 1, "/free/#"))
		again.Expect(0x90, 3, 0, 1, 1)
		again.ExpectSilence(time.Second)
		rule.Proves(t, "DA-42", "DA-42/will", "DA-42/retain")
	})
}

// DA-56: free topics pass unless a policy denies them.
func TestPolicy(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		subscribe := func(filter string, want byte) {
			conn.Send(brokertest.Subscribe(1, 1, filter))
			conn.Expect(0x90, 3, 0, 1, want)
		}
		subscribe("/a/demo_node1/x", 1)
		c.publish(conn, "/a/demo_node1/x", "hello")
		c.publish(conn, "$oc/devices/demo_node1/user/undeclared", "hello")
		require.Len(t, c.notices("device.message"), 2)
		c.publish(conn, "$oc/devices/demo_node1/user/down", "hello")
		c.refusedAs("DA-56/operation")

		p, err := c.PutPolicy(instance, iotda.Policy{Name: "no a", Statements: []iotda.Statement{{Effect: "DENY",
			Actions: []string{"iotda:devices:publish", "iotda:devices:subscribe"}, Resources: []string{"topic:/a/${devices.deviceId}/+", "topic:/b/*"}}}})
		require.NoError(t, err)
		subscribe("/a/demo_node1/y", 1)
		_, _, err = c.BindPolicy(instance, p.ID, iotda.TargetProduct, []string{"demo"}, true)
		require.NoError(t, err)
		subscribe("/a/demo_node1/y", 0x80)
		subscribe("/b/c/d", 0x80)
		subscribe("/a/other/y", 1)
		c.publish(conn, "/a/demo_node1/x", "hello")
		c.refusedAs("DA-56/policy")
		require.Len(t, c.notices("device.message"), 2)
		_, _, err = c.BindPolicy(instance, p.ID, iotda.TargetProduct, []string{"demo"}, false)
		require.NoError(t, err)
		subscribe("/b/c/d", 1)
		rule.Proves(t, "DA-56", "DA-56/policy", "DA-56/operation")
	})
}

// DA-56/length: 128 bytes and one more, of a free topic and of a suffix, up and down.
func TestCustomTopicLength(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		user := "$oc/devices/demo_node1/user/"
		for _, topic := range []string{"/" + strings.Repeat("t", 127), user + strings.Repeat("t", 128)} {
			conn.Send(brokertest.Subscribe(1, 0, topic, topic+"t"))
			conn.Expect(0x90, 4, 0, 1, 0, 0x80)
			require.Equal(t, "129 bytes", c.refusedAs("DA-56/length").Seen)
			before := len(c.notices("device.message"))
			c.publish(conn, topic, "taken")
			require.Len(t, c.notices("device.message"), before+1)
			c.publish(conn, topic+"t", "dropped")
			require.Len(t, c.notices("device.message"), before+1)
			require.Equal(t, topic+"t", c.refusedAs("DA-56/length").Topic)
		}
		old := "/huawei/v1/devices/demo_node1/command/json"
		conn.Send(brokertest.Subscribe(1, 0, old))
		conn.Expect(0x90, 3, 0, 1, 0)
		rule.Proves(t, "DA-56/length")
	})
}
