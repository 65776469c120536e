package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// The tenants of the default world, and what the simulated agent measures.
const (
	demoTenant     = "demo"
	demoTenantEU2  = "demo2"
	demoScopeEU2   = "0ne00FAKE02"
	agentDataPoint = "temperature"
)

// mindDevice is `fakecloud device mindsphere`.
type mindDevice struct {
	deviceBase
	region, tenant, idScope, model string
}

func (a *app) deviceMindSphereCommand() *cobra.Command {
	d := &mindDevice{deviceBase: a.deviceBase("a signed token")}
	cmd := &cobra.Command{
		Use:   "mindsphere",
		Short: "An agent that is onboarded, makes its asset, and sends time series",
		Long: "Without flags: gets a certificate of demo-ca from the running instance, is onboarded as agent " + demoDevice +
			" of tenant " + demoTenant + " in region eu1, where the first connection is dropped, makes an asset by a model of " +
			"version 4, sends values of the data point " + agentDataPoint + ", and answers commands.\n\n" +
			"In region eu2 it registers with DPS and connects to the hub that DPS names.",
		Example: `  fakecloud device mindsphere
  fakecloud device mindsphere --region eu2
  fakecloud device mindsphere --tenant camexia --cert pump-7_chain.pem --key-file pump-7.key --count 0
  fakecloud device mindsphere --host mindconnectmqtt.eu1.mindsphere.io --tenant camexia --cert pump-7_chain.pem --key-file pump-7.key --model none`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	d.flags(f, deviceTexts{
		host: "the broker, or DPS in region eu2 (default: the running instance)", port: "its port (default 8883)",
		id:      "the device's name, without the tenant (default: from the certificate, or " + demoDevice + ")",
		message: "21.5", what: "value of the data point " + agentDataPoint,
	})
	f.StringVar(&d.region, "region", "eu1", "eu1, eu2 or private")
	f.StringVar(&d.tenant, "tenant", "", "the tenant (default: "+demoTenant+", or "+demoTenantEU2+" in region eu2)")
	f.StringVar(&d.idScope, "id-scope", "", "ID scope of DPS in region eu2 (default: "+demoScopeEU2+")")
	f.StringVar(&d.model, "model", "v4", "which model to send before the values: v3, v4 or none")
	offer(cmd, "region", "eu1", "eu2", "private")
	offer(cmd, "model", "v3", "v4", "none")
	return cmd
}

func (d *mindDevice) run(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	cfg, err := d.config(ctx)
	if err != nil {
		return err
	}
	agent, err := d.dial(ctx, cfg)
	if err != nil {
		return d.explain(err)
	}
	err = d.work(ctx, agent)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if closeErr := agent.Close(closing); err == nil {
		err = closeErr
	}
	return d.explain(err)
}

func (d *mindDevice) check() error {
	if err := errors.Join(oneOf("region", d.region, "eu1", "eu2", "private"), oneOf("model", d.model, "v3", "v4", "none")); err != nil {
		return err
	}
	switch {
	case d.region != "eu2" && d.idScope != "":
		return usagef("--id-scope is for region eu2")
	case d.host != "" && d.tenant == "":
		return usagef("--host needs --tenant")
	case d.host != "" && d.region == "eu2" && d.idScope == "":
		return usagef("--host in region eu2 needs --id-scope: it is on the page Own Certificates of Asset Manager")
	case d.host != "" && d.cert == "":
		return usagef("--host needs --cert and --key-file")
	}
	return d.checkFlags()
}

// config says where the agent connects, and as whom.
func (d *mindDevice) config(ctx context.Context) (mindsphere.Config, error) {
	if d.host != "" {
		if err := d.remote(ctx, d.host, d.emulated); err != nil {
			return mindsphere.Config{}, err
		}
	} else if err := d.useInstance(ctx); err != nil {
		return mindsphere.Config{}, err
	}
	d.defaults()
	cert, err := d.certificate(ctx)
	if err != nil {
		return mindsphere.Config{}, err
	}
	return mindsphere.Config{
		Region: mindsphere.Region(d.region), Tenant: d.tenant, Certificate: cert, Host: d.brokerHost(), Port: d.port, IDScope: d.idScope,
		TLS: d.env.tls, Dial: d.env.dial, Trace: d.print.packet, OnState: d.state, Log: slog.New(slog.DiscardHandler),
	}, nil
}

// defaults are the tenants of the default world.
func (d *mindDevice) defaults() {
	switch {
	case d.tenant != "":
	case d.region == "eu2":
		d.tenant = demoTenantEU2
	default:
		d.tenant = demoTenant
	}
	if d.region == "eu2" && d.idScope == "" {
		d.idScope = demoScopeEU2
	}
}

// emulated tells the tenant, or in region eu2 its DPS, among the running instance's endpoints.
func (d *mindDevice) emulated(e plane.Endpoint) bool {
	if d.region == "eu2" {
		return e.Facts["idScope"] == d.idScope
	}
	return e.Platform == "mindsphere" && e.Name == d.tenant
}

// brokerHost is the private cloud's own host, whose name the running instance tells.
func (d *mindDevice) brokerHost() string {
	if d.host != "" || d.region != "private" {
		return d.host
	}
	for _, e := range d.env.info.Endpoints {
		if e.Platform == "mindsphere" && e.Name == d.tenant && len(e.Hosts) > 0 {
			return e.Hosts[0]
		}
	}
	return "127.0.0.1"
}

// certificate takes that of --cert, else a fresh one from the running instance.
func (d *mindDevice) certificate(ctx context.Context) (tls.Certificate, error) {
	if d.cert != "" {
		return d.certificateFiles()
	}
	name, key := d.id, keyECDSA
	if name == "" {
		name = demoDevice
	}
	switch d.region {
	case "eu2":
		name = d.tenant + "_" + name
	case "private":
		key = keyRSA // it signs the token
	}
	return d.issue(ctx, name, key)
}

func (d *mindDevice) dial(ctx context.Context, cfg mindsphere.Config) (*mindsphere.Agent, error) {
	d.print.step("Onboard the agent in region %s, tenant %s", d.region, d.tenant)
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return mindsphere.Dial(ctx, cfg)
}

// state says what the drop of the first connection means.
func (d *mindDevice) state(s mindsphere.State, err error) {
	if s == mindsphere.Disconnected && err != nil {
		d.print.line("  disconnected: %v; trying again", err)
		if d.region == "eu1" {
			d.print.line("  (eu1 drops connections without a word while it provisions a new agent)")
		}
	}
}

// work makes the asset, takes commands and sends values.
func (d *mindDevice) work(ctx context.Context, agent *mindsphere.Agent) error {
	preparing, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.sendModel(preparing, agent); err != nil {
		return err
	}
	err := agent.OnCommand(preparing, func(_ context.Context, c mindsphere.Command) (any, error) {
		d.print.line("  command %s: %s", c.ID, c.Payload)
		return map[string]any{"echo": c.Payload}, nil
	})
	if err != nil {
		return err
	}
	return d.pump(ctx, agent, func(ctx context.Context, _ int, body string) error {
		return agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: agentDataPoint, Value: body}}})
	})
}

func (d *mindDevice) sendModel(ctx context.Context, agent *mindsphere.Agent) error {
	if d.model == "none" {
		return nil
	}
	d.print.step("Send a model of version %s: without it, values are lost in silence", strings.TrimPrefix(d.model, "v"))
	m := agentModel(d.tenant, agent.ClientID())
	if d.model == "v4" {
		_, err := agent.ApplyModel(ctx, m, nil)
		return err
	}
	m.ExternalID = "fakecloud_device"
	if _, err := agent.CreateModel(ctx, m); err != nil {
		return err
	}
	_, err := agent.Instantiate(ctx, m.ExternalID, nil, nil)
	return err
}

// agentModel is an asset with one variable.
func agentModel(tenant, name string) mindsphere.Model {
	return mindsphere.Model{
		AspectTypes: []mindsphere.AspectType{{ID: tenant + ".fakecloud_climate", Name: "climate", Category: "dynamic", Scope: "private",
			Variables: []mindsphere.Variable{{Name: agentDataPoint, DataType: "DOUBLE", Unit: "C", QualityCode: true}}}},
		AssetTypes: []mindsphere.AssetType{{ID: tenant + ".fakecloud_device", Name: "device", ParentTypeID: "core.basicasset", Instantiable: true,
			Scope: "private", Aspects: []mindsphere.Aspect{{Name: "climate", AspectTypeID: tenant + ".fakecloud_climate"}}}},
		Assets: []mindsphere.Asset{{ReferenceID: "device", TypeID: tenant + ".fakecloud_device", Name: name}},
		Mappings: []mindsphere.Mapping{{DataPointID: agentDataPoint, AssetReferenceID: "device", AspectName: "climate",
			VariableName: agentDataPoint}},
	}
}

func (d *mindDevice) explain(err error) error {
	var dropped *mindsphere.DroppedError
	var refused *mindsphere.ConnectError
	var job *mindsphere.JobError
	var answer *azure.ProvisionError
	var hub *azure.ConnectError
	switch {
	case err == nil:
		return nil
	case d.cert != "" && errors.As(err, &dropped):
		err = fmt.Errorf("%w%s", err, d.nearName())
	}
	return d.explainWith(err, errors.As(err, &dropped) || errors.As(err, &refused) || errors.As(err, &job) ||
		errors.As(err, &answer) || errors.As(err, &hub))
}

// nearName tells of a common name that has the tenant in it already, as only region eu2 wants it.
func (d *mindDevice) nearName() string {
	cert, err := d.certificateFiles()
	if err != nil {
		return ""
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil || !strings.HasPrefix(leaf.Subject.CommonName, d.tenant+"_") {
		return ""
	}
	return fmt.Sprintf("\nthe certificate's common name %s begins with the tenant, as in region eu2: in eu1 it is the device's name alone",
		leaf.Subject.CommonName)
}
