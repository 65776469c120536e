package azure

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseHubPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]HubPath{
		"/devices/d/messages/events":                 {HubPathEvents, "d", "", ""},
		"/devices/d/messages/events/":                {HubPathEvents, "d", "", ""},
		"/DEVICES/D/Messages/Events":                 {HubPathEvents, "D", "", ""},
		"/devices/Dev%2301/messages/events":          {HubPathEvents, "Dev#01", "", ""},
		"/devices/d/modules/m/messages/events":       {HubPathEvents, "d", "m", ""},
		"/devices/d/messages/deviceBound":            {HubPathDevicebound, "d", "", ""},
		"/devices/d/messages/devicebound/l":          {HubPathSettle, "d", "", "l"},
		"/devices/d/messages/devicebound/%22l%22":    {HubPathSettle, "d", "", "l"},
		"/devices/d/messages/deviceBound/l/abandon":  {HubPathAbandon, "d", "", "l"},
		"/devices/d/files":                           {HubPathFiles, "d", "", ""},
		"/devices/d/files/":                          {HubPathFiles, "d", "", ""},
		"/devices/d/files/notifications":             {HubPathNotifications, "d", "", ""},
		"/devices/d/files/notifications/":            {HubPathNotifications, "d", "", ""},
		"/devices/d/files/notifications/c":           {HubPathNotifications, "d", "", "c"},
		"/devices/d":                                 {HubPathOther, "d", "", ""},
		"/devices/d/modules/m":                       {HubPathOther, "d", "", ""},
		"/devices/d/messages/devicebound/l/complete": {HubPathOther, "d", "", ""},
		"/devices":                   {},
		"/twins/d":                   {},
		"/devices/%zz/files":         {},
		"/devices//files":            {},
		strings.Repeat("/a", 40_000): {},
	} {
		require.Equal(t, want, ParseHubPath(path), path)
	}
}

func TestParseDPSPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]DPSPath{
		"/0ne00FAKE01/registrations/d/register":          {DPSPathRegister, "0ne00FAKE01", "d", ""},
		"/0ne00FAKE01/registrations/d/operations/4.1.g":  {DPSPathPoll, "0ne00FAKE01", "d", "4.1.g"},
		"/0ne00FAKE01/registrations/d":                   {DPSPathLookup, "0ne00FAKE01", "d", ""},
		"/0ne00FAKE01/registrations/d%3A1/register/":     {DPSPathRegister, "0ne00FAKE01", "d:1", ""},
		"/0ne00FAKE01/registrations/d/register/x":        {DPSPathOther, "0ne00FAKE01", "d", ""},
		"/registrations/d":                               {},
		"/enrollments/d":                                 {},
		"/0ne00FAKE01/registrations/%g1/operations/abcd": {},
	} {
		require.Equal(t, want, ParseDPSPath(path), path)
	}
}

func TestHubHeader(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"IoTHub-MessageId": "message-id", "iothub-app-a": "a", "Iothub-App-B": "B", "dt-subject": "dt-subject"} {
		got, _, ok := HubHeader(name)
		require.True(t, ok, name)
		require.Equal(t, want, got)
	}
	for _, name := range []string{"Content-Type", "iothub-app-", "iothub-connection-device-id"} {
		_, _, ok := HubHeader(name)
		require.False(t, ok, name)
	}
	require.Equal(t, "iothub-app-a%20b", HubAppHeader("a b"))
	require.Equal(t, "iothub-app-a.b", HubAppHeader("a.b"))
}

func TestHubBatchErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}", "[]", "[{}]", `[{"body":1}]`, `[{"body":"=","base64Encoded":true}]`, `[{"body":""}] x`, `[{"body":"","properties":{"a":1}}]`,
		"[" + strings.Repeat(`{"body":""},`, 500) + `{"body":""}]`} {
		_, err := ParseHubBatch([]byte(text))
		require.ErrorIs(t, err, ErrHubBatch, "%.40s", text)
	}
}

// The answer shows these texts to clients, who know JSON and no Go.
func TestHubBatchErrorsSpeakJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`:                                  "it is no array",
		`[1]`:                                 "it is no object",
		`[{"body":1}]`:                        "field body is no string",
		`[{"body":"","base64Encoded":"yes"}]`: "field base64Encoded is no boolean",
		`[{"body":"","properties":[]}]`:       "field properties is no object",
	} {
		_, err := ParseHubBatch([]byte(text))
		require.EqualError(t, err, "not a batch of messages: "+want, text)
	}
}

func TestBlobSAS(t *testing.T) {
	t.Parallel()
	expiry := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	text := FormatBlobSAS(BlobSAS{Permissions: "rw", Resource: "b", Expiry: expiry}, []byte("key"), "/blob/hub/c/d/x")
	query, err := url.ParseQuery(text[1:])
	require.NoError(t, err)
	s, err := ParseBlobSAS(query)
	require.NoError(t, err)
	require.Equal(t, expiry, s.Expiry)
	require.True(t, s.SignedBy([]byte("key"), "/blob/hub/c/d/x"))
	require.False(t, s.SignedBy([]byte("key"), "/blob/hub/c/d/y"))
	for _, field := range []string{"sp", "se", "sr", "spr"} {
		changed, _ := url.ParseQuery(text[1:])
		changed.Set(field, "c")
		if s, err := ParseBlobSAS(changed); err == nil {
			require.False(t, s.SignedBy([]byte("key"), "/blob/hub/c/d/x"), field)
		}
	}
	for _, bad := range []string{"", "sig=x", "sig=AAAA&se=x", "sig=AAAA&se=2030-01-01T00:00:00Z&sr=x"} {
		query, _ := url.ParseQuery(bad)
		_, err := ParseBlobSAS(query)
		require.Error(t, err, bad)
	}
}

func TestParseBlockList(t *testing.T) {
	t.Parallel()
	ids, err := ParseBlockList([]byte(`<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>YQ==</Latest><Uncommitted>Yg==</Uncommitted><Committed> Yw== </Committed></BlockList>`))
	require.NoError(t, err)
	require.Equal(t, []string{"YQ==", "Yg==", "Yw=="}, ids)
	for _, bad := range []string{"", "<a/>", "<BlockList><Other>YQ==</Other></BlockList>", "<BlockList><Latest>?</Latest></BlockList>", "<BlockList>"} {
		_, err := ParseBlockList([]byte(bad))
		require.ErrorIs(t, err, ErrBlockList, bad)
	}
}

func TestHubErrorForms(t *testing.T) {
	t.Parallel()
	trace := Trace{ID: "ab", At: time.Date(2018, 11, 7, 9, 22, 57, 605413400, time.UTC)}
	require.Equal(t, `{"Message":"ErrorCode:DeviceNotOnline;Timed out & <gone>.","ExceptionMessage":"Tracking ID:ab-G:0-TimeStamp:11/07/2018 09:22:57"}`,
		string(RegistryError(404103, "Timed out & <gone>.", trace)))
	var outer struct{ Message, ExceptionMessage string }
	require.NoError(t, json.Unmarshal(MethodError(404103, "Timed out.", map[string]string{"timeout": "00:01:00"}, trace), &outer))
	require.Empty(t, outer.ExceptionMessage)
	require.Equal(t, `{"errorCode":404103,"trackingId":"ab-G:0-TimeStamp:11/07/2018 09:22:57","message":"Timed out.","info":{"timeout":"00:01:00"},"timestampUtc":"2018-11-07T09:22:57.6054134Z"}`, outer.Message)
	require.Equal(t, "ServerError", ErrorName(999999))
	require.Equal(t, "GenericNotFound", ErrorName(404999))
}

func TestValidHubAPIVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"2021-04-12": true, "2016-11-14": true, "2025-08-01-preview": true, "2021-12-31": true, "2021-01-01": true,
		"": false, "2021": false, "2021-04-12-beta": false, "2021-13-12": false, "2021-00-12": false, "2021-04-00": false, "2021-04-32": false, "2021/04/12": false, "2021-4-12": false} {
		require.Equal(t, want, ValidHubAPIVersion(text), text)
	}
}

func FuzzHTTP(f *testing.F) {
	f.Add("/devices/d/messages/deviceBound/l/abandon", []byte(`[{"body":"YQ==","properties":{"iothub-app-a":"b"}}]`))
	f.Add("/0ne00FAKE01/registrations/d/operations/4", []byte(`<BlockList><Latest>YQ==</Latest></BlockList>`))
	// A path that was written with raw bytes may be longer than the limit once they are escaped.
	readable := func(path string) bool { return len(path) <= maxHubPath }
	f.Add("/"+strings.Repeat("\xb2", maxHubPath/2)+"/registrations/d/register", []byte("[]"))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if p := ParseHubPath(path); p.Kind != HubPathOther && p.ID == unquoted(p.ID) && readable(FormatHubPath(p)) {
			require.Equal(t, p, ParseHubPath(FormatHubPath(p)))
		}
		if p := ParseDPSPath(path); p.Kind != DPSPathOther && readable(FormatDPSPath(p)) {
			require.Equal(t, p, ParseDPSPath(FormatDPSPath(p)))
		}
		_, _ = ParseHubBatch(body)
		_, _ = ParseBlockList(body)
		if q, err := url.ParseQuery(path); err == nil {
			_, _ = ParseBlobSAS(q)
		}
	})
}
