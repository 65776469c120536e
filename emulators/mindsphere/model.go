package mindsphere

import "slices"

// Variable is one variable of an aspect or asset type.
type Variable struct {
	Name        string `json:"name"`
	DataType    string `json:"dataType"`
	Unit        string `json:"unit,omitempty"`
	Searchable  bool   `json:"searchable"`
	QualityCode bool   `json:"qualityCode"`
}

// AspectType is a set of variables that belong together.
type AspectType struct {
	ID          string     `json:"id"` // {tenant}.{name}
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Category    string     `json:"category"` // dynamic or static
	Scope       string     `json:"scope"`
	Variables   []Variable `json:"variables"`
}

// AssetType says which aspects an asset has.
type AssetType struct {
	ID           string       `json:"id"` // {tenant}.{name}
	Name         string       `json:"name"`
	Description  string       `json:"description,omitempty"`
	ParentTypeID string       `json:"parentTypeId"`
	Instantiable bool         `json:"instantiable"`
	Scope        string       `json:"scope"`
	Aspects      []TypeAspect `json:"aspects"`
	Variables    []Variable   `json:"variables"`
}

// TypeAspect is an aspect of an asset type.
type TypeAspect struct {
	Name         string `json:"name"`
	AspectTypeID string `json:"aspectTypeId"`
}

func (t AspectType) clone() AspectType {
	t.Variables = slices.Clone(t.Variables)
	return t
}

func (t AssetType) clone() AssetType {
	t.Aspects, t.Variables = slices.Clone(t.Aspects), slices.Clone(t.Variables)
	return t
}

// Mapping leads an agent's data point to a variable of an asset.
type Mapping struct {
	DataPointID string `json:"dataPointId"`
	AssetID     string `json:"assetId"`
	Aspect      string `json:"aspectName"`
	Variable    string `json:"variableName"`
	DataType    string `json:"dataType"` // empty where the aspect type is one of MindSphere's own
}

// dataTypes of variables ("Sending Data from MindConnect MQTT Agent").
var dataTypes = []string{"DOUBLE", "INT", "LONG", "STRING", "BIG_STRING", "BOOLEAN", "TIMESTAMP"}

// corePrefix begins the ids of MindSphere's own types, which exist in every tenant.
const corePrefix = "core."
