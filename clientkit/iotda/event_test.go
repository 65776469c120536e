package iotda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, c := up(t)
		sent := func(done <-chan error, want string) {
			t.Helper()
			topic, body := p.Take()
			require.Equal(t, sys+"events/up", topic)
			require.Equal(t, `{"object_device_id":"`+deviceID+`","services":[`+want+`]}`, body)
			if done != nil {
				require.NoError(t, <-done)
			}
		}
		sent(running(func() error {
			return d.SendEvent(t.Context(), Event{ServiceID: "$log", Type: "log_report", ID: "e", Time: at2018().Add(time.Second), Paras: json.RawMessage(`{"type":"x"}`)})
		}), `{"service_id":"$log","event_type":"log_report","event_time":"2018-07-24T17:56:21.000Z","event_id":"e","paras":{"type":"x"}}`)
		sent(running(func() error { return d.ReportInfo(t.Context(), Info{FirmwareVersion: "1.2"}) }),
			`{"service_id":"$sdk_info","event_type":"sdk_info_report","event_time":"2018-07-24T17:56:20.000Z",`+
				`"paras":{"device_sdk_version":"fakecloud-clientkit","fw_version":"1.2","sw_version":null}}`)
		require.ErrorContains(t, d.SendEvent(t.Context(), Event{Type: "x"}), "needs a service ID")
		require.ErrorContains(t, d.SendEvent(t.Context(), Event{ServiceID: "s", Type: "x", Paras: json.RawMessage("x")}), "not JSON")

		// Time: the device's clock stands, so the platform's is the difference. The answer comes with our id on
		// the second connection, or, as the only one of its kind, without.
		for _, id := range []string{"id1", ""} {
			var behind time.Duration
			done := running(func() error { var err error; behind, err = d.SyncTime(t.Context()); return err })
			const request = `{"service_id":"$time_sync","event_type":"time_sync_request","event_time":"2018-07-24T17:56:20.000Z","event_id":"id1","paras":{"device_send_time":1532454980000}}`
			sent(nil, request)
			p.Drop()
			p, _ = c.Accept(kittest.Accepted)
			sent(nil, request)
			inform(p, sys+"events/down", events("$time_sync", "time_sync_response", id, `{"device_send_time":1532454980000,"server_recv_time":1532454990000,"server_send_time":1532454992000}`))
			require.NoError(t, <-done)
			require.Equal(t, 11*time.Second, behind)
		}
		done := running(func() error { _, err := d.SyncTime(t.Context()); return err })
		p.Take()
		require.ErrorIs(t, <-done, ErrNoAnswer)
		done = running(func() error { _, err := d.SyncTime(t.Context()); return err })
		p.Take()
		inform(p, sys+"events/down", events("$time_sync", "time_sync_response", "id1", `[]`))
		require.ErrorContains(t, <-done, "time_sync_response cannot be read")
		ctx, cancel := context.WithCancel(t.Context())
		done = running(func() error { _, err := d.SyncTime(ctx); return err })
		p.Take()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)

		for range maxEvents { // what overflows is the oldest
			inform(p, sys+"events/down", events("$log", "early", "", `{}`))
		}
		inform(p, sys+"events/down", events("$log", "last", "", `{}`))
		synctest.Wait()
		got := make(chan Event)
		require.NoError(t, d.OnEvent("$log", func(_ context.Context, e Event) { got <- e }))
		require.ErrorIs(t, d.OnEvent("$log", func(context.Context, Event) {}), errTaken)
		for range maxEvents - 1 {
			require.Equal(t, "early", (<-got).Type)
		}
		require.Equal(t, "last", (<-got).Type)
		inform(p, sys+"events/down", events("$log", "log_config", "e9", `{"switch":"on"}`))
		require.Equal(t, Event{deviceID, "$log", "log_config", "e9", at2018(), json.RawMessage(`{"switch":"on"}`)}, <-got)
	})
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, _ := up(t)
		got := make(chan Upgrade)
		require.NoError(t, d.OnUpgrade(func() Versions { return Versions{"1.0", "2.0"} }, func(_ context.Context, u Upgrade) { got <- u }))
		inform(p, sys+"events/down", events("$ota", "version_query", "", `{}`))
		_, body := p.Take()
		require.Contains(t, body, `"service_id":"$ota","event_type":"version_report","event_time":"2018-07-24T17:56:20.000Z","paras":{"sw_version":"1.0","fw_version":"2.0"}`)
		inform(p, sys+"events/down", events("$ota", "firmware_upgrade", "", `[]`)) // cannot be read
		inform(p, sys+"events/down", events("$ota", "unknown", "", `{}`))
		inform(p, sys+"events/down", events("$ota", "firmware_upgrade", "", `{"version":"2.1","url":"https://h/p","file_size":"5","file_name":"p.bin",`+
			`"access_token":"tok","expires":86400,"sign":"ab"}`))
		require.Equal(t, Upgrade{true, "2.1", "https://h/p", "tok", "p.bin", 5, "ab", 86400}, <-got)
		inform(p, sys+"events/down", events("$ota", "software_upgrade_v2", "", `{"version":"2.2","url":"https://h/p?x","file_size":5}`))
		require.Equal(t, Upgrade{Version: "2.2", URL: "https://h/p?x", FileSize: 5}, <-got)
		done := running(func() error {
			return d.ReportProgress(t.Context(), Progress{Result: UpgradeCheckFailed, Percent: 100, Version: "2.1", Description: "sum"})
		})
		_, body = p.Take()
		require.Contains(t, body, `"event_type":"upgrade_progress_report","event_time":"2018-07-24T17:56:20.000Z","paras":{"result_code":7,"progress":100,"version":"2.1","description":"sum"}`)
		require.NoError(t, <-done)
		require.ErrorContains(t, d.ReportProgress(t.Context(), Progress{Percent: 101}), "expected 0 to 100")
	})
}

func TestDownload(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("hello"))
	}))
	t.Cleanup(server.Close)
	// sha256 of "hello", by sha256sum
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	u := Upgrade{URL: server.URL, AccessToken: "tok", FileSize: 5, Sign: sum}
	for want, change := range map[string]func(*Upgrade){
		"":                     func(*Upgrade) {},
		"401 Unauthorized":     func(u *Upgrade) { u.AccessToken = "" },
		"5 bytes instead of 6": func(u *Upgrade) { u.FileSize = 6 },
		"4 bytes instead of 3": func(u *Upgrade) { u.FileSize = 3 },
		"instead of 00":        func(u *Upgrade) { u.Sign = "00" },
		"unsupported protocol": func(u *Upgrade) { u.URL = "x" },
		"first path segment":   func(u *Upgrade) { u.URL = "a b:c" },
	} {
		u := u
		change(&u)
		var got bytes.Buffer
		err := u.Download(t.Context(), server.Client(), &got)
		if want == "" {
			require.NoError(t, err)
			require.Equal(t, "hello", got.String())
			continue
		}
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, Upgrade{URL: server.URL, AccessToken: "tok"}.Download(t.Context(), server.Client(), &bytes.Buffer{}))
}

// A signed address opens the package to whoever reads it in a log.
func TestDownloadErrorsHoldNoSignature(t *testing.T) {
	t.Parallel()
	refused := errors.New("connection refused")
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}}
	for want, address := range map[string]string{
		"connection refused": "http://store.test/p.bin?Signature=geheim",
		"invalid control":    "http://store.test/p\x7f?Signature=geheim",
	} {
		err := Upgrade{URL: address}.Download(t.Context(), client, io.Discard)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "geheim")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Upgrade{URL: "http://store.test/p.bin?Signature=geheim"}.Download(ctx, client, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "geheim")
}

func TestGateway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, _ := up(t)
		done := running(func() error {
			return d.ReportChildren(t.Context(), ChildReport{"c1", []Service{{ID: "S", Properties: map[string]any{"n": 1}}}})
		})
		topic, body := p.Take()
		require.Equal(t, sys+"gateway/sub_devices/properties/report", topic)
		require.Equal(t, `{"devices":[{"device_id":"c1","services":[{"service_id":"S","properties":{"n":1},"event_time":"2018-07-24T17:56:20.000Z"}]}]}`, body)
		require.NoError(t, <-done)
		require.ErrorContains(t, d.ReportChildren(t.Context(), make([]ChildReport, 101)...), "IoTDA takes 100")
		require.ErrorContains(t, d.ReportChildren(t.Context(), ChildReport{"c1", []Service{{}}}), "needs an ID")

		// ask runs a request and answers it.
		ask := func(f func() error, kind, paras, answerKind, answer string) error {
			t.Helper()
			done := running(f)
			_, body := p.Take()
			require.Contains(t, body, `"service_id":"$sub_device_manager","event_type":"`+kind+`","event_time":"2018-07-24T17:56:20.000Z","event_id":"id1","paras":`+paras)
			inform(p, sys+"events/down", events("$sub_device_manager", answerKind, "id1", answer))
			return <-done
		}
		var children []Child
		var failures []ChildFailure
		require.NoError(t, ask(func() (err error) {
			children, failures, err = d.AddChildren(t.Context(), NewChild{NodeID: "n1", ProductID: "p1", Name: "one"}, NewChild{NodeID: "n2"})
			return err
		}, "add_sub_device_request", `{"devices":[{"node_id":"n1","product_id":"p1","name":"one"},{"node_id":"n2","product_id":""}]}`,
			"add_sub_device_response", `{"successful_devices":[{"device_id":"c1","node_id":"n1"}],"failed_devices":[{"node_id":"n2","error_code":"IOTDA.014000","error_msg":"none"}]}`))
		require.Equal(t, []Child{{DeviceID: "c1", NodeID: "n1"}}, children)
		require.Equal(t, "n2: none (IOTDA.014000)", failures[0].String())
		_, _, err := d.AddChildren(t.Context(), NewChild{Extension: json.RawMessage("x")})
		require.ErrorContains(t, err, "add_sub_device_request: json")

		var ids []string
		require.NoError(t, ask(func() (err error) { ids, failures, err = d.DeleteChildren(t.Context(), "c1", "c2"); return err },
			"delete_sub_device_request", `{"devices":["c1","c2"]}`, "delete_sub_device_response",
			`{"successful_devices":["c1"],"failed_devices":[{"device_id":"c2","error_code":"E","error_msg":"none"}]}`))
		require.Equal(t, []string{"c1"}, ids)
		require.Equal(t, "c2: none (E)", failures[0].String())

		require.NoError(t, ask(func() (err error) { failures, err = d.SetChildrenOnline(t.Context(), true, "c1"); return err },
			"sub_device_update_status", `{"device_statuses":[{"device_id":"c1","status":"ONLINE"}]}`, "sub_device_update_status_response", `{}`))
		require.Empty(t, failures)
		require.NoError(t, ask(func() (err error) { _, err = d.SetChildrenOnline(t.Context(), false, "c1"); return err },
			"sub_device_update_status", `{"device_statuses":[{"device_id":"c1","status":"OFFLINE"}]}`, "sub_device_update_status_response", `{}`))
		_, err = d.SetChildrenOnline(t.Context(), true)
		require.ErrorContains(t, err, "expected 1 to 100")

		var version int64
		require.NoError(t, ask(func() (err error) { children, version, err = d.SyncChildren(t.Context(), 3); return err },
			"sub_device_sync_request", `{"version":3}`, "add_sub_device_notify", `{"devices":[{"device_id":"c9"}],"version":4}`))
		require.Equal(t, []Child{{DeviceID: "c9"}}, children)
		require.EqualValues(t, 4, version)

		changes := make(chan ChildrenChange)
		require.NoError(t, d.OnChildren(func(_ context.Context, c ChildrenChange) { changes <- c }))
		inform(p, sys+"events/down", events("$sub_device_manager", "start_scan", "", `{}`))
		inform(p, sys+"events/down", events("$sub_device_manager", "delete_sub_device_notify", "other", `{"devices":[{"device_id":"c1"}],"version":6}`))
		require.Equal(t, ChildrenChange{true, []Child{{DeviceID: "c1"}}, 6}, <-changes)
		inform(p, sys+"events/down", events("$sub_device_manager", "add_sub_device_notify", "other", `{"devices":[{"device_id":"c2"}],"version":7}`))
		require.Equal(t, ChildrenChange{false, []Child{{DeviceID: "c2"}}, 7}, <-changes)
	})
}

func FuzzInbound(f *testing.F) {
	f.Add(sys+"commands/request_id=1", `{"command_name":"x","paras":{"n":2}}`)
	f.Add(sys+"events/down", events("$ota", "firmware_upgrade", "", `{"version":"2","file_size":"5"}`))
	f.Add(sys+"messages/down", `{"content":"x"}`)
	f.Add(sys+"bootstrap/down", `{"address":"h:1"}`)
	f.Fuzz(func(t *testing.T, topic, body string) {
		cfg, err := Config{Host: "h", DeviceID: deviceID, Credential: Secret("x")}.withDefaults()
		require.NoError(t, err)
		d := &Device{cfg: cfg}
		d.runCommand(t.Context(), []byte(body))
		d.runSet(t.Context(), []byte(body))
		d.runGet(t.Context(), []byte(body))
		d.eventsArrived([]byte(body))
		_ = readMessage([]byte(body))
		_, _ = readUpgrade(Event{Paras: json.RawMessage(body)})
		_, _ = readChange(Event{Type: addedNotice, Paras: json.RawMessage(body)})
		_ = matches(topic, body)
		if a, err := readAssignment([]byte(body)); err == nil && a.Host == "" {
			t.Fatal("an assignment without a host")
		}
	})
}
