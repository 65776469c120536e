package e2e

import (
	"crypto/tls"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	pumpIn  = "tc/demo/demo_pump-7/i/"
	pumpOut = "tc/demo/demo_pump-7/o/"
)

// pump is the connected agent demo_pump-7.
type pump struct {
	*rawmqtt.Conn
	t     *testing.T
	cloud *fakecloud.Cloud
	cert  *tls.Certificate
	id    uint16
}

// newPump onboards the agent and subscribes it to its whole input branch.
func newPump(t *testing.T, cloud *fakecloud.Cloud) *pump {
	t.Helper()
	cert := device(t, cloud, "pump-7")
	onboard(t, cloud, "demo_pump-7", cert)
	p := &pump{t: t, cloud: cloud, cert: cert}
	p.connect()
	p.subscribe()
	return p
}

// subscribe asks for the whole input branch.
func (p *pump) subscribe() {
	p.t.Helper()
	send(p.t, p.Conn, rawmqtt.Subscribe(1, 1, pumpIn+"#"))
	wantBytes(p.t, p.Conn, 0x90, 3, 0, 1, 1)
}

// connect opens a connection that keeps nothing.
func (p *pump) connect() {
	p.t.Helper()
	p.Conn = attempt(p.t, p.cloud, p.cert, rawmqtt.Connect{ClientID: "demo_pump-7"})
	wantConnack(p.t, p.Conn, 0)
}

// publish sends to a topic of the output branch and awaits the PUBACK.
func (p *pump) publish(topic, body string) {
	p.t.Helper()
	p.id++
	send(p.t, p.Conn, rawmqtt.Publish(pumpOut+topic, body, 1, p.id, false))
	wantBytes(p.t, p.Conn, 0x40, 2, byte(p.id>>8), byte(p.id))
}

// silent proves that nothing was answered.
func (p *pump) silent() { p.t.Helper(); wantAlive(p.t, p.Conn) }

// next reads an answer on a topic of the input branch.
func (p *pump) next(topic string) string {
	p.t.Helper()
	got := answer(p.t, p.Conn)
	require.Equal(p.t, pumpIn+topic, got.Topic())
	return got.Payload()
}

// progress is an answer of the asset modeler.
type progress struct {
	ID, CorrelationID, RequestID string
	Data                         struct {
		ID, ModelID, Message, Status, Content string
		Errors                                []struct{ Path, Message string }
	}
}

func (p *pump) progress(topic string) (a progress) {
	p.t.Helper()
	text := p.next(topic)
	require.NoError(p.t, json.Unmarshal([]byte(text), &a), text)
	return a
}

var ulidText = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`)

// MS-15 to MS-17: what an agent may subscribe to and publish to, and what happens else.
func TestMindSphereTopics(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	for n, filter := range []string{pumpIn + "amo_v3/ms", pumpIn + "amo_v3/#", pumpIn + "+/ms"} {
		send(t, p.Conn, rawmqtt.Subscribe(uint16(10+n), 1, filter))
		wantBytes(t, p.Conn, 0x90, 3, 0, byte(10+n), 1)
	}
	send(t, p.Conn, rawmqtt.Subscribe(20, 1, pumpIn+"amo_v3/status"))
	wantBytes(t, p.Conn, 0x90, 3, 0, 20, 1)
	require.Contains(t, refused(t, cloud, "MS-15/unserved").Expected, pumpIn+"amo_v3/ms")
	rule.Proves(t, "MS-15")

	for id, filter := range map[rule.ID]string{
		"MS-16/output": pumpOut + "amo_v3/m", "MS-16/foreign": "tc/demo/demo_other/i/amo_v3/ms", "MS-16/wildcard": "#",
		"MS-16/form": "/" + pumpIn + "amo_v3/ms", "MS-16/length": pumpIn + strings.Repeat("x", 256),
	} {
		send(t, p.Conn, rawmqtt.Subscribe(30, 1, filter))
		wantBytes(t, p.Conn, 0x90, 3, 0, 30, 0x80)
		refused(t, cloud, id)
	}
	p.silent()
	send(t, p.Conn, rawmqtt.Subscribe(31, 2, pumpIn+"amo_v3/ms"))
	wantClosed(t, p.Conn)
	refused(t, cloud, "MS-16/qos2")
	rule.Proves(t, "MS-16")

	for _, c := range []struct {
		id       rule.ID
		topic    string
		expected string
	}{
		{"MS-17/input", pumpIn + "amo_v3/ms", pumpOut + "amo_v3/m"},
		{"MS-17/foreign", "tc/demo/demo_other/o/mc_v3/ts", pumpOut + "mc_v3/ts"},
		{"MS-17/foreign", "tc/other/demo_pump-7/o/mc_v3/ts", pumpOut + "mc_v3/ts"},
		{"MS-17/app", pumpOut + "mc_v3/tss", pumpOut + "mc_v3/ts"},
		{"MS-17/form", "devices/demo_pump-7/messages/events/mc_v3=ts", "tc/demo/demo_pump-7/o/"},
	} {
		p.connect()
		send(t, p.Conn, rawmqtt.Publish(c.topic, "{}", 1, 1, false))
		wantClosed(t, p.Conn)
		require.Contains(t, refused(t, cloud, c.id).Expected, c.expected)
	}
	p.connect()
	send(t, p.Conn, rawmqtt.Publish(pumpOut+"mc_v3/ts", "{}", 2, 1, false))
	wantClosed(t, p.Conn)
	refused(t, cloud, "MS-17/qos2")
	rule.Proves(t, "MS-17")
}

// pumpModel is a model for tenant demo: version 3 with an external id, version 4 without.
func pumpModel(external string) string {
	ref := func(id string) string {
		if external != "" {
			return ""
		}
		return `"referenceId":"` + id + `",`
	}
	if external != "" {
		external = `"externalId":"` + external + `",`
	}
	return `{"id":"m1","data":{` + external + `"typeModel":{
"aspectTypes":[{` + ref("at") + `"id":"demo.climate","name":"climate","category":"dynamic","scope":"private","variables":[{` + ref("v") + `"name":"temperature","dataType":"DOUBLE","unit":"C","searchable":true,"qualityCode":true}]}],
"assetTypes":[{` + ref("ast") + `"id":"demo.Pump","name":"Pump","parentTypeId":"core.basicasset","instantiable":true,"scope":"private","aspects":[{` + ref("a") + `"name":"climate","aspectTypeId":"demo.climate"}],"variables":[]}]},
"instanceModel":{"assets":[{"referenceId":"pump","typeId":"demo.Pump","name":"Pump 7"}]},
"mappingModel":{"mappings":[{` + ref("m") + `"dataPointId":"temperature","assetReferenceId":"pump","aspectName":"climate","variableName":"temperature"}]}}}`
}

const reading = `{"timeseries":[{"timestamp":"2020-08-01T00:15:10.100Z","values":[{"dataPointId":"temperature","value":"21.5","qualityCode":"-1"}]}]}`

// MS-18, MS-19, MS-22, MS-23: a version 3 model, its instance, data before and after, and the data read back.
func TestMindSphereModelV3(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	p.publish("mc_v3/ts", reading)
	p.silent()
	refused(t, cloud, "MS-23/not-instantiated")
	p.publish("amo_v3/m", pumpModel("Model"))
	a := p.progress("amo_v3/ms")
	require.Equal(t, []string{"m1", "Success"}, []string{a.RequestID, a.Data.Status})
	require.Regexp(t, ulidText, a.ID)
	require.Regexp(t, ulidText, a.CorrelationID)
	rule.Proves(t, "MS-18")
	p.publish("amo_v3/i", `{"id":"i1","data":{"modelExternalId":"Model","parameterization":{"values":[]}}}`)
	var last progress
	for last.Data.Status != "Success" {
		last = p.progress("amo_v3/ip")
		require.Contains(t, []string{"InProgress", "Success"}, last.Data.Status)
		require.Equal(t, "i1", last.RequestID)
	}
	rule.Proves(t, "MS-19")
	p.publish("mc_v3/ts", reading)
	p.publish("mc_v3/ts", strings.ReplaceAll(reading, "temperature", "pressure"))
	p.silent()
	require.Contains(t, refused(t, cloud, "MS-23/unmapped").Expected, `"temperature"`)
	require.JSONEq(t, `[{"_time":"2020-08-01T00:15:10.1Z","temperature":21.5,"temperature_qc":"-1"}]`,
		gateway(t, cloud, "gateway.eu1.mindsphere.io", "demo", "/api/iottimeseries/v3/timeseries/"+assetNamed(t, cloud, "demo", "Pump 7")+"/climate?from=2020-01-01T00:00:00Z"))
	rule.Proves(t, "MS-22", "MS-23")
}

// MS-20: what is wrong with a model is told, and the connection stays; the journal names the JSON path.
func TestMindSphereWrongModels(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	for _, c := range []struct {
		id          rule.ID
		topic, body string
		path        string
	}{
		{"MS-20/unreadable", "amo_v3/m", `{"id":"m1","data":`, "$"},
		{"MS-20/unreadable", "amo_v3/m", ``, "$"},
		{"MS-20/unreadable", "amo_v3/m", `{"data":{}}`, "$.id"},
		{"MS-20/unreadable", "amo_v3/i", `{"id":"i1","data":{"modelExternalId":7}}`, "$.data.modelExternalId"},
		{"MS-20/model", "amo_v3/m", strings.Replace(pumpModel("M"), `"dataType":"DOUBLE"`, `"dataType":"FLOAT"`, 1), "$.data.typeModel.aspectTypes[0].variables[0].dataType"},
		{"MS-20/model", "amo_v3/m", strings.Replace(pumpModel("M"), `"typeId":"demo.Pump"`, `"typeId":"demo.Pomp"`, 1), "$.data.instanceModel.assets[0].typeId"},
		{"MS-20/model", "amo_v3/m", strings.Replace(pumpModel("M"), `"id":"demo.climate"`, `"id":"other.climate"`, 1), "$.data.typeModel.aspectTypes[0].id"},
		{"MS-20/model", "amo_v4/mi", strings.Replace(pumpModel(""), `"assetReferenceId":"pump"`, `"assetReferenceId":"pomp"`, 1), "$.data.mappingModel.mappings[0].assetReferenceId"},
		{"MS-20/model", "amo_v4/mi", strings.Replace(pumpModel(""), `"variableName":"temperature"`, `"variableName":"Temperature"`, 1), "$.data.mappingModel.mappings[0].variableName"},
		{"MS-20/unknown-model", "amo_v3/i", `{"id":"i1","data":{"modelExternalId":"Nothing"}}`, "$.data.modelExternalId"},
		{"MS-20/unreadable", "amo_v4/m", `{"data":{}}`, "$.id"},
	} {
		answers := map[string]string{"amo_v3/m": "amo_v3/ms", "amo_v3/i": "amo_v3/ip", "amo_v4/mi": "amo_v4/mip", "amo_v4/m": "amo_v4/m"}
		before := lastSeq(cloud)
		p.publish(c.topic, c.body)
		a := p.progress(answers[c.topic])
		require.Equal(t, "Failed", a.Data.Status, c.body)
		require.NotEmpty(t, a.Data.Errors)
		require.Equal(t, c.path, a.Data.Errors[0].Path)
		events := cloud.Events(fakecloud.Filter{Since: before, Rule: c.id})
		require.Len(t, events, 1, c.body)
		require.Contains(t, events[0].Detail, c.path)
		require.NotEmpty(t, events[0].Fix)
		rule.Proves(t, c.id)
	}
	p.silent()
	rule.Proves(t, "MS-20")
}

// lastSeq is the newest event's number.
func lastSeq(cloud *fakecloud.Cloud) uint64 {
	events := cloud.Events(fakecloud.Filter{})
	return events[len(events)-1].Seq
}

// MS-21: version 4 does it in one message, again and again, and gives the model back.
func TestMindSphereModelV4(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	var models, assets []string
	for range 2 {
		p.publish("amo_v4/mi", pumpModel(""))
		first := p.progress("amo_v4/mip")
		require.Regexp(t, `^\d+% completed\.$`, first.Data.Message)
		require.Equal(t, "InProgress", first.Data.Status)
		last := first
		for last.Data.Status == "InProgress" {
			last = p.progress("amo_v4/mip")
		}
		require.Equal(t, "Success", last.Data.Status)
		require.Regexp(t, ulidText, last.Data.ID)
		require.Regexp(t, ulidText, last.Data.ModelID)
		require.Equal(t, first.Data.ID, last.Data.ID)
		models, assets = append(models, last.Data.ModelID), append(assets, assetNamed(t, cloud, "demo", "Pump 7"))
	}
	require.Equal(t, models[0], models[1])
	require.Equal(t, assets[0], assets[1], "updated, not made twice")
	p.publish("amo_v4/m", `{"id":"g1"}`)
	link := p.progress("amo_v4/m").Data.Content
	path, ok := strings.CutPrefix(link, "https://gateway.eu1.mindsphere.io")
	require.True(t, ok, link)
	got := ask(t, cloud, via{name: "gateway.eu1.mindsphere.io"}, "GET "+path, "")
	require.Equal(t, 200, got.StatusCode)
	require.Contains(t, got.body, `"demo.climate"`)
	rule.Proves(t, "MS-21")
}

// MS-24, MS-29: events and files; a message above 128 KB.
func TestMindSphereEventsFilesAndSizes(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`mindsphere: {tenants: [{name: demo, eventTypes: [SensorInterruptEvent]}]}`))
	p := newPump(t, cloud)
	event := `{"events":[{"id":"0b2a6f0e-9a8b-4e4a-9b0e-1a2b3c4d5e6f","correlationId":"ab12","timestamp":"2026-01-01T00:00:00.000Z","severity":"20","type":"SensorInterruptEvent","description":"d","details":{"utilizedPercentage":60,"measurements":5}}]}`
	p.publish("mc_v3/e", event)
	p.publish("mc_v3/f", `{"file":{"name":"a.jpeg","creationDate":"2026-01-01T00:00:00.000Z","content":"aGVsbG8gd29ybG"}}`)
	p.silent()
	require.Equal(t, "10", awaitKind(t, cloud, "file").Properties["bytes"])
	require.Empty(t, cloud.Events(fakecloud.Filter{Rule: "MS-24"}))
	for id, m := range map[rule.ID][2]string{
		"MS-24/event":      {"mc_v3/e", `{"events":[{"timestamp":"2026-01-01T00:00:00.000Z","severity":"20"}]}`},
		"MS-24/event-type": {"mc_v3/e", strings.Replace(event, "SensorInterruptEvent", "Other", 1)},
		"MS-24/file":       {"mc_v3/f", `{"file":{"name":"a"}}`},
	} {
		p.publish(m[0], m[1])
		p.silent()
		refused(t, cloud, id)
	}
	rule.Proves(t, "MS-24")
	sized := func(n int) string {
		const before, after = `{"file":{"name":"big","content":"`, `"}}`
		return before + strings.Repeat("A", n-len(before)-len(after)) + after
	}
	p.publish("mc_v3/f", sized(131072))
	p.silent()
	send(t, p.Conn, rawmqtt.Publish(pumpOut+"mc_v3/f", sized(131073), 1, 99, false))
	wantClosed(t, p.Conn)
	require.Contains(t, refused(t, cloud, "MS-29/size").Seen, "131073 bytes")
	rule.Proves(t, "MS-29")
}

func awaitKind(t *testing.T, cloud *fakecloud.Cloud, kind string) fakecloud.Event {
	t.Helper()
	for _, e := range cloud.Events(fakecloud.Filter{Platform: "mindsphere"}) {
		if string(e.Kind) == kind {
			return e
		}
	}
	t.Fatalf("no event of kind %s", kind)
	return fakecloud.Event{}
}
