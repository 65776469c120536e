package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

// caFlags describe an upload of a CA certificate.
type caFlags struct {
	addFlags
	to, name   string
	unverified bool
}

func (a *app) addCA() *cobra.Command {
	f := &caFlags{}
	cmd := &cobra.Command{
		Use:   "ca FILE",
		Short: "Upload a CA certificate to an instance of a platform; the name of a CA of the world will do too",
		Example: `  fakecloud add ca plant-ca.pem --to dps/fakecloud-dps
  fakecloud add ca plant-ca.pem --to hub/fakecloud-hub --name plant --unverified
  fakecloud add ca camexia.pem --to mindsphere/demo
  fakecloud add ca rootCA.pem --to iotda/fakecloud --unverified`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddCA(cmd, args[0], f) },
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.to, "to", "", "dps/NAME, hub/NAME, mindsphere/TENANT or iotda/INSTANCE")
	cmd.Flags().StringVar(&f.name, "name", "", "name of the upload (default: the file's name)")
	cmd.Flags().BoolVar(&f.unverified, "unverified", false, "possession of the CA's key has not been proven: devices are refused")
	return cmd
}

func (a *app) runAddCA(cmd *cobra.Command, file string, f *caFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	kind, owner, ok := strings.Cut(f.to, "/")
	if !ok || owner == "" || kind == "" {
		return usagef("say where to with --to dps/NAME, hub/NAME, mindsphere/TENANT or iotda/INSTANCE; there are %s", strings.Join(i.owners(), ", "))
	}
	upload, err := i.upload(file, f)
	if err != nil {
		return err
	}
	patch, owner, taken, err := i.caPatch(kind, owner, upload)
	if err != nil {
		return err
	}
	if err := f.free(taken, "the certificate "+upload.Name+" of "+kind+"/"+owner); err != nil {
		return err
	}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	a.caHint(kind, owner, upload)
	return nil
}

// caPatch is the world that adds an upload to what is called owner; it returns the owner's own name, and whether
// it has a certificate of this name.
func (i *instance) caPatch(kind, owner string, upload world.CACertificate) (patch *world.World, name string, taken bool, err error) {
	patch = &world.World{}
	var have []string
	switch kind {
	case "dps":
		dps, err := i.dps(owner)
		if err != nil {
			return nil, "", false, err
		}
		name, have = dps.Name, caNames(dps.Certificates)
		patch.Azure.DPS = []world.DPS{{Name: dps.Name, Certificates: []world.CACertificate{upload}}}
	case "hub":
		hub, err := i.hub(owner)
		if err != nil {
			return nil, "", false, err
		}
		name, have = hub.Name, caNames(hub.Certificates)
		patch.Azure.Hubs = []world.Hub{{Name: hub.Name, Certificates: []world.CACertificate{upload}}}
	case "mindsphere":
		tenant, err := i.tenant(owner)
		if err != nil {
			return nil, "", false, err
		}
		name, have = owner, caNames(tenant.Certificates)
		patch.MindSphere.Tenants = []world.Tenant{{Name: owner, Certificates: []world.CACertificate{upload}}}
	case "iotda":
		iot, err := i.iotda(owner)
		if err != nil {
			return nil, "", false, err
		}
		name = iot.Name
		for _, c := range iot.Certificates {
			have = append(have, c.Name)
		}
		patch.IoTDA.Instances = []world.IoTDAInstance{{Name: iot.Name, Certificates: []world.IoTDACertificate{{CACertificate: upload}}}}
	case "edge":
		g, err := i.gateway(owner)
		if err != nil {
			return nil, "", false, err
		}
		name = g.HostName
		for _, c := range g.TrustBundle {
			have = append(have, c.Name)
		}
		patch.Edge.Gateways = []world.EdgeGateway{{HostName: g.HostName, TrustBundle: []world.TrustedCA{{Name: upload.Name, CA: upload.CA, PEM: upload.PEM}}}}
	default:
		return nil, "", false, usagef("--to is dps/NAME, hub/NAME, mindsphere/TENANT, iotda/INSTANCE or edge/GATEWAY, not %q; there are %s", kind+"/"+owner, strings.Join(i.owners(), ", "))
	}
	taken = slices.ContainsFunc(have, func(n string) bool { return strings.EqualFold(n, upload.Name) })
	return patch, name, taken, nil
}

func caNames(list []world.CACertificate) (names []string) {
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}

// owners are what a CA can be uploaded to.
func (i *instance) owners() []string {
	var all []string
	for _, d := range i.world.Azure.DPS {
		all = append(all, "dps/"+d.Name)
	}
	for _, h := range i.world.Azure.Hubs {
		all = append(all, "hub/"+h.Name)
	}
	for _, t := range i.world.MindSphere.Tenants {
		all = append(all, "mindsphere/"+t.Name)
	}
	for _, t := range i.world.IoTDA.Instances {
		all = append(all, "iotda/"+t.Name)
	}
	for _, g := range i.world.Edge.Gateways {
		all = append(all, "edge/"+g.HostName)
	}
	return all
}

// tenant finds a MindSphere tenant of the running world.
func (i *instance) tenant(name string) (world.Tenant, error) {
	for _, t := range i.world.MindSphere.Tenants {
		if t.Name == name {
			return t, nil
		}
	}
	return world.Tenant{}, usagef("no MindSphere tenant is called %s; there are %s", name, strings.Join(i.owners(), ", "))
}

// notInName is what the name of an upload cannot hold.
var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// upload reads the CA: a file, or where there is none the name of a CA of the world.
func (i *instance) upload(file string, f *caFlags) (world.CACertificate, error) {
	verified := !f.unverified
	c := world.CACertificate{Name: f.name, Verified: &verified}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && i.knowsCA(file) {
		c.CA = file
		if c.Name == "" {
			c.Name = file
		}
		return c, nil
	}
	certs, text, err := certFile("add ca", file)
	if err != nil {
		return c, err
	}
	if why := notCA(certs[0], time.Now()); why != "" {
		return c, usagef("%s %s", file, why)
	}
	c.PEM = text
	if c.Name == "" {
		base := filepath.Base(file)
		c.Name = strings.Trim(notInName.ReplaceAllString(strings.TrimSuffix(base, filepath.Ext(base)), "-"), "-.")
	}
	return c, nil
}

// notCA says why a certificate cannot sign devices. Roots of X.509 version 1 say nothing of the kind and
// are taken, as the platforms take them.
func notCA(c *x509.Certificate, now time.Time) string {
	switch {
	case c.BasicConstraintsValid && !c.IsCA, c.Version == 3 && !c.BasicConstraintsValid:
		return "is no CA certificate (basicConstraints CA:FALSE or missing); for a device's own certificate use add hub-device --cert or add enrollment --cert"
	case now.After(c.NotAfter):
		return "expired at " + c.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}

func (a *app) caHint(kind, owner string, c world.CACertificate) {
	if !c.IsVerified() {
		fmt.Fprintf(a.out, "\nunverified: devices that lead to it are refused. To verify it: fakecloud add ca … --name %s --to %s/%s --replace\n", c.Name, kind, owner)
		return
	}
	if kind == "dps" {
		fmt.Fprintf(a.out, "\nnext: fakecloud add group my-devices --ca %s --dps %s\n", c.Name, owner)
		return
	}
	if kind == "iotda" {
		fmt.Fprintf(a.out, "\nnext: fakecloud add iotda-device my-node --x509 --instance %s\n", owner)
		return
	}
	if kind == "mindsphere" {
		fmt.Fprintf(a.out, "\nnext: connect with client id %s_{common name} and a certificate from this CA, without user name and password; the first connection is dropped\n", owner)
		return
	}
	fmt.Fprintf(a.out, "\nnext: fakecloud add hub-device my-device --ca --hub %s\n", owner)
}
