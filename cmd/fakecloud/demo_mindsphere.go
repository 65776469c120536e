package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

const (
	demoAgent    = "pump-7"            // common name in eu1
	demoClient   = "demo_" + demoAgent // client id in eu1
	demoAgentEU2 = "demo2_pump-7"      // common name and client id in eu2
	demoEU2Scope = "0ne00FAKE02"       // ID scope of tenant demo2
	demoGateway  = "gateway.eu1.mindsphere.io"
)

// mindSphereSteps is the lesson on MindConnect MQTT in both regions.
func (l *lesson) mindSphereSteps() []demoStep {
	const mind = "mindsphere"
	dropped := fakecloud.Filter{Platform: mind, Kind: "refused", Device: demoClient, Rule: "MS-1"}
	provisioned := fakecloud.Filter{Platform: mind, Kind: "provisioned", Device: demoClient}
	accepted := fakecloud.Filter{Platform: mind, Kind: "connack", Device: demoClient, Match: demoAccepted}
	read := fakecloud.Filter{Platform: mind, Kind: "http", Match: func(e *fakecloud.Event) bool { return strings.Contains(e.Topic, "/timeseries/") }}
	stored := fakecloud.Filter{Platform: mind, Kind: "telemetry", Device: demoClient, Match: func(e *fakecloud.Event) bool { return e.Properties["stored"] == "1" }}
	return []demoStep{
		{
			title: "MindSphere eu1: the first connection is dropped",
			text: "An agent of tenant demo comes with a certificate (CN=" + demoAgent + ") that MindSphere has never seen, issued by the " +
				"tenant's CA. The client id is {tenant}_{common name}; there is no user name and no password. The broker reads the CONNECT and " +
				"closes the connection without an answer: it provisions the agent meanwhile. This is no failure.",
			act:    l.firstConnection,
			proofs: []demoFact{{"the connection was closed, by rule MS-1", dropped}},
		},
		{
			title:  "The second connection stays",
			text:   "After a few seconds the agent exists, with an asset of type core.mcmqtt. A client that reconnects by itself gets there.",
			act:    l.secondConnection,
			proofs: []demoFact{{"the agent was provisioned", provisioned}, {"its connection was accepted", accepted}},
		},
		{
			title: "Model, data, and the data read back",
			text: "Data points lead nowhere until a model maps them. One version 4 message makes aspect type, asset type, asset and mapping; " +
				"the answers come on amo_v4/mip. Then a value goes to mc_v3/ts, and comes back from the time series API.",
			act:    l.modelAndData,
			proofs: []demoFact{{"the value was stored", stored}, {"it was read over HTTPS", read}},
		},
		{
			title: "MindSphere eu2: by way of DPS and IoT Hub",
			text: "The same tenant's CA, another region: the common name has the tenant in it, the agent registers at DPS with ID scope " + demoEU2Scope +
				", and the applications are properties of the hub's messages. There is no first drop.",
			act: l.eu2,
			proofs: []demoFact{
				{"the enrollment group of the tenant admitted the agent", fakecloud.Filter{Platform: "dps", Kind: "provisioned", Device: demoAgentEU2}},
				{"the agent became an asset", fakecloud.Filter{Platform: mind, Kind: "provisioned", Device: demoAgentEU2}},
				{"the answer came on devicebound", fakecloud.Filter{Platform: "iothub", Kind: "publish", Device: demoAgentEU2, Match: func(e *fakecloud.Event) bool {
					return e.Dir == "out" && strings.HasSuffix(e.Topic, "&amo_v4=mip")
				}}},
			},
		},
	}
}

// agentConfig is for an agent of the default world's tenant in eu1.
func (l *lesson) agentConfig() (mindsphere.Config, error) {
	if l.agentCert == nil {
		issued, err := l.cloud.IssueDevice(demoAgent)
		if err != nil {
			return mindsphere.Config{}, err
		}
		l.agentCert = &issued
	}
	return mindsphere.Config{Region: mindsphere.EU1, Tenant: "demo", Certificate: l.agentCert.TLS(), TLS: l.tls(), Dial: l.cloud.DialContext}, nil
}

// firstConnection succeeds when the broker drops it.
func (l *lesson) firstConnection(ctx context.Context) error {
	cfg, err := l.agentConfig()
	if err != nil {
		return err
	}
	cfg.Onboarding = time.Nanosecond // one attempt
	agent, err := mindsphere.Dial(ctx, cfg)
	var dropped *mindsphere.DroppedError
	switch {
	case err == nil:
		return errors.Join(errors.New("the first connection was accepted"), agent.Close(ctx))
	case !errors.As(err, &dropped):
		return err
	}
	return nil
}

func (l *lesson) secondConnection(ctx context.Context) error {
	cfg, err := l.agentConfig()
	if err != nil {
		return err
	}
	l.agent, err = mindsphere.Dial(ctx, cfg)
	return err
}

// demoModel has one asset with one value.
func demoModel(tenant string) mindsphere.Model {
	return mindsphere.Model{
		AspectTypes: []mindsphere.AspectType{{ID: tenant + ".climate", Name: "climate", Category: "dynamic", Scope: "private",
			Variables: []mindsphere.Variable{{Name: "temperature", DataType: "DOUBLE", Unit: "C"}}}},
		AssetTypes: []mindsphere.AssetType{{ID: tenant + ".pump", Name: "pump", ParentTypeID: "core.basicasset", Instantiable: true, Scope: "private",
			Aspects: []mindsphere.Aspect{{Name: "climate", AspectTypeID: tenant + ".climate"}}}},
		Assets:   []mindsphere.Asset{{ReferenceID: "pump", TypeID: tenant + ".pump", Name: "Pump-7"}},
		Mappings: []mindsphere.Mapping{{DataPointID: "t1", AssetReferenceID: "pump", AspectName: "climate", VariableName: "temperature"}},
	}
}

func (l *lesson) modelAndData(ctx context.Context) error {
	if _, err := l.agent.ApplyModel(ctx, demoModel("demo"), nil); err != nil {
		return err
	}
	if err := l.agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: "t1", Value: 21.5}}}); err != nil {
		return err
	}
	if err := l.agent.Close(ctx); err != nil {
		return err
	}
	assets, err := l.ask(ctx, "/api/assetmanagement/v3/assets?filter="+url.QueryEscape(`{"name":"Pump-7"}`))
	if err != nil {
		return err
	}
	id := regexp.MustCompile(`"assetId":"([0-9a-f]+)"`).FindStringSubmatch(assets)
	if id == nil {
		return fmt.Errorf("the asset does not exist: %s", assets)
	}
	series, err := l.ask(ctx, "/api/iottimeseries/v3/timeseries/"+id[1]+"/climate")
	if err == nil && !strings.Contains(series, `"temperature":21.5`) {
		err = fmt.Errorf("the value did not come back: %s", series)
	}
	return err
}

// ask reads from MindSphere's REST APIs for tenant demo.
func (l *lesson) ask(ctx context.Context, path string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: l.cloud.DialContext, TLSClientConfig: &tls.Config{RootCAs: l.roots}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+demoGateway+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer demo")
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, res.Status, text)
	}
	return string(text), err
}

func (l *lesson) eu2(ctx context.Context) error {
	issued, err := l.cloud.IssueDevice(demoAgentEU2)
	if err != nil {
		return err
	}
	agent, err := mindsphere.Dial(ctx, mindsphere.Config{Region: mindsphere.EU2, Tenant: "demo2", IDScope: demoEU2Scope,
		Certificate: issued.TLS(), TLS: l.tls(), Dial: l.cloud.DialContext})
	if err != nil {
		return err
	}
	_, err = agent.ApplyModel(ctx, demoModel("demo2"), nil)
	return errors.Join(err, agent.Close(ctx))
}
