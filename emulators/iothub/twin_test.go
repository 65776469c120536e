package iothub

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

var current = Origin{APIVersion: "2021-04-12"}

// object reads a JSON object as a patch of the service side comes.
func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var o map[string]any
	require.NoError(t, decodeJSON([]byte(text), &o))
	return o
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + `{"a":1}` + strings.Repeat("}", depth)
}

func TestReportMerges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.open(t, "", current)
	for _, step := range []struct{ patch, want string }{
		{`{"a":1,"o":{"x":1,"y":2},"l":[1,2]}`, `{"a":1,"o":{"x":1,"y":2},"l":[1,2]}`},
		{`{"a":null}`, `{"o":{"x":1,"y":2},"l":[1,2]}`},
		{`{"o":{"x":3}}`, `{"o":{"x":3,"y":2},"l":[1,2]}`},
		{`{"l":[null,{"b":true}]}`, `{"o":{"x":3,"y":2},"l":[null,{"b":true}]}`},
		{`{"o":5,"n":{"gone":null,"f":1.50e3}}`, `{"o":5,"n":{"f":1.50e3},"l":[null,{"b":true}]}`},
		{`{}`, `{"o":5,"n":{"f":1.50e3},"l":[null,{"b":true}]}`},
	} {
		_, r := s.Report([]byte(step.patch), "")
		require.Nil(t, r)
		body, r := s.TwinForDevice()
		require.Nil(t, r)
		var got struct{ Desired, Reported map[string]any }
		require.NoError(t, json.Unmarshal(body, &got))
		require.EqualValues(t, 1, got.Desired["$version"])
		delete(got.Reported, "$version")
		reported, err := json.Marshal(got.Reported)
		require.NoError(t, err)
		require.JSONEq(t, step.want, string(reported))
	}
	twin, err := w.GetTwin(contoso, "dev-01", "")
	require.NoError(t, err)
	require.EqualValues(t, 7, twin.Reported.Version)
	require.EqualValues(t, 7, twin.Version)
	require.Equal(t, "AAAAAAAAAAc=", twin.ETag())
	require.NotContains(t, twin.Reported.Meta.Members, "a")
	require.EqualValues(t, 6, twin.Reported.Meta.Members["o"].Version)
	require.EqualValues(t, 6, twin.Reported.Meta.Members["n"].Members["f"].Version)
}

func TestReportRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.open(t, "", current)
	_, r := s.Report([]byte(`{"fill":"`+strings.Repeat("x", 4096)+`"}`), "")
	require.Nil(t, r, "4096 bytes are allowed")
	_, r = s.Report([]byte(`{"deep":`+nested(9)+`,"max":4503599627370495,"min":-4503599627370496,"e":9e99}`), "")
	require.Nil(t, r, "ten objects deep, the whole range")
	before, err := w.GetTwin(contoso, "dev-01", "")
	require.NoError(t, err)
	big := map[string]string{}
	for i := range 9 {
		big[fmt.Sprint("k", i)] = strings.Repeat("x", 4000)
	}
	bigText, err := json.Marshal(big)
	require.NoError(t, err)
	for _, c := range []struct {
		patch, base string
		rule        rule.ID
		code        int
	}{
		{patch: `{"a":`, rule: "HUB-53/json", code: CodeMalformedJSON},
		{patch: ``, rule: "HUB-53/json", code: CodeMalformedJSON},
		{patch: `{} {}`, rule: "HUB-53/json", code: CodeMalformedJSON},
		{patch: "{\"a\":\"\xff\"}", rule: "HUB-53/json", code: CodeMalformedJSON},
		{patch: `[1]`, rule: "HUB-53/root", code: CodeArgumentInvalid},
		{patch: `null`, rule: "HUB-53/root", code: CodeArgumentInvalid},
		{patch: `{"a.b":1}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: `{"$version":1}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: `{"a b":1}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: `{"":1}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: `{"l":[{"a.b":1}]}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: `{"a\u0085":1}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: `{"` + strings.Repeat("k", 1025) + `":1}`, rule: "HUB-53/key", code: CodeArgumentInvalid},
		{patch: nested(11), rule: "HUB-53/depth", code: CodeArgumentInvalid},
		{patch: `{"a":"` + strings.Repeat("x", 4097) + `"}`, rule: "HUB-53/string", code: CodeArgumentInvalid},
		{patch: `{"a":4503599627370496}`, rule: "HUB-53/integer", code: CodeArgumentInvalid},
		{patch: `{"a":-4503599627370497}`, rule: "HUB-53/integer", code: CodeArgumentInvalid},
		{patch: `{"a":123456789012345678901234567890}`, rule: "HUB-53/integer", code: CodeArgumentInvalid},
		{patch: string(bigText), rule: "HUB-54/size", code: CodeMessageTooLarge},
		{patch: `{}`, base: "99", rule: "HUB-51/version", code: CodePrecondition},
	} {
		_, r := s.Report([]byte(c.patch), c.base)
		require.NotNil(t, r, "%.60s", c.patch)
		require.Equal(t, c.rule, r.Rule, "%.60s: %s", c.patch, r.Detail)
		require.Equal(t, c.code, r.Code)
		_, _, known := rule.NewTable(Rules).Cause(r.Rule)
		require.True(t, known, r.Rule)
	}
	after, err := w.GetTwin(contoso, "dev-01", "")
	require.NoError(t, err)
	require.Equal(t, before, after, "nothing has changed")
	_, r = s.Report([]byte(`{}`), "3")
	require.Nil(t, r, "the right base")

	old, _ := w.open(t, "", Origin{})
	_, r = old.Report([]byte(`{}`), "")
	require.EqualValues(t, "HUB-3/api-version", r.Rule)
	_, r = old.TwinForDevice()
	require.EqualValues(t, "HUB-3/api-version", r.Rule)
}

// sink is a line that hears of desired changes.
type sink struct {
	*line
	got []string
}

func (s *sink) Desired(version int64, body []byte) {
	s.got = append(s.got, fmt.Sprint(version, " ", string(body)))
}

func TestChangeTwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, Device{DeviceID: "new", InitialTwin: []byte(`{"tags":{"site":"a"},"properties":{"desired":{"on":true}}}`), Authentication: sasKeys()})
	id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, DeviceID: "new", Password: token(contoso+"/devices/new", demoKey, "")})
	require.NoError(t, err)
	ears := &sink{line: newLine()}
	s := w.Open(id, current, ears)
	body, r := s.TwinForDevice()
	require.Nil(t, r)
	require.JSONEq(t, `{"desired":{"on":true,"$version":1},"reported":{"$version":1}}`, string(body))

	twin, err := w.ChangeTwin(contoso, "new", "", TwinPatch{Desired: object(t, `{"on":null,"rate":5}`)}, "")
	require.NoError(t, err)
	_, err = w.ChangeTwin(contoso, "new", "", TwinPatch{Tags: object(t, `{"site":"b"}`)}, twin.ETag())
	require.NoError(t, err)
	_, err = w.ChangeTwin(contoso, "new", "", TwinPatch{Desired: object(t, `{}`)}, twin.ETag())
	require.ErrorIs(t, err, ErrPrecondition)
	twin, err = w.ChangeTwin(contoso, "new", "", TwinPatch{Desired: object(t, `{"fresh":1}`), Replace: true}, "*")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"site": "b"}, twin.Tags)
	require.Equal(t, map[string]any{"fresh": json.Number("1")}, twin.Desired.Values)
	require.Equal(t, []string{`2 {"$version":2,"on":null,"rate":5}`, `3 {"$version":3,"fresh":1}`}, ears.got)
	s.Close()
	_, err = w.ChangeTwin(contoso, "new", "", TwinPatch{Desired: object(t, `{"later":1}`)}, "")
	require.NoError(t, err)
	require.Len(t, ears.got, 2, "nothing while offline")
	events, _ := w.journal.Select(journal.Filter{Kind: journal.Twin, Device: "new"})
	require.Len(t, events, 4)

	_, err = w.ChangeTwin(contoso, "new", "", TwinPatch{Desired: object(t, `{"a.b":1}`)}, "")
	require.ErrorIs(t, err, ErrInvalid)
	_, err = w.ChangeTwin(contoso, "new", "", TwinPatch{Tags: map[string]any{"a": strings.Repeat("x", 4000), "b": strings.Repeat("x", 4000), "c": strings.Repeat("x", 400)}}, "")
	require.ErrorIs(t, err, ErrInvalid)
	_, err = w.ChangeTwin(contoso, "nobody", "", TwinPatch{}, "")
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, w.DeleteDevice(contoso, "new", ""))
	_, err = w.GetTwin(contoso, "new", "")
	require.ErrorIs(t, err, ErrNotFound)
	_, err = w.GetTwin(contoso, "dev-01", "mod-a")
	require.NoError(t, err, "modules have twins of their own")
	for _, bad := range []string{`[]`, `{"tags":{"a.b":1}}`, `{"properties":{"desired":{"a":99999999999999999}}}`} {
		_, err = w.PutDevice(contoso, Device{DeviceID: "bad", InitialTwin: []byte(bad)})
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
}

// Patches from both sides at once are all in, and the device hears the desired ones in order.
func TestConcurrentPatchesAreNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, DeviceID: "dev-01", Password: tokenV1})
	require.NoError(t, err)
	ears := &sink{line: newLine()}
	s := w.Open(id, current, ears)
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, err := w.ChangeTwin(contoso, "dev-01", "", TwinPatch{Desired: map[string]any{fmt.Sprint("d", i): true}}, "")
			require.NoError(t, err)
		})
		wg.Go(func() {
			_, r := s.Report(fmt.Appendf(nil, `{"r%d":true}`, i), "")
			require.Nil(t, r)
		})
	}
	wg.Wait()
	twin, err := w.GetTwin(contoso, "dev-01", "")
	require.NoError(t, err)
	require.Len(t, twin.Desired.Values, n)
	require.Len(t, twin.Reported.Values, n)
	require.EqualValues(t, n+1, twin.Desired.Version)
	require.EqualValues(t, 2*n+1, twin.Version)
	require.Len(t, ears.got, n)
	for i, line := range ears.got {
		require.True(t, strings.HasPrefix(line, fmt.Sprint(i+2, " ")), line)
	}
}

// A merge in two steps ends where the same keys would end one by one, and metadata has the values' shape.
func TestMergeProperties(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any]("x"), rapid.Just[any]([]any{"l"}))
		if depth == 0 {
			return leaf
		}
		return rapid.OneOf(leaf, rapid.Map(rapid.MapOfN(names, value(depth-1), 0, 3), func(m map[string]any) any { return m }))
	}
	patches := rapid.SliceOfN(rapid.MapOfN(names, value(2), 0, 3), 1, 5)
	rapid.Check(t, func(t *rapid.T) {
		got, meta := map[string]any{}, &Metadata{}
		for i, p := range patches.Draw(t, "patches") {
			before := cloneObject(got)
			merge(got, p, meta, Metadata{Version: int64(i)})
			for k, v := range before {
				if _, touched := p[k]; !touched && fmt.Sprint(got[k]) != fmt.Sprint(v) {
					t.Fatalf("%s changed though the patch does not name it", k)
				}
			}
			again := cloneObject(got)
			merge(again, p, nil, Metadata{})
			if fmt.Sprint(again) != fmt.Sprint(got) {
				t.Fatalf("a patch twice is not the patch once: %v, %v", got, again)
			}
			sameShape(t, got, meta)
		}
	})
}

func sameShape(t *rapid.T, o map[string]any, meta *Metadata) {
	if len(meta.Members) != len(o) {
		t.Fatalf("metadata %v of %v", meta.Members, o)
	}
	for k, v := range o {
		if v == nil || meta.Members[k] == nil {
			t.Fatalf("%s: %v, %v", k, v, meta.Members[k])
		}
		if below, ok := v.(map[string]any); ok {
			sameShape(t, below, meta.Members[k])
		}
	}
}

func FuzzReadPatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,null,"x"]},"c":null}`))
	f.Add([]byte(nested(12)))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, r := readPatch(text)
		if r != nil {
			require.NotEmpty(t, r.Detail)
			return
		}
		into := map[string]any{}
		merge(into, values, &Metadata{}, Metadata{})
		require.True(t, json.Valid(withVersion(into, 1)))
	})
}
