package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// rounds runs every server in turn, round after round, and returns each server's costs by round.
func rounds(s settings, servers []*process, one func(*process) (cost, error)) ([][]cost, error) {
	costs := make([][]cost, len(servers))
	for round := range s.rounds + 1 {
		for i, p := range servers {
			c, err := one(p)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first warms up
				costs[i] = append(costs[i], c)
			}
		}
	}
	return costs, nil
}

// report prints a line for each server and the ratios of the first to the others, pair by pair.
func report(title string, servers []*process, costs [][]cost) {
	fmt.Printf("%s\n", title)
	first, _, _ := strings.Cut(servers[0].name, "/")
	for i, p := range servers {
		var cpu, rate, cpuRatio, rateRatio []float64
		for round, c := range costs[i] {
			cpu, rate = append(cpu, float64(c.cpu)), append(rate, c.rate)
			cpuRatio = append(cpuRatio, float64(costs[0][round].cpu)/float64(max(c.cpu, 1)))
			rateRatio = append(rateRatio, costs[0][round].rate/c.rate)
		}
		fmt.Printf("  %-18s %9.0f/s  server CPU %8s", p.name, median(rate), time.Duration(median(cpu)).Round(100*time.Nanosecond))
		if i > 0 {
			fmt.Printf("   %s: %.2f x its CPU, %.2f x its rate", first, median(cpuRatio), median(rateRatio))
		}
		fmt.Println()
	}
}

func startAll(ctx context.Context, names ...string) (servers []*process, stop func(), err error) {
	stop = func() {
		for _, p := range servers {
			p.stop()
		}
	}
	for _, name := range names {
		p, err := startRole(ctx, name)
		if err != nil {
			stop()
			return nil, nil, err
		}
		servers = append(servers, p)
	}
	return servers, stop, nil
}

// benchConnect measures mutual TLS up to the CONNACK, all rules on. Target: at most 1.15 x the CPU of the
// bare TLS loop.
func benchConnect(ctx context.Context, s settings) error {
	for _, key := range s.keys {
		servers, stop, err := startAll(ctx, "fakecloud/"+key, "tls/"+key, "mochi/"+key)
		if err != nil {
			return err
		}
		costs, err := rounds(s, servers, func(p *process) (cost, error) {
			config, err := p.target.clientConfig()
			if err != nil {
				return cost{}, err
			}
			return measure(p, s.connects, func() error {
				return parallel(s.connects, func(d int) error {
					c, err := p.target.connect(config, d)
					if err != nil {
						return err
					}
					return c.Close()
				})
			})
		})
		stop()
		if err != nil {
			return err
		}
		report(fmt.Sprintf("mutual-TLS CONNECT, %s server key, ECDSA client (target: <= 1.15 x the CPU of tls)", key), servers, costs)
	}
	return nil
}

// benchPublish measures QoS 1 telemetry with the journal on, in memory and with a data directory. Targets:
// at least 0.9 and 0.75 x bare mochi's rate, and mosquitto's.
func benchPublish(ctx context.Context, s settings) error {
	if err := publishBeside(ctx, s, "fakecloud/ecdsa", "in memory (target: >= 0.9 x mochi's rate, >= mosquitto's)"); err != nil {
		return err
	}
	return publishBeside(ctx, s, dataRole+"/ecdsa", "with --data (target: >= 0.75 x mochi's rate, >= mosquitto's)")
}

func publishBeside(ctx context.Context, s settings, ours, title string) error {
	servers, stop, err := startAll(ctx, ours, "mochi/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	mosquitto, err := startMosquitto(ctx, servers[0].target)
	if err != nil {
		return err
	}
	defer mosquitto.stop()
	servers = append(servers, mosquitto)
	costs, err := rounds(s, servers, func(p *process) (cost, error) { return publishRound(p, s.messages) })
	if err != nil {
		return err
	}
	report(fmt.Sprintf("QoS 1 telemetry over TLS, %d B, %d connections, %d in flight, %s",
		payloadSize, devices, window, title), servers, costs)
	return nil
}

func publishRound(p *process, messages int) (cost, error) {
	config, err := p.target.clientConfig()
	if err != nil {
		return cost{}, err
	}
	conns := make([]interface{ Close() error }, 0, devices)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	streams := make([]func() error, devices)
	for d := range devices {
		c, err := p.target.connect(config, d)
		if err != nil {
			return cost{}, fmt.Errorf("%s: %w", p.name, err)
		}
		conns = append(conns, c)
		streams[d] = func() error { return stream(c, d, messages/devices) }
	}
	return measure(p, messages, func() error {
		return parallel(devices, func(d int) error { return streams[d]() })
	})
}
