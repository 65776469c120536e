package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
)

func (a *app) deviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "device PLATFORM",
		Short:   "Run one simulated device, against fakecloud or any host",
		Example: "  fakecloud device azure",
		RunE: func(*cobra.Command, []string) error {
			return usagef("device wants a platform: fakecloud device azure")
		},
	}
	cmd.AddCommand(a.deviceAzureCommand())
	return cmd
}

// azureDevice is `fakecloud device azure`.
type azureDevice struct {
	host, idScope, id, key, groupKey, cert, keyFile, connection, ca string
	port, count                                                     int
	interval, timeout                                               time.Duration
	message                                                         string
	properties                                                      []string

	app   *app
	print *printer
	env   azureEnvironment
}

func (a *app) deviceAzureCommand() *cobra.Command {
	d := &azureDevice{app: a, print: &printer{out: a.out}}
	cmd := &cobra.Command{
		Use:   "azure",
		Short: "A device that provisions through DPS and sends telemetry to its hub",
		Long: "Without flags: gets a certificate of demo-ca from the running instance, registers " + demoDevice +
			" with its DPS and sends telemetry to the hub it is assigned to.\n\n" +
			"With --host and --id-scope it registers there instead; with --connection-string, or --host alone, " +
			"it connects to that hub directly.",
		Example: `  fakecloud device azure
  fakecloud device azure --id my-device --group-key "$GROUP_KEY" --count 0
  fakecloud device azure --connection-string "HostName=…;DeviceId=…;SharedAccessKey=…"
  fakecloud device azure --host global.azure-devices-provisioning.net --id-scope 0ne00A1B2C3 --cert device.pem --key-file device.key
  fakecloud device azure --message '{"n":{n},"time":"{time}"}' --property alert=false --interval 500ms`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&d.host, "host", "", "DPS host, or without --id-scope the hub (default: the running instance)")
	f.IntVar(&d.port, "port", 0, "port of DPS and hub (default 8883)")
	f.StringVar(&d.idScope, "id-scope", "", "ID scope of the DPS instance")
	f.StringVar(&d.id, "id", "", "registration or device ID (default: the certificate's common name, or "+demoDevice+")")
	f.StringVar(&d.key, "key", "", "the device's symmetric key, base64")
	f.StringVar(&d.groupKey, "group-key", "", "an enrollment group's symmetric key, base64; the device's is derived from it")
	f.StringVar(&d.cert, "cert", "", "PEM file of the device's certificate, with intermediates")
	f.StringVar(&d.keyFile, "key-file", "", "PEM file of its private key (default: in the file of --cert)")
	f.StringVar(&d.connection, "connection-string", "", "the device's connection string; connects to the hub directly")
	f.StringVar(&d.ca, "ca", "", "PEM file of the root that the server's certificate leads to (default: the running instance's, or the system's)")
	f.DurationVar(&d.interval, "interval", time.Second, "pause between messages")
	f.IntVar(&d.count, "count", 5, "how many messages; 0 is until interrupted")
	f.StringVar(&d.message, "message", `{"n":{n},"temperature":21.5}`, "body; {n} is the message's number, {time} the time in UTC")
	f.StringArrayVar(&d.properties, "property", nil, "application property NAME=VALUE (repeatable)")
	f.DurationVar(&d.timeout, "timeout", time.Minute, "limit for provisioning, for connecting and for each message")
	return cmd
}

func (d *azureDevice) run(ctx context.Context) error {
	properties, err := d.check()
	if err != nil {
		return err
	}
	hub, err := d.hubConfig(ctx)
	if err != nil {
		return d.explain(err)
	}
	connecting, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	d.print.step("Connect to the hub %s as %s", hub.Host, hub.DeviceID)
	hub.Trace = d.print.packet
	hub.OnState = d.print.state
	connection, err := azure.Dial(connecting, hub)
	if err != nil {
		return d.explain(err)
	}
	err = d.send(ctx, connection, properties)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if closeErr := connection.Close(closing); err == nil {
		err = closeErr
	}
	return d.explain(err)
}

// check finds flags that do not go together.
func (d *azureDevice) check() (map[string]string, error) {
	given := 0
	for _, has := range []bool{d.key != "", d.groupKey != "", d.cert != ""} {
		if has {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, usagef("--key, --group-key and --cert exclude each other: a device has one credential")
	case d.keyFile != "" && d.cert == "":
		return nil, usagef("--key-file needs --cert")
	case d.connection != "" && (d.idScope != "" || d.host != "" || d.id != "" || d.key != "" || d.groupKey != ""):
		return nil, usagef("--connection-string says host, device and key; leave --host, --id-scope, --id, --key and --group-key out")
	case d.host != "" && d.idScope == "" && d.groupKey != "":
		return nil, usagef("--group-key is for DPS: give --id-scope as well")
	case d.count < 0 || d.interval < 0 || d.timeout <= 0:
		return nil, usagef("--count and --interval must not be negative, --timeout must be positive")
	case d.port < 0 || d.port > 65535:
		return nil, usagef("--port is %d, expected 1 to 65535", d.port)
	}
	properties := map[string]string{}
	for _, p := range d.properties {
		name, value, found := strings.Cut(p, "=")
		if !found || name == "" {
			return nil, usagef("--property %q: expected NAME=VALUE", p)
		}
		properties[name] = value
	}
	return properties, nil
}

func (d *azureDevice) send(ctx context.Context, hub *azure.Hub, properties map[string]string) error {
	until := "interrupted"
	if d.count > 0 {
		until = fmt.Sprintf("%d are acknowledged", d.count)
	}
	d.print.step("Send a message every %s, until %s", d.interval, until)
	for n := 1; d.count == 0 || n <= d.count; n++ {
		if n > 1 {
			select {
			case <-ctx.Done():
				return nil
			case <-hub.Done():
				return hub.Err()
			case <-time.After(d.interval):
			}
		}
		body := strings.NewReplacer("{n}", strconv.Itoa(n), "{time}", time.Now().UTC().Format(time.RFC3339Nano)).Replace(d.message)
		m := azure.Message{Body: []byte(body), Properties: properties}
		if strings.HasPrefix(strings.TrimSpace(body), "{") {
			m.ContentType, m.ContentEncoding = "application/json", "utf-8"
		}
		sending, cancel := context.WithTimeout(ctx, d.timeout)
		start := time.Now()
		err := hub.Send(sending, m)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // interrupted: the way that --count 0 ends
		case err != nil:
			return err
		}
		d.print.line("  acknowledged after %s", time.Since(start).Round(100*time.Microsecond))
	}
	return nil
}

// explain adds where to look further.
func (d *azureDevice) explain(err error) error {
	var refused *azure.ConnectError
	var answer *azure.ProvisionError
	var verify *tls.CertificateVerificationError
	switch {
	case d.env.local && (errors.As(err, &refused) || errors.As(err, &answer)):
		return fmt.Errorf("%w\nwhy: fakecloud explain --last", err)
	case d.ca == "" && errors.As(err, &verify):
		return fmt.Errorf("%w\nname the root with --ca; fakecloud's is at its admin API under /api/v1/ca.pem", err)
	}
	return err
}

// printer writes the exchange; packets come from several goroutines.
type printer struct {
	mu   sync.Mutex
	out  io.Writer
	past bool // something has been printed
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = true
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *printer) step(format string, args ...any) {
	if p.past {
		p.line("")
	}
	p.line(format, args...)
}

func (p *printer) packet(k azure.Packet) {
	way := "<-"
	if k.Sent {
		way = "->"
	}
	switch k.Name {
	case "CONNECT":
		secret := "no password, the certificate is the proof"
		if k.HasPassword {
			secret = "with a SAS token as password"
		}
		p.line("  -> CONNECT    client id %s, user name %s, %s", k.ClientID, k.Username, secret)
	case "CONNACK":
		p.line("  <- CONNACK    return code %d", k.ReturnCode)
	case "SUBSCRIBE":
		p.line("  -> SUBSCRIBE  %s", k.Topic)
	case "PUBLISH":
		p.line("  %s PUBLISH    %s", way, k.Topic)
		if len(k.Payload) > 0 {
			p.line("                %s", k.Payload)
		}
	case "DISCONNECT":
		p.line("  -> DISCONNECT")
	}
}

func (p *printer) state(s azure.State, err error) {
	if s == azure.Disconnected && err != nil {
		p.line("  disconnected: %v; trying again", err)
	}
}

// redirect dials address whatever name is asked for, so that the vendors' names stay in TLS and MQTT.
func redirect(address string) azure.DialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

func readFile(flag, name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("%s: %w", flag, err)
	}
	return text, nil
}
