package azure

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// vector is one file of a txtar archive: its "key value" lines.
type vector struct {
	name string
	text map[string]string
	list []string // lines that begin with "- "
}

func vectors(t testing.TB, file string) []vector {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/" + file)
	require.NoError(t, err)
	var all []vector
	for _, f := range archive.Files {
		v := vector{name: f.Name, text: map[string]string{}}
		for line := range strings.Lines(string(f.Data)) {
			k, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if k == "-" {
				v.list = append(v.list, value)
			} else {
				v.text[k] = value
			}
		}
		require.NotEmpty(t, v.text["source"], "%s names no source", f.Name)
		all = append(all, v)
	}
	return all
}

func TestHubUsernameVectors(t *testing.T) {
	for _, v := range vectors(t, "hub-usernames.txtar") {
		t.Run(v.name, func(t *testing.T) {
			u, err := ParseHubUsername(v.text["username"])
			require.NoError(t, err)
			require.Equal(t, HubUsername{Host: v.text["host"], DeviceID: v.text["device"], ModuleID: v.text["module"],
				APIVersion: v.text["api-version"], DeviceClientType: v.text["client-type"], ModelID: v.text["model-id"],
				AuthChain: v.text["auth-chain"]}, u)
			require.Equal(t, v.text["client"], u.ClientID())
			if want := v.text["decoded-client"]; want != "" {
				require.Equal(t, want, u.Decoded().ClientID())
			}
			if v.text["canonical"] == "yes" {
				require.Equal(t, v.text["username"], u.Format())
			}
		})
	}
}

func TestHubUsernameRefused(t *testing.T) {
	for text, want := range map[string]error{
		"":                          ErrUsernameEmpty,
		"contoso.azure-devices.net": ErrUsernameDevice,
		"contoso.azure-devices.net/?api-version=2021-04-12": ErrUsernameDevice,
		"contoso.azure-devices.net/api-version=2016-11-14":  ErrUsernameDevice,
		"/dev-01/?api-version=2021-04-12":                   ErrUsernameHost,
		"h/dev-01//?api-version=2021-04-12":                 ErrUsernameModule,
		"h/dev-01/mod/more/?api-version=2021-04-12":         ErrUsernameTail,
		"0ne00FAKE01/registrations/x/y":                     ErrUsernameTail,
	} {
		_, err := ParseHubUsername(text)
		require.ErrorIs(t, err, want, text)
	}
}

func TestBagVectors(t *testing.T) {
	for _, v := range vectors(t, "hub-bags.txtar") {
		t.Run(v.name, func(t *testing.T) {
			bag, err := ParseBag(v.text["bag"])
			require.NoError(t, err)
			var got []string
			for _, p := range bag {
				line := p.Name
				if !p.Null {
					line += "=" + p.Value
				}
				got = append(got, line)
			}
			require.Equal(t, v.list, got)
			if v.text["canonical"] == "yes" {
				require.Equal(t, v.text["bag"], FormatBag(bag))
			}
		})
	}
}

func TestBagRefused(t *testing.T) {
	for _, text := range []string{"=v", "a=b=c", "a=b&", "&a=b", "a&&b", "a=%zz", "%4=x", "a=%"} {
		_, err := ParseBag(text)
		require.ErrorIs(t, err, ErrBag, text)
	}
	bag, err := ParseBag("")
	require.NoError(t, err)
	require.Empty(t, bag)
	_, err = ParseBag(strings.Repeat("&a", maxBag))
	require.ErrorIs(t, err, ErrBag)
}

func TestSystemProperty(t *testing.T) {
	for short, want := range map[string]string{"$.mid": "message-id", "$.sub": "dt-subject", "$.on": "iothub-outputname"} {
		name, ok := SystemProperty(short)
		require.True(t, ok)
		require.Equal(t, want, name)
	}
	for _, app := range []string{"mid", "$.other", "$", ""} {
		_, ok := SystemProperty(app)
		require.False(t, ok, app)
	}
}

var kinds = map[string]HubTopicKind{"other": HubTopicOther, "events": HubTopicEvents, "twin-get": HubTopicTwinGet,
	"twin-reported": HubTopicTwinReported, "method-result": HubTopicMethodResult}

func TestHubTopicVectors(t *testing.T) {
	for _, v := range vectors(t, "hub-topics.txtar") {
		t.Run(v.name, func(t *testing.T) {
			got := ParseHubTopic(v.text["topic"])
			status, _ := strconv.Atoi(v.text["status"])
			require.Equal(t, HubTopic{Kind: kinds[v.text["kind"]], DeviceID: v.text["device"], ModuleID: v.text["module"],
				Bag: v.text["bag"], RID: v.text["rid"], Version: v.text["version"], Status: status}, got)
			if v.text["canonical"] == "yes" {
				bag, err := ParseBag(got.Bag)
				require.NoError(t, err)
				require.Equal(t, v.text["topic"], EventsTopic(got.DeviceID, got.ModuleID, bag))
			}
		})
	}
}

func TestHubFilters(t *testing.T) {
	for _, c := range []struct {
		filter, module string
		want           HubFilterKind
	}{
		{"devices/dev-01/messages/devicebound/#", "", HubFilterDevicebound},
		{"devices/+/messages/devicebound/#", "", HubFilterDevicebound},
		{"devices/dev-01/modules/m/#", "m", HubFilterDevicebound},
		{"devices/dev-01/modules/m/inputs/#", "m", HubFilterDevicebound},
		{"devices/dev-01/modules/m/messages/devicebound/#", "m", HubFilterDevicebound},
		{"$iothub/twin/res/#", "", HubFilterTwinResult},
		{"$iothub/twin/PATCH/properties/desired/#", "", HubFilterTwinDesired},
		{"$iothub/methods/POST/#", "", HubFilterMethods},
		{"$iothub/methods/POST/reboot/#", "", HubFilterMethods},
		{"#", "", HubFilterOther},
		{"devices/#", "", HubFilterOther},
		{"$iothub/#", "", HubFilterOther},
		{"$iothub/methods/POST/+/#", "", HubFilterOther},
		{"$iothub/methods/POST/", "", HubFilterOther},
		{"devices/dev-02/messages/devicebound/#", "", HubFilterOther},
		{"devices/dev-01/messages/devicebound/#", "m", HubFilterOther},
		{"devices/dev-01/modules/m/#", "", HubFilterOther},
		{"devices/dev-01/messages/events/#", "", HubFilterOther},
	} {
		require.Equal(t, c.want, ParseHubFilter(c.filter, "dev-01", c.module), c.filter)
	}
}

// What is written is read back the same, whatever stands in names and values.
func TestBagRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var bag []Property
		for range rapid.IntRange(0, 8).Draw(t, "members") {
			p := Property{Name: rapid.StringN(1, 20, -1).Draw(t, "name"), Value: rapid.String().Draw(t, "value")}
			if rapid.Bool().Draw(t, "null") {
				p.Null, p.Value = true, ""
			}
			bag = append(bag, p)
		}
		text := FormatBag(bag)
		got, err := ParseBag(text)
		if err != nil || len(got) != len(bag) {
			t.Fatalf("%q: %v, %v", text, got, err)
		}
		for i := range bag {
			if got[i] != bag[i] {
				t.Fatalf("%q: %v became %v", text, bag[i], got[i])
			}
		}
		if again, err := ParseBag(text + "/"); err != nil || len(again) != len(bag) {
			t.Fatalf("with a trailing slash: %v, %v", again, err)
		}
	})
}

func FuzzParseHubUsername(f *testing.F) {
	for _, v := range vectors(f, "hub-usernames.txtar") {
		f.Add(v.text["username"])
	}
	f.Add("h/d/?mod/?api-version=1")
	f.Add("h/?d?/?api-version=1/2&model-id=%")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseHubUsername(text)
		if err != nil {
			return
		}
		require.NotEmpty(t, u.DeviceID)
		again, err := ParseHubUsername(u.Format())
		require.NoError(t, err, u.Format())
		require.Equal(t, u, again)
	})
}

func FuzzParseBag(f *testing.F) {
	for _, v := range vectors(f, "hub-bags.txtar") {
		f.Add(v.text["bag"])
	}
	f.Fuzz(func(t *testing.T, text string) {
		bag, err := ParseBag(text)
		if err != nil {
			require.ErrorIs(t, err, ErrBag)
			return
		}
		again, err := ParseBag(FormatBag(bag))
		require.NoError(t, err)
		require.Equal(t, bag, again)
	})
}

func FuzzParseHubTopic(f *testing.F) {
	for _, v := range vectors(f, "hub-topics.txtar") {
		f.Add(v.text["topic"])
	}
	f.Add("devices/de\xba-0##1/modules/m+1/messages/events/a=b")
	f.Fuzz(func(t *testing.T, text string) {
		got := ParseHubTopic(text)
		if got.Kind != HubTopicEvents {
			return
		}
		bag, err := ParseBag(got.Bag)
		if err != nil {
			require.True(t, errors.Is(err, ErrBag))
			return
		}
		// No client can publish an id with wildcards as it is (MQTT 3.1.1, section 4.7.1): it is written escaped.
		again := ParseHubTopic(EventsTopic(got.DeviceID, got.ModuleID, bag))
		require.Equal(t, withoutWildcards(got.DeviceID), again.DeviceID)
		require.Equal(t, withoutWildcards(got.ModuleID), again.ModuleID)
	})
}
