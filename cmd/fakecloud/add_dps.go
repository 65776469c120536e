package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/world"
)

// enrollmentFlags describe an enrollment or a group.
type enrollmentFlags struct {
	addFlags
	dps, hub, cert, key, twin, ca, device string
	symmetric, disabled                   bool
}

func (f *enrollmentFlags) registerBoth(cmd *cobra.Command) {
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.dps, "dps", "", "name or ID scope of the DPS instance (default: the only one, or fakecloud-dps)")
	flags.StringVar(&f.hub, "hub", "", "assign to this hub only; it must be linked")
	flags.StringVar(&f.key, "key", "", "primary key, base64 of 16 to 64 bytes; the secondary one is made")
	flags.StringVar(&f.twin, "initial-twin", "", "file or JSON: {\"tags\":{…},\"properties\":{\"desired\":{…}}}")
	flags.BoolVar(&f.disabled, "disabled", false, "provisioning status disabled")
}

func (f *enrollmentFlags) provisioning() (world.Provisioning, error) {
	twin, err := initialTwin(f.twin)
	p := world.Provisioning{InitialTwin: twin}
	if f.hub != "" {
		p.IoTHubs = []string{f.hub}
	}
	if f.disabled {
		p.ProvisioningStatus = "disabled"
	}
	return p, err
}

// symmetricKey is the key pair of --key, or a fresh one.
func (f *enrollmentFlags) symmetricKey() (*world.SymmetricKey, error) {
	pair := &world.SymmetricKey{PrimaryKey: f.key, SecondaryKey: newKey(dpsKeySize)}
	if f.key == "" {
		pair.PrimaryKey = newKey(dpsKeySize)
		return pair, nil
	}
	_, err := checkedKey(f.key)
	return pair, err
}

func (a *app) addEnrollment() *cobra.Command {
	f := &enrollmentFlags{}
	cmd := &cobra.Command{
		Use:   "enrollment ID",
		Short: "Add an individual enrollment to DPS: with a key (default) or the device's certificate",
		Example: `  fakecloud add enrollment meter-1 --sas
  fakecloud add enrollment Flexy205 --cert Flexy205.crt --hub plant-hub
  fakecloud add enrollment meter-2 --device-id meter-0002 --initial-twin '{"tags":{"site":"north"}}'`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddEnrollment(cmd, args[0], f) },
	}
	f.registerBoth(cmd)
	cmd.Flags().StringVar(&f.cert, "cert", "", "the device's own certificate, self-signed or not")
	cmd.Flags().BoolVar(&f.symmetric, "sas", false, "fresh keys (the default)")
	cmd.Flags().StringVar(&f.device, "device-id", "", "device id in the hub (default: the registration id)")
	return cmd
}

func (a *app) runAddEnrollment(cmd *cobra.Command, id string, f *enrollmentFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	dps, err := i.dps(f.dps)
	if err != nil {
		return err
	}
	taken := slices.ContainsFunc(dps.Enrollments, func(e world.Enrollment) bool { return strings.EqualFold(e.RegistrationID, id) })
	if err := f.free(taken, "the enrollment "+id+" of "+dps.Name); err != nil {
		return err
	}
	enrollment := world.Enrollment{RegistrationID: id, DeviceID: f.device}
	if enrollment.Provisioning, err = f.provisioning(); err != nil {
		return err
	}
	if enrollment.Attestation, err = a.attestation(id, f); err != nil {
		return err
	}
	patch := &world.World{}
	patch.Azure.DPS = []world.DPS{{Name: dps.Name, Enrollments: []world.Enrollment{enrollment}}}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	key := ""
	if pair := enrollment.Attestation.SymmetricKey; pair != nil {
		key = pair.PrimaryKey
	}
	a.registerHint(i, dps, id, key, f.cert)
	return nil
}

func (a *app) attestation(id string, f *enrollmentFlags) (world.Attestation, error) {
	kind, err := oneCredential(map[string]bool{"cert": f.cert != "", "key": f.key != "", "sas": f.symmetric}, "cert", "key", "sas")
	if err != nil {
		return world.Attestation{}, err
	}
	if kind != "cert" {
		pair, err := f.symmetricKey()
		return world.Attestation{SymmetricKey: pair}, err
	}
	certs, text, err := certFile("--cert", f.cert)
	if err != nil {
		return world.Attestation{}, err
	}
	if cn := certs[0].Subject.CommonName; !strings.EqualFold(cn, id) {
		fmt.Fprintf(a.err, "note: the certificate's common name is %q; DPS wants the registration id %q there and will refuse it\n", cn, id)
	}
	if at := certs[0].NotAfter; at.Before(time.Now()) {
		fmt.Fprintf(a.err, "note: the certificate expired at %s; DPS refuses it\n", at.UTC().Format(time.RFC3339))
	}
	return world.Attestation{X509: &world.X509Attestation{Primary: &world.Certificate{PEM: text}}}, nil
}

// registerHint prints how a device registers: with a key, or with a certificate where key is "".
func (a *app) registerHint(i *instance, dps world.DPS, id, key, cert string) {
	fmt.Fprintf(a.out, "\nregister with:\n  host            %s, or %s with nothing else set\n  ID scope        %s\n  registration id %s\n",
		globalDPSHost, i.host, dps.IDScope, id)
	if key != "" {
		fmt.Fprintf(a.out, "  device key      %s\n", key)
	}
	fmt.Fprintf(a.out, "try it:\n  %s\n", i.registerLine(dps.IDScope, id, key, cert))
}

// registerLine is the command that registers a device and sends telemetry. Mosquitto's programs cannot:
// DPS wants the subscription and the request on one connection.
func (i *instance) registerLine(scope, id, key, cert string) string {
	root, _ := i.rootFile()
	words := []string{"fakecloud", "device", "azure", "--host", i.host, "--port", fmt.Sprint(i.mqtts), "--ca", root, "--id-scope", scope, "--id", id}
	if key != "" {
		return shellLine(append(words, "--key", key))
	}
	cert, keyFile := certFiles(cert, id)
	return shellLine(append(words, "--cert", cert, "--key-file", keyFile))
}

func (a *app) addGroup() *cobra.Command {
	f := &enrollmentFlags{}
	cmd := &cobra.Command{
		Use:   "group NAME",
		Short: "Add an enrollment group to DPS: by CA, by signing certificate, or by group key",
		Example: `  fakecloud add group plant --ca plant-ca
  fakecloud add group plant-line-2 --cert intermediate.pem
  fakecloud add group plant-keys --symmetric --device meter-1`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddGroup(cmd, args[0], f) },
	}
	f.registerBoth(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.ca, "ca", "", "name of a CA certificate of the DPS instance, or of a CA of the world")
	flags.StringVar(&f.cert, "cert", "", "signing certificate, usually an intermediate")
	flags.BoolVar(&f.symmetric, "symmetric", false, "fresh group keys")
	flags.StringVar(&f.device, "device", "device-001", "registration id whose derived key is printed")
	return cmd
}

func (a *app) runAddGroup(cmd *cobra.Command, name string, f *enrollmentFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	dps, err := i.dps(f.dps)
	if err != nil {
		return err
	}
	taken := slices.ContainsFunc(dps.Groups, func(g world.Group) bool { return strings.EqualFold(g.Name, name) })
	if err := f.free(taken, "the group "+name+" of "+dps.Name); err != nil {
		return err
	}
	group := world.Group{Name: name}
	if group.Provisioning, err = f.provisioning(); err != nil {
		return err
	}
	change := world.DPS{Name: dps.Name}
	if group.Attestation, err = a.groupAttestation(i, dps, &change, f); err != nil {
		return err
	}
	change.Groups = []world.Group{group}
	patch := &world.World{}
	patch.Azure.DPS = []world.DPS{change}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	a.groupHint(i, dps, group, f.device)
	return nil
}

// groupAttestation makes the credential that the flags ask for. A CA of the world that the instance has
// not been given yet is uploaded along the way.
func (a *app) groupAttestation(i *instance, dps world.DPS, change *world.DPS, f *enrollmentFlags) (world.GroupAttestation, error) {
	var none world.GroupAttestation
	kind, err := oneCredential(map[string]bool{"ca": f.ca != "", "cert": f.cert != "", "key": f.key != "", "symmetric": f.symmetric},
		"ca", "cert", "key", "symmetric")
	switch {
	case err != nil:
		return none, err
	case kind == "":
		return none, usagef("say how members prove who they are: --ca NAME, --cert FILE, --symmetric or --key BASE64")
	case kind == "ca":
		uploaded := slices.ContainsFunc(dps.Certificates, func(c world.CACertificate) bool { return strings.EqualFold(c.Name, f.ca) })
		if !uploaded && i.knowsCA(f.ca) {
			change.Certificates = []world.CACertificate{{Name: f.ca, CA: f.ca}}
		}
		return world.GroupAttestation{X509: &world.X509GroupAttestation{CA: f.ca}}, nil
	case kind == "cert":
		_, text, err := certFile("--cert", f.cert)
		return world.GroupAttestation{X509: &world.X509GroupAttestation{Primary: &world.Certificate{PEM: text}}}, err
	}
	pair, err := f.symmetricKey()
	return world.GroupAttestation{SymmetricKey: pair}, err
}

// knowsCA reports whether the world has a CA of that name to issue from.
func (i *instance) knowsCA(name string) bool {
	return strings.EqualFold(name, world.BuiltinCA) ||
		slices.ContainsFunc(i.world.PKI.CAs, func(ca world.CA) bool { return strings.EqualFold(ca.Name, name) })
}

func (a *app) groupHint(i *instance, dps world.DPS, group world.Group, device string) {
	switch {
	case group.Attestation.SymmetricKey != nil:
		key, err := derivedKey(group.Attestation.SymmetricKey.PrimaryKey, device)
		if err != nil {
			return
		}
		fmt.Fprintf(a.out, "\na member's key is base64(HMAC-SHA256(group key, registration id)); for %s:\n", device)
		a.registerHint(i, dps, device, key, "")
	case group.Attestation.X509.CA != "":
		ca := group.Attestation.X509.CA
		if i.knowsCA(ca) {
			fmt.Fprintf(a.out, "\nmake a member's certificate:\n  fakecloud pki device %s --ca %s\n", quoteShell(device), quoteShell(ca))
		}
		a.registerHint(i, dps, device, "", "")
	default:
		fmt.Fprintf(a.out, "\nmembers send their chain up to, not including, a verified CA of %s: fakecloud add ca FILE --to dps/%s\n", dps.Name, dps.Name)
		a.registerHint(i, dps, device, "", "")
	}
}

func derivedKey(groupKey, id string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(groupKey)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(azure.DeriveKey(raw, id)), nil
}
