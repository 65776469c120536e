package e2e

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Device and passwords of vectors V2 to V5.
const (
	vectorDevice = "5e25cd2ea16ebc0a3f7b1f1c_dev01"
	passwordV2   = "2a6acdf8e766b25981f6cc109313db3dc99937bc50f4b966535703f20b5a19c1" // mySecret_0123, 2018072417
	passwordV3   = "9757a7db81ff9a18449ecf611e763f2552e6f94aea53e66fe6559db3bb41eef9" // 2026010100
	passwordV4   = "6318036815083c3e4972af9720fc7fdfb3760df235c02eef11c3e86d584c9807" // of the empty secret
	passwordV5   = "10693b86d7ba5a6be9c5aae21f528d3ffef8a20507c6f3d67c1f96305abdc476" // group key
	passwordV6   = "a110c9e1536980a2ca572e7d5b82542a20a04e144937385f224d587fa1d0e862" // 12345678, SM3
	secretV3     = "0123456789abcdef0123456789abcdef"
)

const vectorWorld = `
iotda:
  instances:
    - name: fakecloud
      scopes: [{id: scope1, secret: Z3JvdXBzZWNyZXQtMDE=}]
      strategies: [plant]
      products: [{productId: 5e25cd2ea16ebc0a3f7b1f1c}]
      devices:
        - {deviceId: 5e25cd2ea16ebc0a3f7b1f1c_dev01, productId: 5e25cd2ea16ebc0a3f7b1f1c, secret: mySecret_0123, secondarySecret: 0123456789abcdef0123456789abcdef}
        - {deviceId: demo_frozen, productId: demo, secret: "12345678", frozen: true}
        - {deviceId: demo_secure, productId: demo, secret: "12345678", secureAccess: true}
        - {deviceId: demo_child, productId: demo, gatewayId: demo_node1, secret: "12345678"}
        - {deviceId: demo_a_b_0_c, productId: demo, secret: "12345678"}
        - {deviceId: demo_x509, productId: demo, authType: CERTIFICATES}
`

// The vectors of the sheet sign in: by the primary and by the secondary secret, with time stamps years old,
// with underscores in the node id, with SM3 and a current stamp.
func TestIoTDAVectorsSignIn(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(vectorWorld))
	for _, c := range []struct{ id, user, password, rule string }{
		{node1ID, node1, passwordV1, "DA-1"},
		{vectorDevice + "_0_0_2018072417", vectorDevice, passwordV2, "DA-3"},
		{vectorDevice + "_0_0_2026010100", vectorDevice, passwordV3, "DA-3"},
		{"demo_a_b_0_c_0_0_2025041401", "demo_a_b_0_c", passwordV1, "DA-10"},
		{"demo_node1_0_1_" + stampNow(), node1, hmacOf(stampNow(), "12345678"), "DA-4"},
	} {
		conn := dial(t, cloud, via{name: iotdaMQTT})
		send(t, conn, huawei(c.id, c.user, c.password).Bytes())
		wantConnack(t, conn, 0)
		rule.Proves(t, rule.ID(c.rule))
	}
	// V6: sign type 2 is SM3 and has its time stamp judged; the instance is set back to that hour.
	cloud.Skew(time.Until(time.Date(2025, 4, 14, 1, 30, 0, 0, time.UTC)))
	conn := dial(t, cloud, via{name: iotdaMQTT})
	send(t, conn, huawei("demo_node1_0_2_2025041401", node1, passwordV6).Bytes())
	wantConnack(t, conn, 0)
}

// V5: the provisioning service knows a device by the key that is derived from its group's, and tells it where
// to go; an unknown strategy is answered with 100414.
func TestIoTDAGroupKeyBootstraps(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(vectorWorld))
	c := dial(t, cloud, via{name: "iot-bs.cn-north-4.myhuaweicloud.com"})
	send(t, c, huawei(vectorDevice+"_0_scope1_0_2026010100", vectorDevice, passwordV5).Bytes())
	wantConnack(t, c, 0)
	rule.Proves(t, "DA-55")
	down := "$oc/devices/" + vectorDevice + "/sys/bootstrap/down"
	send(t, c, rawmqtt.Subscribe(1, 0, down))
	wantBytes(t, c, 0x90, 3, 0, 1, 0)
	puback(t, c, "$oc/devices/"+vectorDevice+"/sys/bootstrap/up", "", 2)
	answer := receive(t, c)
	require.Equal(t, down, answer.Topic())
	require.JSONEq(t, `{"address":"fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com:8883","initConfig":"","deviceSecret":"mySecret_0123"}`, answer.Payload())
	puback(t, c, "$oc/devices/"+vectorDevice+"/sys/bootstrap/up", `{"baseStrategyKeyword":"plnt"}`, 3)
	require.Contains(t, receive(t, c).Payload(), `"errorCode":"100414"`)
	refused(t, cloud, "DA-54/strategy")

	// Who came by an address goes on to that address.
	c = dial(t, cloud, via{})
	send(t, c, huawei(vectorDevice+"_0_scope1_0_2026010100", vectorDevice, passwordV5).Bytes())
	wantConnack(t, c, 0)
	puback(t, c, "$oc/devices/"+vectorDevice+"/sys/bootstrap/up", "", 2)
	require.JSONEq(t, `{"address":"`+cloud.MQTTSAddr()+`","initConfig":"","deviceSecret":"mySecret_0123"}`, receive(t, c).Payload())
}

// Every mistake in client id, username and password gets the code of the page, and is named.
func TestIoTDARefusedSignIns(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(vectorWorld))
	hours := func(h int) string { return time.Now().UTC().Add(time.Duration(h) * time.Hour).Format("2006010215") }
	judged := func(stamp string) rawmqtt.Connect {
		return huawei("demo_node1_0_1_"+stamp, node1, hmacOf(stamp, "12345678"))
	}
	keepAlives := func(seconds uint16) rawmqtt.Connect {
		c := huawei(node1ID, node1, passwordV1)
		c.KeepAlive = seconds
		return c
	}
	for name, c := range map[string]struct {
		connect rawmqtt.Connect
		code    byte
		rule    rule.ID
		detail  string // part of what the journal says
	}{
		"key and message swapped (V7)": {huawei(node1ID, node1, passwordV7), 4, "DA-2/swapped", "key and message swapped"},
		"another password":             {huawei(node1ID, node1, passwordV6[:63]+"f"), 4, "DA-2/password", node1},
		"upper case":                   {huawei(node1ID, node1, "C75150E6CB841417396819E4D2EE4358A416344A03A083E3A8567074DDEC820A"), 4, "DA-2/case", "upper-case"},
		"the secret itself":            {huawei(node1ID, node1, "12345678"), 4, "DA-2/plain", "secret itself"},
		"SM3 with sign type 0":         {huawei(node1ID, node1, passwordV6), 4, "DA-2/algorithm", "SM3"},
		"no password":                  {huawei(node1ID, node1, ""), 4, "DA-2/empty", "no password"},
		"other stamp as key":           {huawei("demo_node1_0_0_2025041402", node1, passwordV1), 4, "DA-6/stamp", "2025041401"},
		"three hours old":              {judged(hours(-3)), 4, "DA-5/local", "-3 hours"},
		"local time of China":          {judged(hours(8)), 4, "DA-5/local", "local time of UTC+8"},
		"two days old":                 {judged(hours(-48)), 4, "DA-5/stamp", "-48 hours"},
		"three parts":                  {huawei("demo_node1_0_0", node1, passwordV1), 2, "DA-7/parts", "four parts"},
		"stamp of eight digits":        {huawei("demo_node1_0_0_20250414", node1, passwordV1), 2, "DA-7/stamp", ""},
		"sign type 7":                  {huawei("demo_node1_0_7_2025041401", node1, passwordV1), 2, "DA-7/sign", ""},
		"node id (type 2)":             {huawei("demo_node1_2_0_2025041401", node1, passwordV1), 2, "DA-7/type", ""},
		"keep alive 0":                 {keepAlives(0), 2, "DA-8/keep-alive", ""},
		"keep alive 29":                {keepAlives(29), 2, "DA-8/keep-alive", ""},
		"keep alive 1201":              {keepAlives(1201), 2, "DA-8/keep-alive", ""},
		"unknown device":               {huawei("demo_node2_0_0_2025041401", "demo_node2", passwordV1), 4, "DA-9/unknown", "no such device"},
		"another username":             {huawei(node1ID, "demo", passwordV1), 4, "DA-9/username", "username"},
		"a child":                      {huawei("demo_child_0_0_2025041401", "demo_child", passwordV1), 4, "DA-9/child", "child"},
		"frozen":                       {huawei("demo_frozen_0_0_2025041401", "demo_frozen", passwordV1), 5, "DA-11/frozen", "frozen"},
		"no certificate":               {huawei("demo_x509_0_0_2025041401", "demo_x509", ""), 4, "DA-17/no-certificate", ""},
		"group secret itself": {huawei(vectorDevice+"_0_scope1_0_2026010100", vectorDevice, hmacOf("2026010100", "Z3JvdXBzZWNyZXQtMDE=")), 4,
			"DA-55/derive", "group"},
	} {
		conn := dial(t, cloud, via{name: iotdaMQTT})
		send(t, conn, c.connect.Bytes())
		require.Equal(t, []byte{0x20, 2, 0, c.code}, receive(t, conn).Bytes(), name)
		wantClosed(t, conn)
		events := cloud.Events(fakecloud.Filter{Platform: "iotda", Kind: "refused"})
		require.NotEmpty(t, events, name)
		last := events[len(events)-1]
		require.Equal(t, c.rule, last.Rule, name)
		require.Contains(t, last.Detail, c.detail, name)
		require.NotEmpty(t, last.Fix, name)
		require.Contains(t, c.connect.ClientID, last.Device, "explain finds it by the device id")
		require.NotEqual(t, c.connect.ClientID, last.Device, name)
		rule.Proves(t, c.rule)
	}
	plain := dialPlain(t, cloud)
	send(t, plain, huawei("demo_secure_0_0_2025041401", "demo_secure", passwordV1).Bytes())
	wantConnack(t, plain, 5)
	refused(t, cloud, "DA-11/plain")
}

// A client id of another form gets IoTDA's own code on the plain port too, where only IoTDA speaks.
func TestIoTDAPlainPortIsItsOwn(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := dialPlain(t, cloud)
	send(t, c, huawei("mosq-1234", "me", "x").Bytes())
	wantConnack(t, c, 2)
	refused(t, cloud, "DA-7/parts")
	hub := dialPlain(t, cloud)
	user := demoHub + "/demo-sas/?api-version=2021-04-12"
	send(t, hub, rawmqtt.Connect{ClientID: "demo-sas", Username: &user, KeepAlive: keepAlive}.Bytes())
	wantConnack(t, hub, 5)
	refused(t, cloud, "DOOR-1/port")
}

// MQTT 3.1, 3.1.1 and 5 are spoken, version 9 is answered with 1; MQTT 5 gets its own reason codes.
func TestIoTDAProtocolVersions(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	connect := func(protocol string, level byte, password string) *rawmqtt.Conn {
		c := dial(t, cloud, via{name: iotdaMQTT})
		packet := huawei(node1ID, node1, password)
		packet.Protocol, packet.Level = protocol, level
		send(t, c, packet.Bytes())
		return c
	}
	wantConnack(t, connect("MQIsdp", 3, passwordV1), 0)
	wantConnack(t, connect("MQTT", 4, passwordV1), 0)
	five := connect("MQTT", 5, passwordV1)
	ack := receive(t, five)
	require.Equal(t, byte(0x20), ack.First)
	require.Equal(t, []byte{0, 0}, ack.Body[:2], "session not present, reason code 0")
	wantAlive(t, five)
	wrong := receive(t, connect("MQTT", 5, passwordV7))
	require.Equal(t, []byte{0, 0x86}, wrong.Body[:2], "bad user name or password")
	nine := connect("MQTT", 9, passwordV1)
	wantBytes(t, nine, 0x20, 2, 0, 1)
	refused(t, cloud, "DA-8/level")
}

// A device by certificate: its fingerprint is learned, a password is ignored (V4), another certificate and a
// certificate of an unknown CA are refused, and plain MQTT has none.
func TestIoTDACertificates(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(vectorWorld))
	first, second := device(t, cloud, "demo_x509"), device(t, cloud, "demo_x509")
	connect := func(v via, password string) *rawmqtt.Conn {
		v.name = iotdaMQTT
		c := dial(t, cloud, v)
		send(t, c, huawei("demo_x509_0_0_2026010100", "demo_x509", password).Bytes())
		return c
	}
	wantConnack(t, connect(via{cert: first}, ""), 0)
	wantConnack(t, connect(via{cert: first}, passwordV4), 0)
	rule.Proves(t, "DA-14")
	rule.Proves(t, "DA-16")
	wantConnack(t, connect(via{cert: second}, ""), 4)
	refused(t, cloud, "DA-16/learned")
	require.Equal(t, 200, iotdaSays(t, cloud, "POST", "/devices/demo_x509/reset-fingerprint", `{}`).StatusCode)
	wantConnack(t, connect(via{cert: second}, ""), 0)
	secretOnly := dial(t, cloud, via{name: iotdaMQTT, cert: first})
	send(t, secretOnly, huawei(node1ID, node1, "").Bytes())
	wantConnack(t, secretOnly, 4)
	refused(t, cloud, "DA-17/no-password")
}

// The signed token that Huawei's docs never mention is no password either: bytes that are no text end in 4,
// not in a crash.
func TestIoTDAHostilePasswords(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	noise, err := base64.StdEncoding.DecodeString("/wD+AAH/")
	require.NoError(t, err)
	for _, password := range []string{string(noise), string(make([]byte, 2000))} {
		c := dial(t, cloud, via{name: iotdaMQTT})
		send(t, c, huawei(node1ID, node1, password).Bytes())
		wantConnack(t, c, 4)
		wantClosed(t, c)
	}
	c := dial(t, cloud, via{name: iotdaMQTT})
	send(t, c, huawei(string(make([]byte, 300))+"_0_0_2025041401", node1, passwordV1).Bytes())
	p, err := c.Read()
	require.True(t, err != nil || p.Body[1] == 2, "%x %v", p.Bytes(), err)
}

// A device that forgets its user name, at a door without a telling name: its product is called as a MindSphere tenant,
// and yet it is IoTDA that answers. An agent with its certificate is MindSphere's whatever its name.
func TestIoTDAWithoutUsername(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := dial(t, cloud, via{})
	hello := huawei(node1ID, "", passwordV1)
	send(t, conn, hello.Bytes())
	wantConnack(t, conn, 4)
	require.Equal(t, `username "demo_node1"`, refused(t, cloud, "DA-9/username").Expected)
	hello.Username, hello.Password = nil, nil
	conn = dial(t, cloud, via{})
	send(t, conn, hello.Bytes())
	wantConnack(t, conn, 4)

	conn = dial(t, cloud, via{cert: device(t, cloud, "node1_0_0_2025041401")})
	send(t, conn, hello.Bytes())
	wantClosed(t, conn)
	refused(t, cloud, "MS-1/first")
}
