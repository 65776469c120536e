package e2e

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// The default world's IoTDA instance, and the sheet's vectors V1, V2 and V7 of the secret 12345678.
const (
	iotdaMQTT    = "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"
	iotdaAPI     = "fakecloud.iotda.cn-north-4.myhuaweicloud.com"
	iotdaProject = "/v5/iot/fa4ec10d0000000000000000000000f1"
	node1        = "demo_node1"
	node1Sys     = "$oc/devices/demo_node1/sys/"
	node1ID      = "demo_node1_0_0_2025041401"
	passwordV1   = "c75150e6cb841417396819e4d2ee4358a416344a03a083e3a8567074ddec820a"
	passwordV7   = "75e7262705ff85203403e600f652133f9cac4e4d1400b44f3582e778a97f6c36"
	levelV31     = 3
	keepAlive    = 120
)

// hmacOf is the password that the page describes, made here so that no code of ours is its own judge.
func hmacOf(stamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(stamp))
	mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil))
}

// huawei is a CONNECT of a device, with the keep alive that Huawei advises.
func huawei(clientID, username, password string) rawmqtt.Connect {
	c := rawmqtt.Connect{ClientID: clientID, Username: &username, KeepAlive: keepAlive}
	if password != "" {
		c.Password = &password
	}
	return c
}

// dialPlain opens a connection to the plain MQTT port.
func dialPlain(t *testing.T, cloud *fakecloud.Cloud) *rawmqtt.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(cloud.Ports().MQTT)))
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	return rawmqtt.New(raw)
}

// dialIoTDAStream opens MQTT over WebSocket at IoTDA's path.
func dialIoTDAStream(t *testing.T, cloud *fakecloud.Cloud, name string) *rawmqtt.Conn {
	t.Helper()
	conn := dialHTTPS(t, cloud, via{name: name})
	host := name
	if host == "" {
		host = httpsAddr(cloud)
	}
	_, err := conn.Write([]byte("GET /mqtt HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"))
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	return rawmqtt.New(&frames{Conn: conn, in: in})
}

// online connects the default world's device over TLS.
func online(t *testing.T, cloud *fakecloud.Cloud) *rawmqtt.Conn {
	t.Helper()
	c := dial(t, cloud, via{name: iotdaMQTT})
	send(t, c, huawei(node1ID, node1, passwordV1).Bytes())
	wantConnack(t, c, 0)
	return c
}

// iotdaSays calls the application API; body may be empty.
func iotdaSays(t *testing.T, cloud *fakecloud.Cloud, method, path, body string, header ...string) reply {
	t.Helper()
	return ask(t, cloud, via{name: iotdaAPI}, method+" "+iotdaProject+path, body, append([]string{"Content-Type: application/json"}, header...)...)
}

// puback publishes with QoS 1 and waits for the ack.
func puback(t *testing.T, c *rawmqtt.Conn, topic, payload string, id uint16) {
	t.Helper()
	send(t, c, rawmqtt.Publish(topic, payload, 1, id, false))
	wantBytes(t, c, 0x40, 2, byte(id>>8), byte(id))
}

// stampNow is the UTC hour as the client id writes it.
func stampNow() string { return time.Now().UTC().Format("2006010215") }
