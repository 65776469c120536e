package iotda

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The data types of a product model.
var dataTypes = []string{"int", "long", "decimal", "string", "DateTime", "jsonObject", "enum", "boolean", "string list"}

// Limits of a product model: that of its topics is the platform's ("Limitations", iot_04_0010), the others are our own.
const (
	maxServices   = 500
	maxProperties = 500
	maxTopics     = 50
	maxTopic      = 128 // bytes of a custom topic, or of its suffix under user/
)

// complete validates a product and fills what it leaves open.
func (p *Product) complete() error {
	if p.ProtocolType == "" {
		p.ProtocolType = "MQTT"
	}
	if p.DataFormat == "" {
		p.DataFormat = "json"
	}
	if p.DeviceType == "" {
		p.DeviceType = p.Name
	}
	switch {
	case p.ProductID != "" && (len(p.ProductID) > maxDeviceID || !identifier.MatchString(p.ProductID)):
		return invalid("product_id %q: letters, digits, _ and -", clip(p.ProductID))
	case p.Name == "" || len(p.Name) > 256:
		return invalid("name: 1 to 256 characters")
	case p.DataFormat != "json" && p.DataFormat != "binary":
		return invalid("data_format %q: json or binary", clip(p.DataFormat))
	case len(p.Services) > maxServices:
		return invalid("service_capabilities: at most %d", maxServices)
	}
	if p.Services == nil {
		p.Services = []Capability{} // the API shows a list
	}
	seen := map[string]bool{}
	for i, c := range p.Services {
		if c.ServiceID == "" || len(c.ServiceID) > 64 || seen[c.ServiceID] {
			return invalid("service_capabilities[%d].service_id %q: 1 to 64 characters, once in a product", i, clip(c.ServiceID))
		}
		seen[c.ServiceID] = true
		if err := c.validate(); err != nil {
			return err
		}
	}
	if len(p.Topics) > maxTopics {
		return invalid("topics: at most %d", maxTopics)
	}
	for _, t := range p.Topics {
		if t.Suffix == "" || len(t.Suffix) > maxTopic || strings.ContainsAny(t.Suffix, "+#?\x00") || !slices.Contains([]string{"PUBLISH", "SUBSCRIBE", "ALL"}, t.Operation) {
			return invalid("topic %q: a suffix of 1 to 128 bytes without wildcards, and PUBLISH, SUBSCRIBE or ALL", clip(t.Suffix))
		}
	}
	return nil
}

func (c Capability) validate() error {
	if len(c.Properties) > maxProperties || len(c.Commands) > maxProperties {
		return invalid("service %s: at most %d properties and commands", c.ServiceID, maxProperties)
	}
	for _, p := range c.Properties {
		if p.Name == "" || len(p.Name) > 64 || strings.ContainsAny(p.Name, ".$\x00") {
			return invalid("service %s: property_name %q: 1 to 64 characters without . and $", c.ServiceID, clip(p.Name))
		}
		if err := p.Value.validate(c.ServiceID + "." + p.Name); err != nil {
			return err
		}
	}
	for _, command := range c.Commands {
		for _, para := range command.Paras {
			if err := para.Value.validate(c.ServiceID + "." + command.Name + "." + para.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v Value) validate(where string) error {
	if !slices.Contains(dataTypes, v.DataType) {
		return invalid("%s: data_type %q: one of %s", where, clip(v.DataType), strings.Join(dataTypes, ", "))
	}
	for _, bound := range []string{v.Min, v.Max} {
		if f, err := strconv.ParseFloat(bound, 64); bound != "" && (err != nil || math.IsNaN(f) || math.IsInf(f, 0)) {
			return invalid("%s: %q is no number: min and max are numbers as text", where, clip(bound))
		}
	}
	if v.DataType == "enum" && len(v.EnumList) == 0 {
		return invalid("%s: enum needs an enum_list", where)
	}
	return nil
}

func (p Product) service(id string) (Capability, bool) {
	i := slices.IndexFunc(p.Services, func(c Capability) bool { return c.ServiceID == id })
	if i < 0 {
		return Capability{}, false
	}
	return p.Services[i], true
}

func (p Product) serviceIDs() []string {
	var ids []string
	for _, c := range p.Services {
		ids = append(ids, c.ServiceID)
	}
	return ids
}

func (c Capability) property(name string) (Property, bool) {
	i := slices.IndexFunc(c.Properties, func(p Property) bool { return p.Name == name })
	if i < 0 {
		return Property{}, false
	}
	return c.Properties[i], true
}

func (c Capability) propertyNames() []string {
	var names []string
	for _, p := range c.Properties {
		names = append(names, p.Name)
	}
	return names
}

// check judges a value against its model (DA-33). Numbers are json.Number. The step is not enforced.
func (v Value) check(where string, x any) *rule.Refusal {
	wrong := func(cause, detail, expected string) *rule.Refusal {
		return &rule.Refusal{Rule: rule.ID("DA-33/" + cause), Detail: where + " " + detail, Seen: where + " = " + shown(x), Expected: expected}
	}
	badType := func() *rule.Refusal {
		return wrong("type", "is "+v.DataType+" in the product model and not "+kindOf(x), v.describe())
	}
	switch v.DataType {
	case "int", "long", "decimal":
		n, ok := x.(json.Number)
		if !ok {
			return badType()
		}
		if !v.isNumber(n) {
			return badType()
		}
		if !v.inRange(n) {
			return wrong("range", "lies outside its range", v.describe())
		}
	case "boolean":
		if _, ok := x.(bool); !ok {
			return badType()
		}
	case "jsonObject":
		if _, ok := x.(map[string]any); !ok {
			return badType()
		}
	case "string list":
		list, ok := x.([]any)
		if !ok || slices.ContainsFunc(list, func(e any) bool { _, text := e.(string); return !text }) {
			return badType()
		}
	default: // string, DateTime, enum
		text, ok := x.(string)
		switch {
		case !ok:
			return badType()
		case v.DataType == "enum" && !slices.Contains(v.EnumList, text):
			return wrong("enum", "is none of its values", "one of "+listed(v.EnumList))
		case v.MaxLength > 0 && utf8.RuneCountInString(text) > v.MaxLength:
			return wrong("length", fmt.Sprintf("has %d characters", utf8.RuneCountInString(text)), fmt.Sprintf("at most %d characters", v.MaxLength))
		}
	}
	return nil
}

// isNumber reports whether a number is one of the value's type.
func (v Value) isNumber(n json.Number) bool {
	if v.DataType == "decimal" {
		_, err := n.Float64()
		return err == nil
	}
	i, ok := integer(n)
	return ok && (v.DataType == "long" || i >= math.MinInt32 && i <= math.MaxInt32)
}

// integer reads a whole number, also one that is written as 57.0 or 5.7e1.
func integer(n json.Number) (int64, bool) {
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	if !strings.ContainsAny(n.String(), ".eE") {
		return 0, false
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || f < -1<<63 || f >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

func (v Value) inRange(n json.Number) bool {
	return (v.Min == "" || compareNumbers(n, v.Min) >= 0) && (v.Max == "" || compareNumbers(n, v.Max) <= 0)
}

// compareNumbers compares a number with a bound: exactly where both are whole, which a float64 cannot hold beyond 53 bits.
func compareNumbers(n json.Number, bound string) int {
	x, whole := integer(n)
	if y, also := integer(json.Number(bound)); whole && also {
		return cmp.Compare(x, y)
	}
	f, _ := n.Float64()                       // isNumber has read it
	limit, _ := strconv.ParseFloat(bound, 64) // validate has
	return cmp.Compare(f, limit)
}

// describe says what a value of this type looks like.
func (v Value) describe() string {
	text := v.DataType
	switch v.DataType {
	case "int", "long":
		text = "a whole number"
	case "decimal":
		text = "a number"
	case "string", "DateTime":
		text = "text in quotes"
	case "enum":
		return "one of " + listed(v.EnumList)
	case "boolean":
		return "true or false"
	case "jsonObject":
		return "an object"
	case "string list":
		return "a list of texts"
	}
	if v.Min != "" || v.Max != "" {
		text += fmt.Sprintf(" from %s to %s", v.Min, v.Max)
	}
	return text
}

func kindOf(x any) string {
	switch x := x.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case string:
		return "text"
	case json.Number:
		if strings.ContainsAny(x.String(), ".eE") {
			return "a number with a fraction"
		}
		return "a number"
	case []any:
		return "a list"
	}
	return "an object"
}

// shown is a value as the journal repeats it.
func shown(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return kindOf(x)
	}
	return clip(string(b))
}
