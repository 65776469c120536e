package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// maxConnecting is how many devices connect at the same time; the others wait for their turn. Most of them do
// nothing meanwhile: DPS and MindSphere let a new device wait for seconds.
const maxConnecting = 500

// maxSwarm bounds -n.
const maxSwarm = 100_000

func (a *app) swarmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "swarm PLATFORM",
		Short: "Run many simulated devices, against fakecloud or any host",
		Long: "Runs many devices on the client kit: each connects, sends messages and waits for their acknowledgement. Ctrl-C ends " +
			"it with its summary. Exit code 0 only if every device connected and every message was acknowledged.",
		Example: "  fakecloud swarm azure -n 500\n  fakecloud swarm mindsphere -n 100 --count 0 --duration 1m\n  fakecloud swarm iotda -n 50 --format json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("swarm wants a platform: azure, mindsphere, iotda or edge%s", help(cmd, nearCommands(cmd, args)))
		},
	}
	cmd.AddCommand(a.swarmAzureCommand(), a.swarmMindSphereCommand(), a.swarmIoTDACommand(), a.swarmEdgeCommand())
	return cmd
}

// swarm is what the swarms of all platforms share.
type swarm struct {
	deviceBase
	n                 int
	prefix, format    string
	duration          time.Duration
	ramp              float64 // devices a second; 0 is all at once
	issuer, issuerKey string

	stats swarmStats
	since uint64 // journal of the running instance before the swarm
}

// member is one device of a swarm.
type member interface {
	connection
	Close(context.Context) error
	send(ctx context.Context, body string) error
}

func (a *app) swarm() *swarm {
	return &swarm{deviceBase: deviceBase{app: a, print: &printer{out: a.err}}}
}

func (s *swarm) flags(cmd *cobra.Command, t deviceTexts) {
	f := cmd.Flags()
	s.connectionFlags(f, t)
	f.IntVarP(&s.n, "number", "n", 100, "how many devices")
	f.StringVar(&s.prefix, "prefix", "swarm-", "beginning of the devices' ids; a number follows")
	f.IntVar(&s.count, "count", 10, "how many messages each device sends; 0 is until interrupted, or until --duration has passed")
	f.DurationVar(&s.interval, "interval", time.Second, "pause between a device's messages")
	f.DurationVar(&s.duration, "duration", 0, "end after this time")
	f.Float64Var(&s.ramp, "ramp", 100, "how many devices are started a second; 0 is all at once")
	f.StringVar(&s.message, "message", t.message, t.what+"; {n} is the message's number, {time} the time in UTC")
	f.StringVar(&s.format, "format", "text", "of the summary: text or json")
	offer(cmd, "format", "text", "json")
}

// issuerFlags are for platforms whose devices have certificates.
func (s *swarm) issuerFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.issuer, "issuer", "", "PEM file of the CA that issues the devices' certificates (default: demo-ca)")
	cmd.Flags().StringVar(&s.issuerKey, "issuer-key", "", "PEM file of its private key")
}

func (s *swarm) check() error {
	switch {
	case s.n < 1 || s.n > maxSwarm:
		return usagef("-n is %d, expected 1 to %d", s.n, maxSwarm)
	case s.ramp < 0 || s.duration < 0:
		return usagef("--ramp and --duration must not be negative")
	case s.prefix == "":
		return usagef("--prefix is empty")
	case (s.issuer == "") != (s.issuerKey == ""):
		return usagef("--issuer and --issuer-key belong together")
	}
	if err := oneOf("format", s.format, "text", "json"); err != nil {
		return err
	}
	return s.checkFlags()
}

// id is the name of the device with that number, from 1.
func (s *swarm) id(number int) string { return s.prefix + strconv.Itoa(number) }

// registerAtOnce is how many devices are added to the world in one request.
const registerAtOnce = 500

// addDevices adds the swarm's devices to the running instance; part is the world with those of these numbers.
func (s *swarm) addDevices(ctx context.Context, part func(numbers []int) *world.World) error {
	numbers := make([]int, s.n)
	for k := range numbers {
		numbers[k] = k + 1
	}
	for some := range slices.Chunk(numbers, registerAtOnce) {
		if err := s.app.patchWorld(ctx, world.Format(part(some))); err != nil {
			return err
		}
	}
	return nil
}

// mint returns a maker of certificates.
func (s *swarm) mint(key pki.KeyType) (func(commonName string) (tls.Certificate, error), error) {
	cas, err := pki.OpenDeviceCAs(pki.Options{})
	if err != nil {
		return nil, err
	}
	name := ""
	if s.issuer != "" {
		name = "issuer"
		certPEM, err := readFile("--issuer", s.issuer)
		if err != nil {
			return nil, err
		}
		keyPEM, err := readFile("--issuer-key", s.issuerKey)
		if err != nil {
			return nil, err
		}
		if _, err := cas.ImportCA(name, certPEM, keyPEM); err != nil {
			return nil, usagef("--issuer: %w", err)
		}
	}
	return func(commonName string) (tls.Certificate, error) {
		issued, err := cas.IssueDevice(pki.DeviceRequest{CommonName: commonName, CA: name, Key: key})
		return issued.TLS(), err
	}, nil
}

// lost counts connections that a device had and lost.
func (s *swarm) lost() func(clientkit.State, error) {
	connected := false
	return func(state clientkit.State, err error) {
		if connected && state == clientkit.Disconnected && err != nil {
			s.stats.lost()
		}
		connected = state == clientkit.Connected
	}
}

// run starts the devices, waits for their end and tells what became of them.
func (s *swarm) run(ctx context.Context, connect func(ctx context.Context, number int) (member, error)) error {
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	s.since = s.env.info.Seq
	s.stats.begin()
	shown := s.showProgress()
	var members sync.WaitGroup
	turns := make(chan struct{}, maxConnecting)
	for number := 1; number <= s.n; number++ {
		if !s.pace(ctx, number) {
			break
		}
		members.Go(func() { s.live(ctx, number, turns, connect) })
	}
	members.Wait()
	s.stats.end()
	shown()
	return s.summarize(context.WithoutCancel(ctx))
}

// pace waits until the device with that number is due, and reports whether it is to start.
func (s *swarm) pace(ctx context.Context, number int) bool {
	if s.ramp == 0 || number == 1 {
		return ctx.Err() == nil
	}
	due := s.stats.began.Add(time.Duration(float64(number-1) / s.ramp * float64(time.Second)))
	return pause(ctx, time.Until(due))
}

// pause waits, and reports whether ctx lasted.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// live is the life of one device.
func (s *swarm) live(ctx context.Context, number int, turns chan struct{}, connect func(context.Context, int) (member, error)) {
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	s.stats.started()
	connecting, cancel := context.WithTimeout(ctx, s.timeout)
	start := time.Now()
	m, err := connect(connecting, number)
	cancel()
	<-turns
	if err != nil {
		if ctx.Err() == nil {
			s.stats.failed("connect", err)
		}
		return
	}
	s.stats.connected(time.Since(start))
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = m.Close(closing) // what was under way has been counted
	}()
	if pause(ctx, time.Duration(rand.Float64()*float64(s.interval))) { // so that they do not send in step
		s.sendAll(ctx, m)
	}
}

func (s *swarm) sendAll(ctx context.Context, m member) {
	for n := 1; s.count == 0 || n <= s.count; n++ {
		if n > 1 && !pause(ctx, s.interval) {
			return
		}
		sending, cancel := context.WithTimeout(ctx, s.timeout)
		start := time.Now()
		err := m.send(sending, body(s.message, n))
		cancel()
		switch {
		case err == nil:
			s.stats.acknowledged(time.Since(start))
		case ctx.Err() != nil:
			return
		default:
			s.stats.failed("message", err)
		}
		select {
		case <-m.Done():
			return // for good; the failed message tells why
		default:
		}
	}
}

// swarmError is what a swarm with failures ends with.
func swarmError(n int) error {
	return fmt.Errorf("%d of the swarm's connections and messages failed", n)
}

// jsonMessage finds a message that must be an object and is not one.
func (s *swarm) jsonMessage() error {
	if !strings.HasPrefix(strings.TrimSpace(s.message), "{") {
		return usagef("--message is %q, expected a JSON object", s.message)
	}
	return nil
}
