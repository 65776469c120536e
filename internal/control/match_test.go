package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	e := &journal.Event{Seq: 12, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Kind: journal.Publish, Dir: journal.In, Device: "dev/mod", Code: journal.Code(0),
		Topic: "a/b", QoS: 1, Properties: map[string]string{"k": "5", "iothub-message-id": "x", "a.b": "c"},
		Payload: []byte(`{"temperature":21.50,"big":12345678901234567,"on":true,"none":null,"text":"a=b","services":[{"service_id":"Battery"},{"n":1}],"":{"x":1}}`)}
	for text, want := range map[string]bool{
		"payload":                                true,
		"payload.temperature":                    true,
		"payload.humidity":                       false,
		"payload.temperature=21.5":               true,
		"payload.temperature = 21.5":             true,
		"payload.temperature!=21.5":              false,
		"payload.temperature>20":                 true,
		"payload.temperature>=21.5":              true,
		"payload.temperature<21.5":               false,
		"payload.temperature<=100":               true,
		"payload.temperature>3":                  true,
		"payload.humidity>1":                     false,
		"payload.humidity!=1":                    true,
		"payload.on=true":                        true,
		"payload.none=null":                      true,
		"payload.none=":                          false,
		"payload.text=a=b":                       true,
		`payload.text="a=b"`:                     true,
		"payload.text~a*":                        true,
		"payload.services[0].service_id=Battery": true,
		"payload.services[1].n=1":                true,
		"payload.services[2]":                    false,
		"payload.services.n":                     false,
		`payload."".x=1`:                         true,
		"properties.k=5":                         true,
		"properties.k=5.0":                       true,
		"properties.k>4":                         true,
		"properties.iothub-message-id=x":         true,
		`properties."a.b"=c`:                     true,
		"properties.a.b=c":                       false,
		"seq>=12":                                true,
		"qos=1":                                  true,
		"code=0":                                 true,
		"rule":                                   false,
		"rule!=HUB-1":                            true,
		"device~dev*":                            true,
		"kind=publish":                           true,
		"time>2026-01-02T03:04:04Z":              true,
		"time<2026":                              false,
		"payload.big=12345678901234567":          true,
	} {
		c, err := parseCondition(text)
		require.NoError(t, err, text)
		require.Equal(t, want, c.holds(e), text)
	}
	c, err := parseCondition("payload.a=1")
	require.NoError(t, err)
	require.False(t, c.holds(&journal.Event{Payload: []byte("no json")}))
}

func FuzzParseCondition(f *testing.F) {
	for _, text := range []string{"payload.temperature>20", `properties."a.b"=c`, "payload.services[0].x~a*", "payload[", `payload."`, "seq", "=", "payload.a ="} {
		f.Add(text)
	}
	e := &journal.Event{Payload: []byte(`{"a":[1,{"b":"c"}]}`), Properties: map[string]string{"k": "v"}}
	f.Fuzz(func(_ *testing.T, text string) {
		if c, err := parseCondition(text); err == nil {
			c.holds(e)
		}
	})
}

func FuzzBodyChecks(f *testing.F) {
	f.Add([]byte(`{"a":[1,2,{"b":null}]}`))
	f.Add([]byte("- - - [a, {b: c}]\n"))
	f.Fuzz(func(_ *testing.T, body []byte) {
		_ = checkJSON(body)
		_ = checkYAML(body)
	})
}
