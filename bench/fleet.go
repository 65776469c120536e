package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud"
)

// fleetRole is fakecloud whose hub has hubFleet devices.
const (
	fleetRole = "fakecloud-fleet"
	hubFleet  = 10_000
)

// fanOutWord and a number have a server of ours send a message to each of so many devices.
const fanOutWord = "c2d "

// benchFanOut measures the fan-out of cloud-to-device messages to 1,000 connected devices and to 10,000.
// Target: the cost of one device is the same.
func benchFanOut(ctx context.Context, s settings) error {
	p, err := startRole(ctx, fleetRole+"/ecdsa")
	if err != nil {
		return err
	}
	defer p.stop()
	var base float64
	for _, n := range []int{1_000, hubFleet} {
		before, err := rss(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		conns, hangUp, err := p.target.listeners(n, 1, func(d int) string { return fmt.Sprintf("devices/bench-%d/messages/devicebound/#", d) })
		if err != nil {
			hangUp()
			return err
		}
		var cpu, rate []float64
		for round := range s.rounds + 1 {
			c, err := fanOut(p, conns)
			if err != nil {
				hangUp()
				return err
			}
			if round > 0 { // the first warms up
				cpu, rate = append(cpu, float64(c.cpu)), append(rate, c.rate)
			}
		}
		after, err := rss(p.cmd.Process.Pid)
		hangUp()
		if err != nil {
			return err
		}
		fmt.Printf("IoT Hub, cloud-to-device fan-out to %5d connected devices, acknowledged: %6.0f/s, server CPU %8s a device, +%.0f MiB",
			n, median(rate), time.Duration(median(cpu)).Round(100*time.Nanosecond), float64(after-before)/1024)
		if base == 0 {
			base = median(cpu)
			fmt.Println()
			continue
		}
		fmt.Printf("   %.2f x the CPU of 1000 (target: <= 1.25)\n", median(cpu)/base)
	}
	return nil
}

// fanOut has a message sent to every device, and returns when each has got and acknowledged it.
func fanOut(p *process, conns []*packets) (cost, error) {
	return measure(p, len(conns), func() error {
		sent := make(chan error, 1)
		go func() { sent <- p.tell(fanOutWord + strconv.Itoa(len(conns))) }()
		err := atOnce(len(conns), func(d int) error {
			head, body, err := conns[d].next()
			if err != nil {
				return err
			}
			at := 2 + int(binary.BigEndian.Uint16(body))
			if head>>4 != 3 || head&6 != 2 {
				return fmt.Errorf("expected PUBLISH with QoS 1, got %x", head)
			}
			_, err = conns[d].Write([]byte{0x40, 2, body[at], body[at+1]})
			return err
		})
		return errors.Join(err, <-sent)
	})
}

// sendFleet sends a message to each of count devices.
func sendFleet(cloud *fakecloud.Cloud, count string) error {
	n, err := strconv.Atoi(count)
	for d := 0; d < n && err == nil; d++ {
		err = cloud.SendC2D(hubHost, fmt.Sprintf("bench-%d", d), fakecloud.C2D{Body: make([]byte, payloadSize)})
	}
	return err
}
