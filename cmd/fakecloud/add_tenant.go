package main

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

// tenantFlags describe a MindSphere tenant.
type tenantFlags struct {
	addFlags
	region, host, scope, hub string
	ca, caName               string
	unverified               bool
	provisioning             time.Duration
	eventTypes               []string
}

func (a *app) addTenant() *cobra.Command {
	f := &tenantFlags{}
	cmd := &cobra.Command{
		Use:   "tenant NAME",
		Short: "Add a MindSphere tenant: in eu1, in eu2 (with its DPS instance and hub), or a private cloud",
		Example: `  fakecloud add tenant camexia --ca camexia.pem
  fakecloud add tenant camexia2 --region eu2 --ca camexia.pem
  fakecloud add tenant site --region private --host mqtt.site.test --ca demo-ca
  fakecloud add tenant patient --provisioning 20s --event-type SensorInterruptEvent`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runAddTenant(cmd, args[0], f)
		},
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.region, "region", "eu1", "eu1, eu2 or private")
	fs.StringVar(&f.host, "host", "", "host name of the broker of a private cloud")
	fs.StringVar(&f.ca, "ca", "demo-ca", "CA certificate that issues the agents' certificates: a file, or the name of a CA of the world")
	fs.StringVar(&f.caName, "ca-name", "", "name of the upload (default: the file's name)")
	fs.BoolVar(&f.unverified, "unverified", false, "possession of the CA's key has not been proven: agents are refused")
	fs.StringVar(&f.scope, "id-scope", "", "ID scope of the DPS instance of a tenant in eu2 (default: a new instance)")
	fs.StringVar(&f.hub, "hub", "", "hub of a tenant in eu2 (default: a new one, conn-NAME-iothub)")
	fs.DurationVar(&f.provisioning, "provisioning", 3*time.Second, "how long new agents are turned away in eu1")
	fs.StringArrayVar(&f.eventTypes, "event-type", nil, "event type that the tenant knows (repeatable; default: any)")
	return cmd
}

func (a *app) runAddTenant(cmd *cobra.Command, name string, f *tenantFlags) error {
	if err := oneOf("region", f.region, "eu1", "eu2", "private"); err != nil {
		return err
	}
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	taken := slices.ContainsFunc(i.world.MindSphere.Tenants, func(t world.Tenant) bool { return t.Name == name })
	if err := f.free(taken, "the tenant "+name); err != nil {
		return err
	}
	upload, err := i.upload(f.ca, &caFlags{name: f.caName, unverified: f.unverified})
	if err != nil {
		return err
	}
	tenant := world.Tenant{Name: name, Region: f.region, Host: f.host, EventTypes: f.eventTypes, Certificates: []world.CACertificate{upload}}
	if cmd.Flags().Changed("provisioning") {
		d := world.Duration(f.provisioning)
		tenant.Provisioning = &d
	}
	patch := &world.World{}
	if f.region == "eu2" {
		i.standOnAzure(patch, &tenant, f)
	} else if f.scope != "" || f.hub != "" {
		return usagef("--id-scope and --hub go with --region eu2")
	}
	patch.MindSphere.Tenants = []world.Tenant{tenant}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	a.tenantHint(i, tenant, f.ca)
	return nil
}

// standOnAzure completes a tenant of region eu2, and adds to patch what it stands on and does not exist yet.
func (i *instance) standOnAzure(patch *world.World, t *world.Tenant, f *tenantFlags) {
	t.IDScope, t.Hub = f.scope, f.hub
	if t.Hub == "" {
		t.Hub = "conn-" + strings.ToLower(t.Name) + "-iothub"
	}
	if _, exists := i.world.Hub(t.Hub); !exists && f.hub == "" {
		patch.Azure.Hubs = []world.Hub{{Name: t.Hub, Policies: usualPolicies()}}
	}
	at := slices.IndexFunc(i.world.Azure.DPS, func(d world.DPS) bool { return strings.EqualFold(d.IDScope, t.IDScope) })
	switch {
	case t.IDScope == "":
		t.IDScope = newIDScope()
		patch.Azure.DPS = []world.DPS{{Name: strings.ToLower(t.Name) + "-dps", IDScope: t.IDScope, LinkedHubs: []string{t.Hub}}}
	case at >= 0 && len(patch.Azure.Hubs) > 0:
		d := i.world.Azure.DPS[at]
		patch.Azure.DPS = []world.DPS{{Name: d.Name, LinkedHubs: append(slices.Clone(d.LinkedHubs), t.Hub)}}
	}
}

// newIDScope makes an ID scope of the service's form: 0ne and eight upper-case letters or digits.
func newIDScope() string { return "0ne" + strings.ToUpper(rand.Text()[:8]) }

// tenantHint prints what to do next, with the vendor's own commands.
func (a *app) tenantHint(i *instance, t world.Tenant, ca string) {
	client := t.Name + "_pump-7"
	switch t.Region {
	case "eu2":
		fmt.Fprintf(a.out, "\nID scope %s, hub %s\n", t.IDScope, t.Hub)
		fmt.Fprintf(a.out, "next: a certificate with CN=%s from %s, then register at DPS:\n  client id %[1]s, user name %[3]s/registrations/%[1]s/api-version=2019-03-31, empty password\n", client, ca, t.IDScope)
	case "private":
		fmt.Fprintf(a.out, "\nnext: client id %s, user name _CertificateBearer, an RS256 token (MqttOpcUaAuth of @mindconnect/mindconnect-nodejs) as password, at %s\n", client, t.Host)
	default:
		fmt.Fprintf(a.out, "\nnext: a certificate with CN=pump-7 from %s, then twice, as the first connection is dropped:\n  %s\n", ca, i.mosquittoAgent(t.Name))
	}
	fmt.Fprintf(a.out, "why not? fakecloud explain %s\n", client)
}

// mosquittoAgent is a command with which agent pump-7 of a tenant in eu1 asks for a token.
func (i *instance) mosquittoAgent(tenant string) string {
	root, ok := i.rootFile()
	if !ok {
		root = "AmazonRootCA1.pem"
	}
	return fmt.Sprintf("mosquitto_pub --cafile %s --cert pump-7_chain.pem --key pump-7.key -h %s -p %d -i %s_pump-7 -q 1 -t tc/%[4]s/%[4]s_pump-7/o/agm_v3/t -m '{\"id\":\"1\"}'",
		quoteShell(root), i.host, i.mqtts, tenant)
}
