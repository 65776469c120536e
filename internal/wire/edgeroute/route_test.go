package edgeroute

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var leaf = Message{
	Source:     "/messages/",
	System:     map[string]string{"connectionDeviceId": "leaf", "contentType": "application/json; charset=utf-8"},
	Properties: map[string]string{"alert": "true", "level": "7", "$body.x": "p", "$contentType": "mine", "city": "Z\u00fcrich \U0001F600!"},
	Body:       []byte(`{"weather":{"temperature":51.5,"days":[{"n":"mon"},{"n":"tue"}]},"ok":true,"none":null}`),
}

// Sources: grammar of Azure/iotedge, and "Deploy modules and establish routes".
func TestSources(t *testing.T) {
	module := Message{Source: "/messages/modules/filter/outputs/alert/"}
	twin := Message{Source: TwinChanges}
	for source, want := range map[string][3]bool{ // leaf, module, twin change
		"/*":                                     {true, true, true},
		"/messages/*":                            {true, true, false},
		"/MESSAGES/*":                            {true, true, false},
		"/messages/modules/*":                    {false, true, false},
		"/messages/modules/filter/*":             {false, true, false},
		"/messages/modules/other/*":              {false, false, false},
		"/messages/modules/filter/outputs/*":     {false, true, false},
		"/messages/modules/filter/outputs/alert": {false, true, false},
		"/messages/modules/filter/outputs/b":     {false, false, false},
		"/twinChangeNotifications":               {false, false, true},
	} {
		r, err := Parse("FROM " + source + " INTO $upstream")
		require.NoError(t, err)
		require.Equal(t, want, [3]bool{r.Matches(&leaf), r.Matches(&module), r.Matches(&twin)}, source)
		require.True(t, r.Upstream)
		require.Equal(t, source, r.Source)
	}
}

func TestConditions(t *testing.T) {
	for condition, want := range map[string]bool{
		`NOT IS_DEFINED ($connectionModuleId)`:            true,
		`NOT is_defined($connectionDeviceId)`:             false,
		`$connectionDeviceId = 'leaf'`:                    true,
		`{$connectionDeviceId} = "leaf"`:                  true,
		`$connectionDeviceId <> 'leaf'`:                   false,
		`alert = 'true'`:                                  true,
		`ALERT = 'true' and level = '7'`:                  true,
		`alert = 'false' OR alert = 'true' AND level='8'`: false,
		`missing = 'x'`:                                   false,
		`NOT (missing = 'x')`:                             false,
		`missing != 'x' OR true`:                          true,
		`as_number(level) > 6`:                            true,
		`as_number(level) + 1 * 2 = 9`:                    true,
		`as_number(level) -1 = 6`:                         true,
		`as_number(level) % 4 = 3`:                        true,
		`-as_number(level) < -6.5`:                        true,
		`0x10 = 16 AND 1.5e1 = 15`:                        true,
		`$body.weather.temperature >= 51`:                 true,
		`$body.weather.temperature > 60`:                  false,
		`$body.weather.days[1].n = 'tue'`:                 true,
		`$body.weather.days[2].n = 'tue'`:                 false,
		`$body.ok`:                                        true,
		`$body.ok AND is_bool($body.ok)`:                  true,
		`is_null($body.none) AND $body.none = null`:       true,
		`$body.ok != null`:                                true,
		`$body.missing != null`:                           false,
		`$body.weather.temperature = 'x'`:                 false,
		`$body.x = 'p'`:                                   true, // an application property goes first
		`{$body.x} = 'p'`:                                 false,
		`$contentType = 'mine'`:                           true,
		`starts_with({$contentType}, 'application/json')`: true,
		`{$body.weather.temperature} = 51.5`:              true,
		`{$body.weather.days[0].n} = 'mon'`:               true,
		`length(city) = 10`:                               true, // in UTF-16 units
		`substring(city, 1, 3) = 'üri'`:                   true,
		`index_of(city, '!') = 9`:                         true,
		`index_of(city, '?') = -1`:                        true,
		`sqrt(-1) = 5`:                                    false,
		`NOT is_defined(as_number('nan'))`:                true,
		`as_number('NaN') = 7`:                            false,
		`0 / 0 = 1 OR 1 % 0 = 1`:                          false,
		`is_defined(power(-1, 0.5))`:                      false,
		`starts_with(alert, 'tr') AND ends_with(alert,'ue') AND contains(alert, 'ru')`:               true,
		`length(alert) = 4 AND upper(alert) = 'TRUE' AND lower('A') = 'a'`:                           true,
		`substring(alert, 1) = 'rue' AND substring(alert, 1, 2) = 'ru' AND index_of(alert, 'u') = 2`: true,
		`substring(alert, 9) = ''`: false,
		`concat(alert, '-', level) = 'true-7' AND alert || level = 'true7'`:                                                            true,
		`abs(-2) = 2 AND power(2, 3) = 8 AND square(3) = 9 AND sqrt(16) = 4 AND ceiling(1.2) = 2 AND floor(1.8) = 1 AND sign(-3) = -1`: true,
		`exp(0) = 1`:                  true,
		`(missing ?? alert) = 'true'`: true,
		`is_string(alert) AND NOT is_number($body.ok) AND is_number($body.weather.temperature)`: true,
		`'it\'s' = "it's" AND '\u0041' = 'A'`:                                                   true,
		`twin_change_includes('a')`:                                                             false,
	} {
		r, err := Parse("SELECT * FROM /messages/* WHERE " + condition + " INTO $UPSTREAM")
		require.NoError(t, err, condition)
		m := leaf
		require.Equal(t, want, r.Matches(&m), condition)
	}
	change := Message{Source: TwinChanges, System: map[string]string{"contentType": "application/json"}, Body: []byte(`{"a":{"b":1}}`)}
	r, err := Parse("FROM /twinChangeNotifications WHERE twin_change_includes('a.b') INTO $upstream")
	require.NoError(t, err)
	require.True(t, r.Matches(&change))
	plain := leaf
	plain.System = map[string]string{"contentType": "text/plain"}
	r, err = Parse("FROM /* WHERE $body.ok INTO $upstream")
	require.NoError(t, err)
	require.False(t, r.Matches(&plain))
}

func TestSinks(t *testing.T) {
	r, err := Parse(`FROM /messages/* INTO brokeredEndpoint( " modules/filter/inputs/in1/" )`)
	require.NoError(t, err)
	require.Equal(t, "filter/in1", r.Sink())
	require.False(t, r.Upstream)
}

// Every error names its column and what would be right.
func TestErrors(t *testing.T) {
	for text, want := range map[string]struct {
		column int
		detail string
	}{
		``:                                            {1, "FROM is wanted here, not the end"},
		`FORM /* INTO $upstream`:                      {1, "FROM is wanted here, not FORM"},
		`SELECT a FROM /* INTO $upstream`:             {8, "* after SELECT"},
		`FROM messages INTO $upstream`:                {6, "a source such as"},
		`FROM /messages/ INTO $upstream`:              {22, "WHERE or INTO is wanted here, not $upstream"},
		`FROM // INTO $upstream`:                      {7, "a name or * after /"},
		`FROM /*`:                                     {8, "WHERE or INTO is wanted here, not the end"},
		`FROM /* INTO`:                                {13, "$upstream or BrokeredEndpoint"},
		`FROM /* INTO upstream`:                       {14, "there is no endpoint upstream"},
		`FROM /* INTO $up`:                            {14, "there is no endpoint $up"},
		`FROM /* INTO Event("x")`:                     {14, "there is no endpoint Event"},
		`FROM /* INTO BrokeredEndpoint "x"`:           {31, "( after BrokeredEndpoint"},
		`FROM /* INTO BrokeredEndpoint(x)`:            {31, `"/modules/{module}/inputs/{input}"`},
		`FROM /* INTO BrokeredEndpoint("/modules/m")`: {31, "has not the form"},
		`FROM /* INTO BrokeredEndpoint("/modules/m/inputs/i"`: {52, ") after the endpoint"},
		`FROM /* INTO $upstream now`:                          {24, "nothing more is wanted here, not now"},
		`FROM /* WHERE INTO $upstream`:                        {15, "a value is wanted here, not INTO"},
		`FROM /* WHERE a = INTO $upstream`:                    {19, "a value is wanted here, not INTO"},
		`FROM /* WHERE a INTO $upstream`:                      {15, "the condition is a text"},
		`FROM /* WHERE a > 1 INTO $upstream`:                  {17, "two values of one type"},
		`FROM /* WHERE NOT a = 'x' INTO $upstream`:            {15, "NOT (…)"},
		`FROM /* WHERE a + 1 = 2 INTO $upstream`:              {17, "two numbers"},
		`FROM /* WHERE 1 || 'a' = 'a' INTO $upstream`:         {17, "two texts"},
		`FROM /* WHERE 1 AND true INTO $upstream`:             {17, "true or false"},
		`FROM /* WHERE -'a' = 1 INTO $upstream`:               {15, "- takes a number"},
		`FROM /* WHERE (a = 'b' INTO $upstream`:               {15, "has no )"},
		`FROM /* WHERE a = 'b') INTO $upstream`:               {22, "an operator or INTO"},
		`FROM /* WHERE a = 'b INTO $upstream`:                 {19, "has no closing '"},
		`FROM /* WHERE a = '\x' INTO $upstream`:               {20, "a backslash"},
		`FROM /* WHERE a = [ INTO $upstream`:                  {19, `'[' is not part of a route`},
		`FROM /* WHERE isdefined(a) INTO $upstream`:           {15, "there is is_defined"},
		`FROM /* WHERE foo(a) INTO $upstream`:                 {15, "there is no function foo; there are abs, "},
		`FROM /* WHERE substring(a) = 'x' INTO $upstream`:     {15, "takes 2 or 3 values, not 1"},
		`FROM /* WHERE concat(a) = 'x' INTO $upstream`:        {15, "takes at least 2 values, not 1"},
		`FROM /* WHERE abs(a) = 1 INTO $upstream`:             {15, "value 1 of abs has to be a number, not a text"},
		`FROM /* WHERE contains(a 'b') INTO $upstream`:        {26, ", or )"},
		`FROM /* WHERE {a} = 'b' INTO $upstream`:              {16, "a system property such as"},
		`FROM /* WHERE $ = 'b' INTO $upstream`:                {15, "name is missing after $"},
	} {
		_, err := Parse(text)
		var e *Error
		require.ErrorAs(t, err, &e, text)
		require.Equal(t, want.column, e.Column, "%s: %v", text, err)
		require.Contains(t, err.Error(), want.detail, text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`SELECT * FROM /messages/modules/m/outputs/* WHERE NOT (as_number(a) -1 > 2 ?? $body.x[1].y = "z") INTO BrokeredEndpoint("/modules/m/inputs/i")`)
	f.Add(`FROM /twinChangeNotifications WHERE twin_change_includes('a.b') INTO $upstream`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.True(t, e.Column >= 1 && e.Column <= len(text)+1 || len(text) > MaxLength, "%q: column %d", text, e.Column)
			return
		}
		m := leaf
		m.Source = r.Source
		first := r.Matches(&m)
		again, err := Parse(r.Text)
		require.NoError(t, err)
		require.Equal(t, first, again.Matches(&m))
	})
}
