package iotda

import (
	"encoding/json"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// DeviceView is a device as the application API and its notifications show it.
type DeviceView struct {
	AppID         string          `json:"app_id"`
	AppName       string          `json:"app_name"`
	DeviceID      string          `json:"device_id"`
	NodeID        string          `json:"node_id"`
	GatewayID     string          `json:"gateway_id"`
	DeviceName    string          `json:"device_name"`
	NodeType      string          `json:"node_type"`
	Description   string          `json:"description,omitempty"`
	FWVersion     string          `json:"fw_version,omitempty"`
	SWVersion     string          `json:"sw_version,omitempty"`
	SDKVersion    string          `json:"device_sdk_version,omitempty"`
	Auth          *AuthInfo       `json:"auth_info,omitempty"`
	ProductID     string          `json:"product_id"`
	ProductName   string          `json:"product_name"`
	Status        string          `json:"status"`
	StatusUpdated string          `json:"connection_status_update_time,omitempty"`
	CreateTime    string          `json:"create_time"`
	ActiveTime    string          `json:"active_time,omitempty"`
	Tags          []Tag           `json:"tags"`
	ExtensionInfo json.RawMessage `json:"extension_info,omitempty"`
}

// ViewDevice returns a device as the API shows it, its secrets included.
func (s *Service) ViewDevice(instance string, d Device) DeviceView {
	a, _ := s.App(instance, d.AppID)
	p, _ := s.Product(instance, d.ProductID)
	v := DeviceView{
		AppID: d.AppID, AppName: a.Name, DeviceID: d.DeviceID, NodeID: d.NodeID, GatewayID: d.Gateway(), DeviceName: d.Name, NodeType: "GATEWAY",
		Description: d.Description, FWVersion: d.FWVersion, SWVersion: d.SWVersion, SDKVersion: d.SDKVersion, Auth: &d.Auth,
		ProductID: d.ProductID, ProductName: p.Name, Status: d.State(), CreateTime: iotda.FormatTime(d.Created),
		Tags: append([]Tag{}, d.Tags...), ExtensionInfo: d.ExtensionInfo,
	}
	if d.GatewayID != "" {
		v.NodeType = "ENDPOINT"
	}
	if !d.StatusChanged.IsZero() {
		v.StatusUpdated = d.StatusChanged.UTC().Format(iotda.MillisLayout)
	}
	if !d.Activated.IsZero() {
		v.ActiveTime = d.Activated.UTC().Format(iotda.MillisLayout)
	}
	return v
}

// ProductView is a product as the application API and its notifications show it.
type ProductView struct {
	Product
	AppName    string `json:"app_name"`
	CreateTime string `json:"create_time"`
}

// ViewProduct returns a product as the API shows it.
func (s *Service) ViewProduct(instance string, p Product) ProductView {
	a, _ := s.App(instance, p.AppID)
	return ProductView{p, a.Name, iotda.FormatTime(p.Created)}
}
