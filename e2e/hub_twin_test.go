package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// twinClient is dev-01, subscribed to the answers of its twin.
type twinClient struct {
	*testing.T
	cloud *fakecloud.Cloud
	conn  *rawmqtt.Conn
	rid   int
}

func newTwinClient(t *testing.T, worlds ...string) *twinClient {
	t.Helper()
	cloud := startContoso(t, worlds...)
	c := &twinClient{T: t, cloud: cloud, conn: signIn(t, cloud, dev01())}
	send(t, c.conn, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(t, c.conn, 0x90, 0x03, 0x00, 0x01, 0x00)
	return c
}

// get reads the twin: desired and reported, each with its $version.
func (c *twinClient) get() (desired, reported map[string]any) {
	c.Helper()
	c.rid++
	send(c.T, c.conn, rawmqtt.Publish(fmt.Sprintf("$iothub/twin/GET/?$rid=%x", c.rid), "", 0, 0, false))
	answer := receive(c.T, c.conn)
	require.Equal(c, fmt.Sprintf("$iothub/twin/res/200/?$rid=%x", c.rid), answer.Topic())
	require.Zero(c, answer.QoS())
	var twin map[string]map[string]any
	require.NoError(c, json.Unmarshal([]byte(answer.Payload()), &twin))
	require.Len(c, twin, 2, "desired and reported, no tags")
	require.Contains(c, twin["desired"], "$version")
	require.Contains(c, twin["reported"], "$version")
	return twin["desired"], twin["reported"]
}

// report patches the reported properties and returns the answer's topic and body. query follows the $rid.
func (c *twinClient) report(patch, query string) (topic, body string) {
	c.Helper()
	c.rid++
	send(c.T, c.conn, rawmqtt.Publish(fmt.Sprintf("$iothub/twin/PATCH/properties/reported/?$rid=%x%s", c.rid, query), patch, 0, 0, false))
	answer := receive(c.T, c.conn)
	require.Zero(c, answer.QoS())
	return answer.Topic(), answer.Payload()
}

// reported sees a patch accepted with this new version.
func (c *twinClient) reported(patch string, version int) {
	c.Helper()
	topic, body := c.report(patch, "")
	require.Equal(c, fmt.Sprintf("$iothub/twin/res/204/?$rid=%x&$version=%d", c.rid, version), topic)
	require.Empty(c, body)
}

func TestHubTwinGet(t *testing.T) {
	t.Parallel()
	c := newTwinClient(t, "azure: {hubs: [{name: contoso, devices: [{deviceId: dev-01, initialTwin: {tags: {plant: 7}, properties: {desired: {period: 10}}}}]}]}")
	desired, reported := c.get()
	require.Equal(t, map[string]any{"period": 10.0, "$version": 1.0}, desired)
	require.Equal(t, map[string]any{"$version": 1.0}, reported)
	// QoS 1, and one space as body, as Node sends it: the PUBACK comes first.
	send(t, c.conn, rawmqtt.Publish("$iothub/twin/GET/?$rid=ff", " ", 1, 9, false))
	wantBytes(t, c.conn, 0x40, 0x02, 0x00, 0x09)
	require.Equal(t, "$iothub/twin/res/200/?$rid=ff", receive(t, c.conn).Topic())
	rule.Proves(t, "HUB-50")
}

func TestHubReportedPatches(t *testing.T) {
	t.Parallel()
	c := newTwinClient(t)
	c.reported(`{"a":1,"o":{"x":1,"y":{"z":true}},"l":[1,2,3],"s":"t"}`, 2)
	c.reported(`{"a":null,"o":{"x":2,"w":null},"l":[4]}`, 3)
	_, reported := c.get()
	require.Equal(t, map[string]any{"o": map[string]any{"x": 2.0, "y": map[string]any{"z": true}}, "l": []any{4.0}, "s": "t", "$version": 3.0}, reported)
	c.reported(`{"o":5}`, 4)
	topic, _ := c.report(`{"o":6}`, "&$version=4")
	require.True(t, strings.HasPrefix(topic, "$iothub/twin/res/204/?$rid="), topic)
	_, reported = c.get()
	require.Equal(t, 6.0, reported["o"])
	rule.Proves(t, "HUB-51", "HUB-52")
}

// A request of a client that has not subscribed to answers is carried out all the same.
func TestHubReportedWithoutSubscription(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	say(t, conn, "$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`)
	wantAlive(t, conn)
	send(t, conn, rawmqtt.Subscribe(1, 1, "$iothub/twin/res/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x01)
	c := &twinClient{T: t, cloud: cloud, conn: conn}
	_, reported := c.get()
	require.Equal(t, map[string]any{"a": 1.0, "$version": 2.0}, reported)
}

// nested is a document of that many objects within each other. The outermost is the reported properties
// themselves and does not count towards the depth of ten: the documents' example of a legal document has
// the objects one to ten within tags.
func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

// strings32K is a document of n strings of 4,000 bytes under keys of two letters.
func strings32K(n int) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"k%c":"%s"`, 'a'+i, strings.Repeat("x", 4000)))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestHubReportedRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []struct {
		name, patch, query, status string
		rule                       rule.ID
	}{
		{"half a document", `{"a":`, "", "400", "HUB-53/json"},
		{"two documents", `{} {}`, "", "400", "HUB-53/json"},
		{"empty", ``, "", "400", "HUB-53/json"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "", "400", "HUB-53/json"},
		{"array", `[1]`, "", "400", "HUB-53/root"},
		{"number", `5`, "", "400", "HUB-53/root"},
		{"null", `null`, "", "400", "HUB-53/root"},
		{"dot", `{"a.b":1}`, "", "400", "HUB-53/key"},
		{"dollar", `{"$a":1}`, "", "400", "HUB-53/key"},
		{"space, further in", `{"o":{"a b":1}}`, "", "400", "HUB-53/key"},
		{"control character", `{"a\u0001":1}`, "", "400", "HUB-53/key"},
		{"C1 control character", `{"a\u0085":1}`, "", "400", "HUB-53/key"},
		{"key of 1025 bytes", `{"` + strings.Repeat("k", 1025) + `":1}`, "", "400", "HUB-53/key"},
		{"$version within", `{"$version":3}`, "", "400", "HUB-53/key"},
		{"depth 11", nested(12), "", "400", "HUB-53/depth"},
		{"depth 5000", nested(5000), "", "400", "HUB-53/depth"},
		{"4097 bytes of text", `{"a":"` + strings.Repeat("x", 4097) + `"}`, "", "400", "HUB-53/string"},
		{"large integer", `{"a":4503599627370496}`, "", "400", "HUB-53/integer"},
		{"small integer", `{"a":-4503599627370497}`, "", "400", "HUB-53/integer"},
		{"too much", strings32K(9), "", "413", "HUB-54/size"},
		{"old version", `{"a":1}`, "&$version=1", "412", "HUB-51/version"},
		{"future version", `{"a":1}`, "&$version=77", "412", "HUB-51/version"},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			c := newTwinClient(t)
			c.reported(`{"before":1}`, 2)
			topic, body := c.report(p.patch, p.query)
			require.Equal(t, fmt.Sprintf("$iothub/twin/res/%s/?$rid=%x", p.status, c.rid), topic)
			var answer struct {
				ErrorCode                         int
				TrackingID, Message, TimestampUTC string
			}
			require.NoError(t, json.Unmarshal([]byte(body), &answer))
			require.Equal(t, p.status, fmt.Sprint(answer.ErrorCode/1000), body)
			require.NotEmpty(t, answer.TrackingID)
			require.NotEmpty(t, answer.Message)
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, answer.TimestampUTC)
			_, reported := c.get()
			require.Equal(t, map[string]any{"before": 1.0, "$version": 2.0}, reported)
			e := refused(t, c.cloud, p.rule)
			require.NotNil(t, e.Code)
			require.Equal(t, p.status, fmt.Sprint(*e.Code))
			rule.Proves(t, p.rule.Row())
		})
	}
}

// What stands just within the limits is accepted.
func TestHubReportedLimits(t *testing.T) {
	t.Parallel()
	c := newTwinClient(t)
	for i, patch := range []string{nested(11), `{"` + strings.Repeat("k", 1024) + `":null}`, `{"a":"` + strings.Repeat("x", 4096) + `"}`,
		`{"a":4503599627370495,"b":-4503599627370496}`, `{"a":1e300,"b":"é€\u0001"}`, `{}`} {
		c.reported(patch, i+2)
	}
	rule.Proves(t, "HUB-53")
}

func TestHubTwinTopicsWithoutAnswer(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"$iothub/twin/GET/", "$iothub/twin/GET/?$rid=", "$iothub/twin/PATCH/properties/reported/",
		"$iothub/twin/PATCH/properties/reported/?$version=1"} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			c := newTwinClient(t)
			say(t, c.conn, topic, "{}")
			wantAlive(t, c.conn)
			refused(t, c.cloud, "HUB-56/rid")
			rule.Proves(t, "HUB-56")
		})
	}
}

// Directions that are not the device's: closed.
func TestHubServiceTopics(t *testing.T) {
	t.Parallel()
	for topic, id := range map[string]rule.ID{
		"$iothub/twin/PATCH/properties/desired/":            "HUB-57/desired",
		"$iothub/twin/PATCH/properties/desired/?$rid=1":     "HUB-57/desired",
		"$iothub/twin/PATCH/properties/desired/?$version=2": "HUB-57/desired",
		"$iothub/methods/POST/x":                            "HUB-58/call",
		"$iothub/methods/POST/reboot/?$rid=1":               "HUB-58/call",
		"$iothub/twin/get/?$rid=1":                          "HUB-35/topic",
		"$iothub/twin/patch/properties/reported/?$rid=1":    "HUB-35/topic",
		"$iothub/methods/res/ok/?$rid=1":                    "HUB-35/topic",
		"$iothub/twin/res/200/?$rid=1":                      "HUB-35/topic",
		"$iothub/credentials/POST/issueCertificate/?$rid=1": "HUB-35/topic",
	} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			c := newTwinClient(t)
			send(t, c.conn, rawmqtt.Publish(topic, "{}", 1, 5, false))
			require.NotEmpty(t, wantCut(t, c.cloud, c.conn, id).Expected)
		})
	}
}

// An answer that no call waits for: acknowledged and ignored.
func TestHubMethodAnswerWithoutCall(t *testing.T) {
	t.Parallel()
	c := newTwinClient(t)
	for _, topic := range []string{"$iothub/methods/res/200/?$rid=99", "$iothub/methods/res/-5/?$rid=99", "$iothub/methods/res/200/"} {
		say(t, c.conn, topic, "{}")
	}
	wantAlive(t, c.conn)
	refused(t, c.cloud, "HUB-49/rid")
	rule.Proves(t, "HUB-49")
}
