package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

func (a *app) addCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add one thing of your own to the running world, in one line",
		Example: `  fakecloud add hub plant-hub --link-to fakecloud-dps
  fakecloud add hub-device Flexy205 --cert Flexy205.crt
  fakecloud add ca plant-ca.pem --to dps/fakecloud-dps
  fakecloud add group plant --ca plant-ca
  fakecloud add enrollment meter-1 --sas
  fakecloud add product pump --property Pump.speed:int:0..3000
  fakecloud add iotda-device node1 --product pump
  fakecloud add tenant camexia --ca camexia.pem
  fakecloud add edge-child leaf-1`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.addHub(), a.addHubDevice(), a.addEnrollment(), a.addGroup(), a.addCA(), a.addProduct(), a.addIoTDADevice(), a.addTenant(), a.addEdgeChild())
	return cmd
}

// addFlags are what every add command has.
type addFlags struct{ print, replace bool }

func (f *addFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.print, "print", false, "only print the YAML, change nothing")
	cmd.Flags().BoolVar(&f.replace, "replace", false, "change what exists already under this name")
}

// free refuses a name that is taken, unless --replace was given.
func (f *addFlags) free(taken bool, what string) error {
	if taken && !f.replace {
		return usagef("%s exists already; add --replace to change it", what)
	}
	return nil
}

// newKey returns a fresh key as Azure generates them for devices: base64 of 32 random bytes (hub) or 64
// (DPS, Learn "Symmetric key attestation").
func newKey(size int) string {
	key := make([]byte, size)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	return base64.StdEncoding.EncodeToString(key)
}

const (
	hubKeySize = 32
	dpsKeySize = 64
)

// usualPolicies are the five that every new hub has, with fresh keys.
func usualPolicies() []world.Policy {
	policies := []world.Policy{
		{Name: "iothubowner", Rights: []string{"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"}},
		{Name: "service", Rights: []string{"ServiceConnect"}},
		{Name: "device", Rights: []string{"DeviceConnect"}},
		{Name: "registryRead", Rights: []string{"RegistryRead"}},
		{Name: "registryReadWrite", Rights: []string{"RegistryRead", "RegistryWrite"}},
	}
	for i := range policies {
		policies[i].PrimaryKey, policies[i].SecondaryKey = newKey(hubKeySize), newKey(hubKeySize)
	}
	return policies
}

func (a *app) addHub() *cobra.Command {
	var f addFlags
	var host, link string
	cmd := &cobra.Command{
		Use:   "hub NAME",
		Short: "Add an IoT Hub with the usual five policies and fresh keys",
		Example: `  fakecloud add hub plant-hub
  fakecloud add hub plant-hub --link-to fakecloud-dps`,
		Args: positional(cobra.ExactArgs(1)),
	}
	f.register(cmd)
	cmd.Flags().StringVar(&host, "host", "", "full host name, when it is not NAME.azure-devices.net")
	cmd.Flags().StringVar(&link, "link-to", "", "DPS instance that may assign devices to it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		i, err := a.instance(cmd.Context())
		if err != nil {
			return err
		}
		hub := world.Hub{Name: args[0], Host: host, Policies: usualPolicies()}
		_, taken := i.world.Hub(hub.Name)
		if err := f.free(taken, "the hub "+hub.Name); err != nil {
			return err
		}
		patch := &world.World{}
		patch.Azure.Hubs = []world.Hub{hub}
		if link != "" {
			dps, err := i.dps(link)
			if err != nil {
				return err
			}
			if !i.linked(dps, hub) {
				patch.Azure.DPS = []world.DPS{{Name: dps.Name, LinkedHubs: append(dps.LinkedHubs, hub.Name)}}
			}
		}
		if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
			return err
		}
		fmt.Fprintf(a.out, "\nservice connection string:\n  HostName=%s;SharedAccessKeyName=iothubowner;SharedAccessKey=%s\n",
			hub.HostName(), hub.Policies[0].PrimaryKey)
		fmt.Fprintf(a.out, "next: fakecloud add hub-device my-device --hub %s\n", hub.Name)
		return nil
	}
	return cmd
}

// linked reports whether a DPS instance may assign devices to the hub already.
func (i *instance) linked(dps world.DPS, hub world.Hub) bool {
	for _, name := range dps.LinkedHubs {
		if have, ok := i.world.Hub(name); ok && have.HostName() == hub.HostName() {
			return true
		}
	}
	return false
}
