package mindsphere

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// plan is a model as it is read: types, assets and mappings, not yet made.
type plan struct {
	tenant   string
	template bool // its texts may hold a ${placeholder}
	known    knownTypes
	aspects  map[string]AspectType
	types    map[string]AssetType
	order    []string // ids of types, in the document's order
	assets   []plannedAsset
	index    map[string]int // of assets by reference
	mappings []plannedMapping
	mapped   map[string]bool // targets of mappings
}

type plannedAsset struct {
	at                             node
	reference, typeID              string
	name, description, parentAsset string
}

type plannedMapping struct {
	Mapping
	reference string // of the asset
}

// knownTypes are the types and assets that a tenant has already.
type knownTypes interface {
	aspectType(tenant, id string) (AspectType, bool)
	assetType(tenant, id string) (AssetType, bool)
	Asset(tenant, id string) (Asset, bool)
}

// readPlan reads typeModel, instanceModel and mappingModel of a message's data and checks every reference. A
// template may leave open what only its instantiation fills. Mistakes are noted in the document.
func readPlan(data node, tenant string, template bool, known knownTypes) *plan {
	p := &plan{tenant: tenant, template: template, known: known, aspects: map[string]AspectType{}, types: map[string]AssetType{},
		index: map[string]int{}, mapped: map[string]bool{}}
	for _, part := range []string{"typeModel", "instanceModel", "mappingModel"} {
		if n := data.get(part); n.value != nil && !n.object() {
			return p
		}
	}
	for _, n := range data.get("typeModel").get("aspectTypes").list() {
		p.readAspectType(n)
	}
	types := data.get("typeModel").get("assetTypes").list()
	for _, n := range types {
		p.readAssetType(n)
	}
	for i, n := range types {
		p.checkAssetType(n, i)
	}
	for _, n := range data.get("instanceModel").get("assets").list() {
		p.readAsset(n)
	}
	p.checkParents()
	for _, n := range data.get("mappingModel").get("mappings").list() {
		p.readMapping(n)
	}
	return p
}

// open reports a text of a template that holds a ${placeholder}, which only instantiation fills.
func (p *plan) open(text string) bool { return p.template && strings.Contains(text, "${") }

// oneOf is a text out of a list, or an open one.
func (p *plan) oneOf(n node, legal ...string) string {
	if text, _ := n.value.(string); p.open(text) {
		return text
	}
	return n.oneOf(legal...)
}

// ownID reads the id of a type, which begins with the tenant's name.
func (p *plan) ownID(n node) string {
	id := n.need()
	if id != "" && !p.open(id) && (!strings.HasPrefix(id, p.tenant+".") || len(id) == len(p.tenant)+1) {
		n.fail("%q is no id of tenant %s; it begins with %q", clip(id), p.tenant, p.tenant+".")
	}
	return id
}

func (p *plan) readAspectType(n node) {
	if !n.object() {
		return
	}
	t := AspectType{ID: p.ownID(n.get("id")), Name: n.get("name").need(), Description: n.get("description").text(),
		Category: p.oneOf(n.get("category"), "dynamic", "static"), Scope: p.oneOf(n.get("scope"), "private", "public"), Variables: p.readVariables(n.get("variables"))}
	if _, twice := p.aspects[t.ID]; twice && t.ID != "" {
		n.get("id").fail("the aspect type %q stands here twice", clip(t.ID))
	}
	if len(t.Variables) == 0 {
		n.get("variables").fail("an aspect type has at least one variable")
	}
	p.aspects[t.ID] = t
}

func (p *plan) readVariables(n node) []Variable {
	var variables []Variable
	for _, v := range n.list() {
		if !v.object() {
			continue
		}
		name := v.get("name").need()
		if slices.ContainsFunc(variables, func(old Variable) bool { return old.Name == name }) {
			v.get("name").fail("the variable %q stands here twice", clip(name))
		}
		dataType := v.get("dataType").need()
		if dataType != "" && !p.open(dataType) && !slices.Contains(dataTypes, dataType) {
			v.get("dataType").fail("%q is none of %s", clip(dataType), strings.Join(dataTypes, ", "))
		}
		variables = append(variables, Variable{Name: name, DataType: dataType, Unit: v.get("unit").text(),
			Searchable: v.get("searchable").flag(false), QualityCode: v.get("qualityCode").flag(false)})
	}
	return variables
}

func (p *plan) readAssetType(n node) {
	if !n.object() {
		p.order = append(p.order, "")
		return
	}
	t := AssetType{ID: p.ownID(n.get("id")), Name: n.get("name").need(), Description: n.get("description").text(),
		ParentTypeID: n.get("parentTypeId").need(), Instantiable: n.get("instantiable").flag(true),
		Scope: p.oneOf(n.get("scope"), "private", "public"), Variables: p.readVariables(n.get("variables"))}
	for _, a := range n.get("aspects").list() {
		if a.object() {
			t.Aspects = append(t.Aspects, TypeAspect{Name: a.get("name").need(), AspectTypeID: a.get("aspectTypeId").need()})
		}
	}
	if _, twice := p.types[t.ID]; twice && t.ID != "" {
		n.get("id").fail("the asset type %q stands here twice", clip(t.ID))
	}
	p.types[t.ID], p.order = t, append(p.order, t.ID)
}

// checkAssetType checks what the i-th asset type refers to; all types have been read by now.
func (p *plan) checkAssetType(n node, i int) {
	t := p.types[p.order[i]]
	if t.ID == "" {
		return
	}
	if _, ok := p.assetType(t.ParentTypeID); !ok && t.ParentTypeID != "" {
		n.get("parentTypeId").fail("there is no asset type %q, neither here nor in the tenant", clip(t.ParentTypeID))
	}
	if _, loops := p.aspectsOf(t.ID); loops {
		n.get("parentTypeId").fail("the asset type %q is its own ancestor", clip(t.ID))
	}
	for j, a := range n.get("aspects").list() {
		if j >= len(t.Aspects) {
			return
		}
		id := t.Aspects[j].AspectTypeID
		if _, ok := p.aspectType(id); !ok && id != "" {
			a.get("aspectTypeId").fail("there is no aspect type %q, neither here nor in the tenant", clip(id))
		}
	}
}

// assetType finds a type here, in the tenant, or among MindSphere's own, whose aspects are not known.
func (p *plan) assetType(id string) (AssetType, bool) {
	if t, ok := p.types[id]; ok {
		return t, true
	}
	if t, ok := p.known.assetType(p.tenant, id); ok {
		return t, true
	}
	return AssetType{ID: id, Instantiable: true}, isCore(id) || p.open(id)
}

func (p *plan) aspectType(id string) (AspectType, bool) {
	if t, ok := p.aspects[id]; ok {
		return t, true
	}
	if t, ok := p.known.aspectType(p.tenant, id); ok {
		return t, true
	}
	return AspectType{ID: id}, isCore(id) || p.open(id)
}

func isCore(id string) bool { return strings.HasPrefix(id, corePrefix) }

// aspectsOf returns the aspects of a type with those of its ancestors.
func (p *plan) aspectsOf(typeID string) (aspects []TypeAspect, loops bool) {
	seen := map[string]bool{}
	for typeID != "" && !isCore(typeID) {
		if seen[typeID] {
			return aspects, true
		}
		seen[typeID] = true
		t, _ := p.assetType(typeID)
		aspects = append(aspects, t.Aspects...)
		typeID = t.ParentTypeID
	}
	return aspects, false
}

// assetID is the form of assets' ids. A parent of this form may be one that the tenant has and fakecloud does not
// know, as its root asset in the model of mindconnect-mqtt-v4-example.
var assetID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// rootAsset stands for the tenant's root in parentReferenceId.
const rootAsset = "root"

func (p *plan) readAsset(n node) {
	if !n.object() {
		return
	}
	a := plannedAsset{at: n, reference: n.get("referenceId").need(), typeID: n.get("typeId").need(), name: n.get("name").need(),
		description: n.get("description").text(), parentAsset: n.get("parentReferenceId").text()}
	if p.asset(a.reference) != nil && a.reference != "" {
		n.get("referenceId").fail("the asset %q stands here twice", clip(a.reference))
	}
	t, ok := p.assetType(a.typeID)
	switch {
	case a.typeID == "":
	case !ok:
		n.get("typeId").fail("there is no asset type %q, neither here nor in the tenant", clip(a.typeID))
	case !t.Instantiable:
		n.get("typeId").fail("the asset type %q is not instantiable", clip(a.typeID))
	}
	if _, twice := p.index[a.reference]; !twice {
		p.index[a.reference] = len(p.assets)
	}
	p.assets = append(p.assets, a)
}

// asset returns the planned asset with a reference, nil for none.
func (p *plan) asset(reference string) *plannedAsset {
	if i, ok := p.index[reference]; ok {
		return &p.assets[i]
	}
	return nil
}

// checkParents checks that every parent exists and none is below itself.
func (p *plan) checkParents() {
	for i := range p.assets {
		a := &p.assets[i]
		parent := a.parentAsset
		if parent == "" || parent == rootAsset || p.open(parent) {
			continue
		}
		if p.asset(parent) == nil {
			if _, exists := p.known.Asset(p.tenant, parent); !exists && !assetID.MatchString(parent) {
				a.at.get("parentReferenceId").fail("there is no asset %q, neither here nor in the tenant", clip(parent))
			}
			continue
		}
		steps := 0
		for next := a; next != nil && steps <= len(p.assets); steps++ {
			next = p.asset(next.parentAsset)
		}
		if steps > len(p.assets) {
			a.at.get("parentReferenceId").fail("the asset %q is below itself", clip(a.reference))
		}
	}
}

func (p *plan) readMapping(n node) {
	if !n.object() {
		return
	}
	m := plannedMapping{reference: n.get("assetReferenceId").need(), Mapping: Mapping{DataPointID: n.get("dataPointId").need(),
		Aspect: n.get("aspectName").need(), Variable: n.get("variableName").need()}}
	asset := p.asset(m.reference)
	switch {
	case m.reference == "" || m.Aspect == "" || m.Variable == "" || p.open(m.reference+m.Aspect+m.Variable):
		return
	case asset == nil:
		n.get("assetReferenceId").fail("there is no asset %q in instanceModel", clip(m.reference))
		return
	}
	target := m.reference + "\x00" + m.Aspect + "\x00" + m.Variable
	if p.mapped[target] {
		n.fail("the variable %q of aspect %q of asset %q is mapped twice", clip(m.Variable), clip(m.Aspect), clip(m.reference))
		return
	}
	p.mapped[target] = true
	if !p.checkTarget(n, asset.typeID, &m.Mapping) {
		return
	}
	p.mappings = append(p.mappings, m)
}

// checkTarget checks aspect and variable of a mapping and fills in the data type.
func (p *plan) checkTarget(n node, typeID string, m *Mapping) bool {
	aspects, _ := p.aspectsOf(typeID)
	i := slices.IndexFunc(aspects, func(a TypeAspect) bool { return a.Name == m.Aspect })
	switch {
	case i < 0 && (isCore(typeID) || p.open(typeID)):
		return true
	case i < 0:
		n.get("aspectName").fail("the asset type %q has no aspect %q", clip(typeID), clip(m.Aspect))
		return false
	}
	t, ok := p.aspectType(aspects[i].AspectTypeID)
	if !ok || isCore(t.ID) || p.open(t.ID) {
		return true
	}
	j := slices.IndexFunc(t.Variables, func(v Variable) bool { return v.Name == m.Variable })
	if j < 0 {
		n.get("variableName").fail("the aspect type %q has no variable %q", clip(t.ID), clip(m.Variable))
		return false
	}
	if t.Category == "static" {
		n.get("aspectName").fail("the aspect type %q is static: no time series goes there", clip(t.ID))
		return false
	}
	m.DataType = t.Variables[j].DataType
	return true
}

// Limits of what filling may make of a model, so that it cannot grow without end.
const (
	maxFilled     = 4096      // bytes of one text
	maxFilledOver = 512 << 10 // bytes of all parameters where they stand
)

// filler replaces every ${name} in a JSON value by its parameter.
type filler struct {
	parameters map[string]string
	put        int      // bytes of parameters
	missing    []string // names without a parameter, or with one that is too long
}

func (f *filler) fill(value any) any {
	switch v := value.(type) {
	case string:
		return f.text(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = f.fill(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for k := range v {
			object[k] = f.fill(v[k])
		}
		return object
	}
	return value
}

func (f *filler) text(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		name, after, closed := strings.Cut(rest, "}")
		b.WriteString(before)
		if !found {
			break
		}
		value, ok := f.parameters[name]
		switch {
		case !closed:
			b.WriteString("${" + rest)
			return b.String()
		case !ok:
			f.missing = append(f.missing, name)
		case b.Len()+len(value) > maxFilled:
			f.missing = append(f.missing, fmt.Sprintf("%s (more than %d bytes)", name, maxFilled))
		case f.put+len(value) > maxFilledOver:
			f.missing = append(f.missing, fmt.Sprintf("%s (more than %d bytes in all)", name, maxFilledOver))
		default:
			f.put += len(value)
			b.WriteString(value)
		}
		text = after
	}
	return b.String()
}
