package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// answerFaults are the actions of the steps that are requests with a status.
func answerFaults() map[string]fakecloud.FaultAction {
	return map[string]fakecloud.FaultAction{
		"code": {Code: ptrInt(503)}, "throttle": {Throttle: ptrInt(7)}, "drop": {Drop: true},
	}
}

func once(t *testing.T, cloud *fakecloud.Cloud, step fakecloud.FaultStep, a fakecloud.FaultAction) {
	t.Helper()
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: step}, Action: a, Count: 1})
}

// wantFired sees that the one fault that was set has happened.
func wantFired(t *testing.T, cloud *fakecloud.Cloud, step, platform string) {
	t.Helper()
	require.Empty(t, cloud.Faults())
	events := cloud.Events(fakecloud.Filter{Kind: "fault"})
	require.NotEmpty(t, events)
	last := events[len(events)-1]
	require.Equal(t, platform, last.Platform)
	require.Contains(t, last.Detail, " at "+step+": ")
}

// DPS over MQTT and over HTTPS, register and poll: a status, a retry-after, no answer at all; then it serves.
func TestEveryFaultOfDPS(t *testing.T) {
	t.Parallel()
	requests := map[string]string{
		"dps.register": "$dps/registrations/PUT/iotdps-register/?$rid=",
		"dps.poll":     "$dps/registrations/GET/iotdps-get-operationstatus/?operationId=4.0000000000000000.00000000-0000-0000-0000-000000000000&$rid=",
	}
	for step, topic := range requests {
		for kind, action := range answerFaults() {
			t.Run(step+" "+kind, func(t *testing.T) {
				t.Parallel()
				cloud := fakecloud.Start(t)
				cert := device(t, cloud, "dev-9")
				c := enrollee{id: "dev-9", via: via{name: globalDPS, cert: cert}}.open(t, cloud)
				once(t, cloud, fakecloud.FaultStep(step), action)
				send(t, c, rawmqtt.Publish(topic+"broken", "", 1, 1, false))
				wantBytes(t, c, 0x40, 2, 0, 1)
				if kind != "drop" {
					want := map[string]string{"code": "res/503/?$rid=broken", "throttle": "res/429/?$rid=broken&retry-after=7"}[kind]
					require.Equal(t, "$dps/registrations/"+want, answer(t, c).Topic())
				}
				wantFired(t, cloud, step, "dps")
				require.Contains(t, request(t, c, topic+"served", "").Topic(), "$rid=served", "the next is the next answer")

				once(t, cloud, fakecloud.FaultStep(step), action)
				line := registerLine("dev-9")
				if step == "dps.poll" {
					line = "GET /" + idScope + "/registrations/dev-9/operations/4.0000000000000000.00000000-0000-0000-0000-000000000000" + dpsVersion
				}
				v := via{name: globalDPS, cert: cert}
				if kind == "drop" {
					conn := dialHTTPS(t, cloud, v)
					_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", line, globalDPS)
					require.NoError(t, err)
					_, err = http.ReadResponse(bufio.NewReader(conn), nil)
					require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				} else {
					r := ask(t, cloud, v, line, "{}", "Content-Type: application/json")
					wantDPSError(t, r, map[string]int{"code": 503, "throttle": 429}[kind], map[string]int{"code": 503000, "throttle": 429001}[kind])
					if kind == "throttle" {
						require.Equal(t, "7", r.Header.Get("Retry-After"))
					}
				}
				wantFired(t, cloud, step, "dps")
			})
		}
	}
}

// Twin requests of a device, and of a child behind a gateway, whose requests reach the hub as well.
func TestEveryFaultOfATwin(t *testing.T) {
	t.Parallel()
	for step, topic := range map[string]string{"twin.get": "$iothub/twin/GET/?$rid=", "twin.patch": "$iothub/twin/PATCH/properties/reported/?$rid="} {
		for kind, action := range answerFaults() {
			t.Run(step+" "+kind, func(t *testing.T) {
				t.Parallel()
				cloud := startContoso(t)
				c := signIn(t, cloud, dev01())
				subscribe(t, c, "$iothub/twin/res/#")
				once(t, cloud, fakecloud.FaultStep(step), action)
				send(t, c, rawmqtt.Publish(topic+"broken", "{}", 1, 1, false))
				wantBytes(t, c, 0x40, 2, 0, 1)
				if kind != "drop" {
					status := map[string]int{"code": 503, "throttle": 429}[kind]
					p := receive(t, c)
					require.Equal(t, fmt.Sprintf("$iothub/twin/res/%d/?$rid=broken", status), p.Topic())
					require.Contains(t, p.Payload(), fmt.Sprintf(`"errorCode":%d`, map[string]int{"code": 503000, "throttle": 429001}[kind]))
				}
				wantFired(t, cloud, step, "iothub")
				send(t, c, rawmqtt.Publish(topic+"served", "{}", 1, 2, false))
				wantBytes(t, c, 0x40, 2, 0, 2)
				require.Contains(t, receive(t, c).Topic(), "$rid=served")
			})
		}
	}
}

// A method that is lost never reaches the device; the caller hears of it by its time-out. The next one comes.
func TestFaultOfAMethod(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	c := signIn(t, cloud, dev01())
	subscribe(t, c, "$iothub/methods/POST/#")
	once(t, cloud, "method", fakecloud.FaultAction{Drop: true})
	lost := make(chan error, 1)
	go func() {
		_, err := cloud.InvokeMethod(t.Context(), contosoHost, "dev-01", "lost", nil, 0)
		lost <- err
	}()
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "fault"}, 1)
	require.NoError(t, err)
	wantFired(t, cloud, "method", "iothub")
	for waiting := true; waiting; { // its timer is set before or after the fault
		require.NoError(t, cloud.Advance(5*time.Second))
		select {
		case err := <-lost:
			require.ErrorContains(t, err, "HUB-48/timeout")
			waiting = false
		case <-time.After(time.Millisecond):
		}
	}
	done := make(chan error, 1)
	go func() {
		r, err := cloud.InvokeMethod(t.Context(), contosoHost, "dev-01", "comes", json.RawMessage("1"), 5*time.Second)
		if err == nil && r.Status != 200 {
			err = errors.New("not answered")
		}
		done <- err
	}()
	rid, ok := strings.CutPrefix(receive(t, c).Topic(), "$iothub/methods/POST/comes/?$rid=")
	require.True(t, ok)
	send(t, c, rawmqtt.Publish("$iothub/methods/res/200/?$rid="+rid, "{}", 0, 0, false))
	require.NoError(t, <-done)
}

// What is slow or half open from the handshake on stays so, over MQTT as over HTTPS.
func TestFaultsOfAHandshakeThatLast(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)

	// The server's flight is some 1.4 kB at least, of which a tenth of a second's goes at a time.
	once(t, cloud, "tls", fakecloud.FaultAction{Slow: ptrInt(4000)})
	began := time.Now()
	c := dial(t, cloud, via{name: contosoHost})
	require.Greater(t, time.Since(began), 200*time.Millisecond)
	began = time.Now()
	send(t, c, dev01().Bytes())
	wantConnack(t, c, 0)
	subscribe(t, c, "devices/dev-01/messages/devicebound/#")
	require.NoError(t, cloud.SendC2D(contosoHost, "dev-01", fakecloud.C2D{Body: make([]byte, 1500)}))
	receive(t, c)
	require.Greater(t, time.Since(began), 300*time.Millisecond, "the broker keeps the pace")
	require.NoError(t, c.Conn.Close())

	once(t, cloud, "tls", fakecloud.FaultAction{Slow: ptrInt(4000)})
	conn := dialHTTPS(t, cloud, via{name: contosoHost})
	began = time.Now()
	_, err := fmt.Fprintf(conn, "GET /no/such/path HTTP/1.1\r\nHost: %s\r\n\r\n", contosoHost)
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 404, answer.StatusCode)
	require.NoError(t, answer.Body.Close())
	require.Greater(t, time.Since(began), 100*time.Millisecond)
	wantFired(t, cloud, "tls", "iothub")

	once(t, cloud, "tls", fakecloud.FaultAction{HalfOpen: true})
	c = dial(t, cloud, via{name: contosoHost})
	send(t, c, dev01().Bytes())
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = c.Conn.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout")
	require.NoError(t, c.Conn.Close())
	events, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "closed", Match: func(e *fakecloud.Event) bool {
		return strings.Contains(e.Detail, "half open")
	}}, 1)
	require.NoError(t, err)
	require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "connect", Since: events[0].Seq - 2}))
	wantFired(t, cloud, "tls", "iothub")
}

// Closing the instance does not wait for a slow handshake.
func TestSlowHandshakeEndsWithTheInstance(t *testing.T) {
	t.Parallel()
	// An RSA key could still be in the making in the handshake, which Close waits for.
	cloud, err := fakecloud.New(t.Context(), fakecloud.WithWorld(contoso), fakecloud.WithServerKey("ecdsa"))
	require.NoError(t, err)
	once(t, cloud, "tls", fakecloud.FaultAction{Slow: ptrInt(1)})
	failed := make(chan error, 1)
	go func() { failed <- handshakeOf(t, cloud, contosoHost) }()
	_, err = cloud.Await(t.Context(), fakecloud.Filter{Kind: "fault"}, 1)
	require.NoError(t, err)
	require.NoError(t, cloud.Close())
	require.Error(t, <-failed)
}

// A dead peer by a real client's measure: nothing answers its ping, and by one and a half times the keep alive the
// hub has ended the session, with its will.
func TestHalfOpenByKeepAlive(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	connect := withWill(dev01(), dev01Events)
	connect.KeepAlive = 1
	once(t, cloud, "connect", fakecloud.FaultAction{HalfOpen: true})
	began := time.Now() // before the last packet that the hub hears
	c := knock(t, cloud, connect)
	wantConnack(t, c, 0)
	send(t, c, []byte{0xc0, 0})
	wantCut(t, cloud, c, "HUB-22/silent")
	require.GreaterOrEqual(t, time.Since(began), 1400*time.Millisecond)
	telemetry(t, cloud, "dev-01", 1)
}

// Over WebSocket the faults of a connection are the same.
func TestFaultsOverWebSocket(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	open := func() *rawmqtt.Conn {
		c := openWS(t, cloud, via{name: contosoHost}, "/$iothub/websocket", "mqtt")
		send(t, c, dev01().Bytes())
		return c
	}
	once(t, cloud, "connect", fakecloud.FaultAction{Slow: ptrInt(10)})
	began := time.Now()
	c := open()
	wantConnack(t, c, 0)
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)
	once(t, cloud, "connect", fakecloud.FaultAction{Reset: true})
	wantClosed(t, open())
	once(t, cloud, "connect", fakecloud.FaultAction{HalfOpen: true})
	c = open()
	wantConnack(t, c, 0)
	send(t, c, []byte{0xc0, 0})
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.Conn.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout")
}
