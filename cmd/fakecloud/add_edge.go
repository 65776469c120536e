package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

// gateway finds a gateway of the running world: by a host name, or the only one.
func (i *instance) gateway(name string) (world.EdgeGateway, error) {
	all := i.world.Edge.Gateways
	var names []string
	for _, g := range all {
		names = append(names, g.HostName)
		if slices.ContainsFunc(append([]string{g.HostName}, g.Aliases...), func(n string) bool { return strings.EqualFold(n, name) }) {
			return g, nil
		}
	}
	switch {
	case name == "" && len(all) == 1:
		return all[0], nil
	case name == "" && len(all) > 1:
		return world.EdgeGateway{}, usagef("--gateway is needed: there are %s", strings.Join(names, ", "))
	case len(all) == 0:
		return world.EdgeGateway{}, usagef("the running world has no gateway; add one under edge.gateways")
	}
	return world.EdgeGateway{}, usagef("no gateway %q; there are %s", name, strings.Join(names, ", "))
}

func (a *app) addEdgeChild() *cobra.Command {
	f := &hubDeviceFlags{}
	var gateway string
	cmd := &cobra.Command{
		Use:   "edge-child ID",
		Short: "Add a device behind an IoT Edge gateway, or make a hub's device a child of it",
		Long: `Add a device behind an IoT Edge gateway: it is made in the gateway's hub with the gateway as its parent, and
the gateway knows it at once. A device that the hub has already keeps its credential and gets the parent.`,
		Example: `  fakecloud add edge-child leaf-1
  fakecloud add edge-child Flexy205 --cert Flexy205.crt
  fakecloud add edge-child demo-sas --gateway mygateway.contoso.com`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddEdgeChild(cmd, args[0], gateway, f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&gateway, "gateway", "", "host name of the gateway (default: the only one)")
	flags.StringVar(&f.cert, "cert", "", "certificate file whose thumbprint is registered")
	flags.StringArrayVar(&f.thumbprint, "thumbprint", nil, "SHA-1 or SHA-256 thumbprint; twice for a secondary one")
	flags.BoolVar(&f.ca, "ca", false, "certificates that lead to the gateway's trust bundle")
	flags.StringVar(&f.key, "key", "", "primary key, base64 of 16 to 64 bytes; the secondary one is made")
	flags.BoolVar(&f.sas, "sas", false, "fresh keys (the default)")
	return cmd
}

func (a *app) runAddEdgeChild(cmd *cobra.Command, id, name string, f *hubDeviceFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	g, err := i.gateway(name)
	if err != nil {
		return err
	}
	hub, err := i.hub(g.Hub)
	if err != nil {
		return err
	}
	device := world.Device{DeviceID: id, Parent: g.EdgeDeviceID()}
	at := slices.IndexFunc(hub.Devices, func(d world.Device) bool { return d.DeviceID == id })
	switch {
	case at >= 0 && hub.Devices[at].Parent == device.Parent && !f.replace:
		return usagef("device %s is a child of %s already; add --replace to change its credential", id, g.HostName)
	case at < 0 || f.replace:
		if device.Authentication, err = a.authentication(id, f); err != nil {
			return err
		}
	default:
		device.Authentication = hub.Devices[at].Authentication
	}
	patch := &world.World{}
	patch.Azure.Hubs = []world.Hub{{Name: hub.Name, Devices: []world.Device{device}}}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	connection := "HostName=" + hub.HostName() + ";DeviceId=" + id
	if k := device.Authentication; k != nil && k.SymmetricKey != nil {
		connection += ";SharedAccessKey=" + k.SymmetricKey.PrimaryKey
	} else {
		connection += ";x509=true"
	}
	fmt.Fprintf(a.out, "\nconnection string:\n  %s;GatewayHostName=%s\n", connection, g.HostName)
	fmt.Fprintln(a.out, "trust: azure-iot-test-only.root.ca.cert.pem in the data directory's pki (fakecloud pki edge writes the whole chain)")
	return nil
}
