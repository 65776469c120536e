package iotda

import (
	"encoding/hex"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

func vectors(t testing.TB, file string) map[string][]string {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + file)
	require.NoError(t, err)
	cases := map[string][]string{}
	for _, f := range a.Files {
		cases[f.Name] = strings.Split(strings.TrimSuffix(string(f.Data), "\n"), "\n")
	}
	require.NotEmpty(t, cases)
	return cases
}

func TestPasswordVectors(t *testing.T) {
	t.Parallel()
	for name, v := range vectors(t, "passwords.txtar") {
		made := Password(SignType(v[0][0]), v[1], v[2])
		if name == "V7" {
			require.NotEqual(t, v[3], made)
			require.Equal(t, v[3], SwappedPassword(SignType(v[0][0]), v[1], v[2]))
			continue
		}
		require.Equal(t, v[3], made, name)
	}
	secret, err := GroupSecret("5e25cd2ea16ebc0a3f7b1f1c_dev01", "Z3JvdXBzZWNyZXQtMDE=")
	require.NoError(t, err)
	require.Equal(t, "df1e4a4d39b58a631c819bfbe693dcefa60572ffb16a758d312205620b3db2e5", secret)
	_, err = GroupSecret("d", "no base64!")
	require.Error(t, err)
}

// Appendix A of GB/T 32905-2016, and an input longer than two blocks against openssl dgst -sm3.
func TestSM3(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"abc":                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		strings.Repeat("abcd", 16): "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
		"":                         "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b",
	} {
		h := NewSM3()
		for i := range len(text) { // byte by byte
			_, _ = h.Write([]byte{text[i]})
		}
		require.Equal(t, want, hex.EncodeToString(h.Sum(nil)))
		require.Equal(t, want, hex.EncodeToString(h.Sum(nil)), "Sum changes nothing")
	}
	var _ hash.Hash = NewSM3()
	require.Equal(t, 32, NewSM3().Size())
}

func TestClientIDVectors(t *testing.T) {
	t.Parallel()
	v := vectors(t, "clientids.txtar")
	for _, line := range v["accepted"] {
		f := strings.Fields(line)
		c, err := ParseClientID(f[0])
		require.NoError(t, err, line)
		require.Equal(t, ClientID{DeviceID: f[1], Sign: SignType(f[2][0]), Stamp: f[3]}, c)
		require.Equal(t, f[0], c.Format())
	}
	want := map[string]error{"parts": ErrParts, "stamp": ErrStamp, "day": ErrNoSuchDay, "sign": ErrSignType, "type": ErrIDType}
	for _, line := range v["refused"] {
		f := strings.Fields(line)
		_, err := ParseClientID(f[0])
		require.ErrorIs(t, err, want[f[1]], line)
	}
	_, err := ParseClientID(strings.Repeat("d", 250) + "_0_0_2018072417")
	require.ErrorIs(t, err, ErrTooLong)
}

// What the device id of a broken client id probably was, for the near miss.
func TestClientIDGuess(t *testing.T) {
	t.Parallel()
	for text, device := range map[string]string{
		"p_n": "p_n", "p_n_0_0": "p_n", "p_n_0": "p_n", "p_n_0_0_20180724": "p_n", "p_n_2_0_2018072417": "p_n", "p_n_2018072417": "p_n", "": "",
	} {
		c, err := ParseClientID(text)
		require.Error(t, err)
		require.Equal(t, device, c.DeviceID, text)
	}
}

func TestScopeID(t *testing.T) {
	t.Parallel()
	const device = "5e25cd2ea16ebc0a3f7b1f1c_dev01"
	for text, want := range map[string]ClientID{
		device + "_0_scope1":              {DeviceID: device, Scope: "scope1"},
		device + "_0_scope1_0_2026010100": {DeviceID: device, Scope: "scope1", Sign: '0', Stamp: "2026010100"},
	} {
		c, ok := ParseScopeID(text, "scope1")
		require.True(t, ok, text)
		require.Equal(t, want, c)
		require.Equal(t, text, c.Format())
	}
	for _, text := range []string{"", "_0_scope1", device + "_0_0_2026010100", device + "_0_scope2", device + "_0_scope1_7_2026010100", device + "_0_scope1_0_20260101"} {
		_, ok := ParseScopeID(text, "scope1")
		require.False(t, ok, text)
	}
	_, ok := ParseScopeID("x_0_", "")
	require.False(t, ok)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	id, user, password := Credentials("dev_1", "12345678", SignUnchecked, time.Date(2025, 4, 14, 9, 59, 0, 0, time.FixedZone("CST", 8*3600)))
	require.Equal(t, "dev_1_0_0_2025041401", id)
	require.Equal(t, "dev_1", user)
	require.Equal(t, "c75150e6cb841417396819e4d2ee4358a416344a03a083e3a8567074ddec820a", password)
}

func TestTopicVectors(t *testing.T) {
	t.Parallel()
	for _, line := range vectors(t, "topics.txtar")["names"] {
		f := strings.Fields(strings.ReplaceAll(line, " -", " ~"))
		for i := range f {
			if f[i] == "~" {
				f[i] = ""
			}
		}
		got, err := ParseTopic(f[0])
		require.NoError(t, err, line)
		require.Equal(t, []string{f[1], f[2], f[3]}, []string{string(got.Kind), got.DeviceID, got.RequestID}, line)
		require.Equal(t, f[4] == "gzip", got.Gzip, line)
		require.Equal(t, f[0], got.Format())
	}
}

func TestTopicsRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"$SYS/x": ErrTopic, "$oc/devices/": ErrTopic, "$oc/devices//sys/events/up": ErrTopic, "$oc/devices/d/sys/propertis/report": ErrTopic,
		"$oc/devices/d/properties/report": ErrTopic, "$oc/devices/d/sys/commands/response": ErrRequestID, "$oc/devices/d/sys/shadow/get/request_id=": ErrRequestID,
		"$oc/devices/d/sys/events/up/request_id=1": ErrTopic, "$oc/devices/d/sys/properties/report?requestid=1": ErrQuery,
		"$oc/devices/d/sys/properties/report?encoding=zip": ErrQuery, "$oc/devices/d/user/": ErrTopic, "$oc/devices/d/sys/shadow/get/request_id=a/b": ErrTopic,
		"$oc/devices/d/sys/shadow/get/request_id=" + strings.Repeat("a", 257): ErrTopic,
	} {
		_, err := ParseTopic(name)
		require.ErrorIs(t, err, want, name)
	}
	for _, k := range Up() {
		require.True(t, k.IsUp())
		require.True(t, k.IsSystem())
	}
	require.False(t, Command.IsUp())
	require.True(t, User.IsUp())
	require.False(t, Custom.IsSystem())
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]struct {
		Filter
		ok bool
	}{
		"$oc/devices/d/sys/commands/#":      {Filter{DeviceID: "d", System: true}, true},
		"$oc/devices/d/user/x":              {Filter{DeviceID: "d", System: true, UserTopic: true}, true},
		"$oc/devices/d/#":                   {Filter{DeviceID: "d", System: true}, true},
		"$oc/devices/+/sys/commands/#":      {Filter{System: true}, false},
		"$oc/devices/#":                     {Filter{System: true}, false},
		"$oc/#":                             {Filter{System: true}, false},
		"$oc/devices/d/other":               {Filter{DeviceID: "d", System: true}, false},
		"$oc/broadcast/all":                 {Filter{System: true}, true},
		"/any/thing":                        {Filter{UserTopic: true}, true},
		"#":                                 {Filter{UserTopic: true}, true},
		"/huawei/v1/devices/d/command/json": {Filter{DeviceID: "d", UserTopic: true}, true},
		"/huawei/v1/devices/+/command/json": {Filter{UserTopic: true}, true},
	} {
		got, ok := ParseFilter(filter)
		require.Equal(t, want.ok, ok, filter)
		require.Equal(t, want.Filter, got, filter)
	}
}

func TestEventTimes(t *testing.T) {
	t.Parallel()
	at, ok := ParseTime("20151212T121212Z")
	require.True(t, ok)
	require.Equal(t, time.Date(2015, 12, 12, 12, 12, 12, 0, time.UTC), at)
	require.Equal(t, "20151212T121212Z", FormatTime(at))
	at, ok = ParseTime("2020-08-12T12:12:12.333Z")
	require.True(t, ok)
	require.Equal(t, 333*time.Millisecond, time.Duration(at.Nanosecond()))
	for _, bad := range []string{"", "2015-12-12 12:12", "2015-12-12T12:12:12Z", "20151212T121212.5Z", "20151332T121212Z", "1449922332000", "2020-08-12T12:12:12,333Z", "2020-08-12T12:12:12.3333"} {
		_, ok = ParseTime(bad)
		require.False(t, ok, bad)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var r PropertyReport
	require.NoError(t, Decode([]byte(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}],"more":1}`), &r))
	require.Equal(t, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`, string(Encode(r)))
	for body, why := range map[string]string{
		"": "it is empty", "{": "ends in the middle", "{}{}": "something follows", `{"services":{}}`: `"services" is a JSON object, not a list`,
		`{'a':1}`: "at byte 2", "[]": "the value is a JSON array, not an object",
	} {
		err := Decode([]byte(body), &r)
		require.ErrorIs(t, err, ErrJSON)
		require.ErrorContains(t, err, why)
	}
}

// A number of the wrong kind is told as the number that it is.
func TestDecodeNumbers(t *testing.T) {
	t.Parallel()
	var r struct {
		Whole int     `json:"whole"`
		Any   float64 `json:"any"`
		Is    bool    `json:"is"`
	}
	for body, why := range map[string]string{
		`{"whole":1.5}`:                  `"whole" is the number 1.5, not a whole number`,
		`{"whole":99999999999999999999}`: `"whole" is the number 99999999999999999999, which is out of range`,
		`{"whole":"1"}`:                  `"whole" is a JSON string, not a whole number`,
		`{"any":1e999}`:                  `"any" is the number 1e999, which is out of range`,
		`{"is":1}`:                       `"is" is a JSON number, not true or false`,
	} {
		require.EqualError(t, Decode([]byte(body), &r), ErrJSON.Error()+": "+why)
	}
}

func FuzzParseClientID(f *testing.F) {
	for _, lines := range vectors(f, "clientids.txtar") {
		for _, line := range lines {
			f.Add(strings.Fields(line)[0])
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseClientID(text)
		if err == nil && c.Format() != text {
			t.Fatalf("%q becomes %q", text, c.Format())
		}
		if c, ok := ParseScopeID(text, "scope1"); ok && c.Format() != text {
			t.Fatalf("%q becomes %q", text, c.Format())
		}
	})
}

func FuzzParseTopic(f *testing.F) {
	for _, line := range vectors(f, "topics.txtar")["names"] {
		f.Add(strings.Fields(line)[0])
	}
	f.Fuzz(func(t *testing.T, name string) {
		ParseFilter(name)
		topic, err := ParseTopic(name)
		if err != nil {
			return
		}
		again, err := ParseTopic(topic.Format())
		if err != nil || again != topic {
			t.Fatalf("%q: %+v becomes %+v (%v)", name, topic, again, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":80}}]}`))
	f.Add([]byte(`{"devices":[{"device_id":"d","services":null}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var r PropertyReport
		if Decode(payload, &r) == nil {
			Encode(r)
		}
		var g GatewayData
		_ = Decode(payload, &g)
		var e Events
		_ = Decode(payload, &e)
		_, _ = ParseTime(string(payload))
	})
}
