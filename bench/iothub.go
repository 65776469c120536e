package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// hubKey is the key of the bench hub's policy, the 32 ASCII characters 0123456789abcdef twice.
const hubKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// hubPolicies are the bench hub's.
const hubPolicies = "policies: [{name: iothubowner, rights: [RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect], primaryKey: " + hubKey + "}]"

const twinPatch = `{"firmware":"1.2.3","battery":{"level":80,"charging":false},"rssi":-61}`

// benchIoTHub measures twin patches, direct methods and the fan-out of cloud-to-device messages.
func benchIoTHub(ctx context.Context, s settings) error {
	servers, stop, err := startAll(ctx, "fakecloud/ecdsa", "mochi/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	costs, err := rounds(s, servers, func(p *process) (cost, error) { return twinRound(p, s.messages/4) })
	if err != nil {
		return err
	}
	report(fmt.Sprintf("IoT Hub, twin patch and its answer over TLS, one at a time for each of %d devices, beside mochi's echo of the patch", devices),
		servers, costs)
	costs, err = rounds(s, servers, func(p *process) (cost, error) {
		if isFloor(p) {
			return callEchoRound(p, s.messages/20)
		}
		return methodRound(ctx, p, s.messages/20)
	})
	if err != nil {
		return err
	}
	report(fmt.Sprintf("IoT Hub, direct methods: HTTPS call to device and back, one at a time for each of %d devices, beside a request and its answer over mochi", devices),
		servers, costs)
	return benchFanOut(ctx, s)
}

// packets reads MQTT packets from a connection.
type packets struct {
	net.Conn
	in *bufio.Reader
}

// next returns the next packet's first byte and what follows its length.
func (c *packets) next() (byte, []byte, error) {
	head, err := c.in.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in) // MQTT's remaining length is coded alike
	if err != nil {
		return 0, nil, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return head, body, err
}

// message returns the next PUBLISH with QoS 0.
func (c *packets) message() (topic string, err error) {
	head, body, err := c.next()
	if err != nil {
		return "", err
	}
	if head>>4 != 3 || len(body) < 2 {
		return "", fmt.Errorf("expected PUBLISH, got %x", head)
	}
	return string(body[2 : 2+int(binary.BigEndian.Uint16(body))]), nil
}

// publish sends a PUBLISH with QoS 0.
func (c *packets) publish(topic, body string) error {
	rest := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	rest = append(rest, body...)
	_, err := c.Write(append(binary.AppendUvarint([]byte{0x30}, uint64(len(rest))), rest...))
	return err
}

// listening connects device d and subscribes.
func (t target) listening(d int, filter string, qos byte) (*packets, error) {
	config, err := t.clientConfig()
	if err != nil {
		return nil, err
	}
	conn, err := t.connect(config, d)
	if err != nil {
		return nil, err
	}
	c := &packets{conn, bufio.NewReader(conn)}
	rest := binary.BigEndian.AppendUint16([]byte{0, 1}, uint16(len(filter)))
	rest = append(append(rest, filter...), qos)
	if _, err = c.Write(append([]byte{0x82, byte(len(rest))}, rest...)); err == nil {
		var head byte
		var body []byte
		if head, body, err = c.next(); err == nil && (head != 0x90 || body[2] > 1) {
			err = fmt.Errorf("SUBSCRIBE answered with %x %x", head, body)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// listeners connects n devices, filter by filter.
func (t target) listeners(n int, qos byte, filter func(d int) string) (conns []*packets, hangUp func(), err error) {
	hangUp = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for d := range n {
		c, err := t.listening(d, filter(d), qos)
		if err != nil {
			return conns, hangUp, fmt.Errorf("device %d: %w", d, err)
		}
		conns = append(conns, c)
	}
	return conns, hangUp, nil
}

func twinRound(p *process, patches int) (cost, error) {
	filter := func(int) string { return "$iothub/twin/res/#" }
	if isFloor(p) {
		filter = func(d int) string { return fmt.Sprintf("echo/%d", d) }
	}
	conns, hangUp, err := p.target.listeners(devices, 0, filter)
	defer hangUp()
	if err != nil {
		return cost{}, err
	}
	return measure(p, patches, func() error {
		return atOnce(devices, func(d int) error {
			for n := range patches / devices {
				ask, want := fmt.Sprintf("$iothub/twin/PATCH/properties/reported/?$rid=%d", n), "$iothub/twin/res/204/"
				if isFloor(p) {
					ask, want = filter(d), filter(d)
				}
				if err := conns[d].publish(ask, twinPatch); err != nil {
					return err
				}
				if topic, err := conns[d].message(); err != nil || !strings.HasPrefix(topic, want) {
					return fmt.Errorf("patch answered with %q: %w", topic, err)
				}
			}
			return nil
		})
	})
}

// answerAll answers every message until the connection ends.
func answerAll(c *packets, answer func(topic string) string) {
	for {
		topic, err := c.message()
		if err != nil || c.publish(answer(topic), `{"done":true}`) != nil {
			return
		}
	}
}

// methodRound calls a method of every device, calls after one another.
func methodRound(ctx context.Context, p *process, calls int) (cost, error) {
	conns, hangUp, err := p.target.listeners(devices, 0, func(int) string { return "$iothub/methods/POST/#" })
	defer hangUp()
	if err != nil {
		return cost{}, err
	}
	for _, c := range conns {
		go answerAll(c, func(topic string) string { return strings.Replace(topic, "POST/go", "res/200", 1) })
	}
	config, err := p.target.clientConfig()
	if err != nil {
		return cost{}, err
	}
	config.Certificates = nil
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: devices,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, p.target.API)
		}}}
	defer client.CloseIdleConnections()
	return measure(p, calls, func() error {
		return atOnce(devices, func(d int) error {
			for range calls / devices {
				if err := callMethod(ctx, client, d); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func callMethod(ctx context.Context, client *http.Client, d int) error {
	address := fmt.Sprintf("https://%s/twins/bench-%d/methods?api-version=2021-04-12", hubHost, d)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(`{"methodName":"go","responseTimeoutInSeconds":30,"payload":{}}`))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", hubToken())
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	if err == nil && !strings.Contains(string(text), `{"done":true}`) {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return errors.Join(err, answer.Body.Close())
}

// hubToken is a SAS token of the hub's policy, until 2100.
func hubToken() string {
	const until = "4102444800"
	key, _ := base64.StdEncoding.DecodeString(hubKey)
	sign := hmac.New(sha256.New, key)
	sign.Write([]byte(hubHost + "\n" + until))
	return "SharedAccessSignature sr=" + hubHost + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(sign.Sum(nil))) +
		"&se=" + until + "&skn=iothubowner"
}

// callEchoRound is a request to a device and its answer, both as messages of a broker.
func callEchoRound(p *process, calls int) (cost, error) {
	conns, hangUp, err := p.target.listeners(2*devices, 0, func(d int) string { return fmt.Sprintf("to/%d", d) })
	defer hangUp()
	if err != nil {
		return cost{}, err
	}
	for d, c := range conns[devices:] {
		go answerAll(c, func(string) string { return fmt.Sprintf("to/%d", d) })
	}
	return measure(p, calls, func() error {
		return atOnce(devices, func(d int) error {
			for range calls / devices {
				if err := conns[d].publish(fmt.Sprintf("to/%d", d+devices), `{}`); err != nil {
					return err
				}
				if _, err := conns[d].message(); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
