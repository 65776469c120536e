package iotda

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// The tutorial's report, to the letter but for event_time, which has milliseconds.
func TestReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, _ := up(t)
		at := time.Date(2015, 12, 12, 12, 12, 12, 0, time.UTC)
		done := running(func() error {
			return d.Report(t.Context(), Service{"Connectivity", map[string]any{"dailyActivityTime": 57}, at},
				Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 80}}, Service{ID: "None"})
		})
		topic, body := p.Take()
		require.Equal(t, sys+"properties/report", topic)
		require.Equal(t, `{"services":[{"service_id":"Connectivity","properties":{"dailyActivityTime":57},"event_time":"2015-12-12T12:12:12.000Z"},`+
			`{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"2018-07-24T17:56:20.000Z"},`+
			`{"service_id":"None","properties":{},"event_time":"2018-07-24T17:56:20.000Z"}]}`, body)
		require.NoError(t, <-done)
		require.ErrorContains(t, d.Report(t.Context(), Service{}), "needs an ID")
		require.ErrorContains(t, d.Report(t.Context(), Service{ID: "s", Properties: map[string]any{"f": func() {}}}), "service s: json")
		require.ErrorIs(t, d.Report(t.Context(), Service{ID: "s", Properties: map[string]any{"x": strings.Repeat("x", MaxMessage)}}), ErrTooLarge)
	})
}

func TestReportGzip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, _ := up(t, func(c *Config) { c.Gzip = true })
		done := running(func() error { return d.Report(t.Context(), Service{ID: "s"}) })
		topic, body := p.Take()
		require.Equal(t, sys+"properties/report?encoding=gzip", topic)
		r, err := gzip.NewReader(bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Contains(t, string(text), `"service_id":"s"`)
		require.NoError(t, <-done)
	})
}

// What the application waits for: commands, properties set and got; each answered under its request id.
func TestCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, c := up(t)
		call := func(kind, body, answer, want string) {
			t.Helper()
			inform(p, sys+kind+"/request_id=r-1", body)
			topic, got := p.Take()
			require.Equal(t, sys+answer+"/request_id=r-1", topic)
			require.Equal(t, want, got)
		}
		command := func(name, want string) {
			t.Helper()
			call("commands", `{"object_device_id":"child","service_id":"S","command_name":"`+name+`","paras":{"n":2}}`, "commands/response", want)
		}
		command("any", `{"result_code":1,"paras":{"error":"not supported by the device"}}`)
		call("properties/set", `{"services":[]}`, "properties/set/response", `{"result_code":1,"result_desc":"not supported by the device"}`)
		call("properties/get", `{}`, "properties/get/response", `{"services":[]}`)

		d.OnCommand(func(_ context.Context, c Command) (Response, error) {
			switch c.Name {
			case "fail":
				return Response{}, errors.New("no power")
			case "code":
				return Response{Name: "R"}, fmt.Errorf("wrapped: %w", &Failure{Code: 7, Text: "busy"})
			case "odd":
				return Response{Paras: map[string]any{"f": func() {}}}, nil
			case "quiet":
				return Response{}, nil
			}
			n, _ := c.Paras["n"].(json.Number).Int64()
			return Response{Name: "Doubled", Paras: map[string]any{"n": 2 * n, "of": c.DeviceID + "/" + c.ServiceID}}, nil
		})
		command("double", `{"result_code":0,"response_name":"Doubled","paras":{"n":4,"of":"child/S"}}`)
		command("quiet", `{"result_code":0}`)
		command("fail", `{"result_code":1,"paras":{"error":"no power"}}`)
		command("code", `{"result_code":7,"response_name":"R","paras":{"error":"busy"}}`)
		command("odd", `{"result_code":1,"paras":{"error":"json: unsupported type: func()"}}`)
		call("commands", `x`, "commands/response", `{"result_code":1,"paras":{"error":"the payload is not the JSON that the topic wants: at byte 1: invalid character 'x' looking for beginning of value"}}`)

		d.OnSet(func(_ context.Context, id string, list []Service) error {
			require.Equal(t, deviceID, id)
			if list[0].ID == "no" {
				return &Failure{Code: 3, Text: "read only"}
			}
			require.Equal(t, time.Date(2015, 12, 12, 12, 12, 12, 0, time.UTC), list[0].Time)
			return nil
		})
		call("properties/set", `{"services":[{"service_id":"S","properties":{"n":2},"event_time":"20151212T121212Z"}]}`,
			"properties/set/response", `{"result_code":0,"result_desc":"success"}`)
		call("properties/set", `{"services":[{"service_id":"no"}]}`, "properties/set/response", `{"result_code":3,"result_desc":"read only"}`)

		d.OnGet(func(_ context.Context, id, service string) ([]Service, error) {
			switch service {
			case "fail":
				return nil, errors.New("no")
			case "bad":
				return []Service{{}}, nil
			}
			return []Service{{ID: id + service, Properties: map[string]any{"n": 1}}}, nil
		})
		call("properties/get", `{"object_device_id":"child","service_id":"S"}`, "properties/get/response",
			`{"services":[{"service_id":"childS","properties":{"n":1},"event_time":"2018-07-24T17:56:20.000Z"}]}`)
		call("properties/get", `{"service_id":"fail"}`, "properties/get/response", `{"services":[]}`)
		call("properties/get", `{"service_id":"bad"}`, "properties/get/response", `{"services":[]}`)

		// An answer under which the connection goes is given on the next one.
		inform(p, sys+"commands/request_id=r-2", `{"command_name":"quiet"}`)
		p.Packet()
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		topic, _ := p.Take()
		require.Equal(t, sys+"commands/response/request_id=r-2", topic)

		// What is not ours, and what waits for nothing, is left alone.
		inform(p, "$oc/devices/other/sys/commands/request_id=r-3", `{}`)
		inform(p, sys+"commands", `{}`)
		inform(p, sys+"shadow/get/response/request_id=nobody", `{}`)
		inform(p, sys+"events/down", `x`)
		inform(p, sys+"events/down", events("$log", "log_config", "", `{}`))
		synctest.Wait()
		require.Empty(t, p.Packets)
	})
}

func TestMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, c := up(t)
		done := running(func() error {
			return d.SendMessage(t.Context(), Message{DeviceID: "child", Name: "n", ID: "7", Content: json.RawMessage(`{"a":1}`)})
		})
		topic, body := p.Take()
		require.Equal(t, sys+"messages/up", topic)
		require.Equal(t, `{"object_device_id":"child","name":"n","id":"7","content":{"a":1}}`, body)
		require.NoError(t, <-done)
		done = running(func() error { return d.SendMessage(t.Context(), Text("hello <world>")) })
		_, body = p.Take()
		require.Equal(t, `{"content":"hello <world>"}`, body)
		require.NoError(t, <-done)
		require.ErrorContains(t, d.SendMessage(t.Context(), Message{Content: json.RawMessage("hello")}), "not JSON")

		inform(p, sys+"messages/down", "early")
		got := make(chan Message)
		done = running(func() error { return d.OnMessage(t.Context(), func(_ context.Context, m Message) { got <- m }) })
		p.Grant(sys + "messages/down")
		require.NoError(t, <-done)
		require.ErrorIs(t, d.OnMessage(t.Context(), func(context.Context, Message) {}), errTaken)
		require.Equal(t, "early", string((<-got).Raw))
		p.Send(kittest.Publish("\x32", sys+"messages/down", "\x00\x07", `{"object_device_id":"child","name":"n","id":"7","content":"hi"}`))
		synctest.Wait()
		require.Empty(t, p.Packets, "no PUBACK before the handler has returned")
		m := <-got
		require.Equal(t, `child n 7 "hi"`, m.DeviceID+" "+m.Name+" "+m.ID+" "+string(m.Content))
		p.Expect("\x40\x02\x00\x07")
		inform(p, sys+"messages/down", "raw bytes")
		m = <-got
		require.Equal(t, deviceID+" raw bytes", m.DeviceID+" "+string(m.Raw))
		require.Nil(t, m.Content)

		// Custom topics; the subscription is renewed.
		seen := make(chan string, 2)
		done = running(func() error {
			return d.Subscribe(t.Context(), d.UserTopic("a/+"), func(topic string, body []byte) { seen <- topic + " " + string(body) })
		})
		p.Grant("$oc/devices/" + deviceID + "/user/a/+")
		require.NoError(t, <-done)
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Grant(sys + "messages/down")
		p.Grant("$oc/devices/" + deviceID + "/user/a/+")
		inform(p, d.UserTopic("b"), "not ours")
		inform(p, d.UserTopic("a/b"), "x")
		require.Equal(t, "$oc/devices/"+deviceID+"/user/a/b x", <-seen)
		done = running(func() error { return d.Subscribe(t.Context(), "free/#", func(string, []byte) {}) })
		packet := p.Packet()
		p.Send("\x90\x03" + packet[2:4] + "\x80")
		var refused *clientkit.SubscribeError
		require.ErrorAs(t, <-done, &refused)
		done = running(func() error { return d.Publish(t.Context(), d.UserTopic("up"), []byte("y")) })
		topic, body = p.Take()
		require.Equal(t, "$oc/devices/"+deviceID+"/user/up y", topic+" "+body)
		require.NoError(t, <-done)
		require.ErrorContains(t, d.Publish(t.Context(), "a/#", nil), "without + and #")
	})
}

func TestShadow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, c := up(t)
		var got []ShadowService
		done := running(func() error { var err error; got, err = d.Shadow(t.Context(), ""); return err })
		topic, body := p.Take()
		require.Equal(t, sys+"shadow/get/request_id=id1 {}", topic+" "+body)
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Take()
		inform(p, sys+"shadow/get/response/request_id=id1", `{"object_device_id":"x","shadow":[{"service_id":"Battery","desired":{"properties":{"l":1},`+
			`"event_time":"20151212T121212Z"},"reported":{"properties":{"l":80},"event_time":"20151212T121213Z"},"version":3}]}`)
		require.NoError(t, <-done)
		require.Equal(t, []ShadowService{{"Battery", map[string]any{"l": json.Number("1")}, time.Date(2015, 12, 12, 12, 12, 12, 0, time.UTC),
			map[string]any{"l": json.Number("80")}, time.Date(2015, 12, 12, 12, 12, 13, 0, time.UTC), 3}}, got)

		done = running(func() error { _, err := d.ChildShadow(t.Context(), "child", "S"); return err })
		_, body = p.Take()
		require.Equal(t, `{"object_device_id":"child","service_id":"S"}`, body)
		inform(p, sys+"shadow/get/response/request_id=id1", `x`)
		require.ErrorContains(t, <-done, "cannot be read")
		start := time.Now()
		done = running(func() error { _, err := d.Shadow(t.Context(), "S"); return err })
		p.Take()
		require.ErrorIs(t, <-done, ErrNoAnswer)
		require.Equal(t, 20*time.Second, time.Since(start))
		ctx, cancel := context.WithCancel(t.Context())
		done = running(func() error { _, err := d.Shadow(ctx, "S"); return err })
		p.Take()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// A PUBACK that does not come within 30 seconds costs the connection, and the report comes again on the next one.
func TestReportAgainAfterLostPuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const report = "\x32\x9d\x01\x00\x40$oc/devices/" + deviceID + "/sys/properties/report\x00\x01" +
			`{"services":[{"service_id":"s","properties":{},"event_time":"2018-07-24T17:56:20.000Z"}]}`
		d, p, c := up(t)
		start := time.Now()
		done := running(func() error { return d.Report(t.Context(), Service{ID: "s"}) })
		p.Expect(report)
		p.ExpectEnd()
		require.Equal(t, 30*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Expect(report)
		p.Send("\x40\x02\x00\x01")
		require.NoError(t, <-done)
	})
}

// So it does while the device asks the provisioning service.
func TestProvisionAgainAfterLostPuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, "bs.test")
		cfg := ProvisionConfig{Host: "bs.test", DeviceID: deviceID, Credential: Secret("x"), TLS: c.TLS(), Dial: c.Dial,
			Timing: Timing{Jitter: func() float64 { return 0 }, Acknowledge: 5 * time.Second}}
		var got Assignment
		start := time.Now()
		done := running(func() error { var err error; got, err = Provision(t.Context(), cfg); return err })
		p, _ := c.Accept(kittest.Accepted)
		p.Grant(sys + "bootstrap/down")
		p.Packet()
		p.ExpectEnd()
		require.Equal(t, 5*time.Second, time.Since(start))
		p, _ = c.Accept(kittest.Accepted)
		p.Grant(sys + "bootstrap/down")
		p.Take()
		inform(p, sys+"bootstrap/down", `{"address":"h.test:8883"}`)
		p.Expect(kittest.Disconnect)
		require.NoError(t, <-done)
		require.Equal(t, Assignment{Host: "h.test", Port: 8883}, got)
	})
}
