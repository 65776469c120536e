package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/world"
)

// azureSwarm is `fakecloud swarm azure`.
type azureSwarm struct {
	*swarm
	idScope, groupKey string
	x509              bool
}

func (a *app) swarmAzureCommand() *cobra.Command {
	s := &azureSwarm{swarm: a.swarm()}
	cmd := &cobra.Command{
		Use:   "azure",
		Short: "Many devices that register with DPS and send telemetry to their hubs",
		Long: "Without --host the devices register with the running instance's DPS, by the key of its group demo-symmetric; with --x509 by " +
			"certificates of demo-ca, or of --issuer.",
		Example: `  fakecloud swarm azure -n 500
  fakecloud swarm azure -n 200 --x509 --count 0 --duration 1m
  fakecloud swarm azure -n 20 --host global.azure-devices-provisioning.net --id-scope 0ne00A1B2C3 --group-key "$GROUP_KEY"`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.start(cmd.Context()) },
	}
	s.flags(cmd, deviceTexts{host: "DPS host (default: the running instance)", port: "port of DPS and hubs (default 8883)",
		message: `{"n":{n},"temperature":21.5}`, what: "body"})
	s.issuerFlags(cmd)
	cmd.Flags().StringVar(&s.idScope, "id-scope", "", "ID scope of the DPS instance (default: "+demoScope+")")
	cmd.Flags().StringVar(&s.groupKey, "group-key", "", "an enrollment group's symmetric key, base64 (default: that of demo-symmetric)")
	cmd.Flags().BoolVar(&s.x509, "x509", false, "the devices have certificates")
	return cmd
}

// azureMember is a hub connection of a swarm.
type azureMember struct{ *azure.Hub }

func (m azureMember) send(ctx context.Context, body string) error {
	return m.Send(ctx, azure.Message{Body: []byte(body), ContentType: "application/json", ContentEncoding: "utf-8"})
}

func (s *azureSwarm) start(ctx context.Context) error {
	switch {
	case s.x509 && s.groupKey != "":
		return usagef("--x509 and --group-key exclude each other")
	case s.issuer != "" && !s.x509:
		return usagef("--issuer is for --x509")
	case s.host != "" && s.idScope == "":
		return usagef("--host needs --id-scope")
	case s.host != "" && !s.x509 && s.groupKey == "":
		return usagef("no credential for %s: give --group-key, or --x509 with --issuer and --issuer-key", s.host)
	}
	if err := s.check(); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	credential, err := s.credentials()
	if err != nil {
		return err
	}
	return s.run(ctx, func(ctx context.Context, number int) (member, error) {
		c, err := credential(s.id(number))
		if err != nil {
			return nil, err
		}
		assignment, err := azure.Provision(ctx, azure.ProvisionConfig{Host: s.host, Port: s.port, IDScope: s.idScope,
			RegistrationID: s.id(number), Credential: c, TLS: s.env.tls, Dial: s.env.dial, Timeout: s.timeout})
		if err != nil {
			return nil, err
		}
		hub, err := azure.Dial(ctx, azure.HubConfig{Host: assignment.Hub, Port: s.port, DeviceID: assignment.DeviceID, Credential: c,
			TLS: s.env.tls, Dial: s.env.dial, Product: "fakecloud swarm", OnState: s.lost()})
		return azureMember{hub}, err
	})
}

// prepare finds the servers.
func (s *azureSwarm) prepare(ctx context.Context) error {
	if s.host != "" {
		return s.remote(ctx, s.host, func(e plane.Endpoint) bool { return e.Facts["idScope"] == s.idScope })
	}
	if s.idScope == "" {
		s.idScope = demoScope
	}
	return s.useInstance(ctx)
}

// credentials returns what proves a device's identity, by its id.
func (s *azureSwarm) credentials() (func(id string) (azure.Credential, error), error) {
	if s.x509 {
		mint, err := s.mint(pki.ECDSA)
		return func(id string) (azure.Credential, error) {
			cert, err := mint(id)
			return azure.X509(cert), err
		}, err
	}
	if s.groupKey == "" {
		s.groupKey = demoGroup()
	}
	if _, err := azure.DeriveDeviceKey(s.groupKey, s.prefix); err != nil {
		return nil, usagef("--group-key: %w", err)
	}
	return func(id string) (azure.Credential, error) {
		key, err := azure.DeriveDeviceKey(s.groupKey, id)
		if err != nil {
			return azure.Credential{}, err
		}
		return azure.SymmetricKey(key)
	}, nil
}

// demoGroup is the key of the default world's group demo-symmetric.
func demoGroup() string {
	for _, d := range world.Default().Azure.DPS {
		for _, g := range d.Groups {
			if k := g.Attestation.SymmetricKey; k != nil && d.IDScope == demoScope {
				return k.PrimaryKey
			}
		}
	}
	return ""
}

// mindSwarm is `fakecloud swarm mindsphere`.
type mindSwarm struct {
	*swarm
	region, tenant, idScope, model string
}

func (a *app) swarmMindSphereCommand() *cobra.Command {
	s := &mindSwarm{swarm: a.swarm()}
	cmd := &cobra.Command{
		Use:   "mindsphere",
		Short: "Many agents that are onboarded, make their assets and send time series",
		Long: "Without --host the agents are those of the running instance's tenant " + demoTenant + ", or " + demoTenantEU2 +
			" in region eu2, with certificates of demo-ca. Connecting includes the dropped first connections (rules MS-1 and MS-2 in the " +
			"journal) and the model.",
		Example: `  fakecloud swarm mindsphere -n 100
  fakecloud swarm mindsphere -n 100 --region eu2 --model none
  fakecloud swarm mindsphere -n 10 --host mindconnectmqtt.eu1.mindsphere.io --tenant camexia --issuer camexia.pem --issuer-key camexia.key`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.start(cmd.Context()) },
	}
	s.flags(cmd, deviceTexts{host: "the broker, or DPS in region eu2 (default: the running instance)", port: "its port (default 8883)",
		message: "21.5", what: "value of the data point " + agentDataPoint})
	s.issuerFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.region, "region", "eu1", "eu1 or eu2")
	f.StringVar(&s.tenant, "tenant", "", "the tenant (default: "+demoTenant+", or "+demoTenantEU2+" in region eu2)")
	f.StringVar(&s.idScope, "id-scope", "", "ID scope of DPS in region eu2 (default: "+demoScopeEU2+")")
	f.StringVar(&s.model, "model", "v4", "which model each agent sends before its values: v4 or none")
	offer(cmd, "region", "eu1", "eu2")
	offer(cmd, "model", "v4", "none")
	return cmd
}

// mindMember is an agent of a swarm.
type mindMember struct{ *mindsphere.Agent }

func (m mindMember) send(ctx context.Context, body string) error {
	return m.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: agentDataPoint, Value: body}}})
}

func (s *mindSwarm) start(ctx context.Context) error {
	if err := errors.Join(oneOf("region", s.region, "eu1", "eu2"), oneOf("model", s.model, "v4", "none")); err != nil {
		return err
	}
	if s.host != "" && (s.tenant == "" || s.issuer == "" || (s.region == "eu2") != (s.idScope != "")) {
		return usagef("--host needs --tenant, --issuer and --issuer-key, and in region eu2 --id-scope")
	}
	if err := s.check(); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	mint, err := s.mint(pki.ECDSA)
	if err != nil {
		return err
	}
	return s.run(ctx, func(ctx context.Context, number int) (member, error) {
		name := s.id(number)
		if s.region == "eu2" {
			name = s.tenant + "_" + name
		}
		cert, err := mint(name)
		if err != nil {
			return nil, err
		}
		agent, err := mindsphere.Dial(ctx, mindsphere.Config{Region: mindsphere.Region(s.region), Tenant: s.tenant, Certificate: cert,
			Host: s.host, Port: s.port, IDScope: s.idScope, CleanSession: true, TLS: s.env.tls, Dial: s.env.dial, OnState: s.lost()})
		if err != nil {
			return nil, err
		}
		if s.model == "v4" {
			if _, err := agent.ApplyModel(ctx, agentModel(s.tenant, agent.ClientID()), nil); err != nil {
				return nil, errors.Join(err, agent.Close(ctx))
			}
		}
		return mindMember{agent}, nil
	})
}

// prepare finds the servers.
func (s *mindSwarm) prepare(ctx context.Context) error {
	d := mindDevice{region: s.region, tenant: s.tenant, idScope: s.idScope}
	if s.host != "" {
		return s.remote(ctx, s.host, d.emulated)
	}
	d.defaults()
	s.tenant, s.idScope = d.tenant, d.idScope
	return s.useInstance(ctx)
}

// iotdaSwarm is `fakecloud swarm iotda`.
type iotdaSwarm struct {
	*swarm
	product, secret, service, sign string
}

func (a *app) swarmIoTDACommand() *cobra.Command {
	s := &iotdaSwarm{swarm: a.swarm()}
	cmd := &cobra.Command{
		Use:   "iotda",
		Short: "Many devices that report properties",
		Long: "Without --host the devices PRODUCT_PREFIX1, PRODUCT_PREFIX2, … are added to the running instance's world first. " +
			"Elsewhere they must be registered already, with one secret for all.",
		Example: `  fakecloud swarm iotda -n 500
  fakecloud swarm iotda -n 20 --host x.iot-mqtts.cn-north-4.myhuaweicloud.com --product 5e25cd --prefix node --secret "$SECRET"`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.start(cmd.Context()) },
	}
	s.flags(cmd, deviceTexts{host: "the platform's access address (default: the running instance)", port: "its port (default 8883)",
		message: `{"batteryLevel":80}`, what: "properties of the service, as a JSON object"})
	f := cmd.Flags()
	f.StringVar(&s.product, "product", "demo", "product of the devices")
	f.StringVar(&s.secret, "secret", "", "secret of all devices (default in the running instance: a fresh one)")
	f.StringVar(&s.service, "service", "Battery", "service whose properties are reported")
	f.StringVar(&s.sign, "sign", "0", "sign type: 0 the time stamp is not judged, 1 it must be the platform's hour, 2 as 1 with SM3")
	offer(cmd, "sign", "0", "1", "2")
	return cmd
}

// iotdaMember is a device of a swarm.
type iotdaMember struct {
	*iotda.Device
	service string
}

func (m iotdaMember) send(ctx context.Context, body string) error {
	var properties map[string]any
	if err := json.Unmarshal([]byte(body), &properties); err != nil {
		return errors.New(noObject)
	}
	return m.Report(ctx, iotda.Service{ID: m.service, Properties: properties})
}

func (s *iotdaSwarm) start(ctx context.Context) error {
	sign, err := signType(s.sign)
	if err != nil {
		return err
	}
	if s.host != "" && s.secret == "" {
		return usagef("no credential for %s: give --secret", s.host)
	}
	if err := errors.Join(s.check(), s.jsonMessage()); err != nil {
		return err
	}
	host := s.host
	if host != "" {
		err = s.remote(ctx, host, func(e plane.Endpoint) bool { return e.Platform == "iotda" })
	} else {
		host, err = s.register(ctx)
	}
	if err != nil {
		return err
	}
	return s.run(ctx, func(ctx context.Context, number int) (member, error) {
		d, err := iotda.Dial(ctx, iotda.Config{Host: host, Port: s.port, DeviceID: s.product + "_" + s.id(number), Credential: iotda.Secret(s.secret),
			Sign: sign, TLS: s.env.tls, Dial: s.env.dial, OnState: s.lost()})
		return iotdaMember{d, s.service}, err
	})
}

// register adds the devices to the running instance and returns its device host.
func (s *iotdaSwarm) register(ctx context.Context) (string, error) {
	if err := s.useInstance(ctx); err != nil {
		return "", err
	}
	i, err := s.app.instance(ctx)
	if err != nil {
		return "", err
	}
	iot, err := i.iotda("")
	if err != nil {
		return "", err
	}
	if s.secret == "" {
		s.secret = newDeviceSecret()
	}
	err = s.addDevices(ctx, func(numbers []int) *world.World {
		devices := make([]world.IoTDADevice, len(numbers))
		for k, number := range numbers {
			devices[k] = world.IoTDADevice{DeviceID: s.product + "_" + s.id(number), ProductID: s.product, NodeID: s.id(number), Secret: s.secret}
		}
		patch := &world.World{}
		patch.IoTDA.Instances = []world.IoTDAInstance{{Name: iot.Name, Devices: devices}}
		return patch
	})
	if err != nil {
		return "", err
	}
	return (&nodeDevice{deviceBase: s.deviceBase}).instanceHost()
}
