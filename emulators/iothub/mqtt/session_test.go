package mqtt_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

func TestModuleBesideDevice(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	device := c.connect()
	module := c.signIn(loginModule())
	publish(device, "devices/dev-01/messages/events/", "d")
	publish(module, "devices/dev-01/modules/mod-a/messages/events/", "m")
	rule.Proves(t, "HUB-17")
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	first := c.connect()
	second := c.connect()
	first.ExpectClosed()
	publish(second, "devices/dev-01/messages/events/", "x")
	d, err := c.hub.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	require.Equal(t, iothub.Connected, d.ConnectionState)
	events, _, err := c.journal.Wait(t.Context(), journal.Filter{Rule: "HUB-21/takeover"}, 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, events[0].Conn)
	rule.Proves(t, "HUB-21", "HUB-21/takeover")
}

func TestDisabledWhileConnected(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	publish(conn, "devices/dev-01/messages/events/", "x") // the session is open now
	require.NoError(t, c.hub.SetStatus(contoso, "dev-01", iothub.Disabled, ""))
	conn.ExpectClosed()
	e := c.expectRefused("HUB-12/disabled")
	require.Nil(t, e.Code)
	rule.Proves(t, "HUB-12/disabled")
}

func TestDeletedWhileConnected(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	publish(conn, "devices/dev-01/messages/events/", "x")
	require.NoError(t, c.hub.DeleteDevice(contoso, "dev-01", ""))
	conn.ExpectClosed()
	c.expectRefused("HUB-12/deleted")
	rule.Proves(t, "HUB-12/deleted")
}

// bubble runs a test with fake time; the cloud's server must end inside it.
func bubble(t *testing.T, test func(*testing.T, *cloud)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		test(t, c)
	})
}

// within signs dev-01 in inside a bubble and waits an hour of its time for each packet.
func within(c *cloud, keepAlive uint16) *brokertest.Conn {
	near, far := net.Pipe()
	hello := login()
	hello.KeepAlive = keepAlive
	go func() { _ = c.server.Serve(far, broker.Peer{Conn: c.conns.Add(1), Endpoint: contoso}) }()
	conn := brokertest.New(c.t, near)
	conn.Timeout = time.Hour
	conn.Send(hello.Bytes())
	conn.Expect(accepted...)
	return conn
}

func TestKeepAlive(t *testing.T) {
	for name, k := range map[string]struct {
		keepAlive uint16
		silence   time.Duration
		proves    rule.ID
	}{
		"10 s":      {10, 15 * time.Second, "HUB-22"},
		"1177 s":    {1177, 1765500 * time.Millisecond, "HUB-22"},
		"no limit":  {0, 1767 * time.Second, "HUB-23"},
		"the most":  {65535, 1767 * time.Second, "HUB-23"},
		"above cap": {1179, 1767 * time.Second, "HUB-23"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cloud) {
				conn := within(c, k.keepAlive)
				<-time.After(k.silence - time.Second)
				conn.Send(brokertest.Pingreq)
				conn.Expect(brokertest.Pingresp...)
				at := time.Now()
				conn.ExpectClosed()
				require.Equal(t, k.silence, time.Since(at))
				synctest.Wait()
				events, _ := c.journal.Select(journal.Filter{Rule: "HUB-22/silent"})
				require.Len(t, events, 1)
				require.Equal(t, "nothing for "+k.silence.String(), events[0].Seen)
				require.Contains(t, events[0].Expected, "PINGREQ, within "+k.silence.String())
				rule.Proves(t, k.proves, "HUB-22/silent")
			})
		})
	}
}

func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.clock.Freeze()
	hello := login()
	hello.Password = brokertest.Text(azure.FormatSAS(contoso+"/devices/dev-01", []byte("0123456789abcdef0123456789abcdef"), c.clock.Wall().Add(time.Hour), ""))
	conn := c.signIn(hello)
	publish(conn, "devices/dev-01/messages/events/", "x")
	require.NoError(t, c.clock.Advance(69*time.Minute))
	publish(conn, "devices/dev-01/messages/events/", "y")
	require.NoError(t, c.clock.Advance(2*time.Minute))
	conn.ExpectClosed()
	c.expectRefused("HUB-24/expired")
	rule.Proves(t, "HUB-24", "HUB-24/expired")
}

func TestFirstPacket(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.dial()
	conn.Send(brokertest.Publish{Topic: "devices/dev-01/messages/events/"}.Bytes())
	conn.ExpectClosed()
	c.expectRefused("HUB-25/first")
	conn = c.connect()
	conn.Send(login().Bytes())
	conn.ExpectClosed()
	c.noTelemetry()
	rule.Proves(t, "HUB-25", "HUB-25/first")
}

func TestMalformedPacket(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	conn.Send([]byte{0x82, 2, 0, 1}) // a SUBSCRIBE without a filter
	conn.ExpectClosed()
	c.expectRefused("HUB-25/malformed")
	rule.Proves(t, "HUB-25/malformed")
}

func TestWill(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hello := login()
	hello.Will = &brokertest.Publish{Topic: "devices/dev-01/messages/events/reason=gone", Payload: []byte("bye"), QoS: 1}
	polite := c.signIn(hello)
	polite.Send(brokertest.Disconnect)
	polite.ExpectClosed()
	rude := c.signIn(hello)
	require.NoError(t, rude.Close())
	e := c.telemetry(1)[0]
	require.EqualValues(t, 2, e.Conn, "none after DISCONNECT")
	require.Equal(t, "bye", string(e.Payload))
	require.Equal(t, "Will", e.Properties["iothub-MessageType"])
	require.Equal(t, "gone", e.Properties["reason"])
	require.Equal(t, "dev-01", e.Properties["iothub-connection-device-id"])
	rule.Proves(t, "HUB-26")
}

func TestWillRefused(t *testing.T) {
	t.Parallel()
	for topic, id := range map[string]rule.ID{"last/will": "HUB-26/topic", "devices/dev-02/messages/events/": "HUB-26/topic",
		"devices/dev-01/messages/events/a=b=c": "HUB-26/bag"} {
		c := newCloud(t)
		hello := login()
		hello.Will = &brokertest.Publish{Topic: topic, Payload: []byte("bye")}
		conn := c.dial()
		conn.Send(hello.Bytes())
		conn.Expect(refused(5)...)
		conn.ExpectClosed()
		c.expectRefused(id)
		rule.Proves(t, id)
	}
}

const (
	devicebound = "devices/dev-01/messages/devicebound/#"
	twinResults = "$iothub/twin/res/#"
	desired     = "$iothub/twin/PATCH/properties/desired/#"
	methods     = "$iothub/methods/POST/#"
)

func TestSubscribe(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 2, devicebound, "devices/+/messages/devicebound/#", twinResults, desired, methods))
	conn.Expect(0x90, 7, 0, 1, 1, 1, 1, 1, 1)
	conn.Send(brokertest.Subscribe(2, 0, devicebound))
	conn.Expect(0x90, 3, 0, 2, 0)
	conn.Send(brokertest.Unsubscribe(3, methods))
	conn.Expect(0xb0, 2, 0, 3)
	conn.Send(brokertest.Subscribe(4, 1, "$iothub/methods/POST/reboot/#"))
	conn.Expect(0x90, 3, 0, 4, 1)
	conn.Send(brokertest.Subscribe(5, 1, "$iothub/methods/POST/stop/#"))
	conn.ExpectClosed()
	c.expectRefused("HUB-46/count")
	rule.Proves(t, "HUB-46", "HUB-46/count")
}

func TestFilterRefused(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"#", "devices/#", "$iothub/#", "devices/dev-02/messages/devicebound/#", "devices/dev-01/messages/events/#"} {
		c := newCloud(t)
		conn := c.connect()
		conn.Send(brokertest.Subscribe(1, 1, filter))
		conn.ExpectClosed()
		require.NotEmpty(t, c.expectRefused("HUB-40/filter").Expected)
	}
	c := newCloud(t)
	c.change(func(h *iothub.Hub) { h.Switches.RejectFilters = true })
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, "#", devicebound))
	conn.Expect(0x90, 4, 0, 1, 0x80, 1)
	c.expectRefused("HUB-40/filter")
	rule.Proves(t, "HUB-40", "HUB-40/filter")
}

func TestKeptSession(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hello := login()
	hello.Session = true
	conn := c.signIn(hello)
	conn.Send(brokertest.Subscribe(1, 1, devicebound, methods))
	conn.Expect(0x90, 4, 0, 1, 1, 1)
	conn.Send(brokertest.Unsubscribe(2, methods))
	conn.Expect(0xb0, 2, 0, 2)
	require.NoError(t, conn.Close())

	conn = c.dial()
	conn.Send(hello.Bytes())
	conn.Expect(resumed...)
	conn.Send(brokertest.Subscribe(1, 1, "devices/+/messages/devicebound/#", twinResults, desired, methods))
	conn.Expect(0x90, 6, 0, 1, 1, 1, 1, 1)
	conn.Send(brokertest.Subscribe(1, 1, "$iothub/methods/POST/x/#"))
	conn.ExpectClosed() // the kept one was the first of five

	c.connect().Send(brokertest.Disconnect) // clean session 1 forgets
	c.signIn(hello).Send(brokertest.Disconnect)

	conn = c.dial()
	conn.Send(hello.Bytes())
	conn.Expect(resumed...)
	conn.Send(brokertest.Disconnect)
	conn.ExpectClosed()
	require.NoError(t, c.hub.DeleteDevice(contoso, "dev-01", ""))
	c.put("dev-01", keys())
	c.signIn(hello) // another generation starts afresh
}
