package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud"
)

const (
	edgeHost = "gateway.bench.example"
	// backlog is what waits at the gateway when the hub comes back.
	backlog = 100_000
	// patience is how long the gateway may take to send what it holds.
	patience = 5 * time.Minute
)

// edgeWorld is a gateway of the bench hub whose children have the bench's certificate.
func edgeWorld(thumbprint string) string {
	world := "edge: {gateways: [{hostname: " + edgeHost + ", hub: bench, children: ["
	for d := range devices {
		world += fmt.Sprintf("{deviceId: %s, authentication: {x509Thumbprint: {primaryThumbprint: %s}}},", leafID(d), thumbprint)
	}
	return world + "]}]}"
}

func leafID(d int) string { return fmt.Sprintf("leaf-%d", d) }

// Words that a server of ours is told, a line each.
const (
	upstreamDown  = "down"
	upstreamUp    = "up"
	upstreamDrain = "drain"
)

// obey does what the measuring process says, and returns what it is told.
func obey(cloud *fakecloud.Cloud, word string) string {
	var err error
	switch word {
	case upstreamDown:
		err = cloud.SetEdgeUpstream(edgeHost, false)
	case upstreamUp:
		err = bringBack(cloud)
	case upstreamDrain:
		err = awaitDrained(cloud)
	default:
		count, found := strings.CutPrefix(word, fanOutWord)
		switch {
		case found:
			err = sendFleet(cloud, count)
		case word == resetAll || strings.HasPrefix(word, resetGlob):
			err = resetDevices(cloud, word)
		default:
			return "unknown word"
		}
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// bringBack lets the gateway reach its hub, if the whole backlog waits for it.
func bringBack(cloud *fakecloud.Cloud) error {
	state, err := cloud.EdgeGateway(edgeHost)
	switch {
	case err != nil:
		return err
	case state.Queue.Messages != backlog:
		return fmt.Errorf("%d messages wait at the gateway, expected %d", state.Queue.Messages, backlog)
	}
	return cloud.SetEdgeUpstream(edgeHost, true)
}

// awaitDrained returns once nothing waits at the gateway.
func awaitDrained(cloud *fakecloud.Cloud) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		state, err := cloud.EdgeGateway(edgeHost)
		if err != nil || state.Queue.Messages == 0 {
			return err
		}
	}
	return fmt.Errorf("the gateway still holds messages after %s", patience)
}

// leafConfig is a child's side of TLS: the gateway has a root of its own.
func (t target) leafConfig() (*tls.Config, error) {
	config, err := t.clientConfig()
	if err != nil {
		return nil, err
	}
	config.ServerName, config.RootCAs = edgeHost, x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM([]byte(t.EdgeCA)) {
		return nil, errors.New("the gateway's root is no certificate")
	}
	return config, nil
}

// benchEdge measures telemetry through a gateway on to the hub beside the straight way, and how fast a gateway
// hands on what it has stored once the hub is back.
func benchEdge(ctx context.Context, s settings) error {
	if err := benchGateway(ctx, s); err != nil {
		return err
	}
	return benchDrain(ctx, s)
}

func benchGateway(ctx context.Context, s settings) error {
	servers, stop, err := startAll(ctx, "fakecloud/ecdsa", "fakecloud/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	gateway, straight := servers[0], servers[1]
	gateway.name, straight.name = "through a gateway", "straight to hub"
	costs, err := rounds(s, servers, func(p *process) (cost, error) {
		if p == straight {
			return publishRound(p, s.messages)
		}
		return leavesRound(p, s.messages, true)
	})
	if err != nil {
		return err
	}
	report(fmt.Sprintf("IoT Edge, QoS 1 telemetry over TLS until the hub has it, %d B, %d connections, %d in flight", payloadSize, devices, window), servers, costs)
	return nil
}

// benchDrain fills the gateway while the hub is away, and then lets it send on what it holds.
func benchDrain(ctx context.Context, s settings) error {
	servers, stop, err := startAll(ctx, "fakecloud/ecdsa", dataRole+"/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	servers[0].name, servers[1].name = "in memory", "with --data"
	storing := make([][]cost, len(servers))
	costs, err := rounds(s, servers, func(p *process) (cost, error) {
		if err := p.tell(upstreamDown); err != nil {
			return cost{}, err
		}
		stored, err := leavesRound(p, backlog, false)
		if err != nil {
			return cost{}, err
		}
		at := slices.Index(servers, p)
		storing[at] = append(storing[at], stored)
		return measure(p, backlog, func() error { return errors.Join(p.tell(upstreamUp), p.tell(upstreamDrain)) })
	})
	if err != nil {
		return err
	}
	for i := range storing {
		storing[i] = storing[i][1:] // the first round warms up
	}
	report(fmt.Sprintf("IoT Edge, %d messages of %d B stored while the hub is away, %d connections, %d in flight", backlog, payloadSize, devices, window), servers, storing)
	report(fmt.Sprintf("IoT Edge, %d stored messages of %d B on to the hub", backlog, payloadSize), servers, costs)
	return nil
}

// leavesRound sends messages through the gateway; drained waits until the hub has them as well.
func leavesRound(p *process, messages int, drained bool) (cost, error) {
	config, err := p.target.leafConfig()
	if err != nil {
		return cost{}, err
	}
	conns := make([]net.Conn, 0, devices)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for d := range devices {
		c, err := p.target.connectAs(config, leafID(d))
		if err != nil {
			return cost{}, fmt.Errorf("%s: %w", p.name, err)
		}
		conns = append(conns, c)
	}
	return measure(p, messages, func() error {
		err := atOnce(devices, func(d int) error {
			packet, idAt := publishPacket(leafID(d))
			return streamPackets(conns[d], packet, idAt, messages/devices)
		})
		if err == nil && drained {
			err = p.tell(upstreamDrain)
		}
		return err
	})
}
