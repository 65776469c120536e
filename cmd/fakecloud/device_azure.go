package main

import (
	"context"
	"log/slog"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// hubConfig provisions the device where that is asked for, and returns the connection to its hub.
func (d *azureDevice) hubConfig(ctx context.Context) (azure.HubConfig, error) {
	switch {
	case d.connection != "":
		return d.fromConnectionString(ctx)
	case d.host != "" && d.idScope == "":
		if err := d.remote(ctx, d.host, ""); err != nil {
			return azure.HubConfig{}, err
		}
		credential, err := d.credential(ctx)
		if err != nil {
			return azure.HubConfig{}, err
		}
		return d.hub(d.host, d.id, credential), nil
	case d.host != "":
		if err := d.remote(ctx, d.host, d.idScope); err != nil {
			return azure.HubConfig{}, err
		}
	default:
		if err := d.instance(ctx); err != nil {
			return azure.HubConfig{}, err
		}
	}
	return d.provision(ctx)
}

func (d *azureDevice) hub(host, id string, credential azure.Credential) azure.HubConfig {
	return azure.HubConfig{
		Host: host, Port: d.port, WebSocket: d.webSocket, DeviceID: id, Credential: credential, TLS: d.env.tls, Dial: d.env.dial,
		Product: "fakecloud device",
	}
}

func (d *azureDevice) fromConnectionString(ctx context.Context) (azure.HubConfig, error) {
	s, err := azure.ParseConnectionString(d.connection)
	if err != nil {
		return azure.HubConfig{}, usagef("--connection-string: %w", err)
	}
	cfg, err := s.HubConfig()
	if err != nil {
		return cfg, err
	}
	if s.X509 {
		if d.cert == "" {
			return cfg, usagef("the connection string has x509=true: give the certificate with --cert and --key-file")
		}
		if cfg.Credential, err = d.certificate(); err != nil {
			return cfg, err
		}
	}
	if err := d.behind(ctx, s.HostName, s.GatewayHost); err != nil {
		return cfg, err
	}
	own := d.hub(cfg.Host, cfg.DeviceID, cfg.Credential)
	own.ModuleID, own.GatewayHost = cfg.ModuleID, cfg.GatewayHost
	return own, nil
}

// remote sets up for host; that of DPS is every customer's, so the ID scope tells whether it is emulated.
func (d *azureDevice) remote(ctx context.Context, host, idScope string) error {
	return d.deviceBase.remote(ctx, host, func(e plane.Endpoint) bool { return idScope == "" || e.Facts["idScope"] == idScope })
}

// instance sets up for the running instance and says so.
func (d *azureDevice) instance(ctx context.Context) error {
	if err := d.useInstance(ctx); err != nil {
		return err
	}
	if d.idScope != "" {
		return nil
	}
	for _, e := range d.env.info.Endpoints {
		scope := e.Facts["idScope"]
		if e.Platform == "dps" && (d.idScope == "" || scope == demoScope) {
			d.idScope = scope
		}
	}
	if d.idScope == "" {
		return usagef("the running instance has no DPS instance; name a hub with --connection-string")
	}
	return nil
}

func (d *azureDevice) provision(ctx context.Context) (azure.HubConfig, error) {
	credential, err := d.credential(ctx)
	if err != nil {
		return azure.HubConfig{}, err
	}
	host := d.host
	if host == "" {
		host = azure.DefaultProvisioningHost
	}
	d.print.step("Register with DPS at %s, ID scope %s", host, d.idScope)
	assignment, err := azure.Provision(ctx, azure.ProvisionConfig{
		Host: host, Port: d.port, WebSocket: d.webSocket, IDScope: d.idScope, RegistrationID: d.id, Credential: credential,
		TLS: d.env.tls, Dial: d.env.dial, Timeout: d.timeout, Trace: d.print.packet,
		Log: slog.New(slog.NewTextHandler(d.app.err, nil)),
	})
	if err != nil {
		return azure.HubConfig{}, err
	}
	d.print.line("  assigned to %s as %s (%s)", assignment.Hub, assignment.DeviceID, assignment.Substatus)
	return d.hub(assignment.Hub, assignment.DeviceID, credential), nil
}

// credential takes what the flags name, else a fresh certificate from the running instance.
func (d *azureDevice) credential(ctx context.Context) (azure.Credential, error) {
	if d.cert != "" {
		return d.certificate()
	}
	if d.id == "" {
		d.id = demoDevice
	}
	switch {
	case d.groupKey != "":
		key, err := azure.DeriveDeviceKey(d.groupKey, d.id)
		if err != nil {
			return azure.Credential{}, usagef("--group-key: %w", err)
		}
		return azure.SymmetricKey(key)
	case d.key != "":
		credential, err := azure.SymmetricKey(d.key)
		if err != nil {
			return credential, usagef("--key: %w", err)
		}
		return credential, nil
	case !d.env.local:
		return azure.Credential{}, usagef("no credential for %s: give --key, --group-key, or --cert and --key-file", d.host)
	}
	cert, err := d.issue(ctx, d.id, keyECDSA)
	if err != nil {
		return azure.Credential{}, err
	}
	return azure.X509(cert), nil
}

// certificate reads --cert and --key-file.
func (d *azureDevice) certificate() (azure.Credential, error) {
	cert, err := d.certificateFiles()
	if err != nil {
		return azure.Credential{}, err
	}
	return azure.X509(cert), nil
}
