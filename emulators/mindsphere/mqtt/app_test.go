package mqtt_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	out = "tc/camexia/camexia_a/o/"
	in  = "tc/camexia/camexia_a/i/"
)

// agent is the connected agent camexia_a, subscribed to everything.
type agent struct {
	*brokertest.Conn
	id uint16
}

func (s *server) agent(t *testing.T) *agent {
	t.Helper()
	c := s.join(t, "a")
	c.Send(brokertest.Subscribe(1, 0, in+"#"))
	c.Expect(0x90, 3, 0, 1, 0)
	return &agent{Conn: c}
}

// publish sends with QoS 1 and awaits the PUBACK.
func (a *agent) publish(topic, payload string) {
	a.id++
	a.Send(brokertest.Publish{Topic: out + topic, Payload: []byte(payload), QoS: 1, ID: a.id}.Bytes())
	a.Expect(0x40, 2, byte(a.id>>8), byte(a.id))
}

// reply is an answer of an application.
type reply struct {
	ID, CorrelationID, RequestID string
	Data                         struct {
		ID, ModelID, Message, Status, Content string
		Errors                                []struct{ Path, Message string }
	}
}

// next returns the next answer, which must come on topic.
func (a *agent) next(t *testing.T, topic string) reply {
	t.Helper()
	p := a.NextPublish()
	require.Equal(t, in+topic, p.Topic)
	var r reply
	require.NoError(t, json.Unmarshal(p.Payload, &r), "%s", p.Payload)
	return r
}

// file reads a payload of testdata for tenant camexia.
func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../testdata/" + name)
	require.NoError(t, err)
	return string(b)
}

const ulid = `^[0-9A-HJKMNP-TV-Z]{26}$`

const instance = `{"id":"i1","data":{"modelExternalId":"PumpModel","parameterization":{"values":[
	{"name":"assetName","value":"Pump 1"},{"name":"childName","value":"Valve"}]}}}`

// MS-18, MS-19, MS-22, MS-23: model, instance, data.
func TestModelV3(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		a.publish("mc_v3/ts", series("temperature", `"21.5"`))
		require.Equal(t, "$.timeseries[0].values[0].dataPointId", s.refusedAs(t, "MS-23/not-instantiated").Seen)

		a.publish("amo_v3/m", file(t, "model-v3.json"))
		r := a.next(t, "amo_v3/ms")
		require.Equal(t, [2]string{"m1", "Success"}, [2]string{r.RequestID, r.Data.Status})
		require.Regexp(t, ulid, r.ID)
		require.Regexp(t, ulid, r.CorrelationID)
		rule.Proves(t, "MS-18")

		a.publish("amo_v3/i", instance)
		require.Equal(t, "InProgress", a.next(t, "amo_v3/ip").Data.Status)
		require.Equal(t, "InProgress", a.next(t, "amo_v3/ip").Data.Status)
		last := a.next(t, "amo_v3/ip")
		require.Equal(t, [2]string{"i1", "Success"}, [2]string{last.RequestID, last.Data.Status})
		rule.Proves(t, "MS-19")

		pump, valve := s.asset(t, "Pump 1"), s.asset(t, "Valve")
		require.Equal(t, pump.AssetID, valve.ParentID)
		a.publish("mc_v3/ts", series("temperature", `"21.5"`))
		a.publish("mc_v3/ts", series("running", `true`))
		a.ExpectSilence(time.Second)
		points := s.svc.TimeSeries("camexia", pump.AssetID, "climate", "temperature", time.Time{}, time.Time{})
		require.Len(t, points, 1)
		require.Equal(t, mindsphere.Point{Time: time.Date(2020, 8, 1, 0, 15, 10, 100e6, time.UTC), Value: "21.5", QualityCode: "-1", DataType: "DOUBLE", Agent: "camexia_a"}, points[0])
		require.Len(t, s.svc.TimeSeries("camexia", pump.AssetID, "climate", "running", time.Time{}, time.Time{}), 1)
		rule.Proves(t, "MS-22", "MS-23/not-instantiated")
	})
}

// MS-19: the vendor's sample (MindConnectClient.py) publishes the instantiation right behind its CONNECT, and
// subscribes when the CONNACK has come. It gets the answers; whoever subscribes long after does not.
func TestAnswersWaitForTheSubscription(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		a.publish("amo_v3/m", file(t, "model-v3.json"))
		a.next(t, "amo_v3/ms")
		leaf := s.leaf(t, "camexia-ca", "a")
		s.attempt(t, brokertest.Connect{ClientID: "camexia_a"}, chain(leaf)...).ExpectClosed()
		require.NoError(t, s.clock.Advance(mindsphere.DefaultProvisioning))
		for _, c := range []struct {
			session bool
			later   time.Duration
			answers []string
		}{
			{true, 0, []string{"InProgress", "InProgress", "Success"}},
			{false, 10 * time.Second, []string{"InProgress", "InProgress", "Success"}},
			{false, 10*time.Second + 1, nil},
		} {
			conn := s.dial(t, leaf.Leaf)
			conn.Send(slices.Concat(brokertest.Connect{ClientID: "camexia_a", Session: c.session}.Bytes(),
				brokertest.Publish{Topic: out + "amo_v3/i", Payload: []byte(instance)}.Bytes()))
			conn.Expect(0x20, 2, 0, 0)
			synctest.Wait()
			s.clock.Freeze()
			require.NoError(t, s.clock.Advance(c.later))
			s.clock.Resume()
			conn.Send(brokertest.Subscribe(1, 1, in+"agm_v3/tr"))
			conn.Expect(0x90, 3, 0, 1, 1)
			conn.Send(brokertest.Subscribe(2, 1, in+"amo_v3/ip"))
			conn.Expect(0x90, 3, 0, 2, 1)
			for _, status := range c.answers {
				p := conn.NextPublish()
				require.Equal(t, in+"amo_v3/ip", p.Topic)
				require.Contains(t, string(p.Payload), `"status":"`+status+`"`)
				conn.Send(brokertest.Puback(p.ID))
			}
			conn.ExpectSilence(time.Second)
			conn.Send(brokertest.Disconnect)
			conn.ExpectClosed()
		}
	})
}

func series(point, value string) string {
	return `{"timeseries":[{"timestamp":"2020-08-01T00:15:10.100Z","values":[{"dataPointId":"` + point + `","value":` + value + `,"qualityCode":"-1"}]}]}`
}

func (s *server) asset(t *testing.T, name string) mindsphere.Asset {
	t.Helper()
	for _, a := range s.svc.Assets("camexia") {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no asset %q", name)
	return mindsphere.Asset{}
}

// MS-21: version 4 makes everything in one message, and updates it with the next.
func TestModelV4(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		a.publish("amo_v4/m", `{"id":"g0"}`) // as the Raspberry Pi sample begins
		none := a.next(t, "amo_v4/m")
		require.Equal(t, [2]string{"g0", "Success"}, [2]string{none.RequestID, none.Data.Status})
		require.Contains(t, none.Data.Content, "https://gateway.eu1.mindsphere.io/")
		for range 2 {
			a.publish("amo_v4/mi", file(t, "model-v4.json"))
			first := a.next(t, "amo_v4/mip")
			require.Equal(t, [2]string{"20% completed.", "InProgress"}, [2]string{first.Data.Message, first.Data.Status})
			a.next(t, "amo_v4/mip")
			last := a.next(t, "amo_v4/mip")
			require.Equal(t, [3]string{"m4", "Success", first.Data.ID}, [3]string{last.RequestID, last.Data.Status, last.Data.ID})
			require.Regexp(t, ulid, last.Data.ModelID)
			require.Regexp(t, ulid, last.Data.ID)
		}
		require.Len(t, s.svc.Assets("camexia"), 2) // the agent and its machine
		require.Len(t, s.svc.Mappings("camexia_a"), 2)
		a.publish("mc_v3/ts", series("rpm", `1500`))
		require.Len(t, s.svc.TimeSeries("camexia", s.asset(t, "Machine").AssetID, "mechanics", "rpm", time.Time{}, time.Time{}), 1)

		a.publish("amo_v4/m", `{"id":"g1"}`)
		r := a.next(t, "amo_v4/m")
		rest, ok := strings.CutPrefix(r.Data.Content, "https://gateway.eu1.mindsphere.io/api/assetmodeler/v4/downloads/"+r.Data.ModelID+"?signature=")
		require.True(t, ok, r.Data.Content)
		document, err := s.svc.Download(r.Data.ModelID, rest)
		require.NoError(t, err)
		require.Contains(t, string(document), "MachineReference")
		_, err = s.svc.Download(r.Data.ModelID, "x")
		require.ErrorIs(t, err, mindsphere.ErrNotFound)
		s.neverShown(t, rest)
		rule.Proves(t, "MS-21")
	})
}

// neverShown looks for a secret in the whole journal.
func (s *server) neverShown(t *testing.T, secret string) {
	t.Helper()
	synctest.Wait()
	events, _ := s.journal.Select(journal.Filter{})
	for _, e := range events {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.NotContains(t, string(text), secret)
		require.NotContains(t, string(e.Payload), secret)
	}
}

// MS-20: what is wrong is answered with Failed and the place; the connection stays.
func TestFailedModels(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		a.publish("amo_v3/m", file(t, "model-v3.json"))
		a.next(t, "amo_v3/ms")
		for _, c := range []struct {
			rule                         rule.ID
			topic, answer, payload, path string
		}{
			{"MS-20/unreadable", "amo_v3/m", "amo_v3/ms", `{"id":"x","data":`, "$"},
			{"MS-20/unreadable", "amo_v4/mi", "amo_v4/mip", `{"id":"x","data":[]}`, "$.data"},
			{"MS-20/unreadable", "amo_v3/i", "amo_v3/ip", `{"data":{"modelExternalId":"PumpModel"}}`, "$.id"},
			{"MS-20/model", "amo_v3/m", "amo_v3/ms", strings.Replace(file(t, "model-v3.json"), `"DOUBLE"`, `"FLOAT"`, 1), "$.data.typeModel.aspectTypes[0].variables[0].dataType"},
			{"MS-20/model", "amo_v4/mi", "amo_v4/mip", strings.Replace(file(t, "model-v4.json"), `"variableName": "rpm"`, `"variableName": "rpn"`, 1), "$.data.mappingModel.mappings[1].variableName"},
			{"MS-20/unknown-model", "amo_v3/i", "amo_v3/ip", `{"id":"x","data":{"modelExternalId":"Pump"}}`, "$.data.modelExternalId"},
			{"MS-20/parameter", "amo_v3/i", "amo_v3/ip", `{"id":"x","data":{"modelExternalId":"PumpModel"}}`, "$.data.parameterization.values"},
		} {
			a.publish(c.topic, c.payload)
			r := a.next(t, c.answer)
			require.Equal(t, "Failed", r.Data.Status)
			require.NotEmpty(t, r.Data.Errors)
			require.Equal(t, c.path, r.Data.Errors[0].Path, r.Data.Errors)
			e := s.refusedAs(t, c.rule)
			require.Contains(t, e.Detail, r.Data.Errors[0].Message)
			rule.Proves(t, c.rule, "MS-20")
		}
		a.Send(brokertest.Pingreq)
		a.Expect(brokertest.Pingresp...)
	})
}

// MS-20/limit: the hundred-and-first model.
func TestTooManyModels(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		for i := range 101 {
			a.publish("amo_v3/m", `{"id":"x","data":{"externalId":"m`+strings.Repeat("x", i)+`"}}`)
			require.Equal(t, map[bool]string{true: "Success", false: "Failed"}[i < 100], a.next(t, "amo_v3/ms").Data.Status)
		}
		s.refusedAs(t, "MS-20/limit")
		rule.Proves(t, "MS-20/limit")
	})
}

// MS-23: what is lost in silence, with a PUBACK; the rest of the message is stored.
func TestLostTimeSeries(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		a.publish("amo_v4/mi", file(t, "model-v4.json"))
		for range 3 {
			a.next(t, "amo_v4/mip")
		}
		for _, c := range []struct {
			rule                    rule.ID
			payload, seen, expected string
		}{
			{"MS-23/json", `{"timeseries":`, "$", "timeseries"},
			{"MS-23/json", `{"timeSeries":[]}`, "$.timeseries", "timeseries"},
			{"MS-23/json", `{"timeseries":[{"timestamp":"2020-08-01T00:15:10Z","values":{"rpm":1}}]}`, "$.timeseries[0].values", "an array of values"},
			{"MS-23/json", `{"timeseries":[{"timestamp":"2020-08-01T00:15:10Z"}]}`, "$.timeseries[0].values", "an array of values"},
			{"MS-23/unmapped", series("RPM", "1"), "$.timeseries[0].values[0].dataPointId", `"rpm", "speed"`},
			{"MS-23/value", series("rpm", `"fast"`), "$.timeseries[0].values[0].value", "DOUBLE"},
			{"MS-23/timestamp", strings.Replace(series("rpm", "1"), "2020-08-01T", "yesterday ", 1), "$.timeseries[0].timestamp", "2026-01-01T00:00:00.000Z"},
		} {
			a.publish("mc_v3/ts", c.payload)
			e := s.refusedAs(t, c.rule)
			require.Equal(t, c.seen, e.Seen)
			require.Contains(t, e.Expected, c.expected)
			rule.Proves(t, c.rule, "MS-23")
		}
		a.publish("mc_v3/ts", `{"timeseries":[{"timestamp":"2020-08-01T00:15:10Z","values":[{"dataPointId":"x","value":"1"},{"dataPointId":"rpm","value":"2"},{"dataPointId":"y","value":"3"}]}]}`)
		require.Contains(t, s.refusedAs(t, "MS-23/unmapped").Detail, "(and 1 more values lost)")
		require.Len(t, s.svc.TimeSeries("camexia", s.asset(t, "Machine").AssetID, "mechanics", "rpm", time.Time{}, time.Time{}), 1)
		a.ExpectSilence(time.Second)
	})
}

// MS-24: events and files.
func TestEventsAndFiles(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a := s.agent(t)
		event := `{"events":[{"id":"e1","correlationId":"c","timestamp":"2026-01-01T00:00:00.000Z","severity":"20","type":"SensorInterruptEvent","description":"d","details":{"measurements":5}}]}`
		a.publish("mc_v3/e", event)
		a.publish("mc_v3/f", `{"file":{"name":"a.jpeg","creationDate":"2026-01-01T00:00:00.000Z","content":"aGVsbG8gd29ybG"}}`) // cut short, as by the sample
		a.ExpectSilence(time.Second)
		require.Equal(t, "SensorInterruptEvent", s.svc.AgentEvents("camexia")[0].Type)
		require.Equal(t, "hello worl", string(s.svc.AgentFiles("camexia")[0].Content))
		for _, c := range []struct{ base64, content string }{
			{`QUJD\r\nREVG\r\n`, "ABCDEF"}, {`QUJDRA==`, "ABCD"}, {`QUJDRA`, "ABCD"}, {`-_-_`, "\xfb\xff\xbf"}, {`QUJDR`, "ABC"},
		} {
			a.publish("mc_v3/f", `{"file":{"name":"a","content":"`+c.base64+`"}}`)
			files := s.svc.AgentFiles("camexia")
			require.Equal(t, c.content, string(files[len(files)-1].Content), c.base64)
		}
		a.publish("mc_v3/e", `{"events":[{"type":"x"}]}`)
		require.Contains(t, s.refusedAs(t, "MS-24/event").Detail, "$.events[0].severity: is missing")
		a.publish("mc_v3/f", `{"file":{"name":"a","content":"****"}}`)
		require.Equal(t, "$.file.content", s.refusedAs(t, "MS-24/file").Seen)
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "camexia", EventTypes: []string{"Known"}}))
		a.publish("mc_v3/e", event)
		require.Contains(t, s.refusedAs(t, "MS-24/event-type").Expected, `"Known"`)
		require.Len(t, s.svc.AgentEvents("camexia"), 1)
		a.ExpectSilence(time.Second)
		rule.Proves(t, "MS-24", "MS-24/event", "MS-24/file", "MS-24/event-type")
	})
}
