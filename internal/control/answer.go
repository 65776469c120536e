package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// serve answers one request: its parameters and body are judged by their schemas before the call sees them.
func (o *route) serve(ctx huma.Context) {
	in := reflect.New(o.in)
	found := &huma.ValidateResult{}
	if o.checkKnown(ctx, found); len(found.Errors) > 0 {
		o.refuseInput(ctx, http.StatusUnprocessableEntity, "validation failed", found)
		return
	}
	o.readParams(ctx, in.Elem(), found)
	status := http.StatusUnprocessableEntity
	if o.RequestBody != nil {
		body, failed, detail := o.readBody(ctx)
		if failed == 0 {
			failed, detail = o.checkRequired(body)
		}
		if failed != 0 {
			o.refuseInput(ctx, failed, detail, found)
			return
		}
		if o.rawBody != nil {
			in.Elem().FieldByIndex(o.rawBody).SetBytes(body)
		} else if len(body) > 0 {
			status = o.decode(ctx, body, in.Elem(), found)
		}
	} else if o.Method != http.MethodGet {
		o.checkNoBody(ctx, found)
	}
	if len(found.Errors) > 0 {
		o.refuseInput(ctx, status, "validation failed", found)
		return
	}
	out, err := o.handle(ctx.Context(), in.Interface())
	if err != nil {
		o.fail(ctx, err)
		return
	}
	if out == nil {
		ctx.SetStatus(o.DefaultStatus)
		return
	}
	o.write(ctx, reflect.ValueOf(out).Elem())
}

// checkKnown finds query parameters that the call does not have, such as a misspelt filter.
func (o *route) checkKnown(ctx huma.Context, found *huma.ValidateResult) {
	u := ctx.URL()
next:
	for name := range u.Query() {
		for _, p := range o.params {
			if p.in == "query" && p.name == name {
				continue next
			}
		}
		found.Add(place("query", name), "", "unknown query parameter")
	}
}

// place is where in a request something is wrong.
func place(in ...string) *huma.PathBuffer {
	p := huma.NewPathBuffer(nil, 0)
	for _, part := range in {
		p.Push(part)
	}
	return p
}

func (o *route) readParams(ctx huma.Context, in reflect.Value, found *huma.ValidateResult) {
	for _, p := range o.params {
		text, at := p.text(ctx), place(p.in, p.name)
		if text == "" {
			switch {
			case p.in == "path":
				found.Add(at, "", "required path parameter is missing")
			case p.in == "query" && p.schema.MinLength != nil && p.given(ctx):
				found.Add(at, "", "it is empty; leave it out or name one")
			}
			continue
		}
		value, err := p.parse(ctx, text, in.FieldByIndex(p.field))
		if err != nil {
			found.Add(at, text, err.Error())
			continue
		}
		huma.Validate(o.api.registry(), p.schema, at, huma.ModeWriteToServer, value, found)
	}
}

func (p *param) text(ctx huma.Context) string {
	var text string
	switch p.in {
	case "path":
		text = ctx.Param(p.name)
	case "query":
		text = ctx.Query(p.name)
	case "header":
		text = ctx.Header(p.name)
	}
	if text == "" {
		return p.fallback
	}
	return text
}

// given reports whether a query names the parameter at all.
func (p *param) given(ctx huma.Context) bool {
	u := ctx.URL()
	return u.Query().Has(p.name)
}

// parse sets field to what text says and returns it as its schema wants to see it.
func (p *param) parse(ctx huma.Context, text string, field reflect.Value) (any, error) {
	switch field.Kind() {
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("invalid boolean")
		}
		field.SetBool(v)
		return v, nil
	case reflect.Int:
		v, err := strconv.ParseInt(text, 10, strconv.IntSize)
		if err != nil {
			return nil, errors.New("invalid integer")
		}
		field.SetInt(v)
		return v, nil
	case reflect.Uint64:
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, errors.New("invalid integer")
		}
		field.SetUint(v)
		return v, nil
	case reflect.Slice:
		values := strings.Split(text, ",")
		if p.explode {
			u := ctx.URL()
			values = u.Query()[p.name]
		}
		field.Set(reflect.ValueOf(values))
		return values, nil
	default:
		field.SetString(text)
		return text, nil
	}
}

// readBody returns the request's body, or the status and detail of why there is none.
func (o *route) readBody(ctx huma.Context) (body []byte, status int, detail string) {
	body, err := io.ReadAll(io.LimitReader(ctx.BodyReader(), o.MaxBodyBytes))
	switch {
	case int64(len(body)) == o.MaxBodyBytes:
		return nil, http.StatusRequestEntityTooLarge, fmt.Sprintf("request body is too large limit=%d bytes", o.MaxBodyBytes)
	case err != nil:
		return nil, http.StatusBadRequest, "the body did not arrive as a whole"
	}
	return body, 0, ""
}

func (o *route) checkRequired(body []byte) (status int, detail string) {
	if len(body) == 0 && o.RequestBody.Required {
		return http.StatusBadRequest, "request body is required"
	}
	return 0, ""
}

// nothing is the schema of a body that a call does not have; an empty object says nothing either.
var nothing = func() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false}
	s.PrecomputeMessages()
	return s
}()

// checkNoBody finds what was sent to a call that takes no body, lest a key of another call is taken for heeded.
func (o *route) checkNoBody(ctx huma.Context, found *huma.ValidateResult) {
	body, err := io.ReadAll(io.LimitReader(ctx.BodyReader(), bodyLimit)) // the guard has bounded it already
	if err != nil || len(body) == 0 {
		return
	}
	var sent any
	if err := json.Unmarshal(body, &sent); err != nil || sent == nil {
		return
	}
	huma.Validate(o.api.registry(), nothing, place("body"), huma.ModeWriteToServer, sent, found)
}

// decode judges a body by its schema and sets it in the input. It returns the status of what it found.
func (o *route) decode(ctx huma.Context, body []byte, in reflect.Value, found *huma.ValidateResult) int {
	kind := ctx.Header("Content-Type")
	if kind == "" {
		kind = "application/json"
	}
	var parsed any
	if err := o.api.huma.Unmarshal(kind, body, &parsed); err != nil {
		found.Add(place("body"), nil, err.Error())
		if errors.Is(err, huma.ErrUnknownContentType) {
			return http.StatusUnsupportedMediaType
		}
		return http.StatusBadRequest
	}
	before := len(found.Errors)
	huma.Validate(o.api.registry(), o.schema, place("body"), huma.ModeWriteToServer, parsed, found)
	if len(found.Errors) == before {
		if err := o.api.huma.Unmarshal(kind, body, in.FieldByIndex(o.body).Addr().Interface()); err != nil {
			found.Add(place("body"), nil, err.Error())
		}
	}
	return http.StatusUnprocessableEntity
}

// refuseInput answers what is wrong with the request itself.
func (o *route) refuseInput(ctx huma.Context, status int, detail string, found *huma.ValidateResult) {
	p := huma.NewErrorWithContext(ctx, status, detail, found.Errors...)
	o.encode(ctx, p.GetStatus(), "application/problem+json", p)
}

// fail answers what the call itself reports.
func (o *route) fail(ctx huma.Context, err error) {
	var p huma.StatusError
	if !errors.As(err, &p) {
		p = huma.NewErrorWithContext(ctx, http.StatusInternalServerError, "unexpected error occurred", err)
	}
	o.encode(ctx, p.GetStatus(), "application/problem+json", p)
}

// write answers with what the call gives.
func (o *route) write(ctx huma.Context, out reflect.Value) {
	kind := ""
	for _, h := range o.headers {
		text := out.FieldByIndex(h.field).String()
		if h.name == "Content-Type" {
			kind = text
		}
		if text != "" {
			ctx.SetHeader(h.name, text)
		}
	}
	if o.answer == nil {
		ctx.SetStatus(o.DefaultStatus)
		return
	}
	switch body := out.FieldByIndex(o.answer).Interface().(type) {
	case func(huma.Context):
		body(ctx)
	case []byte:
		ctx.SetStatus(o.DefaultStatus)
		_, _ = ctx.BodyWriter().Write(body) // a client that has gone needs no answer
	default:
		if kind == "" {
			kind = "application/json"
		}
		o.encode(ctx, o.DefaultStatus, kind, body)
	}
}

// encode answers with a body in JSON.
func (o *route) encode(ctx huma.Context, status int, kind string, body any) {
	var text bytes.Buffer
	shown, err := o.api.huma.Transform(ctx, strconv.Itoa(status), body)
	if err == nil {
		err = o.api.huma.Marshal(&text, kind, shown)
	}
	if err != nil {
		o.api.log.Error("answer not written", "operation", o.OperationID, "cause", err)
		_, w := humago.Unwrap(ctx)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	ctx.SetHeader("Content-Type", kind)
	ctx.SetStatus(status)
	_, _ = text.WriteTo(ctx.BodyWriter()) // a client that has gone needs no answer
}
