package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// The device of the default world.
const (
	demoNode       = "demo_node1"
	demoNodeSecret = "12345678"
)

// nodeDevice is `fakecloud device iotda`.
type nodeDevice struct {
	deviceBase
	secret, sign, service string
	plain                 bool
}

func (a *app) deviceIoTDACommand() *cobra.Command {
	d := &nodeDevice{deviceBase: a.deviceBase("an HMAC of the secret")}
	cmd := &cobra.Command{
		Use:   "iotda",
		Short: "A device that reports properties and serves commands",
		Long: "Without flags: connects " + demoNode + " of the running instance's default world and reports the properties of its " +
			"service Battery. It answers commands and settings with success, and prints messages.\n\n" +
			"A device with a certificate needs --id, as the device id is not in the certificate.",
		Example: `  fakecloud device iotda
  fakecloud device iotda --count 0 --interval 10s --message '{"batteryLevel":{n}}'
  fakecloud device iotda --id demo_node1 --secret 12345678 --sign 1
  fakecloud device iotda --host x.iot-mqtts.cn-north-4.myhuaweicloud.com --id 5e25cd_dev01 --cert deviceCert.pem --key-file deviceCert.key --ca rootCA.pem`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	d.flags(f, deviceTexts{
		host: "the platform's access address (default: the running instance)", port: "its port (default 8883, or 1883 with --plain)",
		id:      "device id (default: " + demoNode + ")",
		message: `{"batteryLevel":80}`, what: "properties of the service, as a JSON object",
	})
	f.StringVar(&d.secret, "secret", "", "the device's secret (default: that of "+demoNode+" and of scenario devices)")
	f.StringVar(&d.sign, "sign", "0", "sign type: 0 the time stamp is not judged, 1 it must be the platform's hour, 2 as 1 with SM3")
	f.StringVar(&d.service, "service", "Battery", "service whose properties are reported")
	f.BoolVar(&d.plain, "plain", false, "without TLS, on port 1883")
	offer(cmd, "sign", "0", "1", "2")
	return cmd
}

func (d *nodeDevice) run(ctx context.Context) error {
	sign, err := d.check()
	if err != nil {
		return err
	}
	cfg, err := d.config(ctx, sign)
	if err != nil {
		return err
	}
	d.print.step("Connect to %s as %s", cfg.Host, cfg.DeviceID)
	connecting, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	device, err := iotda.Dial(connecting, cfg)
	if err != nil {
		return d.explain(err)
	}
	err = d.work(ctx, connecting, device)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if closeErr := device.Close(closing); err == nil {
		err = closeErr
	}
	return d.explain(err)
}

func (d *nodeDevice) check() (iotda.SignType, error) {
	sign, err := signType(d.sign)
	switch {
	case err != nil:
		return 0, err
	case d.secret != "" && d.cert != "":
		return 0, usagef("--secret and --cert exclude each other: a device has one credential")
	case d.cert != "" && d.id == "":
		return 0, usagef("--cert needs --id: the device id is not in the certificate")
	case d.plain && d.cert != "":
		return 0, usagef("--plain has no certificates")
	case d.host != "" && d.id == "":
		return 0, usagef("--host needs --id")
	case d.host != "" && d.cert == "" && d.secret == "":
		return 0, usagef("no credential for %s: give --secret, or --cert and --key-file", d.host)
	case d.service == "":
		return 0, usagef("--service is empty")
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(body(d.message, 1)), &first); err != nil || first == nil {
		return 0, usagef(noObject)
	}
	return sign, d.checkFlags()
}

const noObject = `--message is no JSON object such as {"batteryLevel":80}`

// config says where the device connects, and as whom.
func (d *nodeDevice) config(ctx context.Context, sign iotda.SignType) (iotda.Config, error) {
	cfg := iotda.Config{DeviceID: d.id, Sign: sign, Plain: d.plain, Port: d.port, Trace: d.print.packet, OnState: d.print.state,
		Log: slog.New(slog.DiscardHandler), OnCommand: d.command, OnSet: d.set}
	if d.host != "" {
		if err := d.remote(ctx, d.host, func(e plane.Endpoint) bool { return e.Platform == "iotda" }); err != nil {
			return cfg, err
		}
		cfg.Host = d.host
	} else if err := d.useInstance(ctx); err != nil {
		return cfg, err
	}
	if cfg.Host == "" {
		host, err := d.instanceHost()
		if err != nil {
			return cfg, err
		}
		cfg.Host = host
	}
	if cfg.DeviceID == "" {
		cfg.DeviceID = demoNode
	}
	if _, known := fault.FindScenario(cfg.DeviceID); d.host == "" && d.cert == "" && d.secret == "" && (known || cfg.DeviceID == demoNode && d.id == "") {
		d.secret = demoNodeSecret
	}
	switch {
	case d.cert != "":
		cert, err := d.certificateFiles()
		if err != nil {
			return cfg, err
		}
		cfg.Credential = iotda.X509(cert)
	case d.secret == "":
		return cfg, usagef("no credential for %s: give --secret, or --cert and --key-file", cfg.DeviceID)
	default:
		cfg.Credential = iotda.Secret(d.secret)
	}
	cfg.TLS, cfg.Dial = d.env.tls, d.env.dial
	if d.plain && d.env.local && d.port == 0 {
		if d.env.info.Ports.MQTT == 0 {
			return cfg, usagef("the running instance has its plain MQTT port switched off (--mqtt-port)")
		}
		cfg.Dial = redirect(d.plainAddress())
	}
	return cfg, nil
}

// plainAddress is the instance's plain MQTT port.
func (d *nodeDevice) plainAddress() string {
	host, _, err := net.SplitHostPort(d.instanceAddress())
	if err != nil {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(d.env.info.Ports.MQTT))
}

// instanceHost is the device host of the instance's first IoTDA instance.
func (d *nodeDevice) instanceHost() (string, error) {
	for _, e := range d.env.info.Endpoints {
		if e.Platform == "iotda" && len(e.Hosts) > 0 {
			return e.Hosts[0], nil
		}
	}
	return "", usagef("the running instance has no IoTDA instance; its world needs one under iotda.instances")
}

func (d *nodeDevice) command(_ context.Context, c iotda.Command) (iotda.Response, error) {
	d.print.line("  command %s of %s: %v", c.Name, c.ServiceID, c.Paras)
	return iotda.Response{Paras: c.Paras}, nil
}

func (d *nodeDevice) set(_ context.Context, _ string, services []iotda.Service) error {
	for _, s := range services {
		d.print.line("  properties of %s are set: %v", s.ID, s.Properties)
	}
	return nil
}

// work takes messages and reports properties.
func (d *nodeDevice) work(ctx, preparing context.Context, device *iotda.Device) error {
	err := device.OnMessage(preparing, func(_ context.Context, m iotda.Message) { d.print.line("  message: %s", m.Raw) })
	if err != nil {
		return err
	}
	return d.pump(ctx, device, func(ctx context.Context, _ int, body string) error {
		var properties map[string]any
		if err := json.Unmarshal([]byte(body), &properties); err != nil {
			return usagef(noObject)
		}
		return device.Report(ctx, iotda.Service{ID: d.service, Properties: properties})
	})
}

func (d *nodeDevice) explain(err error) error {
	var refused *iotda.ConnectError
	return d.explainWith(err, errors.As(err, &refused))
}
