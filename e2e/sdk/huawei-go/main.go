// Command huawei-go is an application on Huawei's own SDK for Go. Settings come from the environment; each
// step is a JSON line. With DERIVED=1 calls are signed with a derived key, else with the secret key itself.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	iotda "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iotda/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iotda/v5/model"
)

func step(name string, text any) {
	line, err := json.Marshal(map[string]string{"step": name, "text": fmt.Sprint(text)})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func main() {
	if err := run(); err != nil {
		var refused *sdkerr.ServiceResponseError
		if errors.As(err, &refused) {
			step("refused", fmt.Sprint(refused.StatusCode, " ", refused.ErrorCode))
			return
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func client() (*iotda.IoTDAClient, error) {
	credentials := basic.NewCredentialsBuilder().WithAk(os.Getenv("AK")).WithSk(os.Getenv("SK")).WithProjectId(os.Getenv("PROJECT_ID"))
	if os.Getenv("DERIVED") != "" {
		credentials = credentials.WithDerivedPredicate(auth.GetDefaultDerivedPredicate())
	}
	made, err := credentials.SafeBuild()
	if err != nil {
		return nil, err
	}
	hc, err := iotda.IoTDAClientBuilder().WithRegion(region.NewRegion("cn-north-4", os.Getenv("ENDPOINT"))).WithCredential(made).SafeBuild()
	if err != nil {
		return nil, err
	}
	return iotda.NewIoTDAClient(hc), nil
}

func run() error {
	c, err := client()
	if err != nil {
		return err
	}
	spaces, err := c.ShowApplications(&model.ShowApplicationsRequest{})
	if err != nil {
		return err
	}
	step("spaces", len(*spaces.Applications))
	low, high := "0", "100"
	product, err := c.CreateProduct(&model.CreateProductRequest{Body: &model.AddProduct{Name: "pump", DeviceType: "pump", ProtocolType: "MQTT", DataFormat: "json",
		ServiceCapabilities: []model.ServiceCapability{{ServiceId: "Tank", ServiceType: "Tank",
			Properties: &[]model.ServiceProperty{{PropertyName: "level", DataType: "int", Min: &low, Max: &high, Method: "RW"}}}}}})
	if err != nil {
		return err
	}
	step("product", *product.Name)
	kind, secret := "SECRET", "mySecret_0123"
	device, err := c.AddDevice(&model.AddDeviceRequest{Body: &model.AddDevice{NodeId: "go-1", ProductId: *product.ProductId, AuthInfo: &model.AuthInfo{AuthType: &kind, Secret: &secret}}})
	if err != nil {
		return err
	}
	step("device", *device.DeviceId == *product.ProductId+"_go-1" && *device.AuthInfo.Secret == secret)
	devices, err := c.ListDevices(&model.ListDevicesRequest{ProductId: product.ProductId})
	if err != nil {
		return err
	}
	step("listed", fmt.Sprint(*devices.Page.Count, " ", *(*devices.Devices)[0].Status))
	var text any = "hello"
	message, err := c.CreateMessage(&model.CreateMessageRequest{DeviceId: *device.DeviceId, Body: &model.DeviceMessageRequest{Message: &text}})
	if err != nil {
		return err
	}
	step("message", *message.MessageId != "")
	if id := os.Getenv("DEVICE_ID"); id != "" {
		if err := command(c, id); err != nil {
			return err
		}
	}
	if _, err := c.DeleteDevice(&model.DeleteDeviceRequest{DeviceId: *device.DeviceId}); err != nil {
		return err
	}
	if _, err := c.DeleteProduct(&model.DeleteProductRequest{ProductId: *product.ProductId}); err != nil {
		return err
	}
	step("deleted", "")
	return nil
}

// command calls a device that is online and reads its shadow.
func command(c *iotda.IoTDAClient, id string) error {
	service, name := "Battery", "recharge"
	var paras any = map[string]any{"hours": 2}
	answer, err := c.CreateCommand(&model.CreateCommandRequest{DeviceId: id, Body: &model.DeviceCommandRequest{ServiceId: &service, CommandName: &name, Paras: &paras}})
	if err != nil {
		return err
	}
	response, err := json.Marshal(answer.Response)
	if err != nil {
		return err
	}
	step("command", string(response))
	shadow, err := c.ShowDeviceShadow(&model.ShowDeviceShadowRequest{DeviceId: id})
	if err != nil {
		return err
	}
	step("shadow", len(*shadow.Shadow))
	return nil
}
