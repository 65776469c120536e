package azure

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Vectors: comments and tests of Azure/iotedge, MqttUsernameParser.cs and MqttUsernameParserTest.cs, read 2026-11.
func TestParseEdgeUsername(t *testing.T) {
	for text, want := range map[string]HubUsername{
		"iotHub1/device1/?api-version=2010-01-01&DeviceClientType=customDeviceClient1":                   {Host: "iotHub1", DeviceID: "device1", APIVersion: "2010-01-01", DeviceClientType: "customDeviceClient1"},
		"iotHub1/device1/module1/?api-version=2010-01-01":                                                {Host: "iotHub1", DeviceID: "device1", ModuleID: "module1", APIVersion: "2010-01-01"},
		"iotHub1/device1/api-version=2010-01-01":                                                         {Host: "iotHub1", DeviceID: "device1", APIVersion: "2010-01-01"},
		"iotHub1/device1/module1/foo?bar=b1&api-version=2010-01-01":                                      {Host: "iotHub1", DeviceID: "device1", ModuleID: "module1", APIVersion: "2010-01-01"},
		"/ d /?api-version=x&model-id=dtmi%3Aa%3Bb%3B1&auth-chain=leaf%3Bedge":                           {DeviceID: "d", APIVersion: "x", ModelID: "dtmi:a;b;1", AuthChain: "leaf;edge"},
		"h/a%2Bb/?api-version=1":                                                                         {Host: "h", DeviceID: "a%2Bb", APIVersion: "1"},
		"h/d/m/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003": {Host: "h", DeviceID: "d", ModuleID: "m", APIVersion: "2017-06-30", DeviceClientType: "Microsoft.Azure.Devices.Client/1.5.1-preview-003"},
	} {
		got, err := ParseEdgeUsername(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]error{
		"":                                       ErrEdgeUsername,
		"hub/device":                             ErrEdgeUsername,
		"hub/device/":                            ErrEdgeUsername,
		"hub/device?api-version=1":               ErrEdgeUsername,
		"hub/a/b/c/?api-version=1":               ErrEdgeUsername,
		"hub/device/?DeviceClientType=":          ErrEdgeAPIVersion,
		"hub/device/?api-version= ":              ErrEdgeAPIVersion,
		"hub/device/?api-version=&api-version=1": ErrEdgeAPIVersion,
		"hub//?api-version=1":                    ErrEdgeDevice,
	} {
		_, err := ParseEdgeUsername(text)
		require.ErrorIs(t, err, want, text)
	}
	require.Equal(t, []string{"leaf", "edge1", "edge2"}, AuthChainIDs("leaf;edge1;;edge2"))
}

func TestParseEdgeFilter(t *testing.T) {
	for filter, want := range map[string]EdgeFilterKind{
		"$iothub/methods/POST/#":                  EdgeFilterMethods,
		"$iothub/twin/PATCH/properties/desired/#": EdgeFilterTwinDesired,
		"$iothub/twin/res/#":                      EdgeFilterTwinResult,
		"$iothub/#":                               EdgeFilterOther,
		"devices/other/messages/devicebound/#":    EdgeFilterDevicebound,
		"devices/d/modules/m/#":                   EdgeFilterInputs,
		"devices/d/#":                             EdgeFilterOther,
		"foo/#":                                   EdgeFilterOther,
	} {
		require.Equal(t, want, ParseEdgeFilter(filter), filter)
	}
}

func TestEdgeTopics(t *testing.T) {
	for topic, want := range map[string]struct {
		kind EdgeTwinKind
		rid  string
	}{
		"$iothub/twin/GET/?$rid=1":                       {EdgeTwinGet, "1"},
		"$iothub/twin/GET/":                              {EdgeTwinGet, ""},
		"$iothub/twin/GET/x/?$rid=1":                     {EdgeTwinResource, ""},
		"$iothub/twin/PATCH/properties/reported/?$rid=a": {EdgeTwinReported, "a"},
		"$iothub/twin/PATCH/properties/desired/?$rid=a":  {EdgeTwinResource, ""},
		"devices/d/messages/events/":                     {EdgeTwinNone, ""},
	} {
		kind, rid := ParseEdgeTwin(topic)
		require.Equal(t, want.kind, kind, topic)
		require.Equal(t, want.rid, rid, topic)
	}
	for topic, want := range map[string][2]any{
		"$iothub/methods/res/200/?$rid=A1": {200, "a1"},
		"$iothub/methods/res/ok/?$rid=1":   {400, "1"},
		"$iothub/methods/res/-1/?$rid=1":   {400, "1"},
	} {
		status, rid, ok := EdgeMethodResult(topic)
		require.True(t, ok)
		require.Equal(t, want, [2]any{status, rid}, topic)
	}
	_, _, ok := EdgeMethodResult("$iothub/methods/res/200")
	require.False(t, ok)
	require.Equal(t, "devices/gw/modules/m/inputs/in1/%24.cdid=leaf", InputTopic("gw", "m", "in1", []Property{{Name: "$.cdid", Value: "leaf"}}))
}

func FuzzParseEdgeUsername(f *testing.F) {
	f.Add("iotHub1/device1/module1/?api-version=2010-01-01&DeviceClientType=a%20b&auth-chain=l%3Be")
	f.Add("h/d/api-version=1")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseEdgeUsername(text)
		if err != nil {
			return
		}
		again, err := ParseEdgeUsername(u.Format())
		if err != nil {
			t.Fatalf("%q: %+v cannot be read back: %v", text, u, err)
		}
		if again.DeviceID != u.DeviceID || again.ModuleID != u.ModuleID || again.APIVersion != u.APIVersion {
			t.Fatalf("%q: %+v, then %+v", text, u, again)
		}
	})
}
