package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// The gateway of the default world, its child and the devices' key.
const (
	demoEdgeHost = "mygateway.contoso.com"
	demoHubHost  = "fakecloud-hub.azure-devices.net"
	demoLeaf     = "demo-leaf"
	demoNoChild  = "demo-sas"
	demoKey      = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	demoLeafSays = `{"temperature":19.5}`
)

// edgeSteps is the lesson on an IoT Edge gateway.
func (l *lesson) edgeSteps() []demoStep {
	const edge = "edge"
	upstream := func(state string) fakecloud.Filter {
		return fakecloud.Filter{Platform: edge, Kind: "world", Match: func(e *fakecloud.Event) bool { return e.Properties["upstream"] == state }}
	}
	said := func(platform string) fakecloud.Filter {
		return fakecloud.Filter{Platform: platform, Kind: "telemetry", Device: demoLeaf, Match: func(e *fakecloud.Event) bool {
			return string(e.Payload) == demoLeafSays
		}}
	}
	return []demoStep{
		{
			title: "IoT Edge: a device connects to a gateway",
			text: "Behind a transparent gateway a device has the connection string of its hub and one thing more, GatewayHostName=" + demoEdgeHost + ". " +
				"It connects there and trusts the root of the gateway's own chain, not the cloud's; user name and token still name the hub.",
			act: l.edgeConnect,
			proofs: []demoFact{
				{"the gateway was reached by its name", fakecloud.Filter{Platform: edge, Kind: "tls", Match: func(e *fakecloud.Event) bool { return e.Properties["sni"] == demoEdgeHost }}},
				{"the gateway accepted its child", fakecloud.Filter{Platform: edge, Kind: "connack", Device: demoLeaf, Match: demoAccepted}},
			},
		},
		{
			title: "The hub is away",
			text: "The gateway has lost its upstream. What its children send is acknowledged all the same, once it is stored, and waits for the hub, " +
				"two hours at most unless the deployment says otherwise.",
			act: l.edgeStore,
			proofs: []demoFact{
				{"the upstream was away", upstream("down")},
				{"the gateway took the message", said(edge)},
				{"the device got its acknowledgement", fakecloud.Filter{Platform: edge, Kind: "puback", Device: demoLeaf}},
			},
		},
		{
			title:  "The hub is back",
			text:   "What was stored goes on in its order, under the name of the device that sent it.",
			act:    l.edgeForward,
			proofs: []demoFact{{"the upstream was back", upstream("up")}, {"the stored message arrived at the hub", said("iothub")}},
		},
		{
			title: "A device that is no child of the gateway",
			text: "Now " + demoNoChild + " connects there, with its right key. The hub would take it; the gateway takes only devices " +
				"that have it as their parent.",
			act:    l.edgeStranger,
			proofs: []demoFact{{"the connection was refused, by rule EDGE-11", fakecloud.Filter{Platform: edge, Kind: "refused", Device: demoNoChild, Rule: "EDGE-11"}}},
		},
	}
}

// throughGateway connects a device of the demo's hub to its gateway.
func (l *lesson) throughGateway(ctx context.Context, id string) (*azure.Hub, error) {
	root, err := l.cloud.EdgeRootPEM()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		return nil, errors.New("the gateways' root is no certificate")
	}
	key, err := azure.SymmetricKey(demoKey)
	if err != nil {
		return nil, err
	}
	return azure.Dial(ctx, azure.HubConfig{Host: demoHubHost, GatewayHost: demoEdgeHost, DeviceID: id, Credential: key,
		TLS: &tls.Config{RootCAs: roots}, Dial: l.cloud.DialContext})
}

func (l *lesson) edgeConnect(ctx context.Context) (err error) {
	l.leaf, err = l.throughGateway(ctx, demoLeaf)
	return err
}

// edgeStore sends a message that the hub must not have yet.
func (l *lesson) edgeStore(ctx context.Context) error {
	if err := l.cloud.SetEdgeUpstream(demoEdgeHost, false); err != nil {
		return err
	}
	if err := l.leaf.Send(ctx, azure.Message{Body: []byte(demoLeafSays), ContentType: "application/json", ContentEncoding: "utf-8"}); err != nil {
		return err
	}
	state, err := l.cloud.EdgeGateway(demoEdgeHost)
	if err != nil {
		return err
	}
	arrived, _ := l.cloud.Telemetry(demoHubHost, demoLeaf, 0, 0)
	if state.Queue.Messages != 1 || len(arrived) != 0 {
		return fmt.Errorf("%d messages wait for the hub and %d have arrived; expected one to wait", state.Queue.Messages, len(arrived))
	}
	return nil
}

// edgeForward ends once the hub has the message.
func (l *lesson) edgeForward(ctx context.Context) error {
	if err := l.cloud.SetEdgeUpstream(demoEdgeHost, true); err != nil {
		return err
	}
	_, err := l.cloud.Await(ctx, fakecloud.Filter{Platform: "iothub", Kind: "telemetry", Device: demoLeaf}, 1)
	return errors.Join(err, l.leaf.Close(ctx))
}

// edgeStranger succeeds when the gateway refuses with return code 5.
func (l *lesson) edgeStranger(ctx context.Context) error {
	device, err := l.throughGateway(ctx, demoNoChild)
	var refused *azure.ConnectError
	switch {
	case err == nil:
		return errors.Join(errors.New("the gateway took a device that is not its child"), device.Close(ctx))
	case !errors.As(err, &refused) || refused.ReturnCode != 5:
		return fmt.Errorf("the gateway was to refuse with return code 5: %w", err)
	}
	return nil
}
