package control

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// describe returns the API's frame: no documentation pages (they would load scripts from elsewhere), no
// links to schemas in answers, unknown query parameters refused so that a misspelt filter is noticed.
func describe(version string) huma.Config {
	c := huma.DefaultConfig("fakecloud admin API", version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "/api/v1/openapi", "", ""
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{hideSubmitted}
	c.Info.Description = "Control plane of a fakecloud instance. Errors are problem details (RFC 9457)."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "only where the instance was started with --admin-token or --viewer-token"},
	}
	c.Security = []map[string][]string{{}, {"token": {}}} // the empty one: it may be left out
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[journal.Event](), reflect.TypeFor[Event]())
	return c
}

// describePages adds what is served beside huma: pages and metrics.
func (a *api) describePages() {
	device := &huma.Param{Name: "device", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}, Description: "device id"}
	for _, page := range []struct {
		path, id, summary, kind string
		parameters              []*huma.Param
	}{
		{"/metrics", "metrics", "Metrics in Prometheus' text format", "text/plain", nil},
		{"/explain", "explain-newest", "The newest refusals, as a page without script", "text/html", nil},
		{"/explain/{device}", "explain-device", "Why a device was refused, as a page without script", "text/html", []*huma.Param{device}},
		{"/api/v1/openapi.json", "openapi", "This description", "application/openapi+json", nil},
	} {
		o := &route{Operation: stream(call(http.MethodGet, page.path, page.id, page.summary), page.kind), api: a}
		o.Parameters = page.parameters
		o.describeErrors()
		a.huma.OpenAPI().AddOperation(&o.Operation)
	}
}

// namePaths turns the mux's spelling of a wildcard, {id...}, into OpenAPI's.
func namePaths(o *huma.OpenAPI) {
	for path, item := range o.Paths {
		if strings.Contains(path, "...}") {
			delete(o.Paths, path)
			o.Paths[strings.ReplaceAll(path, "...}", "}")] = item
		}
	}
}

// Event documents journal.Event's JSON form.
type Event struct {
	Seq           uint64            `json:"seq" doc:"sequence number, counted from 1"`
	Time          string            `json:"time" format:"date-time"`
	Platform      string            `json:"platform,omitempty" doc:"dps, iothub, mindsphere, iotda, edge, or door where no platform is known yet"`
	Endpoint      string            `json:"endpoint,omitempty"`
	Conn          uint64            `json:"conn,omitempty" doc:"connection number"`
	Address       string            `json:"address,omitempty" doc:"the client's address:port"`
	Device        string            `json:"device,omitempty"`
	Kind          string            `json:"kind" doc:"readers ignore kinds they do not know"`
	Dir           string            `json:"dir,omitempty" enum:"in,out"`
	Topic         string            `json:"topic,omitempty"`
	QoS           int               `json:"qos,omitempty"`
	Payload       string            `json:"payload,omitempty" doc:"where it is UTF-8"`
	PayloadBase64 []byte            `json:"payloadBase64,omitempty" doc:"where it is not"`
	Code          int               `json:"code,omitempty" doc:"return code or status"`
	Rule          string            `json:"rule,omitempty" doc:"always set on a refused event"`
	Detail        string            `json:"detail,omitempty"`
	Expected      string            `json:"expected,omitempty"`
	Seen          string            `json:"seen,omitempty"`
	Fix           string            `json:"fix,omitempty"`
	Source        string            `json:"source,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"`
}

// stream describes an answer that is written as it comes.
func stream(op huma.Operation, types ...string) huma.Operation {
	content := map[string]*huma.MediaType{}
	for _, t := range types {
		content[t] = &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
	}
	op.Responses = map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK), Content: content}}
	return op
}
