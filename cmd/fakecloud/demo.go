package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

const (
	demoScope  = "0ne00FAKE01"
	demoDevice = "demo-device-1"
	demoWrong  = "demo-device-2"
	// demoWorld keeps the lesson short: the real service asks for pauses of three seconds.
	demoWorld   = "{azure: {dps: [{name: fakecloud-dps, retryAfter: 1s}, {name: demo2-dps, retryAfter: 1s}]}, mindsphere: {tenants: [{name: demo, provisioning: 1s}]}}"
	demoTimeout = time.Minute
	// demoProof is how long the journal may take to show what the device has seen already.
	demoProof = 5 * time.Second
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Start an instance and take devices through provisioning and data on every platform, explained step by step",
		Long: "Starts an instance of its own on free ports, takes a device from its certificate to its telemetry on DPS and IoT Hub, " +
			"another one through an IoT Edge gateway whose hub is away for a while, " +
			"an agent through MindSphere's eu1, with its first-connect drop, and eu2, and a device through Huawei's IoTDA; shows each packet with what it means, and one refusal on purpose. " +
			"Exit code 0 only if the journal shows every step.",
		Example: "  fakecloud demo",
		Args:    positional(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context()) },
	}
}

func (a *app) demo(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	cloud, err := fakecloud.New(ctx, fakecloud.WithServerKey("ecdsa"), fakecloud.WithWorld(demoWorld))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	l := &lesson{cloud: cloud, out: a.out, told: map[string]bool{}}
	if err := l.prepare(); err != nil {
		return err
	}
	fmt.Fprintf(l.out, "Devices of several clouds, from their certificates to their data, on an instance of fakecloud at %s.\n", cloud.MQTTSAddr())
	steps := slices.Concat(l.steps(), l.edgeSteps(), l.mindSphereSteps(), l.iotdaSteps())
	for i, s := range steps {
		if err := l.take(ctx, i+1, s); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.title, err)
		}
	}
	fmt.Fprintf(l.out, "\nAll %d steps happened, by the journal.\n"+
		"Now your own device: start `fakecloud serve`, and see `fakecloud env --help` and `fakecloud device azure --help`.\n", len(steps))
	return nil
}

// lesson is the demo under way.
type lesson struct {
	cloud  *fakecloud.Cloud
	out    io.Writer
	device fakecloud.DeviceCertificate
	roots  *x509.CertPool

	seen       uint64          // journal shown so far
	told       map[string]bool // remarks made so far
	assignment azure.Assignment
	hub        *azure.Hub
	agentCert  *fakecloud.DeviceCertificate // of the agent in region eu1
	agent      *mindsphere.Agent
	leaf       *azure.Hub // behind the gateway
	node       *iotda.Device
}

// demoStep is one thing that the device does, and what the journal must show of it afterwards.
type demoStep struct {
	title, text string
	act         func(context.Context) error
	proofs      []demoFact
}

// demoFact is an event that must be in the journal.
type demoFact struct {
	what   string
	filter fakecloud.Filter
}

// prepare makes what a factory would have put into the device.
func (l *lesson) prepare() error {
	var err error
	if l.device, err = l.cloud.IssueDevice(demoDevice); err != nil {
		return err
	}
	l.roots = x509.NewCertPool()
	if !l.roots.AppendCertsFromPEM(l.cloud.RootsPEM()) {
		return errors.New("the instance's root is no certificate")
	}
	return nil
}

func (l *lesson) tls() *tls.Config { return &tls.Config{RootCAs: l.roots} }

// take runs one step: what it is for, the exchange, and the proofs.
func (l *lesson) take(ctx context.Context, n int, s demoStep) error {
	fmt.Fprintf(l.out, "\n%d. %s\n%s\n\n", n, s.title, wrapText(s.text, "   "))
	before := l.seen
	failed := l.act(ctx, s.act)
	found, missing := l.prove(ctx, s.proofs, before)
	l.show()
	if failed != nil {
		return failed
	}
	if missing != nil {
		return missing
	}
	fmt.Fprintln(l.out)
	for i, p := range s.proofs {
		fmt.Fprintf(l.out, "   [ok] journal %d: %s\n", found[i], p.what)
	}
	return nil
}

// act runs the device's part and prints the exchange as it goes.
func (l *lesson) act(ctx context.Context, device func(context.Context) error) error {
	following, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- device(ctx)
		stop()
	}()
	for following.Err() == nil {
		_, err := l.cloud.Await(following, fakecloud.Filter{Since: l.seen}, 1)
		l.show()
		if err != nil {
			break
		}
	}
	return <-done
}

// prove waits until the journal shows each proof after the event numbered since.
func (l *lesson) prove(ctx context.Context, proofs []demoFact, since uint64) ([]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, demoProof)
	defer cancel()
	var found []uint64
	for _, p := range proofs {
		p.filter.Since = since
		events, err := l.cloud.Await(ctx, p.filter, 1)
		if err != nil || len(events) == 0 {
			return nil, fmt.Errorf("the journal does not show: %s", p.what)
		}
		found = append(found, events[0].Seq)
	}
	return found, nil
}

// show prints the events that have come since the last time.
func (l *lesson) show() {
	for _, e := range l.cloud.Events(fakecloud.Filter{Since: l.seen}) {
		l.seen = e.Seq
		fmt.Fprint(l.out, l.describe(e))
	}
}
