package mqtt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
)

const (
	olderDown = "/huawei/v1/devices/demo_node1/command/json"
	olderUp   = "/huawei/v1/devices/demo_node1/data/json"
)

// Commands of the v3 interface, from the subscription to its end.
func TestLegacyCommand(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		ring := func() (iotda.Reply, error) { return c.Command(t.Context(), instance, demo, ringCommand()) }
		conn := c.join(demo)
		conn.Send(brokertest.Subscribe(1, 1, "/huawei/v1/devices/demo_gw1/command/json"))
		conn.Expect(0x90, 3, 0, 1, 0x80)
		require.Equal(t, olderDown, c.refusedAs("DA-39/device").Expected)
		conn.Send(brokertest.Subscribe(1, 1, olderDown))
		conn.Expect(0x90, 3, 0, 1, 1)
		done := background(ring)
		p := conn.NextPublish()
		require.Equal(t, olderDown, p.Topic)
		require.EqualValues(t, 1, p.QoS)
		require.Equal(t, `{"msgType":"cloudReq","serviceId":"Battery","cmd":"ring","paras":{"n":2},"mid":1}`, string(p.Payload))
		conn.Send([]byte{0x40, 2, byte(p.ID >> 8), byte(p.ID)})
		c.publish(conn, olderUp, `{"msgType":"deviceRsp","mid":2,"errcode":0}`)
		require.Equal(t, "mid 2", c.refusedAs("DA-26/unknown").Seen)
		c.publish(conn, olderUp, `{"msgType":"deviceRsp","mid":1,"errcode":0,"body":{"result":1}}`)
		got := <-done
		require.NoError(t, got.err)
		require.JSONEq(t, `{"result_code":0,"paras":{"result":1}}`, string(got.reply.Response))
		require.Len(t, got.reply.RequestID, 36)
		c.publish(conn, olderUp, `{"msgType":"deviceRsp","mid":1,"errcode":0}`)
		require.Equal(t, "mid 1", c.refusedAs("DA-26/unknown").Seen, "late")

		done = background(ring)
		p = conn.NextPublish()
		require.Contains(t, string(p.Payload), `"mid":2}`)
		conn.Send([]byte{0x40, 2, byte(p.ID >> 8), byte(p.ID)})
		var e *iotda.Error
		require.ErrorAs(t, (<-done).err, &e)
		require.Equal(t, iotda.CodeTimeout, e.Code)
		require.Equal(t, `{"msgType":"deviceRsp","mid":2,"errcode":0} on `+olderUp, c.refusedAs("DA-24/timeout").Expected)

		conn.Send(brokertest.Unsubscribe(2, olderDown))
		conn.Expect(0xb0, 2, 0, 2)
		background(ring)
		require.Contains(t, conn.NextPublish().Topic, "$oc/devices/demo_node1/sys/commands/request_id=")
	})
}

// A device that subscribes to everything is none of the v3 interface.
func TestWildcardIsNoLegacyDevice(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		conn.Send(brokertest.Subscribe(1, 0, "#"))
		conn.Expect(0x90, 3, 0, 1, 0)
		background(func() (iotda.Reply, error) { return c.Command(t.Context(), instance, demo, ringCommand()) })
		require.Contains(t, conn.NextPublish().Topic, "$oc/devices/demo_node1/sys/commands/request_id=")
	})
}
