package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud"
)

// resetRole is fakecloud whose first world has hubFleet devices, so that a reset brings them all back.
const resetRole = "fakecloud-reset"

// Words for a reset of everything, and of the devices of a glob.
const (
	resetAll    = "reset"
	resetGlob   = "reset "
	eachTenth   = "bench-*7" // every tenth device
	everyDevice = "bench-*"
)

// resetDevices resets some devices or all.
func resetDevices(cloud *fakecloud.Cloud, word string) error {
	glob, some := strings.CutPrefix(word, resetGlob)
	if !some {
		return cloud.Reset()
	}
	n, err := cloud.ResetDevices(glob)
	if err == nil && n == 0 {
		err = errors.New("nothing was reset")
	}
	return err
}

// benchReset measures resets while 10,000 devices are connected: until it returns, which is when every connection
// is dead, and until the clients have seen their sockets close. Target: 100 ms until it returns.
func benchReset(ctx context.Context, s settings) error {
	for _, keep := range []string{"", "-data"} {
		p, err := startRole(ctx, resetRole+keep+"/ecdsa")
		if err != nil {
			return err
		}
		for _, word := range []string{resetAll, resetGlob + everyDevice, resetGlob + eachTenth} {
			var returned, closed []float64
			for range max(s.rounds/2, 1) {
				r, c, err := resetRound(p, word)
				if err != nil {
					p.stop()
					return err
				}
				returned, closed = append(returned, r), append(closed, c)
			}
			where := "in memory"
			if keep != "" {
				where = "with --data"
			}
			fmt.Printf("%-14s with %d devices connected, %-11s: %4.0f ms (target: <= 100), sockets closed after %4.0f ms\n",
				word, hubFleet, where, median(returned), median(closed))
		}
		p.stop()
	}
	return nil
}

// resetRound connects all devices, and returns the milliseconds until the reset returns and until every socket of
// the devices that were reset is closed.
func resetRound(p *process, word string) (returned, closed float64, err error) {
	config, err := p.target.clientConfig()
	if err != nil {
		return 0, 0, err
	}
	conns := make([]net.Conn, hubFleet)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	const atATime = 16
	err = atOnce(atATime, func(lane int) error {
		for d := lane; d < hubFleet; d += atATime {
			c, err := p.target.connect(config, d)
			if err != nil {
				return err
			}
			conns[d] = c
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := p.tell(word); err != nil {
		return 0, 0, err
	}
	returned = float64(time.Since(start).Microseconds()) / 1000
	for d, c := range conns {
		if word == resetGlob+eachTenth && d%10 != 7 {
			continue
		}
		_ = c.SetReadDeadline(start.Add(patience)) // a connection that is closed needs none
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, 0, fmt.Errorf("device %d is still connected: %w", d, err)
		}
	}
	return returned, float64(time.Since(start).Microseconds()) / 1000, nil
}
