package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const eventsDev01 = "devices/dev-01/messages/events/"

func TestHubTakeover(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	first, module := signIn(t, cloud, dev01()), signIn(t, cloud, modA())
	second := signIn(t, cloud, dev01())
	wantCut(t, cloud, first, "HUB-21/takeover")
	say(t, second, eventsDev01, "mine")
	wantAlive(t, module)
}

// Whoever cannot prove to be the device does not throw it out.
func TestHubRefusedDoesNotTakeOver(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	intruder := dev01()
	intruder.Password = ptr(strings.Replace(tokenV1, "sig=JQ", "sig=IQ", 1))
	wantRefused(t, cloud, knock(t, cloud, intruder), 5, "HUB-5/signature", "")
	wantAlive(t, conn)
}

// One and a half times the keep alive: a client that pings lives on beyond it, a silent one does not.
func TestHubKeepAlive(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	connect := dev01()
	connect.KeepAlive = 1
	conn := signIn(t, cloud, connect)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var quiet time.Time // before the last packet that the hub hears, however late its answer is read
	for range 4 {
		<-tick.C
		quiet = time.Now()
		wantAlive(t, conn)
	}
	wantCut(t, cloud, conn, "HUB-22/silent")
	require.GreaterOrEqual(t, time.Since(quiet), 1400*time.Millisecond)
}

// Values above the cap, and none at all, are accepted. That the cap then cuts after 1767 s is proven with
// the head, in time that can be moved.
func TestHubLongKeepAlive(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, seconds := range []uint16{65535, 43691, 1178, 0} {
		connect := dev01()
		connect.KeepAlive = seconds
		wantAlive(t, signIn(t, cloud, connect))
	}
}

func TestHubTokenRunsOut(t *testing.T) {
	t.Parallel()
	cert := valid(t, "x-1")
	cloud := startContoso(t, thumbprints("primaryThumbprint: '"+sha1Of(cert)+"'"))
	connect := dev01()
	connect.Password = ptr(sign("contoso.azure-devices.net/devices/dev-01", demoKey, time.Now().Unix()+3600, ""))
	conn, byCertificate := signIn(t, cloud, connect), signIn(t, cloud, x1(nil), cert)
	require.NoError(t, cloud.Advance(time.Hour+9*time.Minute))
	wantAlive(t, conn)
	require.NoError(t, cloud.Advance(2*time.Minute))
	wantCut(t, cloud, conn, "HUB-24/expired")
	wantAlive(t, byCertificate)
	wantAlive(t, signIn(t, cloud, connect)) // credentials presented now are judged by the wall clock
}

func TestHubFirstPacket(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := dial(t, cloud, via{name: contosoHost})
	send(t, conn, rawmqtt.Publish(eventsDev01, "x", 1, 1, false))
	wantClosed(t, conn)
	refused(t, cloud, "DOOR-3/packet")
	conn = signIn(t, cloud, dev01())
	send(t, conn, dev01().Bytes())
	wantCut(t, cloud, conn, "HUB-25/first")
	require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
}

// Breaches of MQTT 3.1.1 on an established connection: a bare close.
func TestHubMalformedPackets(t *testing.T) {
	t.Parallel()
	for name, packet := range map[string][]byte{
		"publish with QoS 3":         {0x36, 0x05, 0x00, 0x01, 'a', 0x00, 0x01},
		"packet id 0":                {0x32, 0x05, 0x00, 0x01, 'a', 0x00, 0x00},
		"publish without packet id":  {0x32, 0x03, 0x00, 0x01, 'a'},
		"empty topic":                {0x30, 0x02, 0x00, 0x00},
		"topic with a wildcard":      rawmqtt.Publish("devices/+/messages/events/", "x", 0, 0, false),
		"topic with NUL":             rawmqtt.Publish("devices/dev-01/\x00", "x", 0, 0, false),
		"topic that is not UTF-8":    rawmqtt.Publish("devices/dev-01/messages/events/\xff\xfe", "x", 0, 0, false),
		"topic longer than packet":   {0x30, 0x03, 0x00, 0x10, 'a'},
		"subscribe with wrong flags": {0x80, 0x06, 0x00, 0x01, 0x00, 0x01, '#', 0x00},
		"subscribe without filter":   {0x82, 0x02, 0x00, 0x01},
		"subscribe with QoS 3":       {0x82, 0x06, 0x00, 0x01, 0x00, 0x01, '#', 0x03},
		"filter that is not UTF-8":   rawmqtt.Subscribe(1, 0, "$iothub/\xff/#"),
		"unsubscribe without filter": {0xa2, 0x02, 0x00, 0x01},
		"a CONNACK":                  {0x20, 0x02, 0x00, 0x00},
		"reserved type 15":           {0xf0, 0x00},
		"reserved type 0":            {0x00, 0x00},
		"length of five bytes":       {0x30, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, dev01())
			send(t, conn, packet)
			wantCut(t, cloud, conn, "HUB-25/malformed")
		})
	}
}

// A filter that breaks the rules of wildcards is refused by itself.
func TestHubMalformedFilter(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"devices/#/messages", "devices/dev-01/messages/devicebound#", "", "a+"} {
		t.Run(strconv.Quote(filter), func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, dev01())
			send(t, conn, rawmqtt.Subscribe(1, 1, filter))
			wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x80)
			wantAlive(t, conn)
			refused(t, cloud, "HUB-25/malformed")
		})
	}
}

// will makes dev-01's CONNECT with a will.
func will(topic, payload string) rawmqtt.Connect {
	c := dev01()
	c.Will = &rawmqtt.Will{Topic: topic, Payload: payload, QoS: 1}
	return c
}

func TestHubWill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		connect rawmqtt.Connect
		device  string
		want    map[string]string
	}{
		"plain":          {will("devices/dev-01/messages/events/", "bye"), "dev-01", nil},
		"no slash":       {will("devices/dev-01/messages/events", "bye"), "dev-01", nil},
		"with a bag":     {will("devices/dev-01/messages/events/%24.mid=w1&why=power%20lost", "bye"), "dev-01", map[string]string{"message-id": "w1", "why": "power lost"}},
		"of a module":    {withWill(modA(), "devices/dev-01/modules/mod-a/messages/events/"), "dev-01/mod-a", map[string]string{"iothub-connection-module-id": "mod-a"}},
		"retained":       {retainedWill(), "dev-01", nil},
		"empty payload":  {will("devices/dev-01/messages/events/", ""), "dev-01", nil},
		"own type in it": {will("devices/dev-01/messages/events/iothub-MessageType=Other", "bye"), "dev-01", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, c.connect)
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
			require.NoError(t, conn.Close())
			e := telemetry(t, cloud, c.device, 1)[0]
			require.Equal(t, c.connect.Will.Payload, string(e.Payload))
			require.Equal(t, "Will", e.Properties["iothub-MessageType"])
			require.Equal(t, "dev-01", e.Properties["iothub-connection-device-id"])
			for k, v := range c.want {
				require.Equal(t, v, e.Properties[k], k)
			}
			rule.Proves(t, "HUB-26")
		})
	}
}

func withWill(c rawmqtt.Connect, topic string) rawmqtt.Connect {
	c.Will = &rawmqtt.Will{Topic: topic, Payload: "bye"}
	return c
}

func retainedWill() rawmqtt.Connect {
	c := will(eventsDev01, "bye")
	c.Will.Retain = true
	return c
}

// After DISCONNECT the will is forgotten; after a protocol error, a takeover or silence it is not.
func TestHubWillByKindOfEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		packet []byte
		wills  int
	}{
		"DISCONNECT":     {[]byte{0xe0, 0x00}, 0},
		"protocol error": {[]byte{0x00, 0x00}, 1},
		"foreign topic":  {rawmqtt.Publish("test/topic", "x", 0, 0, false), 1},
		"takeover":       {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, will(eventsDev01, "bye"))
			if c.packet != nil {
				send(t, conn, c.packet)
				wantClosed(t, conn)
			}
			say(t, signIn(t, cloud, dev01()), eventsDev01, "back")
			events := telemetry(t, cloud, "dev-01", c.wills+1)
			require.Len(t, events, c.wills+1)
			require.Equal(t, "back", string(events[c.wills].Payload))
			rule.Proves(t, "HUB-26")
		})
	}
}

// A hub that ends the connection itself delivers the will as well.
func TestHubWillOfDisabledDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, will(eventsDev01, "bye"))
	patch(t, cloud, "azure: {hubs: [{name: contoso, devices: [{deviceId: dev-01, status: disabled}]}]}")
	wantClosed(t, conn)
	require.Equal(t, "Will", telemetry(t, cloud, "dev-01", 1)[0].Properties["iothub-MessageType"])
	rule.Proves(t, "HUB-26")
}

func TestHubWillRefused(t *testing.T) {
	t.Parallel()
	for topic, id := range map[string]rule.ID{
		"last/will":                                     "HUB-26/topic",
		"devices/dev-02/messages/events/":               "HUB-26/topic",
		"devices/dev-01/messages/devicebound/":          "HUB-26/topic",
		"devices/dev-01/modules/mod-a/messages/events/": "HUB-26/topic",
		"devices/dev-01/messages/events/a=b=c":          "HUB-26/bag",
		"devices/dev-01/messages/events/a=%zz":          "HUB-26/bag",
	} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			wantRefused(t, cloud, knock(t, cloud, will(topic, "bye")), 5, id, "")
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
		})
	}
}

func TestHubDevicebound(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Subscribe(1, 2, "devices/dev-01/messages/devicebound/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x01)
	send(t, conn, rawmqtt.Subscribe(2, 2, "devices/+/messages/devicebound/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x02, 0x01)
	wantAlive(t, conn)
	rule.Proves(t, "HUB-38")
}

// The filters of sections 3 and 4 of the sheet are granted, QoS 2 as QoS 1.
func TestHubFiltersGranted(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, c := range []struct {
		connect rawmqtt.Connect
		filters []string
	}{
		{dev01(), []string{"devices/dev-01/messages/devicebound/#", "devices/+/messages/devicebound/#",
			"$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#", "$iothub/methods/POST/#"}},
		{dev01(), []string{"$iothub/methods/POST/reboot/#"}},
		{modA(), []string{"devices/dev-01/modules/mod-a/#", "devices/dev-01/modules/mod-a/inputs/#",
			"devices/dev-01/modules/mod-a/messages/devicebound/#"}},
	} {
		conn := signIn(t, cloud, c.connect)
		for i, f := range c.filters {
			qos := byte(i % 3)
			send(t, conn, rawmqtt.Subscribe(uint16(i+1), qos, f))
			require.Equal(t, []byte{0x90, 0x03, 0x00, byte(i + 1), min(qos, 1)}, receive(t, conn).Bytes(), f)
		}
		wantAlive(t, conn)
	}
}

func TestHubFiltersRefused(t *testing.T) {
	t.Parallel()
	for i, filters := range [][]string{
		{"#"}, {"+/+"}, {"devices/#"}, {"$iothub/#"}, {"$iothub/twin/#"}, {"$SYS/#"}, {"test/topic"},
		{"devices/dev-02/messages/devicebound/#"}, {"devices/DEV-01/messages/devicebound/#"},
		{"devices/dev-01/messages/events/#"}, {"devices/dev-01/modules/mod-a/#"}, {"$iothub/twin/patch/properties/desired/#"},
		{"/devices/dev-01/messages/devicebound/#"}, {"$dps/registrations/res/#"},
		{"$iothub/twin/res/#", "#"},
	} {
		t.Run(fmt.Sprint(i, filters), func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, dev01())
			send(t, conn, rawmqtt.Subscribe(1, 1, filters...))
			require.NotEmpty(t, wantCut(t, cloud, conn, "HUB-40/filter").Expected)
		})
	}
}

func TestHubSixthSubscription(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Subscribe(1, 1, "devices/dev-01/messages/devicebound/#", "$iothub/twin/res/#",
		"$iothub/twin/PATCH/properties/desired/#", "$iothub/methods/POST/a/#", "$iothub/methods/POST/b/#"))
	wantBytes(t, conn, 0x90, 0x07, 0x00, 0x01, 1, 1, 1, 1, 1)
	send(t, conn, rawmqtt.Subscribe(2, 0, "$iothub/twin/res/#")) // again: no new one
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x02, 0)
	send(t, conn, rawmqtt.Unsubscribe(3, "$iothub/methods/POST/a/#"))
	wantBytes(t, conn, 0xb0, 0x02, 0x00, 0x03)
	send(t, conn, rawmqtt.Subscribe(4, 0, "$iothub/methods/POST/c/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x04, 0)
	send(t, conn, rawmqtt.Subscribe(5, 0, "$iothub/methods/POST/d/#"))
	wantCut(t, cloud, conn, "HUB-46/count")
}

// A session that is kept brings its subscriptions back; a clean one ends it.
func TestHubKeptSession(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	kept := dev01()
	kept.Keep = true
	conn := signIn(t, cloud, kept)
	send(t, conn, rawmqtt.Subscribe(1, 1, "$iothub/twin/res/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x01)
	require.NoError(t, conn.Close())
	conn = knock(t, cloud, kept)
	wantBytes(t, conn, 0x20, 0x02, 0x01, 0x00)
	send(t, conn, rawmqtt.Publish("$iothub/twin/GET/?$rid=1", "", 0, 0, false))
	require.Equal(t, "$iothub/twin/res/200/?$rid=1", receive(t, conn).Topic())
	conn = signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Publish("$iothub/twin/GET/?$rid=2", "", 0, 0, false))
	wantAlive(t, conn) // nothing came before the PINGRESP
	signIn(t, cloud, kept)
}

// A device that was deleted and made again has no session left.
func TestHubKeptSessionOfFormerDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	kept := dev01()
	kept.Keep = true
	conn := signIn(t, cloud, kept)
	send(t, conn, rawmqtt.Subscribe(1, 1, "$iothub/twin/res/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x01)
	require.NoError(t, cloud.Plane().Devices.Delete("iothub", contosoHost, "dev-01"))
	wantClosed(t, conn)
	patch(t, cloud, contoso)
	signIn(t, cloud, kept)
}
