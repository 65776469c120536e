package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

// targets are what `env` and `trust` know to write for.
var targets = []string{"python", "node", "java", "dotnet", "c", "az", "mosquitto", "huawei", "github"}

// defaultRegistrationID is the device that DPS variables are for where nobody names one.
const defaultRegistrationID = "device-001"

// variable is one environment variable with what it is for.
type variable struct{ name, value, note string }

// envFlags choose the device and the way to it.
type envFlags struct {
	target, device, id, caFile string
	vendorNames                bool
}

func (f *envFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.target, "for", "", strings.Join(targets, ", "))
	offer(cmd, "for", targets...)
	flags.StringVar(&f.caFile, "ca-file", "", "write the server root to this file and use it")
}

func (a *app) envCommand() *cobra.Command {
	f := &envFlags{}
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the environment that an SDK's samples want, connection strings included",
		Long: `Print the environment that an SDK's samples want: addresses, ID scope, connection strings and the server
root. By default everything goes to the instance's address, with no name resolution needed; with
--vendor-names to the vendors' names, which must lead here (fakecloud hosts).`,
		Example: `  eval "$(fakecloud env --for python)"
  fakecloud env --for node --device demo-sas --registration-id device-001
  fakecloud env --for github >> "$GITHUB_ENV"`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runEnv(cmd.Context(), f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.device, "device", "", "device to connect as: a hub device with a key, for huawei one of IoTDA (default: demo-sas, demo_node1, or the first)")
	flags.StringVar(&f.id, "registration-id", defaultRegistrationID, "registration id for DPS; its key is derived from the first group with a key")
	flags.BoolVar(&f.vendorNames, "vendor-names", false, "use the vendors' names instead of the address")
	return cmd
}

// checkTarget refuses a target that is not known, or not built yet.
func (f *envFlags) checkTarget() error {
	switch f.target {
	case "iotda":
		f.target = "huawei"
	case "csharp", ".net", "net":
		f.target = "dotnet"
	case "javascript", "js", "nodejs":
		f.target = "node"
	case "":
		return usagef("say for what: --for %s", strings.Join(targets, ", "))
	}
	return oneOf("for", f.target, targets...)
}

func (a *app) runEnv(ctx context.Context, f *envFlags) error {
	if err := f.checkTarget(); err != nil {
		return err
	}
	i, err := a.instance(ctx)
	if err != nil {
		return err
	}
	root, err := a.serverRoot(i, f)
	if err != nil {
		return err
	}
	variables, err := i.environment(f, root)
	if err != nil {
		return err
	}
	a.warn(i, f)
	for _, v := range variables {
		if f.target == "github" {
			fmt.Fprintf(a.out, "%s=%s\n", v.name, v.value)
			continue
		}
		if v.note != "" {
			fmt.Fprintf(a.out, "# %s\n", v.note)
		}
		fmt.Fprintf(a.out, "export %s=%s\n", v.name, quoteShell(v.value))
	}
	if f.target == "mosquitto" {
		a.mosquittoLines(i, f)
	}
	return nil
}

// mosquittoLines prints whole commands: one that registers, one that sends telemetry.
func (a *app) mosquittoLines(i *instance, f *envFlags) {
	known, err := i.facts(f)
	if err != nil {
		return
	}
	if known.key != "" {
		fmt.Fprintf(a.out, "# DPS wants the subscription and the request on one connection, which mosquitto's programs cannot do; instead:\n%s\n",
			i.registerLine(known.scope, known.id, known.key, ""))
	}
	hub, err := i.hub("")
	if err != nil {
		return
	}
	if device, hub, err := i.keyDevice(hub, f.device); err == nil {
		fmt.Fprintf(a.out, "# send telemetry to IoT Hub:\n%s\n", i.mosquittoHub(hub, device.DeviceID, device.Authentication, ""))
	}
	for _, t := range i.world.MindSphere.Tenants {
		if t.Region == "" || t.Region == "eu1" {
			fmt.Fprintf(a.out, "# a MindSphere agent of tenant %s (fakecloud pki device pump-7); run it twice, as the first connection is dropped:\n%s\n", t.Name, i.mosquittoAgent(t.Name))
			return
		}
	}
}

// warn says on stderr what the printed lines cannot mend.
func (a *app) warn(i *instance, f *envFlags) {
	if !i.running {
		fmt.Fprintln(a.err, "note: no instance runs; this is for the default world on the default ports")
	}
	if i.mqtts != 8883 && f.target != "mosquitto" && f.target != "huawei" {
		fmt.Fprintf(a.err, "note: the Azure SDKs dial port 8883, but MQTT over TLS is on %d here; publish it as 8883, or use the proxy port %d\n", i.mqtts, i.proxy)
	}
	if f.vendorNames {
		fmt.Fprintln(a.err, "note: the vendors' names must lead here, or the clients reach the real cloud: fakecloud hosts")
	}
}

// serverRoot returns the file with the server root, written now when --ca-file asks for it.
func (a *app) serverRoot(i *instance, f *envFlags) (string, error) {
	if f.caFile == "" {
		name, ok := i.rootFile()
		if !ok && i.running {
			fmt.Fprintf(a.err, "note: the server root is not on this machine yet; add --ca-file %s to write it\n", filepath.Base(name))
		}
		return name, nil
	}
	if !i.running {
		return "", noInstance(defaultAdmin, nil)
	}
	name, err := filepath.Abs(f.caFile)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(name, i.root, 0o644); err != nil { //nolint:gosec // a certificate is public
		return "", usagef("--ca-file: %w", err)
	}
	return name, nil
}

// facts are what samples want to know of the world.
type facts struct {
	dpsHost, scope, id, key     string
	device, connection, service string
	dpsService                  string // connection string of DPS's owner
}

// errNothing marks that the world has no instance of a kind; the variables are left out then.
var errNothing = errors.New("nothing of the kind")

func (i *instance) facts(f *envFlags) (facts, error) {
	var out facts
	if dps, err := i.dps(""); err == nil {
		out.dpsHost, out.scope, out.id = globalDPSHost, dps.IDScope, f.id
		if !f.vendorNames {
			out.dpsHost = i.host
		}
		out.key = registrationKey(dps, f.id)
		for _, p := range dps.Policies {
			if strings.EqualFold(p.Name, "provisioningserviceowner") && p.PrimaryKey != "" {
				out.dpsService = "HostName=" + dps.Name + ".azure-devices-provisioning.net;SharedAccessKeyName=" + p.Name + ";SharedAccessKey=" + p.PrimaryKey
			}
		}
	}
	hub, err := i.hub("")
	if err != nil {
		return out, nil
	}
	for _, p := range hub.Policies {
		if p.Name == "iothubowner" && p.PrimaryKey != "" {
			out.service = "HostName=" + hub.HostName() + ";SharedAccessKeyName=iothubowner;SharedAccessKey=" + p.PrimaryKey
		}
	}
	device, hub, err := i.keyDevice(hub, f.device)
	switch {
	case errors.Is(err, errNothing):
		return out, nil
	case err != nil:
		return out, err
	}
	out.device = device.DeviceID
	out.connection = "HostName=" + hub.HostName() + ";DeviceId=" + device.DeviceID + ";SharedAccessKey=" + device.Authentication.SymmetricKey.PrimaryKey
	if !f.vendorNames {
		out.connection += ";GatewayHostName=" + i.host
	}
	return out, nil
}

// keyDevice finds the device to connect as: the one named in any hub, or the usual hub's first with a key.
func (i *instance) keyDevice(usual world.Hub, wanted string) (world.Device, world.Hub, error) {
	if wanted == "" {
		return firstWithKey(usual)
	}
	for _, hub := range i.world.Azure.Hubs {
		for _, d := range hub.Devices {
			switch {
			case d.DeviceID != wanted:
			case !hasKey(d):
				return d, hub, usagef("--device %s has no key, hence no connection string of this kind", wanted)
			default:
				return d, hub, nil
			}
		}
	}
	return world.Device{}, usual, usagef("--device %s: no hub has it; add it with fakecloud add hub-device %s", wanted, quoteShell(wanted))
}

// firstWithKey prefers the default world's device: others may come and go.
func firstWithKey(hub world.Hub) (world.Device, world.Hub, error) {
	found, err := world.Device{}, errNothing
	for _, d := range hub.Devices {
		if hasKey(d) && (err != nil || d.DeviceID == "demo-sas") {
			found, err = d, nil
		}
	}
	return found, hub, err
}

func hasKey(d world.Device) bool {
	return d.Authentication != nil && d.Authentication.SymmetricKey != nil && d.Authentication.SymmetricKey.PrimaryKey != ""
}

// registrationKey is the key of a registration id: its own enrollment's, or derived from the first group
// with a key.
func registrationKey(dps world.DPS, id string) string {
	for _, e := range dps.Enrollments {
		if strings.EqualFold(e.RegistrationID, id) && e.Attestation.SymmetricKey != nil {
			return e.Attestation.SymmetricKey.PrimaryKey
		}
	}
	for _, g := range dps.Groups {
		if g.Attestation.SymmetricKey == nil || g.Attestation.SymmetricKey.PrimaryKey == "" {
			continue
		}
		if key, err := derivedKey(g.Attestation.SymmetricKey.PrimaryKey, id); err == nil {
			return key
		}
	}
	return ""
}
