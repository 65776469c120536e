package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
	"github.com/fakecloud/fakecloud/internal/world"
)

// iotdaDeviceFlags describe a device of IoTDA.
type iotdaDeviceFlags struct {
	addFlags
	instance, product, id, secret, cert, fingerprint, gateway string
	x509, secure                                              bool
}

func (a *app) addIoTDADevice() *cobra.Command {
	f := &iotdaDeviceFlags{}
	cmd := &cobra.Command{
		Use:   "iotda-device NODE",
		Short: "Register a device with IoTDA: with a secret (default) or by its certificate",
		Long: `Register a device with an IoTDA instance. Its id is PRODUCT_NODE unless --id says otherwise. Without a
credential it gets a fresh secret. --cert registers the SHA-256 fingerprint of its certificate; --x509 keeps
the first certificate that it shows.`,
		Example: `  fakecloud add iotda-device node2 --product demo
  fakecloud add iotda-device node3 --product demo --cert deviceCert.pem
  fakecloud add iotda-device valve --product demo --gateway demo_node1`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddIoTDADevice(cmd, args[0], f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.instance, "instance", "", "name of the IoTDA instance (default: the only one, or fakecloud)")
	flags.StringVar(&f.product, "product", "", "its product (default: the only one, or demo)")
	flags.StringVar(&f.id, "id", "", "device id, when it is not PRODUCT_NODE")
	flags.StringVar(&f.secret, "secret", "", "device secret: 8 to 32 letters, digits, _ and -")
	flags.StringVar(&f.cert, "cert", "", "certificate file whose fingerprint is registered")
	flags.StringVar(&f.fingerprint, "fingerprint", "", "SHA-1 or SHA-256 fingerprint of its certificate")
	flags.BoolVar(&f.x509, "x509", false, "by certificate; the first one that it shows is kept")
	flags.StringVar(&f.gateway, "gateway", "", "device that connects for it: it becomes a child of that one")
	flags.BoolVar(&f.secure, "secure", false, "may connect with TLS only")
	return cmd
}

// iotda finds an IoTDA instance by name, or the default one.
func (i *instance) iotda(wanted string) (world.IoTDAInstance, error) {
	return choose(i.world.IoTDA.Instances, func(x world.IoTDAInstance) string { return x.Name }, wanted, "fakecloud", "instance", "IoTDA instance")
}

func (a *app) runAddIoTDADevice(cmd *cobra.Command, node string, f *iotdaDeviceFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	iot, err := i.iotda(f.instance)
	if err != nil {
		return err
	}
	product, err := choose(iot.Products, func(p world.Product) string { return p.ProductID }, f.product, "demo", "product", "product")
	if err != nil {
		return err
	}
	d := world.IoTDADevice{DeviceID: f.id, ProductID: product.ProductID, NodeID: node, GatewayID: f.gateway}
	if d.DeviceID == "" {
		d.DeviceID = product.ProductID + "_" + node
	}
	taken := slices.ContainsFunc(iot.Devices, func(have world.IoTDADevice) bool { return have.DeviceID == d.DeviceID })
	if err := f.free(taken, "the device "+d.DeviceID+" of "+iot.Name); err != nil {
		return err
	}
	if f.secure {
		d.SecureAccess = &f.secure
	}
	if err := a.iotdaCredential(&d, f); err != nil {
		return err
	}
	patch := &world.World{}
	patch.IoTDA.Instances = []world.IoTDAInstance{{Name: iot.Name, Devices: []world.IoTDADevice{d}}}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	a.iotdaHint(i, iot, product, d, f.cert)
	return nil
}

// iotdaCredential makes the credential that the flags ask for.
func (a *app) iotdaCredential(d *world.IoTDADevice, f *iotdaDeviceFlags) error {
	kind, err := oneCredential(map[string]bool{"cert": f.cert != "", "fingerprint": f.fingerprint != "", "x509": f.x509, "secret": f.secret != ""},
		"cert", "fingerprint", "x509", "secret")
	if err != nil {
		return err
	}
	switch kind {
	case "cert":
		certs, text, err := certFile("--cert", f.cert)
		if err != nil {
			return err
		}
		if at := certs[0].NotAfter; at.Before(time.Now()) {
			fmt.Fprintf(a.err, "note: the certificate expired at %s; IoTDA refuses it\n", at.UTC().Format(time.RFC3339))
		}
		d.AuthType = "CERTIFICATES"
		d.Fingerprint, err = world.SHA256Thumbprint([]byte(text))
		return err
	case "fingerprint":
		thumbprint, err := a.thumbprints([]string{f.fingerprint})
		if err == nil {
			d.AuthType, d.Fingerprint = "CERTIFICATES", thumbprint.PrimaryThumbprint
		}
		return err
	case "x509":
		d.AuthType = "CERTIFICATES"
	case "secret":
		d.Secret = f.secret
	default:
		d.Secret = newDeviceSecret()
	}
	return nil
}

// newDeviceSecret returns a fresh secret as IoTDA makes them: 32 hexadecimal digits.
func newDeviceSecret() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// iotdaHint prints how the new device connects.
func (a *app) iotdaHint(i *instance, iot world.IoTDAInstance, product world.Product, d world.IoTDADevice, cert string) {
	if d.GatewayID != "" {
		fmt.Fprintf(a.out, "\nit is a child: %s connects, and reports for it on\n  $oc/devices/%s/sys/gateway/sub_devices/properties/report\n", d.GatewayID, d.GatewayID)
		return
	}
	id := iotda.ClientID{DeviceID: d.DeviceID, Sign: iotda.SignUnchecked, Stamp: iotda.Stamp(time.Now())}
	fmt.Fprintf(a.out, "\nhost        %s (or %s)\nclient id   %s\nusername    %s\n", iotdaHost(iot), i.host, id.Format(), d.DeviceID)
	if d.Secret != "" {
		fmt.Fprintf(a.out, "secret      %s\npassword    %s\n", d.Secret, iotda.Password(id.Sign, id.Stamp, d.Secret))
	}
	if d.AuthType == "CERTIFICATES" && cert == "" && d.Fingerprint == "" {
		fmt.Fprintf(a.out, "make its certificate:\n  fakecloud pki device %s --ca demo-ca\n", quoteShell(d.DeviceID))
	}
	fmt.Fprintf(a.out, "with mosquitto:\n  %s\n", i.mosquittoIoTDA(product, d, id, cert))
}

// iotdaHost is an instance's name for devices.
func iotdaHost(iot world.IoTDAInstance) string {
	region := iot.Region
	if region == "" {
		region = defaultRegion
	}
	return iot.Name + ".iot-mqtts." + region + hosts.HuaweiSuffix
}

// defaultRegion is the region of an instance that names none.
const defaultRegion = "cn-north-4"

// mosquittoIoTDA is the command that reports one property.
func (i *instance) mosquittoIoTDA(product world.Product, d world.IoTDADevice, id iotda.ClientID, cert string) string {
	words := append(i.mosquitto("mosquitto_pub"), "-k", "120", "-i", id.Format(), "-u", d.DeviceID)
	if d.Secret != "" {
		words = append(words, "-P", iotda.Password(id.Sign, id.Stamp, d.Secret))
	} else {
		certificate, key := certFiles(cert, d.DeviceID)
		words = append(words, "--cert", certificate, "--key", key)
	}
	return shellLine(append(words, "-t", "$oc/devices/"+d.DeviceID+"/sys/properties/report", "-m", sampleReport(product)))
}

// sampleReport is a report of the first property that the product has.
func sampleReport(product world.Product) string {
	report := map[string]any{"service_id": "Service", "properties": map[string]any{"name": 1}}
	for _, s := range slices.Backward(product.Services) {
		for _, p := range s.Properties {
			report = map[string]any{"service_id": s.ServiceID, "properties": map[string]any{p.Name: sampleValue(p.ModelValue)}}
			break
		}
	}
	text, err := json.Marshal(map[string]any{"services": []any{report}})
	if err != nil {
		return "{}"
	}
	return string(text)
}

// sampleValue is a value that the model allows.
func sampleValue(v world.ModelValue) any {
	switch v.DataType {
	case "int", "long", "decimal":
		if v.Min != "" && !strings.HasPrefix(v.Min, "-") {
			return json.Number(v.Min)
		}
		return 0
	case "boolean":
		return true
	case "enum":
		if len(v.Enum) > 0 {
			return v.Enum[0]
		}
	case "jsonObject":
		return map[string]any{}
	case "string list":
		return []string{}
	}
	return "x"
}
