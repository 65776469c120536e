package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// Texts of 10,000 bytes get the answer that short ones get, and no 10,000 bytes in the journal's verdict.
func TestHubLongTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	for _, c := range []struct {
		name               string
		clientID, username string
		password           *string
		rule               string
	}{
		{"client id", long, userDev01, ptr(tokenV1), "HUB-10"},
		{"client id and device", long, contosoHost + "/" + long + "/?api-version=2021-04-12", ptr(tokenV1), "HUB-9"},
		{"module", "dev-01/" + long, contosoHost + "/dev-01/" + long + "/?api-version=2021-04-12", ptr(tokenV1), "HUB-9"},
		{"username", "dev-01", long, ptr(tokenV1), "HUB-11"},
		{"host", "dev-01", long + ".azure-devices.net/dev-01/?api-version=2021-04-12", ptr(tokenV1), "HUB-11"},
		{"segments", "dev-01", contosoHost + strings.Repeat("/", 10_000), ptr(tokenV1), "HUB-11"},
		{"password", "dev-01", userDev01, &long, "HUB-5"},
		{"token", "dev-01", userDev01, ptr(tokenV1 + "&x=" + long), "HUB-5"},
		{"fields", "dev-01", userDev01, ptr("SharedAccessSignature " + strings.Repeat("&", 10_000)), "HUB-5"},
		{"se", "dev-01", userDev01, ptr("SharedAccessSignature sr=x&sig=eA%3D%3D&se=" + strings.Repeat("9", 5_000)), "HUB-5"},
		{"sr", "dev-01", userDev01, ptr("SharedAccessSignature sr=" + strings.Repeat("%2F", 2_000) + "&sig=eA%3D%3D&se=1893456000"), "HUB-7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := knock(t, cloud, rawmqtt.Connect{ClientID: c.clientID, Username: &c.username, Password: c.password})
			wantConnack(t, conn, 5)
			wantClosed(t, conn)
			events := cloud.Events(fakecloud.Filter{Kind: "refused"})
			require.Len(t, events, 1)
			require.Equal(t, c.rule, string(events[0].Rule.Row()))
			require.Less(t, len(events[0].Detail)+len(events[0].Seen)+len(events[0].Expected), 4_000)
			wantAlive(t, signIn(t, cloud, dev01()))
		})
	}
}

// A long query is nobody's business: unknown members are ignored.
func TestHubLongQuery(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	connect := dev01()
	connect.Username = ptr(userDev01 + "&DeviceClientType=" + strings.Repeat("x", 10_000) + strings.Repeat("&a=b", 2_000))
	wantAlive(t, signIn(t, cloud, connect))
}

// CONNECTs that break MQTT 3.1.1 section 3.1 are closed without a CONNACK.
func TestHubMalformedConnects(t *testing.T) {
	t.Parallel()
	good := dev01().Bytes()
	patched := func(at int, b byte) []byte {
		p := append([]byte(nil), good...)
		p[at] = b
		return p
	}
	user := func(id, name string) []byte {
		return rawmqtt.Connect{ClientID: id, Username: &name, Password: ptr(tokenV1)}.Bytes()
	}
	for name, packet := range map[string][]byte{
		"client id that is not UTF-8":   user("dev-01\xff", userDev01),
		"client id with a surrogate":    user("dev-01\xed\xa0\x80", userDev01),
		"client id with NUL":            user("dev-01\x00", userDev01),
		"username that is not UTF-8":    user("dev-01", contosoHost+"/dev-01\xfe/?api-version=2021-04-12"),
		"username with NUL":             user("dev-01", userDev01+"\x00"),
		"will topic that is not UTF-8":  will("devices/dev-01/messages/events/\xc0\xaf", "x").Bytes(),
		"will topic with a wildcard":    will("devices/+/messages/events/", "x").Bytes(),
		"will with QoS 3":               rawmqtt.Connect{ClientID: "dev-01", Username: ptr(userDev01), Will: &rawmqtt.Will{Topic: eventsDev01, QoS: 3}}.Bytes(),
		"reserved flag":                 patched(10, 0xc3),
		"password without username":     rawmqtt.Connect{ClientID: "dev-01", Password: ptr(tokenV1)}.Bytes(),
		"will QoS without a will":       patched(10, 0xca),
		"wrong flags of the header":     patched(0, 0x11),
		"protocol name":                 rawmqtt.Connect{Protocol: "MQTX", ClientID: "dev-01", Username: ptr(userDev01)}.Bytes(),
		"client id longer than packet":  {0x10, 0x0e, 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x04, 0x02, 0x00, 0x3c, 0xff, 0xff, 'd', 'e'},
		"nothing but a header":          {0x10, 0x00},
		"remaining length of five":      {0x10, 0xff, 0xff, 0xff, 0xff, 0x01},
		"a packet of 256 MB, announced": {0x10, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x04, 'M', 'Q', 'T', 'T'},
		"HTTP":                          []byte("GET / HTTP/1.1\r\nHost: contoso.azure-devices.net\r\n\r\n"),
		"noise":                         []byte("\x9f\x12\x00\x00\xff\xfe\xfd\x01\x02\x03"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := dial(t, cloud, via{name: contosoHost})
			send(t, conn, packet)
			wantClosed(t, conn)
			events := cloud.Events(fakecloud.Filter{Kind: "refused"})
			require.Len(t, events, 1)
			require.NotEmpty(t, events[0].Fix)
			require.NotEmpty(t, events[0].Seen)
			wantAlive(t, signIn(t, cloud, dev01()))
		})
	}
}

// A CONNECT that comes byte by byte, and packets glued to it, are understood all the same.
func TestHubConnectInPieces(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := dial(t, cloud, via{name: contosoHost})
	packet := append(dev01().Bytes(), rawmqtt.Publish(eventsDev01, "early", 1, 3, false)...)
	for i := range packet {
		send(t, conn, packet[i:i+1])
	}
	wantConnack(t, conn, 0)
	wantBytes(t, conn, 0x40, 0x02, 0x00, 0x03)
	conn = dial(t, cloud, via{name: contosoHost})
	send(t, conn, packet)
	wantConnack(t, conn, 0)
	wantBytes(t, conn, 0x40, 0x02, 0x00, 0x03)
	require.Len(t, telemetry(t, cloud, "dev-01", 2), 2)
}

// misbehave runs the i-th bad client to its end, which the server makes.
func misbehave(t *testing.T, cloud *fakecloud.Cloud, i int) error {
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(rawmqtt.Patience)); err != nil {
		return err
	}
	if i%10 == 0 {
		_, err := raw.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_, _ = rawmqtt.New(raw).Read()
		return err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: contosoHost, InsecureSkipVerify: true})
	connect := rawmqtt.Connect{ClientID: fmt.Sprintf("bad-%d", i), Username: ptr(fmt.Sprintf("contoso.azure-devices.net/bad-%d/?api-version=2021-04-12", i)), Password: ptr(tokenV1)}
	var after []byte
	switch i % 5 {
	case 1: // the good device's name and a wrong token
		connect = dev01()
		connect.Password = ptr("open sesame")
	case 2: // a good module that then breaks the rules
		connect = modA()
		after = rawmqtt.Publish("devices/dev-02/messages/events/", "x", 1, 1, false)
	case 3:
		connect.ClientID = "\xff\xff"
	}
	if _, err := conn.Write(append(connect.Bytes(), after...)); err != nil {
		return err
	}
	c := rawmqtt.New(conn)
	for {
		if p, err := c.Read(); err != nil {
			return nil // the server went away, or the next connection took over
		} else if p.Type() != rawmqtt.CONNACK {
			return fmt.Errorf("client %d got %x", i, p.Bytes())
		}
	}
}

// A good device keeps publishing while a hundred bad clients fail around it.
func TestHubBadClientsDisturbNobody(t *testing.T) {
	t.Parallel()
	const bad, messages = 100, 200
	cloud := startContoso(t)
	good := signIn(t, cloud, dev01())
	var clients sync.WaitGroup
	for i := range bad {
		clients.Go(func() { assert.NoError(t, misbehave(t, cloud, i)) })
	}
	for i := range messages {
		say(t, good, eventsDev01, fmt.Sprint(i))
	}
	clients.Wait()
	say(t, good, eventsDev01, "still here")
	events := telemetry(t, cloud, "dev-01", messages+1)
	require.Len(t, events, messages+1)
	for i, e := range events[:messages] {
		require.Equal(t, fmt.Sprint(i), string(e.Payload))
	}
	require.GreaterOrEqual(t, len(cloud.Events(fakecloud.Filter{Kind: "refused"})), bad*6/10)
}

// Many devices at once, each with its own answers.
func TestHubManyDevices(t *testing.T) {
	t.Parallel()
	const devices = 100
	var world strings.Builder
	world.WriteString("azure: {hubs: [{name: contoso, devices: [")
	for i := range devices {
		fmt.Fprintf(&world, "{deviceId: many-%d, authentication: {symmetricKey: {primaryKey: %s}}},", i, demoKey)
	}
	cloud := startContoso(t, world.String()+"]}]}")
	var clients sync.WaitGroup
	for i := range devices {
		id := fmt.Sprintf("many-%d", i)
		conn := signIn(t, cloud, rawmqtt.Connect{ClientID: id, Username: ptr(contosoHost + "/" + id + "/?api-version=2021-04-12"),
			Password: ptr(sign(contosoHost+"/devices/"+id, demoKey, 1893456000, ""))})
		clients.Go(func() {
			for n := range uint16(20) {
				if _, err := conn.Write(rawmqtt.Publish("devices/"+id+"/messages/events/", id, 1, n+1, false)); !assert.NoError(t, err) {
					return
				}
				p, err := conn.Read()
				assert.NoError(t, err)
				assert.Equal(t, []byte{0x40, 0x02, 0x00, byte(n + 1)}, p.Bytes())
			}
		})
	}
	clients.Wait()
	telemetry(t, cloud, "many-*", devices*20)
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "telemetry"}) {
		require.Equal(t, e.Device, string(e.Payload))
		require.Equal(t, e.Device, e.Properties["iothub-connection-device-id"])
	}
}

// Connections that say nothing hold nobody up and end with the instance.
func TestHubSilentConnections(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for range 50 {
		raw, err := net.Dial("tcp", cloud.MQTTSAddr())
		require.NoError(t, err)
		t.Cleanup(func() { raw.Close() })
		dial(t, cloud, via{name: contosoHost})
	}
	conn := signIn(t, cloud, dev01())
	say(t, conn, eventsDev01, "x")
	began := time.Now()
	require.NoError(t, cloud.Close())
	require.Less(t, time.Since(began), 5*time.Second)
	wantClosed(t, conn)
}
