package main

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/world"
)

// hubDeviceFlags describe a hub identity.
type hubDeviceFlags struct {
	addFlags
	hub, cert, key, module, twin string
	thumbprint                   []string
	ca, sas, disabled            bool
}

func (a *app) addHubDevice() *cobra.Command {
	f := &hubDeviceFlags{}
	cmd := &cobra.Command{
		Use:   "hub-device ID",
		Short: "Add a device to an IoT Hub: with a key (default), a thumbprint or a CA-signed certificate",
		Long: `Add a device to an IoT Hub. Without a credential it gets fresh keys.
--cert registers the SHA-256 thumbprint of a certificate, self-signed or not; --ca accepts every
certificate with the device id as common name that leads to a verified CA of the hub.`,
		Example: `  fakecloud add hub-device pump-1
  fakecloud add hub-device Flexy205 --cert Flexy205.crt
  fakecloud add hub-device Flexy205 --thumbprint "A9:63:…"
  fakecloud add hub-device pump-2 --ca --hub plant-hub`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddDevice(cmd, args[0], f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.hub, "hub", "", "name or host name of the hub (default: the only one, or fakecloud-hub)")
	flags.StringVar(&f.cert, "cert", "", "certificate file whose thumbprint is registered")
	flags.StringArrayVar(&f.thumbprint, "thumbprint", nil, "SHA-1 or SHA-256 thumbprint; twice for a secondary one")
	flags.BoolVar(&f.ca, "ca", false, "certificates that lead to a verified CA of the hub")
	flags.StringVar(&f.key, "key", "", "primary key, base64 of 16 to 64 bytes; the secondary one is made")
	flags.BoolVar(&f.sas, "sas", false, "fresh keys (the default)")
	flags.StringVar(&f.module, "module", "", "add this module to the device, with the credential")
	flags.BoolVar(&f.disabled, "disabled", false, "register the device as disabled")
	flags.StringVar(&f.twin, "initial-twin", "", "file or JSON: {\"tags\":{…},\"properties\":{\"desired\":{…}}}")
	return cmd
}

func (a *app) runAddDevice(cmd *cobra.Command, id string, f *hubDeviceFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	hub, err := i.hub(f.hub)
	if err != nil {
		return err
	}
	auth, err := a.authentication(id, f)
	if err != nil {
		return err
	}
	device, err := f.device(hub, id, auth)
	if err != nil {
		return err
	}
	patch := &world.World{}
	patch.Azure.Hubs = []world.Hub{{Name: hub.Name, Devices: []world.Device{device}}}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	a.connectHint(i, hub, id, f, auth)
	return nil
}

// device is what the flags add to the hub: the device, or a module of one.
func (f *hubDeviceFlags) device(hub world.Hub, id string, auth *world.Authentication) (world.Device, error) {
	device := world.Device{DeviceID: id}
	var known *world.Device
	for n := range hub.Devices {
		if hub.Devices[n].DeviceID == id {
			known = &hub.Devices[n]
		}
	}
	twin, err := initialTwin(f.twin)
	if err != nil {
		return device, err
	}
	device.InitialTwin = twin
	if f.disabled {
		device.Status = "disabled"
	}
	if f.module == "" {
		device.Authentication = auth
		return device, f.free(known != nil, "the device "+id+" of hub "+hub.Name)
	}
	if known == nil {
		device.Authentication = &world.Authentication{Type: world.TypeSAS,
			SymmetricKey: &world.SymmetricKey{PrimaryKey: newKey(hubKeySize), SecondaryKey: newKey(hubKeySize)}}
	}
	device.Modules = []world.Module{{ModuleID: f.module, Authentication: auth}}
	for _, m := range modulesOf(known) {
		if m.ModuleID == f.module {
			return device, f.free(true, "the module "+id+"/"+f.module+" of hub "+hub.Name)
		}
	}
	return device, nil
}

func modulesOf(d *world.Device) []world.Module {
	if d == nil {
		return nil
	}
	return d.Modules
}

// authentication makes the credential that the flags ask for.
func (a *app) authentication(id string, f *hubDeviceFlags) (*world.Authentication, error) {
	kind, err := oneCredential(map[string]bool{"cert": f.cert != "", "thumbprint": len(f.thumbprint) > 0,
		"ca": f.ca, "key": f.key != "", "sas": f.sas}, "cert", "thumbprint", "ca", "key", "sas")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "cert":
		certs, text, err := certFile("--cert", f.cert)
		if err != nil {
			return nil, err
		}
		if at := certs[0].NotAfter; at.Before(time.Now()) {
			fmt.Fprintf(a.err, "note: the certificate expired at %s; IoT Hub refuses it\n", at.UTC().Format(time.RFC3339))
		}
		thumbprint, err := world.SHA256Thumbprint([]byte(text))
		return &world.Authentication{Type: world.TypeSelfSigned, X509Thumbprint: &world.Thumbprint{PrimaryThumbprint: thumbprint}}, err
	case "thumbprint":
		thumbprint, err := a.thumbprints(f.thumbprint)
		return &world.Authentication{Type: world.TypeSelfSigned, X509Thumbprint: thumbprint}, err
	case "ca":
		return &world.Authentication{Type: world.TypeCA}, nil
	case "key":
		key, err := checkedKey(f.key)
		return &world.Authentication{Type: world.TypeSAS, SymmetricKey: &world.SymmetricKey{PrimaryKey: key, SecondaryKey: newKey(hubKeySize)}}, err
	}
	return &world.Authentication{Type: world.TypeSAS,
		SymmetricKey: &world.SymmetricKey{PrimaryKey: newKey(hubKeySize), SecondaryKey: newKey(hubKeySize)}}, nil
}

// connectHint prints how the new identity connects.
func (a *app) connectHint(i *instance, hub world.Hub, id string, f *hubDeviceFlags, auth *world.Authentication) {
	client, module := id, ""
	if f.module != "" {
		client, module = id+"/"+f.module, ";ModuleId="+f.module
	}
	if auth.SymmetricKey != nil {
		key := auth.SymmetricKey.PrimaryKey
		text := fmt.Sprintf("HostName=%s;DeviceId=%s%s;SharedAccessKey=%s", hub.HostName(), id, module, key)
		fmt.Fprintf(a.out, "\nconnection string (the second needs no name resolution):\n  %s\n  %s;GatewayHostName=%s\n", text, text, i.host)
	} else {
		fmt.Fprintf(a.out, "\nconnection string:\n  HostName=%s;DeviceId=%s%s;x509=true\n", hub.HostName(), id, module)
	}
	if auth.Type == world.TypeCA {
		a.caDeviceHint(i, hub, client)
	}
	fmt.Fprintf(a.out, "with mosquitto:\n  %s\n", i.mosquittoHub(hub, client, auth, f.cert))
}

// caDeviceHint prints how to get a certificate that a hub's CA has signed.
func (a *app) caDeviceHint(i *instance, hub world.Hub, commonName string) {
	verified := false
	for _, c := range hub.Certificates {
		// A running world shows certificates themselves; uploads of the world's CAs keep the CA's name.
		name := cmp.Or(c.CA, c.Name)
		if c.IsVerified() && i.knowsCA(name) {
			fmt.Fprintf(a.out, "make its certificate:\n  fakecloud pki device %s --ca %s\n", quoteShell(commonName), quoteShell(name))
			return
		}
		verified = verified || c.IsVerified()
	}
	if verified {
		return
	}
	fmt.Fprintf(a.out, "the hub has no verified CA yet: fakecloud add ca FILE --to hub/%s\n", hub.Name)
}

// tokenLife is how long the SAS tokens in printed command lines are good for.
const tokenLife = 24 * time.Hour

// mosquittoHub is the command that sends one telemetry message as client (device, or device/module).
func (i *instance) mosquittoHub(hub world.Hub, client string, auth *world.Authentication, cert string) string {
	device, module, isModule := strings.Cut(client, "/")
	resource, topic := hub.HostName()+"/devices/"+device, "devices/"+device
	if isModule {
		resource, topic = resource+"/modules/"+module, topic+"/modules/"+module
	}
	words := append(i.mosquitto("mosquitto_pub"), "-i", client, "-u", hub.HostName()+"/"+client+"/?api-version=2021-04-12")
	if auth.SymmetricKey != nil {
		key, err := base64.StdEncoding.DecodeString(auth.SymmetricKey.PrimaryKey)
		if err == nil {
			words = append(words, "-P", azure.FormatSAS(resource, key, time.Now().Add(tokenLife), ""))
		}
	} else {
		certificate, key := certFiles(cert, device)
		words = append(words, "--cert", certificate, "--key", key)
	}
	return shellLine(append(words, "-t", topic+"/messages/events/", "-m", `{"temperature":21.5}`))
}

// certFiles name the client's certificate and key: the file given, or those that fakecloud pki device makes.
func certFiles(cert, id string) (certificate, key string) {
	if cert == "" {
		return id + "_chain.pem", id + ".key"
	}
	return cert, strings.TrimSuffix(cert, filepath.Ext(cert)) + ".key"
}

// mosquitto begins a mosquitto command line.
func (i *instance) mosquitto(program string) []string {
	root, _ := i.rootFile()
	return []string{program, "-V", "mqttv311", "-q", "1", "-h", i.host, "-p", fmt.Sprint(i.mqtts), "--cafile", root}
}

func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for n, w := range words {
		quoted[n] = quoteShell(w)
	}
	return strings.Join(quoted, " ")
}
