package mindsphere

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Limits of the asset modeler's state.
const (
	maxModels   = 100    // per agent
	maxTypes    = 10_000 // of one kind, per tenant
	maxAssets   = 20_000 // per tenant
	maxMappings = 10_000 // per agent
)

// Model is a model that an agent has sent.
type Model struct {
	ID         string          `json:"id"` // ULID
	Agent      string          `json:"agent"`
	ExternalID string          `json:"externalId,omitempty"` // version 3
	Document   json.RawMessage `json:"document"`             // the message's data
}

func (m Model) clone() Model {
	m.Document = slices.Clone(m.Document)
	return m
}

// The states of a job ("Creating V4 Data Model").
const (
	inProgress = "InProgress"
	success    = "Success"
	failed     = "Failed"
)

// progress is the data of the asset modeler's answers. For version 3 only status is known to be read by
// clients; the rest is taken over from version 4.
type progress struct {
	ID      string    `json:"id"` // of the job
	ModelID string    `json:"modelId,omitempty"`
	Message string    `json:"message"`
	Status  string    `json:"status"`
	Errors  []problem `json:"errors,omitempty"`
}

// job is one request to the asset modeler and its answers.
type job struct {
	svc         *Service
	channel     mindsphere.Channel
	id, request string
	correlation string
}

func (s *Service) newJob(ch mindsphere.Channel, request string) job {
	return job{s, ch, s.ulid(), request, s.ulid()}
}

func (j job) tell(p progress) Message {
	p.ID = j.id
	return j.svc.answer(j.channel, j.request, j.correlation, p)
}

// done answers with progress in per cent, and Success.
func (j job) done(modelID string, percent ...int) Outcome {
	var o Outcome
	for _, n := range percent {
		o.Answers = append(o.Answers, j.tell(progress{ModelID: modelID, Message: fmt.Sprintf("%d%% completed.", n), Status: inProgress}))
	}
	o.Answers = append(o.Answers, j.tell(progress{ModelID: modelID, Message: "100% completed.", Status: success}))
	return o
}

// failed answers with what is wrong (MS-20).
func (j job) failed(id rule.ID, d *document, expected string) Outcome {
	r := refuse(id, "the asset modeler answered Failed: "+d.summary(), d.problems[0].Path, expected)
	return Outcome{Refusal: r, Answers: []Message{j.tell(progress{Message: "The request failed.", Status: failed, Errors: d.problems})}}
}

// aspectType implements knownTypes.
func (s *Service) aspectType(tenant, id string) (AspectType, bool) {
	return s.aspectTypes.Get(key(tenant, id))
}

// assetType implements knownTypes.
func (s *Service) assetType(tenant, id string) (AssetType, bool) {
	return s.assetTypes.Get(key(tenant, id))
}

const wantModel = `{"id":…,"data":{"externalId":…,"typeModel":{…},"instanceModel":{…},"mappingModel":{…}}}`

// createModel keeps a version 3 model for its instantiation (MS-18).
func (s *Service) createModel(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	j := s.newJob(mindsphere.ModelStatusV3, requestID(root))
	data := root.get("data")
	if !root.ok() || !data.object() {
		return j.failed("MS-20/unreadable", root.doc, wantModel)
	}
	external := data.get("externalId").need()
	readPlan(data, from.Tenant, true, s)
	if !root.ok() {
		return j.failed("MS-20/model", root.doc, "a model whose every reference leads somewhere")
	}
	m := Model{ID: s.ulid(), Agent: from.ClientID, ExternalID: external, Document: mindsphere.Encode(data.value)}
	s.admin.Lock()
	defer s.admin.Unlock()
	k := modelKey(from.ClientID, external)
	if old, ok := s.models.Get(k); ok {
		m.ID = old.ID
	} else if len(s.models.Keys(modelKey(from.ClientID, ""))) >= maxModels {
		data.get("externalId").fail("the agent has %d models already", maxModels)
		return j.failed("MS-20/limit", root.doc, "fewer models")
	}
	s.models.Put(k, m)
	return j.done(m.ID)
}

// modelKey is the key of an agent's model; a version 4 model has no external id and is the agent's only one.
func modelKey(clientID, external string) string { return clientID + "\x00" + external }

// ownModel is the external id under which an agent's version 4 model is kept; no version 3 model can have it.
const ownModel = "\x00v4"

// instantiate makes the assets of a version 3 model (MS-19).
func (s *Service) instantiate(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	j := s.newJob(mindsphere.InstanceProgressV3, requestID(root))
	data := root.get("data")
	if !root.ok() || !data.object() {
		return j.failed("MS-20/unreadable", root.doc, `{"id":…,"data":{"modelExternalId":…,"parameterization":{"values":[…]}}}`)
	}
	name := data.get("modelExternalId").need()
	parameters := map[string]string{}
	for _, v := range data.get("parameterization").get("values").list() {
		if v.object() {
			parameters[v.get("name").need()] = v.get("value").scalar()
		}
	}
	if !root.ok() {
		return j.failed("MS-20/unreadable", root.doc, `{"id":…,"data":{"modelExternalId":…,"parameterization":{"values":[{"name":…,"value":…}]}}}`)
	}
	m, ok := s.models.Get(modelKey(from.ClientID, name))
	if !ok {
		data.get("modelExternalId").fail("the agent has sent no model %q%s", clip(name), s.modelsOf(from.ClientID))
		return j.failed("MS-20/unknown-model", root.doc, "the externalId of a model that was answered with Success")
	}
	document := readDocument(m.Document)
	f := filler{parameters: parameters}
	filled := f.fill(document.value)
	if len(f.missing) > 0 {
		slices.Sort(f.missing)
		data.get("parameterization").get("values").fail("no value for %s of model %q", names(slices.Compact(f.missing)), clip(name))
		return j.failed("MS-20/parameter", root.doc, "a value for every ${name} of the model")
	}
	document.path, document.value = "$.data", filled
	return s.build(from, j, document, m.ID, 20, 60)
}

// modelsOf names an agent's version 3 models.
func (s *Service) modelsOf(clientID string) string {
	var list []string
	for _, m := range s.models.List(modelKey(clientID, "")) {
		if m.ExternalID != "" {
			list = append(list, m.ExternalID)
		}
	}
	if len(list) == 0 {
		return "; it has sent none yet"
	}
	return "; it has " + names(list)
}

// applyModel makes or updates what a version 4 model says (MS-21).
func (s *Service) applyModel(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	j := s.newJob(mindsphere.ModelProgressV4, requestID(root))
	data := root.get("data")
	if !root.ok() || !data.object() {
		return j.failed("MS-20/unreadable", root.doc, `{"id":…,"data":{"typeModel":{…},"instanceModel":{…},"mappingModel":{…}}}`)
	}
	k := modelKey(from.ClientID, ownModel)
	m, ok := s.models.Get(k)
	if !ok {
		m = Model{ID: s.ulid(), Agent: from.ClientID}
	}
	o := s.build(from, j, data, m.ID, 20, 60)
	if o.Refusal == nil {
		m.Document = mindsphere.Encode(data.value)
		s.models.Put(k, m)
	}
	return o
}

// build reads a complete model and makes its types, assets and mappings.
func (s *Service) build(from sender, j job, data node, modelID string, percent ...int) Outcome {
	s.admin.Lock()
	defer s.admin.Unlock()
	p := readPlan(data, from.Tenant, false, s)
	if !data.ok() {
		return j.failed("MS-20/model", data.doc, "a model whose every reference leads somewhere")
	}
	if s.checkRoom(from, p, data); !data.ok() {
		return j.failed("MS-20/limit", data.doc, "fewer types, assets and mappings")
	}
	s.carryOut(from, p)
	e := from.event
	e.Kind, e.Detail = journal.Property, fmt.Sprintf("model %s: %d aspect types, %d asset types, %d assets, %d mappings", modelID, len(p.aspects), len(p.types), len(p.assets), len(p.mappings))
	s.journal.Append(e)
	return j.done(modelID, percent...)
}

// checkRoom notes limits that the plan would break. The caller holds admin.
func (s *Service) checkRoom(from sender, p *plan, data node) {
	for _, limit := range []struct {
		what            string
		held, more, max int
	}{
		{"aspect types", len(s.aspectTypes.Keys(from.Tenant + "/")), len(p.aspects), maxTypes},
		{"asset types", len(s.assetTypes.Keys(from.Tenant + "/")), len(p.types), maxTypes},
		{"assets", len(s.assets.Keys(from.Tenant + "/")), len(p.assets), maxAssets},
		{"mappings", len(s.Mappings(from.ClientID)), len(p.mappings), maxMappings},
	} {
		if limit.held+limit.more > limit.max {
			data.fail("there are %d %s, %d more would be over the limit of %d", limit.held, limit.what, limit.more, limit.max)
		}
	}
}

// carryOut does what a plan says that was found right. The caller holds admin.
func (s *Service) carryOut(from sender, p *plan) {
	for id, t := range p.aspects {
		s.aspectTypes.Put(key(from.Tenant, id), t)
	}
	for id, t := range p.types {
		s.assetTypes.Put(key(from.Tenant, id), t)
	}
	b, _ := s.built.Get(from.ClientID)
	if b.Made == nil {
		b.Made = map[string]string{}
	}
	ids := map[string]string{}
	for _, a := range p.assets { // first the ids, as a parent may stand behind its child
		ids[a.reference] = b.Made[a.reference]
		if _, exists := s.assets.Get(key(from.Tenant, ids[a.reference])); !exists {
			ids[a.reference] = s.ids.Hex(32)
		}
		b.Made[a.reference] = ids[a.reference]
	}
	for _, a := range p.assets {
		parent := a.parentAsset
		if id, here := ids[parent]; here {
			parent = id
		}
		if parent == rootAsset {
			parent = ""
		}
		s.assets.Put(key(from.Tenant, ids[a.reference]), Asset{AssetID: ids[a.reference], TenantID: from.Tenant, Name: a.name, TypeID: a.typeID,
			ParentID: parent, Description: a.description, Agent: from.ClientID, Reference: a.reference})
	}
	for _, m := range p.mappings {
		m.AssetID = ids[m.reference]
		b.add(m.Mapping)
	}
	s.built.Put(from.ClientID, b)
}

// built is what an agent's models have made, in one row: messages of time series read it, however many agents
// there are.
type built struct {
	Made     map[string]string `json:"made"`     // asset ids by reference
	Mappings []Mapping         `json:"mappings"` // in the order of their making
}

func (b built) clone() built {
	b.Made, b.Mappings = maps.Clone(b.Made), slices.Clone(b.Mappings)
	return b
}

// add puts a mapping, or replaces the one with its data point and target.
func (b *built) add(m Mapping) {
	i := slices.IndexFunc(b.Mappings, func(old Mapping) bool {
		return old.DataPointID == m.DataPointID && old.AssetID == m.AssetID && old.Aspect == m.Aspect && old.Variable == m.Variable
	})
	if i < 0 {
		b.Mappings = append(b.Mappings, m)
		return
	}
	b.Mappings[i] = m
}

// Mappings returns the mappings of an agent.
func (s *Service) Mappings(clientID string) []Mapping {
	b, _ := s.built.Get(clientID)
	return b.Mappings
}

// AspectTypes returns the aspect types of a tenant, ordered by id.
func (s *Service) AspectTypes(tenant string) []AspectType { return s.aspectTypes.List(tenant + "/") }

// AssetTypes returns the asset types of a tenant, ordered by id.
func (s *Service) AssetTypes(tenant string) []AssetType { return s.assetTypes.List(tenant + "/") }

// emptyModel is that of an agent that has sent none. The vendor's sample for the Raspberry Pi downloads its model before
// it sends the first one, and does not go on without.
const emptyModel = `{"typeModel":{"aspectTypes":[],"assetTypes":[]},"instanceModel":{"assets":[]},"mappingModel":{"mappings":[]}}`

// sendModel answers with where the agent's version 4 model can be downloaded. The request's shape is not
// documented: an id is enough.
func (s *Service) sendModel(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	j := s.newJob(mindsphere.ModelAnswerV4, requestID(root))
	if !root.ok() {
		return j.failed("MS-20/unreadable", root.doc, `{"id":…}`)
	}
	k := modelKey(from.ClientID, ownModel)
	m, ok := s.models.Get(k)
	if !ok {
		m = Model{ID: s.ulid(), Agent: from.ClientID, Document: json.RawMessage(emptyModel)}
		s.models.Put(k, m)
	}
	link := s.offer(m)
	data := map[string]string{"id": j.id, "modelId": m.ID, "status": success}
	data["content"] = link + "****"
	shown := s.answer(j.channel, j.request, j.correlation, data).Payload
	data["content"] = link + s.secretOf(m)
	msg := s.answer(j.channel, j.request, j.correlation, data)
	msg.Shown = shown
	return Outcome{Answers: []Message{msg}}
}
