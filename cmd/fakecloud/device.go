package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
)

func (a *app) deviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "device PLATFORM",
		Short:   "Run one simulated device, against fakecloud or any host",
		Example: "  fakecloud device azure\n  fakecloud device mindsphere\n  fakecloud device iotda\n  fakecloud device edge",
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("device wants a platform: azure, mindsphere, iotda or edge%s", help(cmd, nearCommands(cmd, args)))
		},
	}
	cmd.AddCommand(a.deviceAzureCommand(), a.deviceMindSphereCommand(), a.deviceIoTDACommand(), a.deviceEdgeCommand())
	return cmd
}

// azureDevice is `fakecloud device azure`.
type azureDevice struct {
	deviceBase
	idScope, key, groupKey, connection string
	webSocket                          bool
	upload                             string
	properties                         []string
}

func (a *app) deviceAzureCommand() *cobra.Command {
	d := &azureDevice{deviceBase: a.deviceBase("a SAS token")}
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
  fakecloud device azure --websocket --upload firmware.log
  fakecloud device azure --message '{"n":{n},"time":"{time}"}' --property alert=false --interval 500ms`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	d.flags(f, deviceTexts{
		host: "DPS host, or without --id-scope the hub (default: the running instance)", port: "port of DPS and hub (default 8883, with --websocket 443)",
		id:      "registration or device ID (default: the certificate's common name, or " + demoDevice + ")",
		message: `{"n":{n},"temperature":21.5}`, what: "body",
	})
	f.StringVar(&d.idScope, "id-scope", "", "ID scope of the DPS instance")
	f.StringVar(&d.key, "key", "", "the device's symmetric key, base64")
	f.StringVar(&d.groupKey, "group-key", "", "an enrollment group's symmetric key, base64; the device's is derived from it")
	f.StringVar(&d.connection, "connection-string", "", "the device's connection string; connects to the hub directly")
	f.BoolVar(&d.webSocket, "websocket", false, "MQTT over WebSocket, for networks that let only HTTPS out")
	f.StringVar(&d.upload, "upload", "", "file to upload through the hub by HTTPS once the messages are acknowledged")
	f.StringArrayVar(&d.properties, "property", nil, "application property NAME=VALUE (repeatable)")
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
	d.print.step("Connect to the hub %s as %s", hub.Host, hub.DeviceID)
	return d.work(ctx, hub, properties)
}

// work connects the device and sends its messages.
func (d *azureDevice) work(ctx context.Context, hub azure.HubConfig, properties map[string]string) error {
	connecting, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	hub.Trace = d.print.packet
	hub.OnState = d.print.state
	connection, err := azure.Dial(connecting, hub)
	if err != nil {
		return d.explain(err)
	}
	err = d.send(ctx, connection, properties)
	if err == nil && d.upload != "" && ctx.Err() == nil {
		err = d.uploadFile(ctx, connection, hub.DeviceID)
	}
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
	case d.connection != "" && (d.idScope != "" || d.host != "" || d.id != "" || d.key != "" || d.groupKey != ""):
		return nil, usagef("--connection-string says host, device and key; leave --host, --id-scope, --id, --key and --group-key out")
	case d.host != "" && d.idScope == "" && d.groupKey != "":
		return nil, usagef("--group-key is for DPS: give --id-scope as well")
	}
	if err := d.checkFlags(); err != nil {
		return nil, err
	}
	if d.upload != "" { // found out before the device does anything
		if info, err := os.Stat(d.upload); err != nil {
			return nil, usagef("--upload: %w", err)
		} else if !info.Mode().IsRegular() {
			return nil, usagef("--upload: %s is not a file", d.upload)
		}
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
	return d.pump(ctx, hub, func(ctx context.Context, _ int, body string) error {
		m := azure.Message{Body: []byte(body), Properties: properties}
		if strings.HasPrefix(strings.TrimSpace(body), "{") {
			m.ContentType, m.ContentEncoding = "application/json", "utf-8"
		}
		return hub.Send(ctx, m)
	})
}

// uploadFile uploads the file of --upload under its own name.
func (d *azureDevice) uploadFile(ctx context.Context, hub *azure.Hub, device string) error {
	file, err := os.Open(d.upload)
	if err != nil {
		return usagef("--upload: %w", err)
	}
	defer file.Close()
	name := filepath.Base(d.upload)
	d.print.step("Upload %s", d.upload)
	uploaded, err := hub.Upload(ctx, azure.File{Name: name, Content: file})
	if err != nil {
		return err
	}
	d.print.line("  %d bytes in %s of %s/%s", uploaded.Size, uploaded.Blob, uploaded.Host, uploaded.Container)
	if d.env.local {
		d.print.line("  read them by: fakecloud hub files %s %s", device, name)
	}
	return nil
}

// explain adds where to look further.
func (d *azureDevice) explain(err error) error {
	var refused *azure.ConnectError
	var answer *azure.ProvisionError
	var upload *azure.UploadError
	return d.explainWith(err, errors.As(err, &refused) || errors.As(err, &answer) || errors.As(err, &upload))
}
