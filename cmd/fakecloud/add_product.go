package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

// productFlags describe a product of IoTDA.
type productFlags struct {
	addFlags
	instance, id, model  string
	properties, commands []string
}

func (a *app) addProduct() *cobra.Command {
	f := &productFlags{}
	cmd := &cobra.Command{
		Use:   "product NAME",
		Short: "Add a product with its model to an IoTDA instance",
		Long: `Add a product to an IoTDA instance: what its devices report, and the commands that they take.
A property is SERVICE.NAME:TYPE, for numbers with the legal range and the unit behind it. --model takes the
product model as the vendor's API shows it (service_capabilities).`,
		Example: `  fakecloud add product thermo --property Battery.batteryLevel:int:0..100:%
  fakecloud add product pump --property Pump.speed:decimal:0..3000 --property Pump.mode:enum:on,off --command Pump.stop
  fakecloud add product meter --model product.json`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAddProduct(cmd, args[0], f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.instance, "instance", "", "name of the IoTDA instance (default: the only one, or fakecloud)")
	flags.StringVar(&f.id, "id", "", "product id, the first part of its devices' ids (default: the name)")
	flags.StringVar(&f.model, "model", "", "JSON file with service_capabilities")
	flags.StringArrayVar(&f.properties, "property", nil, "SERVICE.NAME:TYPE[:RANGE[:UNIT]]; RANGE is MIN..MAX of a number, A,B,… of an enum, the length of a string")
	flags.StringArrayVar(&f.commands, "command", nil, "SERVICE.NAME")
	return cmd
}

func (a *app) runAddProduct(cmd *cobra.Command, name string, f *productFlags) error {
	i, err := a.instance(cmd.Context())
	if err != nil {
		return err
	}
	iot, err := i.iotda(f.instance)
	if err != nil {
		return err
	}
	p := world.Product{ProductID: f.id, Name: name}
	if p.ProductID == "" {
		p.ProductID = name
	}
	taken := slices.ContainsFunc(iot.Products, func(have world.Product) bool { return have.ProductID == p.ProductID })
	if err := f.free(taken, "the product "+p.ProductID+" of "+iot.Name); err != nil {
		return err
	}
	if f.model != "" {
		if p.Services, err = readModel(f.model); err != nil {
			return err
		}
	}
	if err := f.fill(&p); err != nil {
		return err
	}
	patch := &world.World{}
	patch.IoTDA.Instances = []world.IoTDAInstance{{Name: iot.Name, Products: []world.Product{p}}}
	if err := a.send(cmd.Context(), i, patch, f.print); err != nil || f.print {
		return err
	}
	fmt.Fprintf(a.out, "\nnext: fakecloud add iotda-device node1 --product %s\n", p.ProductID)
	return nil
}

// fill adds the properties and commands of the flags.
func (f *productFlags) fill(p *world.Product) error {
	service := func(id string) *world.ModelService {
		at := slices.IndexFunc(p.Services, func(s world.ModelService) bool { return s.ServiceID == id })
		if at < 0 {
			p.Services = append(p.Services, world.ModelService{ServiceID: id})
			at = len(p.Services) - 1
		}
		return &p.Services[at]
	}
	for _, text := range f.properties {
		id, property, err := parseProperty(text)
		if err != nil {
			return err
		}
		s := service(id)
		s.Properties = append(s.Properties, property)
	}
	for _, text := range f.commands {
		id, name, ok := strings.Cut(text, ".")
		if !ok || id == "" || name == "" {
			return usagef("--command %q: write SERVICE.NAME, such as Pump.stop", text)
		}
		s := service(id)
		s.Commands = append(s.Commands, world.ModelCommand{Name: name})
	}
	return nil
}

// parseProperty reads --property.
func parseProperty(text string) (service string, p world.ModelProperty, err error) {
	const form = "write SERVICE.NAME:TYPE[:RANGE[:UNIT]], such as Battery.batteryLevel:int:0..100:%"
	parts := strings.SplitN(text, ":", 4)
	service, p.Name, _ = strings.Cut(parts[0], ".")
	if len(parts) < 2 || service == "" || p.Name == "" || parts[1] == "" {
		return "", p, usagef("--property %q: %s", text, form)
	}
	p.DataType, p.Method = parts[1], "RW"
	if len(parts) == 4 {
		p.Unit = parts[3]
	}
	if len(parts) < 3 || parts[2] == "" {
		return service, p, nil
	}
	switch limits := parts[2]; p.DataType {
	case "int", "long", "decimal":
		low, high, ok := strings.Cut(limits, "..")
		if !ok {
			return "", p, usagef("--property %q: the range of a number is MIN..MAX, such as 0..100", text)
		}
		if !inOrder(low, high) {
			return "", p, usagef("--property %q: the range %s holds no number; it is MIN..MAX, such as 0..100", text, limits)
		}
		p.Min, p.Max = low, high
	case "enum":
		p.Enum = strings.Split(limits, ",")
	case "boolean":
		return "", p, usagef("--property %q: a boolean has no range; leave %q out", text, limits)
	case "string", "DateTime", "jsonObject", "string list": // any other type is refused with the types that there are
		most, err := strconv.Atoi(limits)
		if err != nil {
			return "", p, usagef("--property %q: %s has a greatest length, such as 64, in place of a range", text, p.DataType)
		}
		p.MaxLength = &most
	}
	return service, p, nil
}

// inOrder reports whether a range may hold a number; what is none itself is left to the world's own check.
func inOrder(low, high string) bool {
	least, lowErr := strconv.ParseFloat(low, 64)
	most, highErr := strconv.ParseFloat(high, 64)
	return lowErr != nil || highErr != nil || least <= most
}

// apiValue is a property or parameter as the vendor's API writes it.
type apiValue struct {
	PropertyName string   `json:"property_name"`
	ParaName     string   `json:"para_name"`
	Method       string   `json:"method"`
	DataType     string   `json:"data_type"`
	Required     bool     `json:"required"`
	EnumList     []string `json:"enum_list"`
	Min          string   `json:"min"`
	Max          string   `json:"max"`
	MaxLength    int      `json:"max_length"`
	Step         float64  `json:"step"`
	Unit         string   `json:"unit"`
	Description  string   `json:"description"`
}

func (v apiValue) model() world.ModelValue {
	out := world.ModelValue{DataType: v.DataType, Enum: v.EnumList, Min: v.Min, Max: v.Max, Unit: v.Unit, Description: v.Description}
	if v.Required {
		out.Required = &v.Required
	}
	if v.MaxLength != 0 {
		out.MaxLength = &v.MaxLength
	}
	if v.Step != 0 {
		out.Step = strconv.FormatFloat(v.Step, 'g', -1, 64)
	}
	return out
}

func paras(list []apiValue) []world.ModelPara {
	var out []world.ModelPara
	for _, v := range list {
		out = append(out, world.ModelPara{Name: v.ParaName, ModelValue: v.model()})
	}
	return out
}

// apiService is a service as the vendor's API writes it.
type apiService struct {
	ServiceID   string     `json:"service_id"`
	ServiceType string     `json:"service_type"`
	Option      string     `json:"option"`
	Description string     `json:"description"`
	Properties  []apiValue `json:"properties"`
	Commands    []struct {
		Name      string     `json:"command_name"`
		Paras     []apiValue `json:"paras"`
		Responses []struct {
			Name  string     `json:"response_name"`
			Paras []apiValue `json:"paras"`
		} `json:"responses"`
	} `json:"commands"`
	Events []struct {
		Type  string     `json:"event_type"`
		Paras []apiValue `json:"paras"`
	} `json:"events"`
}

// readModel reads a product, or its list of services alone, as the vendor's API writes them.
func readModel(file string) ([]world.ModelService, error) {
	data, err := readFile("--model", file)
	if err != nil {
		return nil, err
	}
	var product struct {
		Services []apiService `json:"service_capabilities"`
	}
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("[")) {
		err = json.Unmarshal(data, &product.Services)
	} else {
		err = json.Unmarshal(data, &product)
	}
	if err != nil || len(product.Services) == 0 {
		return nil, usagef("--model: %s holds no service_capabilities as the API writes them (%v)", file, err)
	}
	var out []world.ModelService
	for _, s := range product.Services {
		m := world.ModelService{ServiceID: s.ServiceID, ServiceType: s.ServiceType, Option: s.Option, Description: s.Description}
		for _, p := range s.Properties {
			m.Properties = append(m.Properties, world.ModelProperty{Name: p.PropertyName, Method: p.Method, ModelValue: p.model()})
		}
		for _, c := range s.Commands {
			command := world.ModelCommand{Name: c.Name, Paras: paras(c.Paras)}
			for _, r := range c.Responses {
				command.Responses = append(command.Responses, world.ModelResponse{Name: r.Name, Paras: paras(r.Paras)})
			}
			m.Commands = append(m.Commands, command)
		}
		for _, e := range s.Events {
			m.Events = append(m.Events, world.ModelEvent{Type: e.Type, Paras: paras(e.Paras)})
		}
		out = append(out, m)
	}
	return out, nil
}
