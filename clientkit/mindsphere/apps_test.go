package mindsphere

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

func pumpModel() Model {
	return Model{
		AspectTypes: []AspectType{{ID: "camexia.climate", Name: "climate", Category: "dynamic", Scope: "private",
			Variables: []Variable{{Name: "temperature", DataType: "DOUBLE", Unit: "C", QualityCode: true}}}},
		AssetTypes: []AssetType{{ID: "camexia.pump", Name: "pump", ParentTypeID: "core.basicasset", Instantiable: true, Scope: "private",
			Aspects: []Aspect{{Name: "climate", AspectTypeID: "camexia.climate"}}}},
		Assets:   []Asset{{ReferenceID: "pump", TypeID: "camexia.pump", Name: "${assetName}"}},
		Mappings: []Mapping{{DataPointID: "t1", AssetReferenceID: "pump", AspectName: "climate", VariableName: "temperature"}},
	}
}

// The vendor's samples of version 3, literally.
func TestModelV3(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		m := pumpModel()
		_, err := a.CreateModel(t.Context(), m)
		require.ErrorContains(t, err, "needs an external ID")
		m.ExternalID = "PumpModel"
		done := running(func() error { _, err := a.CreateModel(t.Context(), m); return err })
		p.Grant(own + "i/amo_v3/ms")
		topic, payload := p.Take()
		require.Equal(t, own+"o/amo_v3/m", topic)
		require.JSONEq(t, `{"id":"id1","data":{"externalId":"PumpModel",
			"typeModel":{"aspectTypes":[{"id":"camexia.climate","name":"climate","category":"dynamic","scope":"private",
				"variables":[{"name":"temperature","dataType":"DOUBLE","unit":"C","searchable":false,"qualityCode":true}]}],
			"assetTypes":[{"id":"camexia.pump","name":"pump","parentTypeId":"core.basicasset","instantiable":true,"scope":"private",
				"aspects":[{"name":"climate","aspectTypeId":"camexia.climate"}],"variables":[]}]},
			"instanceModel":{"assets":[{"referenceId":"pump","typeId":"camexia.pump","name":"${assetName}","description":""}]},
			"mappingModel":{"mappings":[{"dataPointId":"t1","assetReferenceId":"pump","aspectName":"climate","variableName":"temperature"}]}}}`, payload)
		inform(p, "amo_v3/ms", `{"requestId":"other`+answer+`{"status":"Failed"}}`)
		inform(p, "amo_v3/ms", `not JSON`)
		inform(p, "amo_v3/ms", `{"data":{"status":"Success"}}`) // names no request: ours is the only one
		require.NoError(t, <-done)

		var seen []string
		done = running(func() error {
			last, err := a.Instantiate(t.Context(), "PumpModel", map[string]string{"b": "2", "assetName": "Pump 7"},
				func(p Progress) { seen = append(seen, p.Message) })
			require.Equal(t, Progress{JobID: "j", ModelID: "m", Message: "100%", Status: "Success"}, last)
			return err
		})
		p.Grant(own + "i/amo_v3/ip")
		topic, payload = p.Take()
		require.Equal(t, own+"o/amo_v3/i", topic)
		require.Equal(t, `{"id":"id1","data":{"modelExternalId":"PumpModel","parameterization":{"values":[`+
			`{"name":"assetName","value":"Pump 7"},{"name":"b","value":"2"}]}}}`, payload)
		inform(p, "amo_v3/ip", `{"requestId":"id1`+answer+`{"message":"20%","status":"InProgress"}}`)
		inform(p, "amo_v3/ip", `{"requestId":"id1`+answer+`{"id":"j","modelId":"m","message":"100%","status":"Success"}}`)
		require.NoError(t, <-done)
		require.Equal(t, []string{"20%", "100%"}, seen)
	})
}

func TestModelV4(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		_, err := a.ApplyModel(t.Context(), Model{ExternalID: "x"}, nil)
		require.ErrorContains(t, err, "has no external ID")
		m := pumpModel()
		m.AssetTypes[0].Variables = []Variable{{ReferenceID: "kept", Name: "serial", DataType: "STRING"}}
		done := running(func() error { _, err := a.ApplyModel(t.Context(), m, nil); return err })
		p.Grant(own + "i/amo_v4/mip")
		topic, payload := p.Take()
		require.Equal(t, own+"o/amo_v4/mi", topic)
		for _, want := range []string{
			`{"referenceId":"camexia.climate","id":"camexia.climate"`, `{"referenceId":"camexia.climate.temperature","name":"temperature"`,
			`{"referenceId":"camexia.pump","id":"camexia.pump"`, `{"referenceId":"camexia.pump.climate","name":"climate"`,
			`{"referenceId":"kept","name":"serial"`, `{"referenceId":"pump.climate.temperature.t1","dataPointId":"t1"`,
		} {
			require.Contains(t, payload, want)
		}
		require.NotContains(t, payload, "externalId")
		require.Empty(t, m.Mappings[0].ReferenceID, "the caller's model is left alone")
		inform(p, "amo_v4/mip", `{"requestId":"id1`+answer+`{"status":"Failed","message":"no","errors":[{"path":"$.data","message":"bad"},"text",{"code":7}]}}`)
		var failure *JobError
		require.ErrorAs(t, <-done, &failure)
		require.EqualError(t, failure, `mindsphere: the job ended as Failed: no; $.data bad; "text"; {"code":7}`)

		url := make(chan string, 1)
		done = running(func() error { u, err := a.ModelURL(t.Context()); url <- u; return err })
		p.Grant(own + "i/amo_v4/m")
		topic, payload = p.Take()
		require.Equal(t, own+"o/amo_v4/m", topic)
		require.Equal(t, `{"id":"id1"}`, payload)
		inform(p, "amo_v4/m", `{"requestId":"id1`+answer+`{"content":"https://gateway/x"}}`)
		require.NoError(t, <-done)
		require.Equal(t, "https://gateway/x", <-url)
	})
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		start := time.Now()
		done := running(func() error { _, err := a.Token(t.Context()); return err })
		p.Grant(own + "i/agm_v3/tr")
		p.Take()
		require.ErrorIs(t, <-done, ErrNoAnswer)
		require.Equal(t, time.Minute, time.Since(start))
		ctx, cancel := context.WithCancel(t.Context())
		done = running(func() error { _, err := a.Token(ctx); return err })
		p.Take()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		done = running(func() error { _, err := a.Token(t.Context()); return err })
		p.Take()
		synctest.Wait()
		require.NoError(t, a.Close(t.Context()))
		require.ErrorIs(t, <-done, ErrClosed)
	})
}

func TestSubscriptionRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		done := running(func() error {
			return a.OnCommand(t.Context(), func(context.Context, Command) (any, error) { return nil, nil })
		})
		packet := p.Packet()
		p.Send("\x90\x03" + packet[2:4] + "\x80")
		var refused *clientkit.SubscribeError
		require.ErrorAs(t, <-done, &refused)
		require.Equal(t, clientkit.SubscribeError{Filter: own + "i/cmd_v3/c", Code: 0x80}, *refused)
	})
}

func TestToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		var got Token
		ask := func() <-chan error {
			return running(func() error { var err error; got, err = a.Token(t.Context()); return err })
		}
		done := ask()
		p.Grant(own + "i/agm_v3/tr")
		topic, payload := p.Take()
		require.Equal(t, own+"o/agm_v3/t", topic)
		require.Equal(t, `{"id":"id1"}`, payload)
		inform(p, "agm_v3/tr", `{"requestId":"id1`+answer+`{"access_token":"ey.a.b","token_type":"Bearer","expires_in":3600,`+
			`"scope":["mdsp:core:DefaultAgent"],"jti":"ab","timestamp":1600000000}}`)
		require.NoError(t, <-done)
		require.Equal(t, Token{"ey.a.b", "Bearer", []string{"mdsp:core:DefaultAgent"}, "ab", time.Unix(1600003600, 0).UTC()}, got)
		done = ask()
		p.Take()
		inform(p, "agm_v3/tr", `{"requestId":"id1`+answer+`{}}`)
		require.ErrorContains(t, <-done, "no access token")
	})
}

// Time series, events and files, to the letter.
func TestData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		at := time.Date(2020, 8, 1, 0, 15, 10, 100e6, time.UTC)
		done := running(func() error {
			return a.SendTimeSeries(t.Context(), Sample{Time: at, Values: []Value{
				{"temperature", 1.3, "-1"}, {"running", true, ""}, {"count", 7, ""}, {"text", "x", ""}, {"f", float32(0.1), ""}, {"since", at, ""},
			}}, Sample{})
		})
		topic, payload := p.Take()
		require.Equal(t, own+"o/mc_v3/ts", topic)
		require.Equal(t, `{"timeseries":[{"timestamp":"2020-08-01T00:15:10.100Z","values":[`+
			`{"dataPointId":"temperature","value":"1.3","qualityCode":"-1"},{"dataPointId":"running","value":"true","qualityCode":"0"},`+
			`{"dataPointId":"count","value":"7","qualityCode":"0"},{"dataPointId":"text","value":"x","qualityCode":"0"},`+
			`{"dataPointId":"f","value":"0.1","qualityCode":"0"},{"dataPointId":"since","value":"2020-08-01T00:15:10.100Z","qualityCode":"0"}]},`+
			`{"timestamp":"2000-01-01T00:00:00.000Z","values":[]}]}`, payload)
		require.NoError(t, <-done)
		require.ErrorContains(t, a.SendTimeSeries(t.Context(), Sample{Values: []Value{{"p", []int{1}, ""}}}), "data point p: a []int is no value")
		require.ErrorIs(t, a.SendTimeSeries(t.Context(), Sample{Values: []Value{{"p", strings.Repeat("x", MaxPayload), ""}}}), ErrTooLarge)

		done = running(func() error {
			return a.SendEvents(t.Context(), Event{ID: "e1", Time: at, Severity: SeverityError, Type: "SensorInterruptEvent", Description: "d", Details: map[string]int{"n": 1}},
				Event{Type: "t", Time: at})
		})
		topic, payload = p.Take()
		require.Equal(t, own+"o/mc_v3/e", topic)
		require.Regexp(t, `^{"events":\[{"id":"e1","correlationId":"id1","timestamp":"2020-08-01T00:15:10.100Z","severity":"20","type":"SensorInterruptEvent",`+
			`"description":"d","details":{"n":1}},{"id":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}","correlationId":"id1",`+
			`"timestamp":"2020-08-01T00:15:10.100Z","severity":"40","type":"t","description":""}\]}$`, payload)
		require.NoError(t, <-done)
		require.ErrorContains(t, a.SendEvents(t.Context(), Event{}), "needs a type")
		require.ErrorContains(t, a.SendEvents(t.Context(), Event{Type: "t", Details: func() {}}), "mc_v3/e")

		done = running(func() error {
			return a.SendFile(t.Context(), File{Name: "log.txt", Created: at, Content: []byte("hello")})
		})
		topic, payload = p.Take()
		require.Equal(t, own+"o/mc_v3/f", topic)
		require.Equal(t, `{"file":{"name":"log.txt","creationDate":"2020-08-01T00:15:10.100Z","content":"aGVsbG8="}}`, payload)
		require.NoError(t, <-done)
		require.ErrorContains(t, a.SendFile(t.Context(), File{}), "needs a name")
	})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, c := up(t)
		run := func(ctx context.Context, c Command) (any, error) {
			switch string(c.Payload) {
			case `{"do":"fail"}`:
				return nil, errors.New("no power")
			case `{"do":"much"}`:
				return strings.Repeat("x", MaxCommandData), nil
			case `{"do":"odd"}`:
				return func() {}, nil
			case `{"do":"nothing"}`:
				return nil, nil
			}
			return map[string]int{"rpm": 900}, c.Update(ctx, map[string]int{"percent": 50})
		}
		done := running(func() error { return a.OnCommand(t.Context(), run) })
		p.Grant(own + "i/cmd_v3/c")
		require.NoError(t, <-done)
		require.ErrorIs(t, a.OnCommand(t.Context(), run), errTaken)

		command := func(do string) {
			p.Send(kittest.Publish("\x32", own+"i/cmd_v3/c", "\x00\x09",
				`{"id":"c1","data":{"jobId":"j1","createdAt":"2020-08-01T00:15:10.100Z","payload":{"do":"`+do+`"}}}`))
		}
		status := func(want string) {
			t.Helper()
			topic, payload := p.Take()
			require.Equal(t, own+"o/cmd_v3/u", topic)
			require.Regexp(t, `^{"id":"id1","requestId":"c1","data":{"timestamp":"2000-01-01T00:00:00.[05]00Z","jobId":"j1","status":`+want+`}}$`, payload)
		}
		command("turn")
		status(`"EXECUTING","response":{"percent":50}`)
		status(`"EXECUTED","response":{"rpm":900}`)
		p.Expect("\x40\x02\x00\x09")
		command("nothing")
		status(`"EXECUTED"`)
		p.Expect("\x40\x02\x00\x09")
		command("fail")
		status(`"FAILED","response":{"error":"no power"}`)
		p.Expect("\x40\x02\x00\x09")
		for do, want := range map[string]string{"much": "the response of a command has 4098 bytes", "odd": "unsupported type"} {
			command(do)
			_, payload := p.Take()
			require.Contains(t, payload, want)
			p.Expect("\x40\x02\x00\x09")
		}
		inform(p, "cmd_v3/c", "not JSON")

		// A status that cannot be sent leaves the command with the broker.
		command("turn")
		p.Packet()
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		var updates []string
		for range 3 { // the subscription comes before, between or after the two states
			packet := p.Packet()
			if packet[0] == '\x82' {
				p.Send("\x90\x03" + packet[2:4] + "\x01")
				continue
			}
			p.Puback(packet)
			updates = append(updates, packet)
		}
		require.Len(t, updates, 2)
		require.Contains(t, updates[0], `"status":"EXECUTING","response":{"percent":50}`)
		require.Contains(t, updates[1], `"status":"EXECUTED","response":{"rpm":900}`)
		synctest.Wait()
		require.Empty(t, p.Packets, "the PUBACK belongs to the connection that is gone")
	})
}

func FuzzInbound(f *testing.F) {
	f.Add(`{"requestId":"id1","data":{"status":"Failed","errors":[{"path":"$","message":"m"}]}}`)
	f.Add(`{"id":"c1","data":{"jobId":"j1","createdAt":"2020-08-01T00:15:10.100Z","payload":{"a":1}}}`)
	f.Add(`{"data":{"access_token":"x","expires_in":3600}}`)
	f.Fuzz(func(t *testing.T, body string) {
		cert, _ := Config{}.withDefaults()
		a := &Agent{cfg: cert, asks: map[string]*ask{"id1": {answers: make(chan envelope, 1)}}, commands: make(chan inboundCommand, 1)}
		a.answered(wire.TokenResponse, []byte(body))
		a.commandArrived([]byte(body), func() {})
		if p, err := readProgress(json.RawMessage(body)); err == nil && p.Status == "Failed" {
			t.Fatal("a failure without an error")
		}
	})
}

// A PUBACK that does not come within 30 seconds costs the connection, and the message comes again on the next one.
func TestFileAgainAfterLostPuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, c := up(t)
		start := time.Now()
		done := running(func() error { return a.SendFile(t.Context(), File{Name: "f", Content: []byte("x")}) })
		const file = "\x32\x77\x00\x23tc/camexia/camexia_pump-7/o/mc_v3/f\x00\x01" +
			`{"file":{"name":"f","creationDate":"2000-01-01T00:00:00.000Z","content":"eA=="}}`
		p.Expect(file)
		p.ExpectEnd()
		require.Equal(t, 30*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(file)
		p.Send("\x40\x02\x00\x01")
		require.NoError(t, <-done)
	})
}
