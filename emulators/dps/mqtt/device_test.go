package mqtt_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// open connects a device that has subscribed.
func open(t *testing.T, h *mqtt.Head, edit func(*broker.Connect)) broker.Device {
	t.Helper()
	s, err := h.Connect(t.Context(), connect(func(c *broker.Connect) {
		c.Link = &link{filter: filter}
		if edit != nil {
			edit(c)
		}
	}))
	require.NoError(t, err)
	s.Device.Established()
	return s.Device
}

func publish(t *testing.T, d broker.Device, topic, body string) broker.Verdict {
	t.Helper()
	return d.Publish(t.Context(), broker.Message{Topic: topic, Payload: []byte(body), QoS: 1})
}

// answerOf returns the only answer of an accepted or refused request.
func answerOf(t *testing.T, v broker.Verdict) broker.Outgoing {
	t.Helper()
	require.Len(t, v.Answers, 1)
	a := v.Answers[0]
	require.False(t, a.Retain)
	require.False(t, a.Dup)
	require.False(t, a.Unsubscribed)
	require.EqualValues(t, 1, a.QoS)
	return a
}

// DPS-6 and DPS-7.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	h, _ := newHead(t)
	d := open(t, h, nil)
	for asked, granted := range map[byte]byte{0: 0, 1: 1, 2: 1} {
		require.Equal(t, broker.Verdict{Granted: granted}, d.Subscribe(filter, asked))
	}
	for _, other := range []string{"#", "$dps/registrations/res/200/#", "$dps/registrations/res/+", "$dps/#", "$share/g/$dps/registrations/res/#", "$DPS/registrations/res/#", "", "$dps/registrations/res/# ", strings.Repeat("a/", 30_000)} {
		v := d.Subscribe(other, 1)
		require.Equal(t, broker.Refuse, v.Action, other)
		require.EqualValues(t, "DPS-7/filter", v.Refusal.Rule)
		require.Equal(t, 0x80, v.Refusal.Code)
		require.Equal(t, filter, v.Refusal.Expected)
	}
	d.Unsubscribe(filter)
}

// DPS-9, DPS-12, DPS-13 over topics, with the forms of $rid that SDKs use.
func TestRegisterAndPoll(t *testing.T) {
	t.Parallel()
	for _, rid := range []string{"1", "abc-1", "8f0a5f0e-5d0c-4b0a-9d5a-0f6ed8a0b6b1", "a%2Fb%20c", "x=y"} {
		h, _ := newHead(t)
		d := open(t, h, nil)
		v := publish(t, d, register+rid, "")
		require.Equal(t, broker.Accept, v.Action)
		require.Nil(t, v.Refusal)
		a := answerOf(t, v)
		require.Equal(t, "$dps/registrations/res/202/?$rid="+rid+"&retry-after=3", a.Topic)
		var op struct{ OperationID, Status string }
		require.NoError(t, json.Unmarshal(a.Payload, &op))

		v = publish(t, d, poll+rid+"&operationId="+op.OperationID, " ")
		require.Equal(t, "$dps/registrations/res/202/?$rid="+rid+"&retry-after=3", answerOf(t, v).Topic)
		v = publish(t, d, poll+rid+"&operationId="+strings.ReplaceAll(op.OperationID, ".", "%2E"), "")
		a = answerOf(t, v)
		require.Equal(t, "$dps/registrations/res/200/?$rid="+rid, a.Topic, "no retry-after with a final answer")
		require.Contains(t, string(a.Payload), `"status":"assigned"`)
		require.Contains(t, string(a.Payload), `"assignedHub":"h.azure-devices.net"`)
	}
}

// DPS-11, DPS-14, DPS-15, DPS-16, DPS-26: refusals are answers, and the connection stays.
func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	h, _ := newHead(t)
	expired := "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=1%2F7JadeGBemKLfY73yLNP6VZhqgNmFAPIO6o0HpsoN8%3D&se=1577836800&skn=registration"
	for _, c := range []struct {
		name        string
		edit        func(*broker.Connect)
		topic, body string
		want        string
		rule        rule.ID
	}{
		{"json", nil, register + "9", "{", "$dps/registrations/res/400/?$rid=9", "DPS-11/json"},
		{"operation", nil, poll + "9&operationId=4.x.y", "", "$dps/registrations/res/404/?$rid=9", "DPS-14/operation"},
		{"no operation", nil, poll + "9", "", "$dps/registrations/res/400/?$rid=9", "DPS-14/missing"},
		{"expired", func(c *broker.Connect) { c.Password = []byte(expired) }, register + "9", "", "$dps/registrations/res/401/?$rid=9", "DPS-16/expired"},
		{"key", func(c *broker.Connect) { c.Password = []byte(strings.Replace(token, "%2BU", "%2BA", 1)) }, register + "9", "", "$dps/registrations/res/401/?$rid=9", "DPS-15/signature"},
		{"scope", func(c *broker.Connect) { c.Username = strings.Replace(username, "0ne00FAKE01", "0neOTHER", 1) }, register + "9", "", "$dps/registrations/res/401/?$rid=9", "DPS-26/scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := publish(t, open(t, h, c.edit), c.topic, c.body)
			require.Equal(t, broker.Refuse, v.Action)
			require.Equal(t, c.rule, v.Refusal.Rule)
			a := answerOf(t, v)
			require.Equal(t, c.want, a.Topic)
			require.Contains(t, string(a.Payload), `{"errorCode":`)
		})
	}
}

// DPS-9/topic and DPS-9/rid close the connection and name the closest topic.
func TestTopicsThatClose(t *testing.T) {
	t.Parallel()
	h, s := newHead(t)
	for _, c := range []struct {
		topic string
		rule  rule.ID
		near  string
	}{
		{"$dps/registrations/PUT/iotdps-register/", "DPS-9/rid", register + "{rid}"},
		{"$dps/registrations/PUT/iotdps-register/?rid=1", "DPS-9/rid", register + "1"},
		{"/registrations/PUT/iotdps-register/?=1", "DPS-9/topic", register + "{rid}"},
		{"$dps/registrations/put/iotdps-register/?$rid=1", "DPS-9/topic", register + "1"},
		{"$dps/registrations/GET/iotdps-get-operationstatus?$rid=1&operationId=o", "DPS-9/topic", poll + "1&operationId=o"},
		{"devices/device-001/messages/events/", "DPS-9/topic", register + "{rid}"},
		{"$dps/registrations/res/202/?$rid=1", "DPS-9/topic", register + "1"},
		{"", "DPS-9/topic", ""},
		{register + strings.Repeat("1", 60_000), "DPS-9/topic", ""},
	} {
		v := publish(t, open(t, h, nil), c.topic, "")
		require.Equal(t, broker.Close, v.Action, c.topic)
		require.Empty(t, v.Answers)
		require.Equal(t, c.rule, v.Refusal.Rule)
		require.True(t, v.Refusal.Silent)
		if c.near != "" {
			require.Equal(t, c.near, v.Refusal.Expected)
		}
		require.Less(t, len(v.Refusal.Seen)+len(v.Refusal.Expected), 4000)
	}
	require.Empty(t, s.Registrations("fakecloud-dps"))
}

// DPS-6/unsubscribed: carried out, not delivered, and said.
func TestRegisterBeforeSubscribe(t *testing.T) {
	t.Parallel()
	h, s := newHead(t)
	d := open(t, h, func(c *broker.Connect) { c.Link = &link{} })
	v := publish(t, d, register+"1", "")
	require.Equal(t, broker.Refuse, v.Action)
	require.Empty(t, v.Answers)
	require.EqualValues(t, "DPS-6/unsubscribed", v.Refusal.Rule)
	require.Len(t, s.Registrations("fakecloud-dps"), 1)
	v = publish(t, d, register+"1", "{")
	require.EqualValues(t, "DPS-11/json", v.Refusal.Rule, "the stronger reason is told")
}

// The door of the connection reaches the answer; wills and the end of a connection change nothing.
func TestDoorAndWill(t *testing.T) {
	t.Parallel()
	h, s := newHead(t)
	zero := 0
	require.NoError(t, s.PutInstance(dps.Instance{Name: "fakecloud-dps", IDScope: "0ne00FAKE01", LinkedHubs: []string{"h.azure-devices.net"}, Rounds: &zero}))
	d := open(t, h, func(c *broker.Connect) { c.Peer.Door = "127.0.0.1"; c.Peer.Remote = nil })
	var op struct{ OperationID string }
	require.NoError(t, json.Unmarshal(answerOf(t, publish(t, d, register+"1", "")).Payload, &op))
	a := answerOf(t, publish(t, d, poll+"2&operationId="+op.OperationID, ""))
	require.Contains(t, string(a.Payload), `"assignedHub":"127.0.0.1"`)
	d.Will(t.Context(), broker.Message{Topic: "a"})
	d.Gone(broker.ErrDisconnect)
}
