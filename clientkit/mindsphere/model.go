package mindsphere

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Model says which types and assets an agent has, and where its data points lead.
type Model struct {
	ExternalID  string // version 3 only: its name, for Instantiate
	AspectTypes []AspectType
	AssetTypes  []AssetType
	Assets      []Asset
	Mappings    []Mapping
}

// Variable is one variable of an aspect type or asset type.
type Variable struct {
	ReferenceID string `json:"referenceId,omitempty"` // version 4
	Name        string `json:"name"`
	DataType    string `json:"dataType"` // DOUBLE, INT, LONG, STRING, BIG_STRING, BOOLEAN or TIMESTAMP
	Unit        string `json:"unit,omitempty"`
	Searchable  bool   `json:"searchable"`
	QualityCode bool   `json:"qualityCode"`
}

// AspectType is a set of variables that belong together.
type AspectType struct {
	ReferenceID string     `json:"referenceId,omitempty"` // version 4
	ID          string     `json:"id"`                    // {tenant}.{name}
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Category    string     `json:"category"`        // dynamic for time series, or static
	Scope       string     `json:"scope,omitempty"` // private
	Variables   []Variable `json:"variables"`
}

// Aspect is an aspect of an asset type.
type Aspect struct {
	ReferenceID  string `json:"referenceId,omitempty"` // version 4
	Name         string `json:"name"`
	AspectTypeID string `json:"aspectTypeId"`
}

// AssetType says which aspects an asset has.
type AssetType struct {
	ReferenceID  string     `json:"referenceId,omitempty"` // version 4
	ID           string     `json:"id"`                    // {tenant}.{name}
	Name         string     `json:"name"`
	Description  string     `json:"description,omitempty"`
	ParentTypeID string     `json:"parentTypeId"` // such as core.basicasset
	Instantiable bool       `json:"instantiable"`
	Scope        string     `json:"scope,omitempty"` // private
	Aspects      []Aspect   `json:"aspects"`
	Variables    []Variable `json:"variables"`
}

// Asset is one asset. In version 3 a name such as ${assetName} is filled in by Instantiate.
type Asset struct {
	ReferenceID       string `json:"referenceId"`
	TypeID            string `json:"typeId"`
	Name              string `json:"name"`
	Description       string `json:"description"`
	ParentReferenceID string `json:"parentReferenceId,omitempty"`
}

// Mapping leads a data point of the agent to a variable of an asset.
type Mapping struct {
	ReferenceID      string `json:"referenceId,omitempty"` // version 4
	DataPointID      string `json:"dataPointId"`
	AssetReferenceID string `json:"assetReferenceId"`
	AspectName       string `json:"aspectName"`
	VariableName     string `json:"variableName"`
}

// Progress is an answer of the asset modeler. Version 3 is known to have a status; the rest may be empty.
type Progress struct {
	JobID   string `json:"id"`
	ModelID string `json:"modelId"`
	Message string `json:"message"` // such as "20% completed."
	Status  string `json:"status"`  // Success ends the job
}

// modelData is a model as MindSphere reads it.
type modelData struct {
	ExternalID string `json:"externalId,omitempty"`
	TypeModel  struct {
		AspectTypes []AspectType `json:"aspectTypes"`
		AssetTypes  []AssetType  `json:"assetTypes"`
	} `json:"typeModel"`
	InstanceModel struct {
		Assets []Asset `json:"assets"`
	} `json:"instanceModel"`
	MappingModel struct {
		Mappings []Mapping `json:"mappings"`
	} `json:"mappingModel"`
}

// clone copies m into the form of the wire, with lists where there are none.
func (m Model) clone() modelData {
	d := modelData{ExternalID: m.ExternalID}
	d.TypeModel.AspectTypes = append([]AspectType{}, m.AspectTypes...)
	d.TypeModel.AssetTypes = append([]AssetType{}, m.AssetTypes...)
	d.InstanceModel.Assets = append([]Asset{}, m.Assets...)
	d.MappingModel.Mappings = append([]Mapping{}, m.Mappings...)
	for i, t := range d.TypeModel.AspectTypes {
		d.TypeModel.AspectTypes[i].Variables = append([]Variable{}, t.Variables...)
	}
	for i, t := range d.TypeModel.AssetTypes {
		d.TypeModel.AssetTypes[i].Variables = append([]Variable{}, t.Variables...)
		d.TypeModel.AssetTypes[i].Aspects = append([]Aspect{}, t.Aspects...)
	}
	return d
}

// CreateModel sends a version 3 model and returns once MindSphere has taken it. Its assets are made by
// Instantiate. A failure is a *JobError.
func (a *Agent) CreateModel(ctx context.Context, m Model) (Progress, error) {
	if m.ExternalID == "" {
		return Progress{}, fmt.Errorf("mindsphere: a version 3 model needs an external ID")
	}
	return a.job(ctx, wire.ModelV3, wire.ModelStatusV3, m.clone(), nil)
}

// Instantiate makes the assets of a version 3 model. values fill the ${name} places of the model. progress, if
// any, sees each answer. A failure is a *JobError.
func (a *Agent) Instantiate(ctx context.Context, externalID string, values map[string]string, progress func(Progress)) (Progress, error) {
	type value struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	data := struct {
		Model           string `json:"modelExternalId"`
		Parametrization struct {
			Values []value `json:"values"`
		} `json:"parameterization"`
	}{Model: externalID}
	data.Parametrization.Values = []value{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		data.Parametrization.Values = append(data.Parametrization.Values, value{name, values[name]})
	}
	return a.job(ctx, wire.InstantiateV3, wire.InstanceProgressV3, data, progress)
}

// ApplyModel sends a version 4 model: one message makes or updates types, variables, assets and mappings.
// Reference IDs that are missing are made from IDs and names. progress, if any, sees each answer. A failure is
// a *JobError.
func (a *Agent) ApplyModel(ctx context.Context, m Model, progress func(Progress)) (Progress, error) {
	if m.ExternalID != "" {
		return Progress{}, fmt.Errorf("mindsphere: a version 4 model has no external ID")
	}
	d := m.clone()
	d.refer()
	return a.job(ctx, wire.ModelV4, wire.ModelProgressV4, d, progress)
}

// refer gives a reference to everything of a version 4 model that has none.
func (d *modelData) refer() {
	set := func(reference *string, parts ...string) {
		if *reference == "" {
			*reference = strings.Join(parts, ".")
		}
	}
	variables := func(list []Variable, owner string) {
		for i := range list {
			set(&list[i].ReferenceID, owner, list[i].Name)
		}
	}
	for i := range d.TypeModel.AspectTypes {
		t := &d.TypeModel.AspectTypes[i]
		set(&t.ReferenceID, t.ID)
		variables(t.Variables, t.ID)
	}
	for i := range d.TypeModel.AssetTypes {
		t := &d.TypeModel.AssetTypes[i]
		set(&t.ReferenceID, t.ID)
		variables(t.Variables, t.ID)
		for j := range t.Aspects {
			set(&t.Aspects[j].ReferenceID, t.ID, t.Aspects[j].Name)
		}
	}
	for i := range d.MappingModel.Mappings {
		m := &d.MappingModel.Mappings[i]
		set(&m.ReferenceID, m.AssetReferenceID, m.AspectName, m.VariableName, m.DataPointID)
	}
}

// ModelURL asks where the agent's version 4 model can be downloaded (HTTPS GET). A failure is a *JobError.
func (a *Agent) ModelURL(ctx context.Context) (string, error) {
	var data struct {
		Content string `json:"content"`
	}
	err := a.ask(ctx, wire.GetModelV4, wire.ModelAnswerV4, nil, func(text json.RawMessage) (bool, error) {
		if _, err := readProgress(text); err != nil {
			return true, err
		}
		err := json.Unmarshal(text, &data)
		return data.Content != "", err
	})
	return data.Content, err
}

// job sends a request whose answers tell of progress.
func (a *Agent) job(ctx context.Context, out, in wire.Channel, data any, progress func(Progress)) (last Progress, err error) {
	err = a.ask(ctx, out, in, data, func(text json.RawMessage) (bool, error) {
		var err error
		last, err = readProgress(text)
		if progress != nil {
			progress(last)
		}
		return strings.EqualFold(last.Status, "Success"), err
	})
	return last, err
}

// readProgress reads an answer's data; the error is a *JobError where it tells of a failure.
func readProgress(text json.RawMessage) (Progress, error) {
	var p struct {
		Progress
		Errors json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return Progress{}, fmt.Errorf("mindsphere: the answer cannot be read: %w", err)
	}
	problems := readProblems(p.Errors)
	switch strings.ToLower(p.Status) {
	case "success":
		return p.Progress, nil
	case "failed", "failure", "error":
	default:
		if len(problems) == 0 {
			return p.Progress, nil
		}
	}
	return p.Progress, &JobError{Status: p.Status, Message: p.Message, Errors: problems}
}

// readProblems reads a failure's errors. No source shows their form: what is not known is passed on as text.
func readProblems(text json.RawMessage) []Problem {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil {
		if len(text) == 0 || string(text) == "null" {
			return nil
		}
		list = []json.RawMessage{text}
	}
	problems := make([]Problem, len(list))
	for i, one := range list {
		if json.Unmarshal(one, &problems[i]) != nil || problems[i].Message == "" {
			problems[i] = Problem{Message: string(one)}
		}
	}
	return problems
}
