package mqtt_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// outcome is what a caller of a method gets.
type outcome struct {
	result iothub.MethodResult
	err    error
}

// invoke calls a method of dev-01 in the background.
func (c *cloud) invoke(m iothub.MethodCall) <-chan outcome {
	got := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		r, err := c.hub.InvokeMethod(ctx, contoso, "dev-01", "", m)
		got <- outcome{r, err}
	}()
	return got
}

// withMethods signs dev-01 in and subscribes to methods.
func (c *cloud) withMethods() *brokertest.Conn {
	c.t.Helper()
	conn := c.connect()
	conn.Send(brokertest.Subscribe(1, 1, methods))
	conn.Expect(0x90, 3, 0, 1, 1)
	return conn
}

func codeOf(t *testing.T, err error) (rule.ID, int) {
	t.Helper()
	var r *rule.Refusal
	require.True(t, errors.As(err, &r), "%v", err)
	return r.Rule, r.Code
}

func TestMethod(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.withMethods()
	got := c.invoke(iothub.MethodCall{Name: "reboot", Payload: []byte(`{"in":5}`), ConnectTimeout: 5 * time.Second})
	require.Equal(t, `{"in":5}`, expect(t, conn, "$iothub/methods/POST/reboot/?$rid=1"))
	publish(conn, "$iothub/methods/res/200/?$rid=1", `{"ok":true}`)
	o := <-got
	require.NoError(t, o.err)
	require.Equal(t, iothub.MethodResult{Status: 200, Payload: []byte(`{"ok":true}`)}, o.result)

	got = c.invoke(iothub.MethodCall{Name: "stop"})
	require.Empty(t, expect(t, conn, "$iothub/methods/POST/stop/?$rid=2"))
	conn.Send(brokertest.Publish{Topic: "$iothub/methods/res/-1/?$rid=2"}.Bytes())
	o = <-got
	require.NoError(t, o.err)
	require.Equal(t, -1, o.result.Status)
	rule.Proves(t, "HUB-47")
}

func TestMethodWaitsForTheDevice(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	got := c.invoke(iothub.MethodCall{Name: "late", ConnectTimeout: 300 * time.Second})
	conn := c.withMethods()
	expect(t, conn, "$iothub/methods/POST/late/?$rid=1")
	publish(conn, "$iothub/methods/res/200/?$rid=1", "")
	require.NoError(t, (<-got).err)
}

func TestMethodFails(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	id, code := codeOf(t, (<-c.invoke(iothub.MethodCall{Name: "m"})).err)
	require.EqualValues(t, "HUB-48/offline", id)
	require.Equal(t, iothub.CodeNotOnline, code)
	conn := c.connect()
	publish(conn, "devices/dev-01/messages/events/", "x") // the session is open now
	id, code = codeOf(t, (<-c.invoke(iothub.MethodCall{Name: "m"})).err)
	require.EqualValues(t, "HUB-48/subscription", id)
	require.Equal(t, iothub.CodeNotOnline, code)

	c.expectRefused("HUB-48/offline")
	c.expectRefused("HUB-48/subscription")
	rule.Proves(t, "HUB-48/offline", "HUB-48/subscription")
}

func TestSilentDevice(t *testing.T) {
	bubble(t, func(t *testing.T, c *cloud) {
		conn := within(c, 0)
		conn.Send(brokertest.Subscribe(1, 1, methods))
		conn.Expect(0x90, 3, 0, 1, 1)
		at := time.Now()
		got := c.invoke(iothub.MethodCall{Name: "silent", ConnectTimeout: time.Second, ResponseTimeout: 7 * time.Second})
		expect(t, conn, "$iothub/methods/POST/silent/?$rid=1")
		id, code := codeOf(t, (<-got).err)
		require.EqualValues(t, "HUB-48/timeout", id)
		require.Equal(t, iothub.CodeMethodTimeout, code)
		require.Equal(t, 7*time.Second, time.Since(at))
		c.expectRefused("HUB-48/timeout")
		rule.Proves(t, "HUB-48", "HUB-48/timeout")
	})
}

func TestDeviceLeavesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.withMethods()
	got := c.invoke(iothub.MethodCall{Name: "m", ConnectTimeout: time.Second})
	expect(t, conn, "$iothub/methods/POST/m/?$rid=1")
	conn.Send(brokertest.Disconnect)
	id, code := codeOf(t, (<-got).err)
	require.EqualValues(t, "HUB-48/closed", id)
	require.Equal(t, iothub.CodeClosedRemotely, code)
	c.expectRefused("HUB-48/closed")

	conn = c.withMethods()
	got = c.invoke(iothub.MethodCall{Name: "m", ConnectTimeout: time.Second})
	expect(t, conn, "$iothub/methods/POST/m/?$rid=2")
	taker := c.withMethods()
	id, _ = codeOf(t, (<-got).err)
	require.EqualValues(t, "HUB-48/closed", id, "another connection took over")
	rule.Proves(t, "HUB-48/closed")

	got = c.invoke(iothub.MethodCall{Name: "m", ConnectTimeout: time.Second})
	expect(t, taker, "$iothub/methods/POST/m/?$rid=3")
	taker.Send(brokertest.Publish{Topic: "$iothub/methods/res/200/?$rid=3"}.Bytes())
	taker.Send(brokertest.Disconnect)
	o := <-got
	require.NoError(t, o.err, "an answer counts that was the last that the device said")
	require.Equal(t, 200, o.result.Status)
}

func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.withMethods()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 100)
	for range 100 {
		go func() {
			_, _ = c.hub.InvokeMethod(ctx, contoso, "dev-01", "", iothub.MethodCall{Name: "m", ConnectTimeout: time.Second})
			ended <- struct{}{}
		}()
	}
	for range 100 {
		conn.NextPublish()
	}
	id, code := codeOf(t, (<-c.invoke(iothub.MethodCall{Name: "m"})).err)
	require.EqualValues(t, "HUB-48/busy", id)
	require.Equal(t, iothub.CodeTooManyInFlight, code)
	c.expectRefused("HUB-48/busy")
	rule.Proves(t, "HUB-48/busy")
	cancel()
	for range 100 {
		<-ended
	}
}

func TestMethodAnswersThatCountForNothing(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.withMethods()
	module := c.signIn(loginModule())
	publish(conn, "$iothub/methods/res/200/?$rid=77", "{}")
	c.expectRefused("HUB-49/rid")
	got := c.invoke(iothub.MethodCall{Name: "m", ConnectTimeout: time.Second})
	expect(t, conn, "$iothub/methods/POST/m/?$rid=1")
	publish(module, "$iothub/methods/res/500/?$rid=1", "")
	publish(conn, "$iothub/methods/res/200/?$rid=2", "{}")
	publish(conn, "$iothub/methods/res/200/?$rid=1", "{}")
	publish(conn, "$iothub/methods/res/500/?$rid=1", "{}")
	o := <-got
	require.NoError(t, o.err)
	require.Equal(t, 200, o.result.Status)
	rule.Proves(t, "HUB-49", "HUB-49/rid")

	got = c.invoke(iothub.MethodCall{Name: "m", ConnectTimeout: time.Second})
	expect(t, conn, "$iothub/methods/POST/m/?$rid=2")
	publish(conn, "$iothub/methods/res/200/?$rid=2", strings.Repeat("x", 128<<10+1))
	c.expectRefused("HUB-47/size")
	rule.Proves(t, "HUB-47/size")
	publish(conn, "$iothub/methods/res/200/?$rid=2", "not json")
	id, _ := codeOf(t, (<-got).err)
	require.EqualValues(t, "HUB-47/json", id)
	c.expectRefused("HUB-47/json")
	rule.Proves(t, "HUB-47/json")
}

func TestMethodCallIsChecked(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for _, m := range []iothub.MethodCall{{}, {Name: "a/b"}, {Name: "a", Payload: []byte("{")}, {Name: "a", ConnectTimeout: time.Hour},
		{Name: "a", ResponseTimeout: time.Second}, {Name: "a", Payload: []byte(`"` + strings.Repeat("x", 128<<10) + `"`)}} {
		require.ErrorIs(t, (<-c.invoke(m)).err, iothub.ErrInvalid)
	}
	_, err := c.hub.InvokeMethod(t.Context(), contoso, "nobody", "", iothub.MethodCall{Name: "m"})
	require.ErrorIs(t, err, iothub.ErrNotFound)
}
