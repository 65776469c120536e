package mqtt_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	twinGet      = "$iothub/twin/GET/?$rid="
	twinReported = "$iothub/twin/PATCH/properties/reported/?$rid="
)

// withTwin signs dev-01 in and subscribes to twin answers and desired changes.
func (c *cloud) withTwin() *brokertest.Conn {
	c.t.Helper()
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, twinResults, desired))
	conn.Expect(0x90, 4, 0, 1, 1, 1)
	return conn
}

// expect reads a PUBLISH with QoS 0 on topic and returns its payload.
func expect(t *testing.T, conn *brokertest.Conn, topic string) string {
	t.Helper()
	p := conn.NextPublish()
	require.Equal(t, topic, p.Topic)
	require.Zero(t, p.QoS)
	return string(p.Payload)
}

func TestTwinGetAndReport(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.withTwin()
	publish(conn, twinGet+"1", "")
	require.JSONEq(t, `{"desired":{"$version":1},"reported":{"$version":1}}`, expect(t, conn, "$iothub/twin/res/200/?$rid=1"))
	conn.Send(brokertest.Publish{Topic: twinGet + "2f", Payload: []byte(" ")}.Bytes())
	expect(t, conn, "$iothub/twin/res/200/?$rid=2f")
	rule.Proves(t, "HUB-50")

	publish(conn, twinReported+"3", `{"a":1,"o":{"x":1,"y":[1]}}`)
	require.Empty(t, expect(t, conn, "$iothub/twin/res/204/?$rid=3&$version=2"))
	publish(conn, twinReported+"4&$version=2", `{"a":null,"o":{"x":2,"y":[2,3]}}`)
	require.Empty(t, expect(t, conn, "$iothub/twin/res/204/?$rid=4&$version=3"))
	publish(conn, twinGet+"5", "")
	require.JSONEq(t, `{"desired":{"$version":1},"reported":{"o":{"x":2,"y":[2,3]},"$version":3}}`, expect(t, conn, "$iothub/twin/res/200/?$rid=5"))
	rule.Proves(t, "HUB-51", "HUB-52")
}

func TestTwinErrors(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 11) + "{}" + strings.Repeat("}", 11)
	var members []string
	for _, k := range strings.Split("abcdefghi", "") {
		members = append(members, `"`+k+`":"`+strings.Repeat("x", 4000)+`"`)
	}
	for _, p := range []struct {
		patch, query string
		status, code int
		rule         rule.ID
	}{
		{patch: `{"a":`, status: 400, code: 400006, rule: "HUB-53/json"},
		{patch: `[]`, status: 400, code: 400004, rule: "HUB-53/root"},
		{patch: `{"a.b":1}`, status: 400, code: 400004, rule: "HUB-53/key"},
		{patch: deep, status: 400, code: 400004, rule: "HUB-53/depth"},
		{patch: `{"a":"` + strings.Repeat("x", 4097) + `"}`, status: 400, code: 400004, rule: "HUB-53/string"},
		{patch: `{"a":4503599627370496}`, status: 400, code: 400004, rule: "HUB-53/integer"},
		{patch: `{` + strings.Join(members, ",") + `}`, status: 413, code: 413001, rule: "HUB-54/size"},
		{patch: `{}`, query: "&$version=7", status: 412, code: 412001, rule: "HUB-51/version"},
	} {
		c := newCloud(t)
		conn := c.withTwin()
		publish(conn, twinReported+"9"+p.query, p.patch)
		var body struct {
			ErrorCode                         int
			TrackingID, Message, TimestampUTC string
		}
		topic := "$iothub/twin/res/" + map[int]string{400: "400", 412: "412", 413: "413"}[p.status] + "/?$rid=9"
		require.NoError(t, json.Unmarshal([]byte(expect(t, conn, topic)), &body))
		require.Equal(t, p.code, body.ErrorCode)
		require.Regexp(t, `^[0-9a-f]{32}-G:\d+-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`, body.TrackingID)
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, body.TimestampUTC)
		require.NotEmpty(t, body.Message)
		require.EqualValues(t, p.status, *c.expectRefused(p.rule).Code)
		publish(conn, twinGet+"1", "")
		require.JSONEq(t, `{"desired":{"$version":1},"reported":{"$version":1}}`, expect(t, conn, "$iothub/twin/res/200/?$rid=1"))
		rule.Proves(t, p.rule, p.rule.Row())
	}
}

func TestTwinWithoutAPIVersion(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hello := login()
	hello.Username = brokertest.Text(contoso + "/dev-01")
	conn := c.signIn(hello)
	conn.Send(brokertest.Subscribe(1, 0, twinResults))
	conn.Expect(0x90, 3, 0, 1, 0)
	publish(conn, twinReported+"1", `{}`)
	require.Contains(t, expect(t, conn, "$iothub/twin/res/400/?$rid=1"), `"errorCode":400004`)
	c.expectRefused("HUB-3/api-version")
	rule.Proves(t, "HUB-3", "HUB-3/api-version")
}

func TestDesiredChange(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	change := func(k string) {
		_, err := c.hub.ChangeTwin(contoso, "dev-01", "", iothub.TwinPatch{Desired: map[string]any{k: nil}}, "")
		require.NoError(t, err)
	}
	change("offline")
	conn := c.connect()
	publish(conn, "devices/dev-01/messages/events/", "x") // the session is open now
	change("deaf")
	conn.Send(brokertest.Subscribe(1, 1, twinResults, desired))
	conn.Expect(0x90, 4, 0, 1, 1, 1)
	change("a")
	require.JSONEq(t, `{"a":null,"$version":4}`, expect(t, conn, "$iothub/twin/PATCH/properties/desired/?$version=4"))
	change("b")
	require.JSONEq(t, `{"b":null,"$version":5}`, expect(t, conn, "$iothub/twin/PATCH/properties/desired/?$version=5"))
	rule.Proves(t, "HUB-55")
}

func TestTwinWithoutRequestID(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.withTwin()
	publish(conn, "$iothub/twin/PATCH/properties/reported/", `{"a":1}`)
	publish(conn, "$iothub/twin/GET/?$rid=", "")
	c.expectRefused("HUB-56/rid")
	publish(conn, twinGet+"1", "")
	require.NotContains(t, expect(t, conn, "$iothub/twin/res/200/?$rid=1"), `"a"`)
	rule.Proves(t, "HUB-56", "HUB-56/rid")
}

func TestTwinWithoutSubscription(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	publish(conn, twinReported+"1", `{"a":1}`)
	conn.Send(brokertest.Pingreq)
	conn.Expect(brokertest.Pingresp...)
	require.Contains(t, c.expectRefused("HUB-50/unsubscribed").Seen, "$iothub/twin/res/204/?$rid=1")
	rule.Proves(t, "HUB-50/unsubscribed")
	twin, err := c.hub.GetTwin(contoso, "dev-01", "")
	require.NoError(t, err)
	require.Contains(t, twin.Reported.Values, "a", "it was done, though nobody hears of it")
	conn.Send(brokertest.Subscribe(1, 0, twinResults))
	conn.Expect(0x90, 3, 0, 1, 0)
	publish(conn, twinGet+"2", "")
	expect(t, conn, "$iothub/twin/res/200/?$rid=2")
	events, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
	require.Len(t, events, 1, "an answer that is delivered is no refusal")
}

func TestModuleTwin(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.signIn(loginModule())
	conn.Send(brokertest.Subscribe(1, 0, twinResults))
	conn.Expect(0x90, 3, 0, 1, 0)
	publish(conn, twinReported+"1", `{"m":1}`)
	expect(t, conn, "$iothub/twin/res/204/?$rid=1&$version=2")
	twin, err := c.hub.GetTwin(contoso, "dev-01", "")
	require.NoError(t, err)
	require.Empty(t, twin.Reported.Values)
}
