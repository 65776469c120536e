package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
)

const (
	lessonNode      = "demo_node1" // device id in the default world
	lessonSecret    = "12345678"
	lessonIoTDAHost = "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"
	demoIoTDAAPI    = "fakecloud.iotda.cn-north-4.myhuaweicloud.com"
	demoProject     = "/v5/iot/fa4ec10d0000000000000000000000f1"
	demoX509Node    = "node2"
)

// iotdaSteps is the lesson on Huawei Cloud IoTDA.
func (l *lesson) iotdaSteps() []demoStep {
	const iot = "iotda"
	accepted := func(device string) fakecloud.Filter {
		return fakecloud.Filter{Platform: iot, Kind: "connack", Device: device, Match: demoAccepted}
	}
	resource := func(device, name, part string) fakecloud.Filter {
		return fakecloud.Filter{Platform: iot, Device: device, Match: func(e *fakecloud.Event) bool {
			return e.Properties["resource"] == name && strings.Contains(string(e.Payload), part)
		}}
	}
	return []demoStep{
		{
			title: "IoTDA: a device signs in with its secret",
			text: "Product demo, device " + lessonNode + ". The client id is {device id}_0_0_{UTC time to the hour}, the user name the device id, the password " +
				"the HMAC-SHA256 of the device secret with that time as its key. No subscription follows: system topics need none.",
			act: l.iotdaConnect,
			proofs: []demoFact{{"the password was right", accepted(lessonNode)},
				{"the application learns that the device is online", resource(lessonNode, "device.status", "ONLINE")}},
		},
		{
			title: "Properties become the device's shadow",
			text: "A report names services and properties of the product model. There is no answer beyond the PUBACK: what does not fit the model " +
				"is dropped in silence, here batteryLevel 101 of at most 100. The journal says it.",
			act: l.iotdaReport,
			proofs: []demoFact{{"batteryLevel 80 was taken", resource(lessonNode, "device.property", `"batteryLevel":80`)},
				{"101 was dropped, by rule DA-33", fakecloud.Filter{Platform: iot, Kind: "refused", Device: lessonNode, Rule: "DA-33"}},
				{"the application read the shadow", fakecloud.Filter{Platform: iot, Kind: "http", Device: lessonNode}}},
		},
		{
			title: "A command and its answer",
			text: "The application's HTTP call waits, at most 20 s, until the device has answered on the response topic with the request's request_id. " +
				"A message would not wait, and would be kept for a device that is offline.",
			act: l.iotdaCommand,
			proofs: []demoFact{{"the command went to the device", fakecloud.Filter{Platform: iot, Kind: "publish", Device: lessonNode, Match: func(e *fakecloud.Event) bool {
				return e.Dir == "out" && strings.Contains(e.Topic, "/sys/commands/request_id=")
			}}}, {"its answer came back", fakecloud.Filter{Platform: iot, Kind: "http", Device: lessonNode, Match: func(e *fakecloud.Event) bool {
				return strings.HasSuffix(e.Topic, "/commands") && e.Code != nil && *e.Code == http.StatusOK
			}}}},
		},
		{
			title: "A device with a certificate",
			text: "Registered with auth_type CERTIFICATES and no fingerprint, a device is bound to the first certificate that it shows, as long as a verified " +
				"CA has issued it. It sends no password.",
			act:    l.iotdaX509,
			proofs: []demoFact{{"the certificate was enough", accepted("demo_" + demoX509Node)}},
		},
		{
			title:  "A wrong secret",
			text:   "The device gets return code 4 and nothing else, whatever was wrong. The journal has the reason and how to mend it.",
			act:    l.iotdaWrong,
			proofs: []demoFact{{"the password was refused, by rule DA-2", fakecloud.Filter{Platform: iot, Kind: "refused", Device: lessonNode, Rule: "DA-2"}}},
		},
	}
}

func (l *lesson) iotdaConnect(ctx context.Context) (err error) {
	l.node, err = iotda.Dial(ctx, iotda.Config{Host: lessonIoTDAHost, DeviceID: lessonNode, Credential: iotda.Secret(lessonSecret), TLS: l.tls(), Dial: l.cloud.DialContext,
		OnCommand: func(context.Context, iotda.Command) (iotda.Response, error) {
			return iotda.Response{Paras: map[string]any{"left": "1h"}}, nil
		}})
	return err
}

func (l *lesson) iotdaReport(ctx context.Context) error {
	for _, level := range []int{80, 101} {
		if err := l.node.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": level}}); err != nil {
			return err
		}
	}
	shadow, err := l.askIoTDA(ctx, http.MethodGet, "/devices/"+lessonNode+"/shadow", "")
	if err == nil && !strings.Contains(shadow, `"batteryLevel":80`) {
		err = fmt.Errorf("the shadow is %s", shadow)
	}
	return err
}

func (l *lesson) iotdaCommand(ctx context.Context) error {
	answer, err := l.askIoTDA(ctx, http.MethodPost, "/devices/"+lessonNode+"/commands", `{"service_id":"Battery","command_name":"recharge","paras":{"hours":2}}`)
	if err == nil && !strings.Contains(answer, `"left":"1h"`) {
		err = fmt.Errorf("the device answered %s", answer)
	}
	return errors.Join(err, l.node.Close(ctx))
}

func (l *lesson) iotdaX509(ctx context.Context) error {
	if _, err := l.askIoTDA(ctx, http.MethodPost, "/devices", `{"node_id":"`+demoX509Node+`","product_id":"demo","auth_info":{"auth_type":"CERTIFICATES"}}`); err != nil {
		return err
	}
	issued, err := l.cloud.IssueDevice("demo_" + demoX509Node)
	if err != nil {
		return err
	}
	device, err := iotda.Dial(ctx, iotda.Config{Host: lessonIoTDAHost, DeviceID: "demo_" + demoX509Node, Credential: iotda.X509(issued.TLS()), TLS: l.tls(), Dial: l.cloud.DialContext})
	if err != nil {
		return err
	}
	return device.Close(ctx)
}

// iotdaWrong succeeds when the platform refuses with return code 4.
func (l *lesson) iotdaWrong(ctx context.Context) error {
	device, err := iotda.Dial(ctx, iotda.Config{Host: lessonIoTDAHost, DeviceID: lessonNode, Credential: iotda.Secret("87654321"), TLS: l.tls(), Dial: l.cloud.DialContext})
	var refused *iotda.ConnectError
	switch {
	case err == nil:
		return errors.Join(errors.New("a wrong secret was accepted"), device.Close(ctx))
	case !errors.As(err, &refused) || refused.ReturnCode != 4:
		return fmt.Errorf("IoTDA was to refuse with return code 4: %w", err)
	}
	return nil
}

// askIoTDA calls the application API and returns the answer of a call that succeeded.
func (l *lesson) askIoTDA(ctx context.Context, method, path, body string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: l.cloud.DialContext, TLSClientConfig: l.tls(), DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+demoIoTDAAPI+demoProject+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s: %s %s", path, res.Status, text)
	}
	return string(text), err
}
