package control

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// register adds a call to the API, described by the types of what it takes and gives. Everything that does not
// need the types at compile time stands in route: huma's own Register is compiled anew for each pair of types,
// which makes 22 kB a call (docs/decisions/0003-size.md).
func register[I, O any](a *api, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	a.operation(op, reflect.TypeFor[I](), reflect.TypeFor[O](), func(ctx context.Context, in any) (any, error) {
		out, err := handler(ctx, in.(*I))
		if err != nil || out == nil {
			return nil, err
		}
		return out, nil
	})
}

// route is one call as it is served. Its input is a struct as huma has it: fields with the tag path, query or
// header, and Body or RawBody; so is its output: Body, and any other field is a header.
type route struct {
	huma.Operation
	api    *api
	handle func(ctx context.Context, in any) (out any, err error)

	in      reflect.Type
	params  []param
	body    []int        // index of Body in the input; nil: none
	rawBody []int        // index of RawBody
	schema  *huma.Schema // of Body
	headers []header     // of the output
	answer  []int        // index of Body in the output; nil: none
}

// param is a field of the input that is not its body.
type param struct {
	field    []int
	name, in string // in is path, query or header
	explode  bool   // a list's values are given by repetition
	fallback string // value of a parameter that is not given
	schema   *huma.Schema
}

// header is a field of the output that is not its body.
type header struct {
	field []int
	name  string
}

// operation describes a call in the OpenAPI document and adds it to the mux.
func (a *api) operation(op huma.Operation, in, out reflect.Type, handle func(context.Context, any) (any, error)) {
	o := &route{Operation: op, api: a, handle: handle, in: in}
	if o.Responses == nil {
		o.Responses = map[string]*huma.Response{}
	}
	o.describeParams()
	o.describeBody()
	o.describeAnswer(out)
	o.describeErrors()
	a.huma.OpenAPI().AddOperation(&o.Operation)
	a.huma.Adapter().Handle(&o.Operation, o.Middlewares.Handler(o.serve))
}

func (a *api) registry() huma.Registry { return a.huma.OpenAPI().Components.Schemas }

func (o *route) describeParams() {
	for _, f := range reflect.VisibleFields(o.in) {
		p := param{field: f.Index, fallback: f.Tag.Get("default")}
		for _, p.in = range []string{"path", "query", "header"} {
			if p.name = f.Tag.Get(p.in); p.name != "" {
				break
			}
		}
		if p.name == "" {
			continue
		}
		p.name, p.explode = strings.CutSuffix(p.name, ",explode")
		p.schema = huma.SchemaFromField(o.api.registry(), f, "")
		o.params = append(o.params, p)
		documented := &huma.Param{Name: p.name, In: p.in, Required: p.in == "path", Schema: p.schema, Description: p.schema.Description}
		if p.in == "query" {
			documented.Explode = &p.explode
		}
		o.Parameters = append(o.Parameters, documented)
	}
}

func (o *route) describeBody() {
	if f, ok := o.in.FieldByName("RawBody"); ok {
		o.rawBody = f.Index
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			f.Tag.Get("contentType"): {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
	}
	if f, ok := o.in.FieldByName("Body"); ok {
		o.body = f.Index
		o.schema = huma.SchemaFromField(o.api.registry(), f, named(o.in, "Body", o.OperationID+"Request"))
		o.schema.PrecomputeMessages()
		o.RequestBody = &huma.RequestBody{Required: f.Type.Kind() != reflect.Pointer,
			Content: map[string]*huma.MediaType{"application/json": {Schema: o.schema}}}
	}
	if o.RequestBody != nil && o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = bodyLimit
	}
}

func (o *route) describeAnswer(out reflect.Type) {
	o.DefaultStatus = http.StatusNoContent
	body, has := out.FieldByName("Body")
	if has {
		o.answer, o.DefaultStatus = body.Index, http.StatusOK
	}
	status := strconv.Itoa(o.DefaultStatus)
	r := o.Responses[status]
	if r == nil {
		r = &huma.Response{Description: http.StatusText(o.DefaultStatus)}
		o.Responses[status] = r
	}
	if has && body.Type.Kind() != reflect.Func {
		schema := huma.SchemaFromField(o.api.registry(), body, named(out, "Body", o.OperationID+"Response"))
		if len(r.Content) == 0 { // else the call says itself what it answers
			r.Content = map[string]*huma.MediaType{"application/json": {Schema: schema}}
		}
	}
	for _, f := range reflect.VisibleFields(out) {
		if f.Name == "Body" {
			continue
		}
		h := header{field: f.Index, name: f.Tag.Get("header")}
		o.headers = append(o.headers, h)
		if r.Headers == nil {
			r.Headers = map[string]*huma.Param{}
		}
		r.Headers[h.name] = &huma.Header{Schema: huma.SchemaFromField(o.api.registry(), f, named(out, f.Name, h.name))}
	}
}

func (o *route) describeErrors() {
	schema := o.api.registry().Schema(reflect.TypeFor[huma.ErrorModel](), true, "ErrorModel")
	describe := func(code, text string) {
		o.Responses[code] = &huma.Response{Description: text,
			Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
	}
	if len(o.Errors) == 0 {
		describe("default", "Error")
		return
	}
	if len(o.params) > 0 || o.body != nil || o.Method != http.MethodGet {
		o.Errors = append(o.Errors, http.StatusUnprocessableEntity)
	}
	for _, code := range append(o.Errors, http.StatusInternalServerError) {
		describe(strconv.Itoa(code), http.StatusText(code))
	}
}

// named is the name in the document of a type that has none itself.
func named(parent reflect.Type, field, otherwise string) string {
	if parent.Name() != "" {
		return parent.Name() + field
	}
	return otherwise
}
