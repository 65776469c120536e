package iotda_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/iotda"
)

// The device of the default world reports its battery and serves a command.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	device, err := iotda.Dial(ctx, iotda.Config{
		Host: "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com", DeviceID: "demo_node1", Credential: iotda.Secret("12345678"),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer device.Close(ctx)
	device.OnCommand(func(_ context.Context, c iotda.Command) (iotda.Response, error) {
		if c.Name != "reboot" {
			return iotda.Response{}, &iotda.Failure{Code: 2, Text: "unknown command " + c.Name}
		}
		return iotda.Response{Paras: map[string]any{"in": "5s"}}, nil
	})
	err = device.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 80}})
	if err != nil {
		log.Print(err)
	}
}

// A gateway adds a child and reports for it.
func ExampleDevice_AddChildren() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gateway, err := iotda.Dial(ctx, iotda.Config{
		Host: "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com", DeviceID: "demo_node1", Credential: iotda.Secret("12345678"),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer gateway.Close(ctx)
	children, failed, err := gateway.AddChildren(ctx, iotda.NewChild{NodeID: "sensor-1", ProductID: "demo", Name: "sensor"})
	if err != nil || len(failed) > 0 {
		log.Print(err, failed)
		return
	}
	err = gateway.ReportChildren(ctx, iotda.ChildReport{DeviceID: children[0].DeviceID, Services: []iotda.Service{
		{ID: "Battery", Properties: map[string]any{"batteryLevel": 70}},
	}})
	if err != nil {
		log.Print(err)
	}
}

func ExampleGenerateLogin() {
	login, err := iotda.GenerateLogin("5e25cd2ea16ebc0a3f7b1f1c_dev01", "mySecret_0123", iotda.SignUnchecked,
		time.Date(2018, 7, 24, 17, 56, 20, 0, time.UTC))
	fmt.Println(login.ClientID, login.Password, err)
	// Output: 5e25cd2ea16ebc0a3f7b1f1c_dev01_0_0_2018072417 2a6acdf8e766b25981f6cc109313db3dc99937bc50f4b966535703f20b5a19c1 <nil>
}
