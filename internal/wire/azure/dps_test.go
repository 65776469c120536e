package azure

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// dpsVectors returns the cases of a testdata file as lines, by name.
func dpsVectors(t testing.TB, file string) map[string][]string {
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

func TestDPSUsernameVectors(t *testing.T) {
	for name, v := range dpsVectors(t, "dps-usernames.txtar") {
		t.Run(name, func(t *testing.T) {
			u, err := ParseDPSUsername(v[0])
			require.NoError(t, err)
			require.Equal(t, DPSUsername{Scope: v[1], RegistrationID: v[2], APIVersion: v[3], ClientVersion: v[4]}, u)
			scope, ok := ClaimsDPS(v[0])
			require.True(t, ok)
			require.Equal(t, v[1], scope)
			switch name {
			case "python", "node", "java", "c", "mindsphere": // they encode as FormatDPSUsername does
				require.Equal(t, v[0], FormatDPSUsername(u))
			}
		})
	}
}

func TestParseDPSUsernameRefuses(t *testing.T) {
	const s = "0ne00FAKE01"
	for _, c := range []struct {
		username string
		want     error
		near     string
	}{
		{"", ErrDPSUsername, "{idScope}/registrations/{registrationId}/api-version=2019-03-31"},
		{s, ErrDPSUsername, s + "/registrations/{registrationId}/api-version=2019-03-31"},
		{s + "/registrations/dev", ErrDPSUsername, s + "/registrations/dev/api-version=2019-03-31"},
		{s + "/dev/api-version=2021-06-01", ErrDPSUsername, s + "/registrations/dev/api-version=2021-06-01"},
		{s + "/Registrations/dev/api-version=2019-03-31", ErrDPSUsername, s + "/registrations/dev/api-version=2019-03-31"},
		{s + "/registration/dev/api-version=2019-03-31", ErrDPSUsername, s + "/registrations/dev/api-version=2019-03-31"},
		{"/registrations/dev/api-version=2019-03-31", ErrDPSUsername, "{idScope}/registrations/dev/api-version=2019-03-31"},
		{"/" + s + "/registrations/dev/api-version=2019-03-31", ErrDPSUsername, s + "/registrations/dev/api-version=2019-03-31"},
		{s + "/registrations/dev/x/api-version=2019-03-31", ErrDPSAPIVersion, s + "/registrations/dev/api-version=2019-03-31"},
		{"dev-01", ErrDPSUsername, "{idScope}/registrations/dev-01/api-version=2019-03-31"},
		{"0ne/dev-01", ErrDPSUsername, "0ne/registrations/dev-01/api-version=2019-03-31"},
		{s + "/registrations/dev/?api-version=2019-03-31", ErrDPSAPIVersion, s + "/registrations/dev/api-version=2019-03-31"},
		{s + "/registrations/dev/ClientVersion=1", ErrDPSAPIVersion, ""},
		{s + "/registrations/dev/api-version=2016-11-14", ErrDPSAPIVersion, s + "/registrations/dev/api-version=2019-03-31"},
		{s + "/registrations//api-version=2019-03-31", ErrDPSRegistrationID, s + "/registrations/{registrationId}/api-version=2019-03-31"},
		{s + "/registrations/de%zz/api-version=2019-03-31", ErrDPSRegistrationID, ""},
		{s + "/registrations/dev./api-version=2019-03-31", ErrDPSRegistrationID, ""},
		{s + "/registrations/" + strings.Repeat("a", 129) + "/api-version=2019-03-31", ErrDPSRegistrationID, ""},
		{strings.Repeat("a", 10_000) + "/registrations/dev/api-version=2019-03-31", ErrDPSUsername, ""},
	} {
		_, err := ParseDPSUsername(c.username)
		require.ErrorIs(t, err, c.want, c.username)
		near := NearDPSUsername(c.username)
		if c.near != "" {
			require.Equal(t, c.near, near)
		}
		if !strings.Contains(near, "{") {
			_, err = ParseDPSUsername(near)
			require.NoError(t, err, "a near miss must be legal: %s", near)
		}
	}
}

func TestClaimsDPS(t *testing.T) {
	for username, want := range map[string]bool{
		"0ne1/registrations/d/api-version=2019-03-31":                 true,
		"whatever/registrations/":                                     true,
		"fakecloud-hub.azure-devices.net/dev/?api-version=2021-04-12": false,
		"/registrations/d":                                            false, "registrations/d": false, "": false, "0ne1/registrationsX/d": false,
	} {
		_, ok := ClaimsDPS(username)
		require.Equal(t, want, ok, username)
	}
}

func TestValidDPSRegistrationID(t *testing.T) {
	for id, want := range map[string]bool{
		"device-001": true, "demo2_MqttTestAgent": true, "a.b:c_d-": true, "A": true, strings.Repeat("a", 128): true,
		"": false, "a.": false, "a_": false, "a:": false, "a b": false, "ä": false, "a/b": false, strings.Repeat("a", 129): false,
	} {
		require.Equal(t, want, ValidDPSRegistrationID(id), id)
	}
}

func TestDPSTopicVectors(t *testing.T) {
	for name, v := range dpsVectors(t, "dps-topics.txtar") {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "request") {
				want := DPSRequest{Poll: v[1] == "poll", RID: v[2], OperationID: v[3]}
				got, err := ParseDPSRequest(v[0])
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, v[0], FormatDPSRequest(want))
				return
			}
			status, _ := strconv.Atoi(v[1])
			retry, _ := strconv.Atoi(v[3])
			want := DPSAnswer{Status: status, RID: v[2], RetryAfter: retry}
			require.Equal(t, v[0], FormatDPSAnswer(want))
			got, err := ParseDPSAnswer(v[0])
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestParseDPSRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		topic string
		want  error
		near  string
	}{
		{"$dps/registrations/PUT/iotdps-register/", ErrDPSRID, "$dps/registrations/PUT/iotdps-register/?$rid={rid}"},
		{"$dps/registrations/PUT/iotdps-register/?$rid=", ErrDPSRID, ""},
		{"$dps/registrations/PUT/iotdps-register/?rid=7", ErrDPSRID, "$dps/registrations/PUT/iotdps-register/?$rid=7"},
		{"$dps/registrations/PUT/iotdps-register?$rid=7", ErrDPSTopic, "$dps/registrations/PUT/iotdps-register/?$rid=7"},
		{"/registrations/PUT/iotdps-register/?=7", ErrDPSTopic, "$dps/registrations/PUT/iotdps-register/?$rid={rid}"},
		{"$dps/registrations/get/iotdps-get-operationstatus/?$rid=2&operationId=4.a.b", ErrDPSTopic, "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.a.b"},
		{"devices/d/messages/events/", ErrDPSTopic, ""},
		{"", ErrDPSTopic, ""},
		{"$dps/registrations/PUT/iotdps-register/?$rid=" + strings.Repeat("1", 3000), ErrDPSTopic, ""},
	} {
		_, err := ParseDPSRequest(c.topic)
		require.ErrorIs(t, err, c.want, c.topic)
		if c.near != "" {
			require.Equal(t, c.near, NearDPSTopic(c.topic))
		}
	}
	for _, topic := range []string{"", "$dps/registrations/res/abc/?$rid=1", "$dps/registrations/res/202", "$dps/registrations/res/202/?$rid=1&retry-after=soon"} {
		_, err := ParseDPSAnswer(topic)
		require.Error(t, err, topic)
	}
}

func TestDPSBodyVectors(t *testing.T) {
	v := dpsVectors(t, "dps-bodies.txtar")
	const op = "4.abe16cbf3f71fe17.19a42d8c-76f4-438c-be83-85d01f7bff73"
	created := time.Date(2021, 6, 3, 8, 37, 58, 852179700, time.UTC)
	for name, body := range map[string]any{
		"register 94": DPSOperation{OperationID: op, Status: DPSAssigning},
		"poll 173":    DPSOperation{OperationID: op, Status: DPSAssigning, State: &DPSState{RegistrationID: "sample-device-01", Status: DPSAssigning}},
		"assigned": DPSOperation{OperationID: op, Status: DPSAssigned, State: &DPSState{
			X509:           &DPSAttested{EnrollmentGroupID: "TenantEnrollmentGroup-TenantCACertificate-demo2"},
			RegistrationID: "demo2_MqttTestAgent", Created: FormatDPSTime(created),
			AssignedHub: "conn-prod-ex-iothub.azure-devices.net", DeviceID: "demo2_MqttTestAgent", Status: DPSAssigned, Substatus: DPSInitialAssignment,
			LastUpdated: FormatDPSTime(created.Add(286276400 * time.Nanosecond)), ETag: FormatDPSETag("6d00fcc0-0000-0100-0000-5d07a2ca0000")}},
		"error": DPSError{ErrorCode: 401000, TrackingID: "b3d6d1c5-2b3c-4a4f-9a1e-0d3f1f1e9a55", Message: "Unauthorized",
			TimestampUTC: FormatDPSTime(time.Date(2019, 11, 19, 21, 39, 5, 157330400, time.UTC))},
	} {
		got, err := json.Marshal(body)
		require.NoError(t, err)
		require.Equal(t, v[name][0], string(got), name)
	}
	require.Len(t, v["register 94"][0], 94)
	require.Len(t, v["poll 173"][0], 173)
	require.Equal(t, 401, DPSError{ErrorCode: 401002}.Status())
}

func TestFormatDPSTimeKeepsSevenDigits(t *testing.T) {
	require.Equal(t, "2024-01-02T03:04:05.0000000Z", FormatDPSTime(time.Date(2024, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))))
}

func TestParseDPSRegistration(t *testing.T) {
	for body, want := range map[string]DPSRegistration{
		"":                       {},
		" ":                      {},
		"{}":                     {},
		`{"registrationId":"R"}`: {RegistrationID: "R"},
		"{ \"registrationId\":\"R\", \"tpm\":{} }":   {RegistrationID: "R"},
		`{"registrationId":"R","payload":{"a":[1]}}`: {RegistrationID: "R", Payload: json.RawMessage(`{"a":[1]}`)},
		`{"payload":null}`:                           {Payload: json.RawMessage("null")},
	} {
		got, err := ParseDPSRegistration([]byte(body))
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}
	for _, body := range []string{"[]", "null", `"R"`, "{", `{"registrationId":7}`, `{"a":1}x`, "hello", `{"payload":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}"} {
		_, err := ParseDPSRegistration([]byte(body))
		require.ErrorIs(t, err, ErrDPSBody, body)
	}
	_, err := ParseDPSRegistration([]byte(`{"payload":"` + strings.Repeat("a", MaxDPSMessage) + `"}`))
	require.ErrorIs(t, err, ErrDPSBodySize)
}

func FuzzParseDPSUsername(f *testing.F) {
	for _, v := range dpsVectors(f, "dps-usernames.txtar") {
		f.Add(v[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		NearDPSUsername(text)
		u, err := ParseDPSUsername(text)
		if err != nil {
			return
		}
		_, claimed := ClaimsDPS(text)
		require.True(t, claimed)
		full := FormatDPSUsername(u)
		if len(full) > maxDPSUsername { // its percent-encoding is longer than what was received
			return
		}
		again, err := ParseDPSUsername(full)
		require.NoError(t, err)
		require.Equal(t, u, again)
	})
}

func FuzzParseDPSRequest(f *testing.F) {
	for _, v := range dpsVectors(f, "dps-topics.txtar") {
		f.Add(v[0])
	}
	f.Fuzz(func(t *testing.T, topic string) {
		NearDPSTopic(topic)
		_, _ = ParseDPSAnswer(topic)
		r, err := ParseDPSRequest(topic)
		if err != nil {
			return
		}
		again, err := ParseDPSRequest(FormatDPSRequest(r))
		require.NoError(t, err)
		require.Equal(t, r.RID, again.RID)
		if r.Poll {
			require.Equal(t, r.OperationID, again.OperationID)
		}
	})
}

func FuzzParseDPSRegistration(f *testing.F) {
	f.Add([]byte(`{"registrationId":"R","payload":{"a":[1]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = ParseDPSRegistration(body)
	})
}
