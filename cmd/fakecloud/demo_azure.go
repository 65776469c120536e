package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
)

const demoTelemetry = `{"temperature":21.5}`

// steps is the lesson on DPS and IoT Hub.
func (l *lesson) steps() []demoStep {
	return []demoStep{
		{
			title: "The device registers with DPS",
			text: "The device holds a certificate with its registration ID as common name (CN=" + demoDevice + "), signed by " +
				"demo-ca. The enrollment group demo-x509 of the DPS instance " + demoScope + " trusts that CA. The device " +
				"connects, subscribes to the answers, registers, and polls until DPS has assigned it to a hub.",
			act: l.register,
			proofs: []demoFact{
				{"the certificate came with the TLS handshake", fakecloud.Filter{Platform: "dps", Kind: "tls", Match: func(e *fakecloud.Event) bool {
					return e.Properties["clientCertificate"] == "CN="+demoDevice
				}}},
				{"CONNECT was accepted", fakecloud.Filter{Platform: "dps", Kind: "connack", Device: demoDevice, Match: demoAccepted}},
				{"the subscription to the answers was granted", fakecloud.Filter{Platform: "dps", Kind: "suback", Device: demoDevice}},
				{"the enrollment group admitted the device and chose its hub", fakecloud.Filter{Platform: "dps", Kind: "provisioned", Device: demoDevice, Match: func(e *fakecloud.Event) bool {
					return l.assignment.Hub != "" && e.Properties["hub"] == l.assignment.Hub && e.Properties["enrollmentGroupId"] == "demo-x509"
				}}},
				{"the device said goodbye", fakecloud.Filter{Platform: "dps", Kind: "disconnect", Device: demoDevice}},
			},
		},
		{
			title: "The device connects to its hub",
			text: "Same certificate, another server: the hub that DPS named. DPS has told the hub the certificate's " +
				"thumbprint, so nothing had to be registered there by hand. The user name is " +
				"{hub}/{device}/?api-version=…, with a question mark this time.",
			act: l.connect,
			proofs: []demoFact{
				{"the hub accepted the device", fakecloud.Filter{Platform: "iothub", Kind: "connack", Device: demoDevice, Match: demoAccepted}},
			},
		},
		{
			title: "Telemetry",
			text: "A message is a PUBLISH with QoS 1 to devices/{device}/messages/events/. Properties follow in the topic, " +
				"percent-encoded. The hub adds stamps of its own and acknowledges once the message is stored.",
			act: l.telemetry,
			proofs: []demoFact{
				{"the hub stored the message with its property", fakecloud.Filter{Platform: "iothub", Kind: "telemetry", Device: demoDevice, Match: func(e *fakecloud.Event) bool {
					return string(e.Payload) == demoTelemetry && e.Properties["alert"] == "false"
				}}},
				{"the message was acknowledged", fakecloud.Filter{Platform: "iothub", Kind: "puback", Device: demoDevice}},
				{"the device disconnected", fakecloud.Filter{Platform: "iothub", Kind: "disconnect", Device: demoDevice}},
			},
		},
		{
			title: "The same certificate under another name",
			text: "Now a mistake on purpose: the device asks to be " + demoWrong + " with the certificate of " + demoDevice + ". " +
				"DPS accepts the connection, as the real one does, and refuses the registration with an answer that " +
				"says little. The reason stands beside it, as `fakecloud explain` shows it.",
			act: l.wrongName,
			proofs: []demoFact{
				{"the registration was refused, by rule DPS-21", fakecloud.Filter{
					Platform: "dps", Kind: "refused", Device: demoWrong, Rule: "DPS-21"}},
				{"the device got the answer 401", fakecloud.Filter{
					Platform: "dps", Kind: "publish", Device: demoWrong, Match: func(e *fakecloud.Event) bool {
						return e.Dir == "out" && strings.HasPrefix(e.Topic, "$dps/registrations/res/401/")
					}}},
			},
		},
	}
}

func demoAccepted(e *fakecloud.Event) bool { return e.Code != nil && *e.Code == 0 }

func (l *lesson) register(ctx context.Context) (err error) {
	l.assignment, err = azure.Provision(ctx, azure.ProvisionConfig{
		IDScope: demoScope, Credential: azure.X509(l.device.TLS()), TLS: l.tls(), Dial: l.cloud.DialContext,
	})
	return err
}

func (l *lesson) connect(ctx context.Context) (err error) {
	l.hub, err = azure.Dial(ctx, azure.HubConfig{
		Host: l.assignment.Hub, DeviceID: l.assignment.DeviceID, Credential: azure.X509(l.device.TLS()),
		TLS: l.tls(), Dial: l.cloud.DialContext,
	})
	return err
}

func (l *lesson) telemetry(ctx context.Context) error {
	err := l.hub.Send(ctx, azure.Message{
		Body: []byte(demoTelemetry), ContentType: "application/json", ContentEncoding: "utf-8",
		Properties: map[string]string{"alert": "false"},
	})
	return errors.Join(err, l.hub.Close(ctx))
}

// wrongName succeeds when DPS refuses as the real one would.
func (l *lesson) wrongName(ctx context.Context) error {
	_, err := azure.Provision(ctx, azure.ProvisionConfig{
		IDScope: demoScope, RegistrationID: demoWrong, Credential: azure.X509(l.device.TLS()),
		TLS: l.tls(), Dial: l.cloud.DialContext, Timeout: 10 * time.Second,
	})
	var refused *azure.ProvisionError
	switch {
	case err == nil:
		return errors.New("DPS has provisioned a device under a name that its certificate does not carry")
	case !errors.As(err, &refused) || refused.ErrorCode != 401002:
		return fmt.Errorf("DPS was to refuse with 401002: %w", err)
	}
	return nil
}
