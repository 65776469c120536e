package rest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

const base = "/v5/iot/{project}"

// operations are the calls of the application API, by pattern.
var operations = map[string]operation{
	"POST " + base + "/apps":         createApp,
	"GET " + base + "/apps":          listApps,
	"GET " + base + "/apps/{app}":    showApp,
	"PUT " + base + "/apps/{app}":    updateApp,
	"DELETE " + base + "/apps/{app}": deleteApp,

	"POST " + base + "/products":             createProduct,
	"GET " + base + "/products":              listProducts,
	"GET " + base + "/products/{product}":    showProduct,
	"PUT " + base + "/products/{product}":    updateProduct,
	"DELETE " + base + "/products/{product}": deleteProduct,

	"POST " + base + "/devices":                            createDevice,
	"GET " + base + "/devices":                             listDevices,
	"GET " + base + "/devices/{device}":                    showDevice,
	"PUT " + base + "/devices/{device}":                    updateDevice,
	"DELETE " + base + "/devices/{device}":                 deleteDevice,
	"POST " + base + "/devices/{device}/action":            deviceAction,
	"POST " + base + "/devices/{device}/freeze":            freeze(true),
	"POST " + base + "/devices/{device}/unfreeze":          freeze(false),
	"POST " + base + "/devices/{device}/reset-fingerprint": resetFingerprint,
	"POST " + base + "/devices/{device}/change-gateway":    changeGateway,

	"POST " + base + "/devices/{device}/messages":             createMessage,
	"GET " + base + "/devices/{device}/messages":              listMessages,
	"GET " + base + "/devices/{device}/messages/{message}":    showMessage,
	"DELETE " + base + "/devices/{device}/messages/{message}": deleteMessage,
	"POST " + base + "/devices/{device}/commands":             createCommand,
	"GET " + base + "/devices/{device}/properties":            getProperties,
	"PUT " + base + "/devices/{device}/properties":            setProperties,
	"GET " + base + "/devices/{device}/shadow":                showShadow,
	"PUT " + base + "/devices/{device}/shadow":                updateShadow,
	"DELETE " + base + "/devices/{device}/shadow":             deleteShadow,
	"POST " + base + "/broadcast-messages":                    broadcast,

	"POST " + base + "/tags/bind-resource":   bindTags,
	"POST " + base + "/tags/unbind-resource": unbindTags,
	"POST " + base + "/tags/query-resources": queryTags,

	"POST " + base + "/certificates":                      uploadCA,
	"GET " + base + "/certificates":                       listCAs,
	"GET " + base + "/certificates/{certificate}":         showCA,
	"PUT " + base + "/certificates/{certificate}":         updateCA,
	"DELETE " + base + "/certificates/{certificate}":      deleteCA,
	"POST " + base + "/certificates/{certificate}/action": verifyCA,

	"POST " + base + "/provisioning-templates":              createTemplate,
	"GET " + base + "/provisioning-templates":               listTemplates,
	"GET " + base + "/provisioning-templates/{template}":    showTemplate,
	"PUT " + base + "/provisioning-templates/{template}":    updateTemplate,
	"DELETE " + base + "/provisioning-templates/{template}": deleteTemplate,

	"POST " + base + "/device-policies":                       createPolicy,
	"GET " + base + "/device-policies":                        listPolicies,
	"GET " + base + "/device-policies/{policy}":               showPolicy,
	"PUT " + base + "/device-policies/{policy}":               updatePolicy,
	"DELETE " + base + "/device-policies/{policy}":            deletePolicy,
	"POST " + base + "/device-policies/{policy}/bind":         bindPolicy(true),
	"POST " + base + "/device-policies/{policy}/unbind":       bindPolicy(false),
	"POST " + base + "/device-policies/{policy}/list-targets": policyTargets,
}

// appView is a resource space as the API shows it.
type appView struct {
	iotda.App
	CreateTime string `json:"create_time"`
}

func viewApp(a iotda.App) appView { return appView{a, wire.FormatTime(a.Created)} }

func createApp(c *call) (int, any, error) {
	var a iotda.App
	if err := c.read(&a); err != nil {
		return 0, nil, err
	}
	a, err := c.PutApp(c.instance, iotda.App{Name: a.Name})
	return http.StatusCreated, viewApp(a), err
}

func listApps(c *call) (int, any, error) {
	all := slices.DeleteFunc(c.Apps(c.instance), func(a iotda.App) bool { return c.query("default_app") == "true" && !a.Default })
	return http.StatusOK, object{"applications": mapped(all, viewApp)}, nil
}

func showApp(c *call) (int, any, error) {
	a, err := c.App(c.instance, c.path("app"))
	return http.StatusOK, viewApp(a), err
}

func updateApp(c *call) (int, any, error) {
	a, err := c.App(c.instance, c.path("app"))
	if err != nil {
		return 0, nil, err
	}
	if err := c.read(&a); err != nil {
		return 0, nil, err
	}
	a.AppID = c.path("app")
	a, err = c.PutApp(c.instance, a)
	return http.StatusOK, viewApp(a), err
}

func deleteApp(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteApp(c.instance, c.path("app"))
}

func (c *call) viewProduct(p iotda.Product) iotda.ProductView { return c.ViewProduct(c.instance, p) }

func createProduct(c *call) (int, any, error) {
	var p iotda.Product
	if err := c.read(&p); err != nil {
		return 0, nil, err
	}
	if _, err := c.Product(c.instance, p.ProductID); err == nil && p.ProductID != "" {
		return 0, nil, &iotda.Error{Code: iotda.CodeConflict, Text: "product " + clip(p.ProductID) + " exists already"}
	}
	p, err := c.PutProduct(c.instance, p)
	return http.StatusCreated, c.viewProduct(p), err
}

func listProducts(c *call) (int, any, error) {
	app, name := c.query("app_id"), c.query("product_name")
	all := slices.DeleteFunc(c.Products(c.instance), func(p iotda.Product) bool {
		return app != "" && p.AppID != app || !strings.Contains(p.Name, name)
	})
	list, page, err := paged(c, all, func(p iotda.Product) string { return p.ProductID })
	return http.StatusOK, object{"products": mapped(list, c.viewProduct), "page": page}, err
}

func showProduct(c *call) (int, any, error) {
	p, err := c.Product(c.instance, c.path("product"))
	return http.StatusOK, c.viewProduct(p), err
}

func updateProduct(c *call) (int, any, error) {
	p, err := c.Product(c.instance, c.path("product"))
	if err != nil {
		return 0, nil, err
	}
	old := p
	p.Services, p.Topics = nil, nil // a list that is sent replaces the old one, into which it must not be decoded
	if err := c.read(&p); err != nil {
		return 0, nil, err
	}
	if p.Services == nil {
		p.Services = old.Services
	}
	if p.Topics == nil {
		p.Topics = old.Topics
	}
	p.ProductID, p.AppID = c.path("product"), old.AppID
	p, err = c.PutProduct(c.instance, p)
	return http.StatusOK, c.viewProduct(p), err
}

func deleteProduct(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteProduct(c.instance, c.path("product"))
}

func bindTags(c *call) (int, any, error) {
	var ask struct {
		Type string      `json:"resource_type"`
		ID   string      `json:"resource_id"`
		Tags []iotda.Tag `json:"tags"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.SetTags(c.instance, ask.ID, ask.Tags)
}

func unbindTags(c *call) (int, any, error) {
	var ask struct {
		ID   string   `json:"resource_id"`
		Keys []string `json:"tag_keys"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.DropTags(c.instance, ask.ID, ask.Keys)
}

func queryTags(c *call) (int, any, error) {
	var ask struct {
		Tags []iotda.Tag `json:"tags"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	all := slices.DeleteFunc(c.Devices(c.instance), func(d iotda.Device) bool {
		return slices.ContainsFunc(ask.Tags, func(want iotda.Tag) bool {
			return !slices.ContainsFunc(d.Tags, func(t iotda.Tag) bool { return t.Key == want.Key && (want.Value == "" || t.Value == want.Value) })
		})
	})
	list, page, err := paged(c, all, func(d iotda.Device) string { return d.DeviceID })
	return http.StatusOK, object{"resources": mapped(list, func(d iotda.Device) object { return object{"resource_id": d.DeviceID} }), "page": page}, err
}
