package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// cost is what one round cost a server.
type cost struct {
	cpu  time.Duration // of the server process, an operation
	rate float64       // operations a second
}

// measure runs n operations and reads the server's CPU around them.
func measure(p *process, n int, operations func() error) (cost, error) {
	before, err := p.cpu()
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	if err := operations(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", p.name, err)
	}
	took := time.Since(start)
	after, err := p.cpu()
	return cost{cpu: (after - before) / time.Duration(n), rate: float64(n) / took.Seconds()}, err
}

// parallel runs n operations on the devices, each device's one after another.
func parallel(n int, operation func(device int) error) error {
	var group sync.WaitGroup
	errs := make([]error, devices)
	for d := range devices {
		group.Go(func() {
			for range n / devices {
				if errs[d] = operation(d); errs[d] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func deviceID(d int) string { return fmt.Sprintf("bench-%d", d) }

// connectPacket is a CONNECT of a device.
func connectPacket(id string) []byte {
	user := hubHost + "/" + id + "/?api-version=2021-04-12"
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0x82, 0, 60}
	for _, text := range []string{id, user} {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(text))), text...)
	}
	return append([]byte{0x10, byte(len(body))}, body...)
}

// connect opens a connection for device d up to its CONNACK.
func (t target) connect(config *tls.Config, d int) (net.Conn, error) {
	return t.connectAs(config, deviceID(d))
}

func (t target) connectAs(config *tls.Config, id string) (net.Conn, error) {
	c, err := tls.Dial("tcp", t.Address, config)
	if err != nil {
		return nil, err
	}
	answer := make([]byte, 4)
	if _, err = c.Write(connectPacket(id)); err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err == nil && answer[3] != 0 {
		err = fmt.Errorf("CONNACK %d", answer[3])
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

const (
	payloadSize = 256
	window      = 16 // messages in flight on a connection
)

// publishPacket is a QoS 1 PUBLISH of a device; the packet id is filled in for each message.
func publishPacket(id string) (packet []byte, idAt int) {
	topic := "devices/" + id + "/messages/events/"
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	idAt = len(body)
	body = append(append(body, 0, 0), make([]byte, payloadSize)...)
	n := len(body)
	packet = append([]byte{0x32, byte(n%128) | 0x80, byte(n / 128)}, body...)
	return packet, idAt + 3
}

// stream publishes n messages on c with a window in flight and waits for every PUBACK.
func stream(c net.Conn, d, n int) error {
	packet, idAt := publishPacket(deviceID(d))
	return streamPackets(c, packet, idAt, n)
}

// streamPackets is stream for any QoS 1 PUBLISH; idAt is where its packet id stands, 0 to leave it.
func streamPackets(c net.Conn, packet []byte, idAt, n int) error {
	reader := bufio.NewReader(c)
	ack := make([]byte, 4)
	for sent, acked := 0, 0; acked < n; {
		var burst []byte
		for sent < n && sent-acked < window {
			sent++
			if idAt > 0 {
				binary.BigEndian.PutUint16(packet[idAt:], uint16(sent%65535+1))
			}
			burst = append(burst, packet...)
		}
		if len(burst) > 0 {
			if _, err := c.Write(burst); err != nil {
				return err
			}
		}
		for more := true; more; more = reader.Buffered() >= len(ack) {
			if _, err := io.ReadFull(reader, ack); err != nil {
				return err
			}
			if ack[0] != 0x40 {
				return fmt.Errorf("expected PUBACK, got %x", ack)
			}
			acked++
		}
	}
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
