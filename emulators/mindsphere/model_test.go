package mindsphere_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// silent is a Downlink that has nothing to close.
type silent struct{}

func (silent) Close(error) {}

// session opens a connection of the ready agent camexia_a.
func (f *fixture) session(t *testing.T) *mindsphere.Session {
	t.Helper()
	a, err := f.AddAgent("camexia", "a", f.leaf(t, "camexia-ca", "a").Leaf)
	require.NoError(t, err)
	return f.Open(mindsphere.Identity{Tenant: "camexia", Region: mindsphere.EU1, ClientID: a.ClientID, AgentID: a.AgentID}, mindsphere.Origin{}, silent{})
}

// problems publishes a model and returns what the answer says is wrong with it.
func problems(t *testing.T, s *mindsphere.Session, ch wire.Channel, payload string) map[string]string {
	t.Helper()
	out := s.Publish(context.Background(), ch, []byte(payload))
	require.NotEmpty(t, out.Answers)
	var r struct {
		Data struct {
			Status string
			Errors []struct{ Path, Message string }
		}
	}
	require.NoError(t, json.Unmarshal(out.Answers[len(out.Answers)-1].Payload, &r))
	found := map[string]string{}
	for _, e := range r.Data.Errors {
		found[strings.TrimPrefix(e.Path, "$.data.")] = e.Message
	}
	require.Equal(t, len(found) > 0, r.Data.Status == "Failed")
	return found
}

// Each mistake is named with its place.
func TestModelMistakes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	model := string(text)
	const aspects, types, assets, mappings = "typeModel.aspectTypes", "typeModel.assetTypes", "instanceModel.assets", "mappingModel.mappings"
	for _, c := range []struct{ old, new, path, message string }{
		{`"typeModel": {`, `"typeModel": [], "x": {`, "typeModel", "an object is wanted, not an array"},
		{`"id": "camexia.mechanics"`, `"id": "other.mechanics"`, aspects + "[0].id", `"other.mechanics" is no id of tenant camexia; it begins with "camexia."`},
		{`"id": "camexia.mechanics"`, `"id": "camexia."`, aspects + "[0].id", `no id of tenant camexia`},
		{`"id": "camexia.mechanics",`, ``, aspects + "[0].id", "is missing"},
		{`"category": "dynamic"`, `"category": "sometimes"`, aspects + "[0].category", `"sometimes" is none of dynamic, static`},
		{`"category": "dynamic"`, `"category": "static"`, mappings + "[0].aspectName", "is static"},
		{`"name": "mechanics"`, `"name": 5`, aspects + "[0].name", "a string is wanted, not the number 5"},
		{`"dataType": "INT"`, `"dataType": "int"`, aspects + "[0].variables[0].dataType", `"int" is none of DOUBLE, INT`},
		{`"name": "rpm"`, `"name": "speed"`, aspects + "[0].variables[1].name", `the variable "speed" stands here twice`},
		{`"searchable": false`, `"searchable": "no"`, aspects + "[0].variables[0].searchable", `true or false is wanted, not the string "no"`},
		{`"parentTypeId": "core.basicasset"`, `"parentTypeId": "camexia.nothing"`, types + "[0].parentTypeId", `there is no asset type "camexia.nothing"`},
		{`"parentTypeId": "core.basicasset"`, `"parentTypeId": "camexia.machine"`, types + "[0].parentTypeId", "is its own ancestor"},
		{`"aspectTypeId": "camexia.mechanics"`, `"aspectTypeId": "camexia.x"`, types + "[0].aspects[0].aspectTypeId", `there is no aspect type "camexia.x"`},
		{`"variables": [],`, `"variables": [], "instantiable": false,`, assets + "[0].typeId", "is not instantiable"},
		{`"typeId": "camexia.machine"`, `"typeId": "camexia.x"`, assets + "[0].typeId", `there is no asset type "camexia.x"`},
		{`"referenceId": "MachineReference"`, `"referenceId": ""`, assets + "[0].referenceId", "is empty"},
		{`"description": "",`, `"parentReferenceId": "nobody",`, assets + "[0].parentReferenceId", `there is no asset "nobody"`},
		{`"description": "",`, `"parentReferenceId": "${parent}",`, assets + "[0].parentReferenceId", `there is no asset "${parent}"`},
		{`"typeId": "camexia.machine"`, `"typeId": "${type}"`, assets + "[0].typeId", `there is no asset type "${type}"`},
		{`"description": "",`, `"parentReferenceId": "MachineReference",`, assets + "[0].parentReferenceId", "is below itself"},
		{`"assetReferenceId": "MachineReference"`, `"assetReferenceId": "x"`, mappings + "[0].assetReferenceId", `there is no asset "x" in instanceModel`},
		{`"aspectName": "mechanics"`, `"aspectName": "x"`, mappings + "[0].aspectName", `has no aspect "x"`},
		{`"variableName": "speed"`, `"variableName": "rpm"`, mappings + "[1]", "is mapped twice"},
		{`"dataPointId": "speed",`, ``, mappings + "[0].dataPointId", "is missing"},
	} {
		t.Run(c.path+" "+c.new, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			broken := strings.Replace(model, c.old, c.new, 1)
			require.NotEqual(t, model, broken)
			found := problems(t, f.session(t), wire.ModelV4, broken)
			require.Contains(t, found[c.path], c.message, found)
			require.Empty(t, f.AspectTypes("camexia"), "nothing is made of a wrong model")
		})
	}
}

// A model may build on what the tenant has, and a child may stand before its parent.
func TestModelBuildsOnTheTenant(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.session(t)
	text, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	require.Empty(t, problems(t, s, wire.ModelV4, string(text)))
	var machine mindsphere.Asset
	for _, a := range f.Assets("camexia") {
		if a.Reference == "MachineReference" {
			machine = a
		}
	}
	require.Empty(t, problems(t, s, wire.ModelV4, `{"id":"2","data":{
		"typeModel":{"assetTypes":[{"id":"camexia.big","name":"big","parentTypeId":"camexia.machine"}]},
		"instanceModel":{"assets":[{"referenceId":"b","typeId":"camexia.big","name":"B","parentReferenceId":"`+machine.AssetID+`"}]},
		"mappingModel":{"mappings":[{"dataPointId":"inherited","assetReferenceId":"b","aspectName":"mechanics","variableName":"rpm"}]}}}`))
	require.Len(t, f.AssetTypes("camexia"), 2)
	require.Len(t, f.Mappings("camexia_a"), 3)
	require.True(t, f.DeleteAgent("camexia_a"))
	require.Empty(t, f.Mappings("camexia_a"))
}

// MS-18, MS-19: every text of a version 3 model may be a placeholder; what fills it is checked at the instantiation.
func TestTemplateOfAModel(t *testing.T) {
	t.Parallel()
	s := newFixture(t).session(t)
	const model = `{"id":"1","data":{"externalId":"M",
		"typeModel":{"aspectTypes":[{"id":"camexia.${a}","name":"${a}","category":"${category}","scope":"${scope}","variables":[{"name":"${v}","dataType":"${dataType}"}]}],
			"assetTypes":[{"id":"camexia.t","name":"t","parentTypeId":"core.basicasset","aspects":[{"name":"${a}","aspectTypeId":"camexia.${a}"}]}]},
		"instanceModel":{"assets":[{"referenceId":"${r}","typeId":"camexia.t","name":"n","parentReferenceId":"${parent}"}]},
		"mappingModel":{"mappings":[{"dataPointId":"p","assetReferenceId":"r1","aspectName":"${a}","variableName":"${v}"}]}}}`
	require.Empty(t, problems(t, s, wire.ModelV3, model))
	values := map[string]string{"a": "a1", "category": "dynamic", "scope": "private", "v": "v1", "dataType": "INT", "r": "r1", "parent": "root"}
	instance := func() string {
		var list []map[string]string
		for name, value := range values {
			list = append(list, map[string]string{"name": name, "value": value})
		}
		text, err := json.Marshal(map[string]any{"id": "2", "data": map[string]any{"modelExternalId": "M", "parameterization": map[string]any{"values": list}}})
		require.NoError(t, err)
		return string(text)
	}
	require.Empty(t, problems(t, s, wire.InstantiateV3, instance()))
	values["dataType"], values["r"] = "FLOAT", "r2"
	found := problems(t, s, wire.InstantiateV3, instance())
	require.Contains(t, found, "typeModel.aspectTypes[0].variables[0].dataType")
	require.Contains(t, found, "mappingModel.mappings[0].assetReferenceId")
}

// MS-20/parameter: parameters may make a model larger, but not without end.
func TestFilledModelHasALimit(t *testing.T) {
	t.Parallel()
	for assets, refused := range map[int]bool{128: false, 129: true} {
		s := newFixture(t).session(t)
		var list []string
		for i := range assets {
			list = append(list, fmt.Sprintf(`{"referenceId":"r%d","typeId":"core.basicasset","name":"n","description":"${a}"}`, i))
		}
		require.Empty(t, problems(t, s, wire.ModelV3, `{"id":"1","data":{"externalId":"M","instanceModel":{"assets":[`+strings.Join(list, ",")+`]}}}`))
		found := problems(t, s, wire.InstantiateV3, `{"id":"2","data":{"modelExternalId":"M","parameterization":{"values":[{"name":"a","value":"`+strings.Repeat("x", 4096)+`"}]}}}`)
		require.Equal(t, refused, strings.Contains(found["parameterization.values"], "a (more than 524288 bytes in all)"), found)
	}
}

// MS-21: the model of mindconnect-mqtt-v4-example hangs its asset below the root asset of a tenant, by its id.
func TestParentThatOnlyTheTenantKnows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.session(t)
	text, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	const parent = "e67bd43eccf94502b9679747b0d682dc"
	require.Empty(t, problems(t, s, wire.ModelV4, strings.Replace(string(text), `"description": "",`, `"parentReferenceId": "`+parent+`",`, 1)))
	require.True(t, slices.ContainsFunc(f.Assets("camexia"), func(a mindsphere.Asset) bool { return a.ParentID == parent }))
}

// MS-26: updates of all agents of a job at once leave it in the state of the last.
func TestUpdatesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var clients []string
	for i := range mindsphere.MaxJobClients {
		name := string(rune('a' + i))
		_, err := f.AddAgent("camexia", name, f.leaf(t, "camexia-ca", name).Leaf)
		require.NoError(t, err)
		clients = append(clients, "camexia_"+name)
	}
	for range 10 {
		j, err := f.CreateJob("camexia", mindsphere.Job{Name: "j", ClientIDs: clients, Data: json.RawMessage(`{}`)})
		require.NoError(t, err)
		var busy sync.WaitGroup
		for _, c := range f.Commands("camexia", j.ID) {
			a, _ := f.Agent(c.ClientID)
			session := f.Open(mindsphere.Identity{Tenant: "camexia", Region: mindsphere.EU1, ClientID: c.ClientID, AgentID: a.AgentID}, mindsphere.Origin{}, silent{})
			busy.Go(func() {
				session.Publish(context.Background(), wire.CommandStatus, []byte(`{"requestId":"`+c.ID+`","data":{"jobId":"`+j.ID+`","status":"EXECUTED"}}`))
			})
		}
		busy.Wait()
		done, _ := f.Job("camexia", j.ID)
		require.Equal(t, mindsphere.Executed, done.Status)
	}
}

// One data point may lead to several variables; a value of the same time replaces the first; late ones are
// put in order.
func TestTimeSeriesOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.session(t)
	text, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(t, err)
	require.Empty(t, problems(t, s, wire.ModelV4, strings.Replace(string(text), `"dataPointId": "rpm"`, `"dataPointId": "speed"`, 1)))
	for _, v := range []string{`"03","1"`, `"01","2"`, `"02","3"`, `"02","4"`} {
		second, value, _ := strings.Cut(v, ",")
		out := s.Publish(context.Background(), wire.TimeSeries, []byte(`{"timeseries":[{"timestamp":"2026-01-01T00:00:`+strings.Trim(second, `"`)+`.123456Z","values":[{"dataPointId":"speed","value":`+value+`}]}]}`))
		require.Nil(t, out.Refusal)
	}
	var machine string
	for _, a := range f.Assets("camexia") {
		if a.Name == "Machine" {
			machine = a.AssetID
		}
	}
	for _, variable := range []string{"speed", "rpm"} {
		var values []string
		for _, p := range f.TimeSeries("camexia", machine, "mechanics", variable, time.Time{}, time.Time{}) {
			values = append(values, p.Value)
		}
		require.Equal(t, []string{"2", "4", "1"}, values)
	}
	require.Len(t, f.TimeSeries("camexia", machine, "mechanics", "rpm", time.Date(2026, 1, 1, 0, 0, 2, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC)), 1)
}

// Whatever an agent sends, on whatever channel, nothing breaks, and what is refused says why.
func FuzzPublish(f *testing.F) {
	for _, name := range []string{"model-v3.json", "model-v4.json"} {
		text, err := os.ReadFile("testdata/" + name)
		require.NoError(f, err)
		f.Add(text)
	}
	for _, text := range []string{`{"id":"1","data":{"modelExternalId":"PumpModel","parameterization":{"values":[{"name":"a","value":"${a}"}]}}}`,
		`{"timeseries":[{"timestamp":"2026-01-01T00:00:00Z","values":[{"dataPointId":"a","value":1}]}]}`,
		`{"events":[{"timestamp":"2026-01-01T00:00:00Z","severity":20,"type":"x"}]}`, `{"file":{"name":"a","content":"eA"}}`,
		`{"requestId":"1","data":{"jobId":"1","status":"EXECUTED","response":{}}}`, ``, `null`, `[[[`} {
		f.Add([]byte(text))
	}
	var s *mindsphere.Session // one for all: certificates take longer than messages
	f.Fuzz(func(t *testing.T, payload []byte) {
		if s == nil {
			s = newFixture(t).session(t)
		}
		for _, ch := range wire.Channels(wire.Outbound) {
			if r := s.Publish(context.Background(), ch, payload).Refusal; r != nil {
				require.NotEmpty(t, r.Rule)
				require.NotEmpty(t, r.Expected)
			}
		}
	})
}

// Of every value of a message it is known whether it was stored, and what was stored can be read back.
func FuzzTimeSeries(f *testing.F) {
	for _, text := range []string{
		`{"timeseries":[{"timestamp":"2020-08-01T00:15:10.100Z","values":[{"dataPointId":"rpm","value":"1.3","qualityCode":"-1"},{"dataPointId":"speed","value":2}]}]}`,
		`{"timeseries":[{"timestamp":"2020-08-01T00:15:10.123456Z","values":[{"dataPointId":"rpm","value":true},{"dataPointId":"x","value":"1"},{}]},{"timestamp":1},null]}`,
		`{"timeseries":[{"timestamp":"9999-12-31T23:59:59Z","values":[{"dataPointId":"rpm","value":"1e999"}]}]}`, `{"timeseries":{}}`, `[]`, ``,
	} {
		f.Add([]byte(text))
	}
	model, err := os.ReadFile("testdata/model-v4.json")
	require.NoError(f, err)
	var fx *fixture
	var s *mindsphere.Session
	f.Fuzz(func(t *testing.T, payload []byte) {
		if s == nil {
			fx = newFixture(t)
			s = fx.session(t)
			require.Nil(t, s.Publish(context.Background(), wire.ModelV4, model).Refusal)
		}
		before := fx.journal.Last()
		out := s.Publish(context.Background(), wire.TimeSeries, payload)
		require.Empty(t, out.Answers)
		if out.Refusal != nil {
			require.Equal(t, rule.ID("MS-23"), out.Refusal.Rule.Row())
			require.True(t, strings.HasPrefix(out.Refusal.Seen, "$"), "a JSON path: %s", out.Refusal.Seen)
		}
		events, _ := fx.journal.Select(journal.Filter{Since: before, Kind: journal.Telemetry})
		if len(events) == 0 {
			require.Equal(t, rule.ID("MS-23/json"), out.Refusal.Rule)
			return
		}
		require.Equal(t, out.Refusal == nil, events[0].Properties["lost"] == "0")
	})
}
