package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/world"
)

// edgeSwarm is `fakecloud swarm edge`.
type edgeSwarm struct {
	*swarm
	hub, key string
}

func (a *app) swarmEdgeCommand() *cobra.Command {
	s := &edgeSwarm{swarm: a.swarm()}
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Many children that send telemetry through an IoT Edge gateway",
		Long: "Without --host the children are added to the running instance's first gateway, which serves a hundred at a time unless " +
			"its maxClients says otherwise. Elsewhere the children must be " +
			"registered already, with one key for all.",
		Example: `  fakecloud swarm edge -n 50
  fakecloud swarm edge -n 20 --host mygateway.contoso.com --hub contoso.azure-devices.net --key "$KEY" --ca azure-iot-test-only.root.ca.cert.pem`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.start(cmd.Context()) },
	}
	s.flags(cmd, deviceTexts{host: "the gateway's host name (default: the running instance's)", port: "its port (default 8883)",
		message: `{"n":{n},"temperature":21.5}`, what: "body"})
	cmd.Flags().StringVar(&s.hub, "hub", "", "host name of the gateway's hub")
	cmd.Flags().StringVar(&s.key, "key", "", "symmetric key of all children, base64 (default in the running instance: a fresh one)")
	return cmd
}

func (s *edgeSwarm) start(ctx context.Context) error {
	if s.host != "" && (s.hub == "" || s.key == "") {
		return usagef("--host needs --hub and --key")
	}
	if err := s.check(); err != nil {
		return err
	}
	var err error
	if s.host != "" {
		err = s.remote(ctx, s.host, func(e plane.Endpoint) bool { return e.Platform == "edge" })
		if err == nil && s.env.local {
			err = s.trustGateways(ctx)
		}
	} else {
		err = s.register(ctx)
	}
	if err != nil {
		return err
	}
	credential, err := azure.SymmetricKey(s.key)
	if err != nil {
		return usagef("--key: %w", err)
	}
	return s.run(ctx, func(ctx context.Context, number int) (member, error) {
		hub, err := azure.Dial(ctx, azure.HubConfig{Host: s.hub, GatewayHost: s.host, Port: s.port, DeviceID: s.id(number), Credential: credential,
			TLS: s.env.tls, Dial: s.env.dial, Product: "fakecloud swarm", OnState: s.lost()})
		return azureMember{hub}, err
	})
}

// register adds the children to the running instance's gateway.
func (s *edgeSwarm) register(ctx context.Context) error {
	gateway, hub, err := s.firstGateway(ctx)
	if err != nil {
		return err
	}
	if s.key == "" {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
		s.key = base64.StdEncoding.EncodeToString(key)
	}
	s.host, s.hub = gateway.HostName, hub.HostName()
	if err := s.trustGateways(ctx); err != nil {
		return err
	}
	return s.addDevices(ctx, func(numbers []int) *world.World {
		devices := make([]world.Device, len(numbers))
		for k, number := range numbers {
			devices[k] = world.Device{DeviceID: s.id(number), Parent: gateway.EdgeDeviceID(), Authentication: &world.Authentication{
				Type: "sas", SymmetricKey: &world.SymmetricKey{PrimaryKey: s.key, SecondaryKey: s.key}}}
		}
		patch := &world.World{}
		patch.Azure.Hubs = []world.Hub{{Name: hub.Name, Devices: devices}}
		return patch
	})
}
