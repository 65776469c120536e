package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/world"
)

// instance is what the commands that write lines for other programs know of the cloud: the running one,
// or the default world where none runs.
type instance struct {
	running bool
	world   *world.World
	names   []string // vendor names that lead here
	host    string   // address or name that clients dial
	mqtts   int      // port of MQTT over TLS
	https   int
	proxy   int
	data    string // data directory of the running instance
	root    []byte // its server root, PEM
}

// instanceInfo is the part of GET /api/v1/info that is read here.
type instanceInfo struct {
	Data  string `json:"data"`
	Ports struct {
		MQTTS int `json:"mqtts"`
		HTTPS int `json:"https"`
		Proxy int `json:"proxy"`
	} `json:"ports"`
	Endpoints []struct {
		Platform string   `json:"platform"`
		Name     string   `json:"name"`
		Hosts    []string `json:"hosts"`
	} `json:"endpoints"`
}

// instance asks the running instance. When none runs, and none was asked for by --admin, it is made of
// the default world with the default ports.
func (a *app) instance(ctx context.Context) (*instance, error) {
	i := &instance{host: a.adminHost(), mqtts: 8883, https: 8443, proxy: 8485}
	var info instanceInfo
	err := a.adminJSON(ctx, http.MethodGet, "/api/v1/info", nil, &info)
	var refusal *adminError
	switch {
	case err == nil:
		return i, i.ask(ctx, a, info)
	case a.adminURL != "" || ctx.Err() != nil || errors.As(err, &refusal):
		return nil, err
	}
	i.world = world.Default()
	i.names, err = defaultNames(i.world)
	return i, err
}

func (i *instance) ask(ctx context.Context, a *app, info instanceInfo) error {
	i.running = true
	i.mqtts, i.https, i.proxy, i.data = info.Ports.MQTTS, info.Ports.HTTPS, info.Ports.Proxy, info.Data
	table := hosts.New()
	for _, e := range info.Endpoints {
		if err := table.Put(e.Platform, e.Name, e.Hosts...); err != nil {
			return err
		}
	}
	i.names = table.Names()
	text, err := a.worldText(ctx)
	if err != nil {
		return err
	}
	if i.world, err = world.Parse("the running world", text); err != nil {
		return err
	}
	i.root, err = a.adminBytes(ctx, adminRequest{Path: "/api/v1/ca.pem", Accept: "*/*"})
	return err
}

// worldText returns the running world as YAML.
func (a *app) worldText(ctx context.Context) ([]byte, error) {
	return a.adminBytes(ctx, adminRequest{Path: "/api/v1/world", Accept: "application/yaml"})
}

// patchWorld adds to the running world.
func (a *app) patchWorld(ctx context.Context, document []byte) error {
	_, err := a.adminBytes(ctx, adminRequest{Method: http.MethodPatch, Path: "/api/v1/world", Body: document, ContentType: "application/yaml"})
	return err
}

// adminHost is the host of the admin URL: where the admin API answers, the device ports do too.
func (a *app) adminHost() string {
	if base, err := adminBase(a.adminURL); err == nil && a.adminURL != "" {
		if u, err := url.Parse(base); err == nil && u.Hostname() != "" && u.Hostname() != "localhost" {
			return u.Hostname()
		}
	}
	return "127.0.0.1"
}

// defaultNames are the vendor names of a world's instances.
func defaultNames(w *world.World) ([]string, error) {
	table := hosts.New()
	for _, d := range w.Azure.DPS {
		if err := table.Put(hosts.DPS, d.Name, d.Name+".azure-devices-provisioning.net", globalDPSHost); err != nil {
			return nil, err
		}
	}
	for _, h := range w.Azure.Hubs {
		if err := table.Put(hosts.IoTHub, h.HostName(), h.HostName()); err != nil {
			return nil, err
		}
	}
	for _, t := range w.MindSphere.Tenants {
		if err := table.Put(hosts.MindSphere, t.Name, tenantHosts(t)...); err != nil {
			return nil, err
		}
	}
	for _, i := range w.IoTDA.Instances {
		if err := table.Put(hosts.IoTDA, i.Name, iotda.Instance{Name: i.Name, Region: i.Region}.Hosts()...); err != nil {
			return nil, err
		}
	}
	for _, g := range w.Edge.Gateways {
		if err := table.Put(hosts.Edge, g.HostName, append([]string{g.HostName}, g.Aliases...)...); err != nil {
			return nil, err
		}
	}
	return table.Names(), nil
}

// tenantHosts are the names that lead to a MindSphere tenant (MindSphere, "MindConnect MQTT Broker").
func tenantHosts(t world.Tenant) []string {
	switch t.Region {
	case "", "eu1":
		return []string{"mindconnectmqtt.eu1.mindsphere.io", "gateway.eu1.mindsphere.io"}
	case "eu2":
		return []string{"gateway.eu2.mindsphere.io"}
	}
	return []string{t.Host}
}

// globalDPSHost is the name that devices reach DPS by (Learn, "DPS terminology").
const globalDPSHost = "global.azure-devices-provisioning.net"

// rootFile returns the absolute path of a file on this machine that holds the instance's server root; ok
// is false where there is none, and the path is where to put one.
func (i *instance) rootFile() (path string, ok bool) {
	if i.running {
		name, err := filepath.Abs(filepath.Join(i.data, "pki", "root.pem"))
		if err == nil && i.data != "" && sameFile(name, i.root) {
			return name, true
		}
	}
	name, err := filepath.Abs("fakecloud-ca.pem")
	if err != nil {
		name = "fakecloud-ca.pem"
	}
	return name, i.running && sameFile(name, i.root)
}

func sameFile(name string, content []byte) bool {
	have, err := os.ReadFile(name)
	return err == nil && bytes.Equal(bytes.TrimSpace(have), bytes.TrimSpace(content))
}
