package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

const (
	iotdaHost    = "bench.iot-mqtts.cn-north-4.myhuaweicloud.com"
	iotdaProject = "00000000000000000000000000000001"
	iotdaStamp   = "2025041401"
	// iotdaPassword is that of the secret 12345678 with iotdaStamp (vector V1 of the vendor's page).
	iotdaPassword   = "c75150e6cb841417396819e4d2ee4358a416344a03a083e3a8567074ddec820a"
	iotdaProperties = 20
)

// iotdaWorld is a product whose one service has twenty properties, and its devices.
func iotdaWorld() string {
	var b strings.Builder
	fmt.Fprintf(&b, "iotda: {instances: [{name: bench, projectId: %q, products: [{productId: p, services: [{serviceId: S, commands: [{name: go}], properties: [", iotdaProject)
	for i := range iotdaProperties {
		fmt.Fprintf(&b, "{name: value%d, dataType: int, min: 0, max: 1000},", i)
	}
	b.WriteString("]}]}], devices: [")
	for d := range devices {
		fmt.Fprintf(&b, "{deviceId: p_%d, productId: p, secret: \"12345678\"},", d)
	}
	b.WriteString("]}]}")
	return b.String()
}

// iotdaReport is a report of all twenty properties.
func iotdaReport() string {
	var values []string
	for i := range iotdaProperties {
		values = append(values, fmt.Sprintf(`"value%d":%d`, i, i*40))
	}
	return `{"services":[{"service_id":"S","properties":{` + strings.Join(values, ",") + `},"event_time":"20260101T000000Z"}]}`
}

func (t target) iotdaConfig(floor bool) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.CA))
	name := iotdaHost
	if floor {
		name = hubHost
	}
	return &tls.Config{RootCAs: roots, ServerName: name}
}

// iotdaConnect opens a connection for device d up to its CONNACK.
func (t target) iotdaConnect(floor bool, d int) (net.Conn, error) {
	c, err := tls.Dial("tcp", t.Address, t.iotdaConfig(floor))
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("p_%d", d)
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 120}
	for _, text := range []string{id + "_0_0_" + iotdaStamp, id, iotdaPassword} {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(text))), text...)
	}
	answer := make([]byte, 4)
	if _, err = c.Write(append([]byte{0x10, byte(len(body))}, body...)); err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err == nil && answer[3] != 0 {
		err = fmt.Errorf("CONNACK %d", answer[3])
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// benchIoTDA measures property reports and the round trip of commands.
func benchIoTDA(ctx context.Context, s settings) error {
	servers, stop, err := startAll(ctx, "fakecloud/ecdsa", "mochi/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	costs, err := rounds(s, servers, func(p *process) (cost, error) { return reportRound(p, s.messages) })
	if err != nil {
		return err
	}
	report(fmt.Sprintf("IoTDA, property reports with QoS 1 over TLS, %d properties in %d B, judged, stored and told of, %d devices, %d in flight",
		iotdaProperties, len(iotdaReport()), devices, window), servers, costs)
	ours := servers[:1]
	costs, err = rounds(s, ours, func(p *process) (cost, error) { return commandRound(ctx, p, s.messages/20) })
	if err != nil {
		return err
	}
	report(fmt.Sprintf("IoTDA, commands: HTTPS call to device and back, one at a time for each of %d devices", devices), ours, costs)
	return nil
}

func reportRound(p *process, messages int) (cost, error) {
	conns, hangUp, err := iotdaDevices(p)
	defer hangUp()
	if err != nil {
		return cost{}, err
	}
	return measure(p, messages, func() error {
		return atOnce(devices, func(d int) error {
			packet, idAt := mindPublish(fmt.Sprintf("$oc/devices/p_%d/sys/properties/report", d), iotdaReport())
			return streamPackets(conns[d], packet, idAt, messages/devices)
		})
	})
}

func iotdaDevices(p *process) (conns []net.Conn, hangUp func(), err error) {
	hangUp = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for d := range devices {
		c, err := p.target.iotdaConnect(isFloor(p), d)
		if err != nil {
			return conns, hangUp, fmt.Errorf("%s: %w", p.name, err)
		}
		conns = append(conns, c)
	}
	return conns, hangUp, nil
}

// commandRound calls a command of every device, calls after one another.
func commandRound(ctx context.Context, p *process, calls int) (cost, error) {
	conns, hangUp, err := iotdaDevices(p)
	defer hangUp()
	if err != nil {
		return cost{}, err
	}
	for _, c := range conns {
		go answerCommands(c)
	}
	config := p.target.iotdaConfig(false)
	config.ServerName = strings.Replace(iotdaHost, "iot-mqtts", "iotda", 1)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: devices,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, p.target.API)
		}}}
	defer client.CloseIdleConnections()
	return measure(p, calls, func() error {
		return atOnce(devices, func(d int) error {
			for range calls / devices {
				if err := callCommand(ctx, client, config.ServerName, d); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func callCommand(ctx context.Context, client *http.Client, host string, d int) error {
	url := fmt.Sprintf("https://%s/v5/iot/%s/devices/p_%d/commands", host, iotdaProject, d)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"service_id":"S","command_name":"go","paras":{}}`))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	if err == nil && !strings.Contains(string(text), `"result_code":0`) {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return errors.Join(err, answer.Body.Close())
}

// answerCommands answers every command with success until the connection ends.
func answerCommands(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		head, err := in.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(in) // MQTT's remaining length is coded alike
		if err != nil {
			return
		}
		packet := make([]byte, n)
		if _, err := io.ReadFull(in, packet); err != nil {
			return
		}
		if head>>4 != 3 || len(packet) < 2 {
			continue
		}
		topic := string(packet[2 : 2+int(binary.BigEndian.Uint16(packet))])
		answer := strings.Replace(topic, "/commands/", "/commands/response/", 1)
		body := append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
		body = append(body, `{"result_code":0}`...)
		if _, err := c.Write(append([]byte{0x30, byte(len(body)%128) | 0x80, byte(len(body) / 128)}, body...)); err != nil {
			return
		}
	}
}
