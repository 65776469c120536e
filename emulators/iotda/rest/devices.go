package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// brief is a device as lists show it: without its secrets.
func (c *call) brief(d iotda.Device) iotda.DeviceView {
	v := c.viewDevice(d)
	v.Auth = nil
	return v
}

func (c *call) viewDevice(d iotda.Device) iotda.DeviceView { return c.ViewDevice(c.instance, d) }

func createDevice(c *call) (int, any, error) {
	var ask struct {
		DeviceID    string          `json:"device_id"`
		NodeID      string          `json:"node_id"`
		DeviceName  string          `json:"device_name"`
		ProductID   string          `json:"product_id"`
		Auth        iotda.AuthInfo  `json:"auth_info"`
		Description string          `json:"description"`
		GatewayID   string          `json:"gateway_id"`
		AppID       string          `json:"app_id"`
		Extension   json.RawMessage `json:"extension_info"`
		Shadow      []struct {
			ServiceID string         `json:"service_id"`
			Desired   map[string]any `json:"desired"`
		} `json:"shadow"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	n := iotda.NewDevice{Device: iotda.Device{DeviceID: ask.DeviceID, NodeID: ask.NodeID, Name: ask.DeviceName, ProductID: ask.ProductID, AppID: ask.AppID,
		GatewayID: ask.GatewayID, Description: ask.Description, Auth: ask.Auth, ExtensionInfo: ask.Extension}}
	for _, s := range ask.Shadow {
		n.Desired = append(n.Desired, wire.ServiceData{ServiceID: s.ServiceID, Properties: s.Desired})
	}
	d, err := c.CreateDevice(c.instance, n)
	return http.StatusCreated, c.viewDevice(d), err
}

func listDevices(c *call) (int, any, error) {
	filter := iotda.DeviceFilter{ProductID: c.query("product_id"), GatewayID: c.query("gateway_id"), NodeID: c.query("node_id"),
		Name: c.query("device_name"), AppID: c.query("app_id")}
	var err error
	for name, at := range map[string]*time.Time{"start_time": &filter.From, "end_time": &filter.To} {
		if *at, err = c.time(name); err != nil {
			return 0, nil, err
		}
	}
	found, err := c.FindDevices(c.instance, filter)
	if err != nil {
		return 0, nil, err
	}
	list, page, err := paged(c, found, func(d iotda.Device) string { return d.DeviceID })
	return http.StatusOK, object{"devices": mapped(list, c.brief), "page": page}, err
}

// time reads a time of a query; one that is not sent is zero.
func (c *call) time(name string) (time.Time, error) {
	text := c.query(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(wire.TimeLayout, text)
	if err != nil {
		return at, &iotda.Error{Code: iotda.CodeTime, Text: fmt.Sprintf("%s %q: UTC in the form 20151212T121212Z", name, clip(text))}
	}
	return at, nil
}

func showDevice(c *call) (int, any, error) {
	d, err := c.Device(c.instance, c.path("device"))
	return http.StatusOK, c.viewDevice(d), err
}

func updateDevice(c *call) (int, any, error) {
	var ask struct {
		DeviceName  *string          `json:"device_name"`
		Description *string          `json:"description"`
		Extension   *json.RawMessage `json:"extension_info"`
		Auth        struct {
			SecureAccess *bool `json:"secure_access"`
		} `json:"auth_info"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	d, err := c.UpdateDevice(c.instance, c.path("device"), iotda.Change{Name: ask.DeviceName, Description: ask.Description,
		ExtensionInfo: (*[]byte)(ask.Extension), SecureAccess: ask.Auth.SecureAccess})
	return http.StatusOK, c.viewDevice(d), err
}

func deleteDevice(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteDevice(c.instance, c.path("device"))
}

func deviceAction(c *call) (int, any, error) {
	if c.query("action_id") != "resetSecret" {
		return 0, nil, &iotda.Error{Code: iotda.CodeInvalid, Text: "action_id: resetSecret"}
	}
	var ask struct {
		Secret     string `json:"secret"`
		Disconnect bool   `json:"force_disconnect"`
		Type       string `json:"secret_type"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	kind, err := credentialKind("secret_type", ask.Type)
	if err != nil {
		return 0, nil, err
	}
	secret, err := c.ResetSecret(c.instance, c.path("device"), ask.Secret, kind == secondary, ask.Disconnect)
	return http.StatusOK, object{"device_id": c.path("device"), "secret": secret, "secret_type": kind}, err
}

// The two credentials that a device may have at a time, of equal power.
const (
	primary   = "PRIMARY"
	secondary = "SECONDARY"
)

// credentialKind reads which credential is to be reset; the primary one where nothing is said.
func credentialKind(field, kind string) (string, error) {
	switch kind {
	case "":
		return primary, nil
	case primary, secondary:
		return kind, nil
	}
	return "", &iotda.Error{Code: iotda.CodeInvalid, Text: fmt.Sprintf("%s %q: %s or %s", field, clip(kind), primary, secondary)}
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func resetFingerprint(c *call) (int, any, error) {
	var ask struct {
		Fingerprint string `json:"fingerprint"`
		Disconnect  bool   `json:"force_disconnect"`
		Type        string `json:"fingerprint_type"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	kind, err := credentialKind("fingerprint_type", ask.Type)
	if err != nil {
		return 0, nil, err
	}
	_, err = c.ResetFingerprint(c.instance, c.path("device"), ask.Fingerprint, kind == secondary, ask.Disconnect)
	return http.StatusOK, object{"device_id": c.path("device"), "fingerprint": ask.Fingerprint, "fingerprint_type": kind}, err
}

func freeze(frozen bool) operation {
	return func(c *call) (int, any, error) {
		return http.StatusNoContent, nil, c.Freeze(c.instance, c.path("device"), frozen)
	}
}

func changeGateway(c *call) (int, any, error) {
	var ask struct {
		GatewayID string `json:"gateway_id"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	d, err := c.ChangeGateway(c.instance, c.path("device"), ask.GatewayID)
	return http.StatusOK, c.viewDevice(d), err
}
