package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// leafDevice is `fakecloud device edge`: a hub's device behind a gateway.
type leafDevice struct {
	azureDevice
	hubHost string
}

func (a *app) deviceEdgeCommand() *cobra.Command {
	d := &leafDevice{azureDevice: azureDevice{deviceBase: a.deviceBase("a SAS token")}}
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "A child of an IoT Edge gateway that sends telemetry through it",
		Long: "Without flags: connects " + demoLeaf + " of the running instance's default world to the instance's gateway and trusts the " +
			"gateways' root. `fakecloud add edge-child` adds other children; give their key, or their certificate.\n\n" +
			"Elsewhere name gateway and hub with --host and --hub, or give a connection string that has GatewayHostName, " +
			"and the root of the gateway's chain with --ca.",
		Example: `  fakecloud device edge
  fakecloud device edge --id leaf-1 --key "$KEY" --count 0
  fakecloud device edge --id Flexy205 --cert Flexy205.crt --key-file Flexy205.key
  fakecloud device edge --connection-string "HostName=…;DeviceId=…;SharedAccessKey=…;GatewayHostName=…" --ca azure-iot-test-only.root.ca.cert.pem`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	d.flags(f, deviceTexts{
		host: "the gateway's host name (default: the running instance's)", port: "its port (default 8883)",
		id:      "device ID (default: the certificate's common name, or " + demoLeaf + ")",
		message: `{"n":{n},"temperature":21.5}`, what: "body",
	})
	f.StringVar(&d.hubHost, "hub", "", "host name of the gateway's hub")
	f.StringVar(&d.key, "key", "", "the device's symmetric key, base64 (default: that of "+demoLeaf+" and of scenario devices)")
	f.StringVar(&d.connection, "connection-string", "", "the device's connection string, with GatewayHostName")
	f.StringArrayVar(&d.properties, "property", nil, "application property NAME=VALUE (repeatable)")
	return cmd
}

func (d *leafDevice) run(ctx context.Context) error {
	properties, err := d.check()
	if err != nil {
		return err
	}
	cfg, err := d.config(ctx)
	if err != nil {
		return d.explain(err)
	}
	d.print.step("Connect to the gateway %s as %s of %s", cfg.GatewayHost, cfg.DeviceID, cfg.Host)
	return d.work(ctx, cfg, properties)
}

// check finds flags that do not go together, beside those of a device without a gateway.
func (d *leafDevice) check() (map[string]string, error) {
	switch {
	case d.connection != "" && (d.host != "" || d.hubHost != "" || d.id != "" || d.key != ""):
		return nil, usagef("--connection-string says gateway, hub, device and key; leave --host, --hub, --id and --key out")
	case (d.host == "") != (d.hubHost == ""):
		return nil, usagef("--host and --hub go together: the gateway's host name and its hub's")
	case d.host != "" && d.key == "" && d.cert == "":
		return nil, usagef("no credential for %s: give --key, or --cert and --key-file", d.host)
	}
	return d.azureDevice.check()
}

// config says where the device connects, and as whom.
func (d *leafDevice) config(ctx context.Context) (azure.HubConfig, error) {
	if d.connection != "" {
		cfg, err := d.fromConnectionString(ctx)
		if err == nil && cfg.GatewayHost == "" {
			err = usagef("--connection-string has no GatewayHostName; without a gateway it is fakecloud device azure")
		}
		return cfg, err
	}
	var err error
	if d.host != "" {
		err = d.behind(ctx, d.hubHost, d.host)
	} else {
		err = d.gatewayOfInstance(ctx)
	}
	if err != nil {
		return azure.HubConfig{}, err
	}
	credential, err := d.ownCredential()
	if err != nil {
		return azure.HubConfig{}, err
	}
	cfg := d.hub(d.hubHost, d.id, credential)
	cfg.GatewayHost = d.host
	return cfg, nil
}

// gatewayOfInstance takes gateway and hub from the running instance.
func (d *leafDevice) gatewayOfInstance(ctx context.Context) error {
	gateway, hub, err := d.firstGateway(ctx)
	if err != nil {
		return err
	}
	d.host, d.hubHost = gateway.HostName, hub.HostName()
	return d.trustGateways(ctx)
}

// firstGateway sets up for the running instance and returns its first gateway with its hub.
func (d *deviceBase) firstGateway(ctx context.Context) (world.EdgeGateway, world.Hub, error) {
	if err := d.useInstance(ctx); err != nil {
		return world.EdgeGateway{}, world.Hub{}, err
	}
	i, err := d.app.instance(ctx)
	if err != nil {
		return world.EdgeGateway{}, world.Hub{}, err
	}
	gateway, err := i.gateway("")
	if err != nil {
		return world.EdgeGateway{}, world.Hub{}, err
	}
	hub, err := i.hub(gateway.Hub)
	return gateway, hub, err
}

// ownCredential takes what the flags name, else the key of the default world's child.
func (d *leafDevice) ownCredential() (azure.Credential, error) {
	if d.cert != "" {
		return d.certificate()
	}
	if d.id == "" {
		d.id = demoLeaf
	}
	if d.key == "" {
		if _, known := fault.FindScenario(d.id); !known && d.id != demoLeaf {
			return azure.Credential{}, usagef("no credential for %s: give --key, or --cert and --key-file", d.id)
		}
		d.key = demoKey
	}
	credential, err := azure.SymmetricKey(d.key)
	if err != nil {
		return credential, usagef("--key: %w", err)
	}
	return credential, nil
}

// behind sets up for a hub's host, or for a gateway before it where one is named.
func (d *azureDevice) behind(ctx context.Context, hub, gateway string) error {
	if err := d.remote(ctx, hub, ""); err != nil || gateway == "" || !d.env.local {
		return err
	}
	for _, e := range d.env.info.Endpoints {
		if e.Platform == "edge" && slices.ContainsFunc(e.Hosts, func(h string) bool { return strings.EqualFold(h, gateway) }) {
			return d.trustGateways(ctx)
		}
	}
	return nil
}

// trustGateways takes the gateways' root from the instance unless --ca gives it: it is not the server root.
func (d *deviceBase) trustGateways(ctx context.Context) error {
	if d.ca != "" {
		return nil // taken already
	}
	text, err := d.app.adminBytes(ctx, adminRequest{Path: "/api/v1/pki/" + pki.EdgeRootFile})
	if err != nil {
		return err
	}
	d.env.tls, err = rootsOf(text)
	return err
}
