package service_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestTwinJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		for i := range 3 {
			b.create(fmt.Sprint("d", i))
		}
		b.do("PATCH", "/twins/d0", `{"tags":{"other":true}}`).ok(200)
		j := b.do("PUT", "/jobs/v2/j1", `{"jobId":"j1","type":"scheduleUpdateTwin","queryCondition":"NOT is_defined(tags.other)",
			"startTime":"`+time.Now().UTC().Format("2006-01-02T15:04:05")+`","maxExecutionTimeInSeconds":300,"updateTwin":{"etag":"*","tags":{"site":"x"},"properties":{"desired":{"n":1}}}}`).ok(200)
		require.Equal(t, "queued", j["status"])
		require.Equal(t, map[string]any{"site": "x"}, j["updateTwin"].(map[string]any)["tags"])
		synctest.Wait()
		j = b.do("GET", "/jobs/v2/j1", "").ok(200)
		require.Equal(t, "completed", j["status"])
		require.Equal(t, map[string]any{"deviceCount": 2.0, "failedCount": 0.0, "succeededCount": 2.0, "runningCount": 0.0, "pendingCount": 0.0}, j["deviceJobStatistics"])
		for _, name := range []string{"createdTime", "startTime", "endTime"} {
			require.Regexp(t, `Z$`, j[name])
		}
		require.Equal(t, map[string]any{"site": "x"}, b.do("GET", "/twins/d1", "").ok(200)["tags"])
		require.Equal(t, map[string]any{"other": true}, b.do("GET", "/twins/d0", "").ok(200)["tags"])
		r := b.ask("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1' AND devices.jobs.status = 'completed'")
		require.Equal(t, "deviceJob", r.header.Get("x-ms-item-type"))
		rows := r.list()
		require.Len(t, rows, 2)
		require.Equal(t, "d1", rows[0]["deviceId"])
		require.Equal(t, "scheduleUpdateTwin", rows[0]["jobType"])
		rule.Proves(t, "SVC-27")

		b.do("PUT", "/jobs/v2/j1", `{"type":"scheduleUpdateTwin","updateTwin":{}}`).fails(409, "JobAlreadyExists")
		b.refused("SVC-27/exists")
		b.do("GET", "/jobs/v2/nope", "").fails(404, "JobNotFound")
		b.do("POST", "/jobs/v2/nope/cancel", "").fails(404, "JobNotFound")
		b.refused("SVC-27/unknown")
		b.do("POST", "/jobs/v2/j1/cancel", "").fails(412, "JobRunPreconditionFailed")
		b.refused("SVC-27/ended")
	})
}

func TestMethodJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		b.create("off")
		b.create("on")
		l := b.connect("on", true)
		b.do("PUT", "/jobs/v2/m", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{"methodName":"go","payload":{"a":1},"responseTimeoutInSeconds":30}}`).ok(200)
		rid, sent, _ := strings.Cut(<-l.calls, " ")
		require.Equal(t, `go {"a":1}`, sent)
		synctest.Wait()
		running := b.do("GET", "/jobs/v2/m", "").ok(200)
		require.Equal(t, "running", running["status"])
		require.EqualValues(t, 1, running["deviceJobStatistics"].(map[string]any)["runningCount"])
		require.Nil(t, l.session.MethodAnswer(rid, iothub.MethodResult{Status: 200, Payload: []byte(`{"ok":1}`)}))
		synctest.Wait()
		done := b.do("GET", "/jobs/v2/m", "").ok(200)
		require.Equal(t, "completed", done["status"])
		require.EqualValues(t, 1, done["deviceJobStatistics"].(map[string]any)["failedCount"])
		rows := b.ask("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'm'").list()
		require.Equal(t, map[string]any{"code": "DeviceNotOnline", "description": "the device is not connected"}, rows[0]["error"])
		require.Equal(t, map[string]any{"deviceMethodResponse": map[string]any{"status": 200.0, "payload": map[string]any{"ok": 1.0}}}, rows[1]["outcome"])
	})
}

func TestScheduledJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		b.create("d")
		later := func(id string) string {
			return `{"jobId":"` + id + `","type":"scheduleUpdateTwin","startTime":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `","updateTwin":{"tags":{"` + id + `":1}}}`
		}
		require.Equal(t, "queued", b.do("PUT", "/jobs/v2/a", later("a")).ok(200)["status"], "as azure-iot-sdk-node, e2etests/test/job_client.js wants it")
		require.Equal(t, "scheduled", b.do("GET", "/jobs/v2/a", "").ok(200)["status"])
		b.do("PUT", "/jobs/v2/b", later("b")).ok(200)
		require.Equal(t, "cancelled", b.do("POST", "/jobs/v2/b/cancel", "").ok(200)["status"])
		require.NoError(t, b.clock.Advance(2*time.Hour))
		require.Equal(t, "completed", b.do("GET", "/jobs/v2/a", "").ok(200)["status"], "advance returns when it is done")
		require.Equal(t, map[string]any{"a": 1.0}, b.do("GET", "/twins/d", "").ok(200)["tags"])

		require.Len(t, b.do("GET", "/jobs/v2/query", "").list(), 2)
		r := b.do("GET", "/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=cancelled", "")
		require.Equal(t, "b", r.list()[0]["jobId"])
		require.Equal(t, "jobResponse", r.header.Get("x-ms-item-type"))
		require.Contains(t, r.spelled, "x-ms-item-type", "azure-iot-sdk-c looks for this spelling only")
		r = b.do("GET", "/jobs/v2/query", "", "x-ms-max-item-count", "1")
		require.Equal(t, "a", r.list()[0]["jobId"])
		r = b.do("GET", "/jobs/v2/query", "", "x-ms-max-item-count", "1", "x-ms-continuation", r.header.Get("x-ms-continuation"))
		require.Equal(t, "b", r.list()[0]["jobId"])
		require.Empty(t, r.header.Get("x-ms-continuation"))
		b.do("GET", "/jobs/v2/query", "", "x-ms-continuation", "???").fails(400, "ArgumentInvalid")
	})
}

func TestJobTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		b.create("d")
		l := b.connect("d", true)
		b.do("PUT", "/jobs/v2/slow", `{"type":"scheduleDeviceMethod","maxExecutionTimeInSeconds":20,"cloudToDeviceMethod":{"methodName":"m","responseTimeoutInSeconds":60}}`).ok(200)
		<-l.calls
		time.Sleep(21 * time.Second)
		synctest.Wait()
		j := b.do("GET", "/jobs/v2/slow", "").ok(200)
		require.Equal(t, "failed", j["status"])
		require.Contains(t, j["failureReason"], "time is over")
		require.EqualValues(t, 1, j["deviceJobStatistics"].(map[string]any)["failedCount"])

		b.do("PUT", "/jobs/v2/stopped", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","responseTimeoutInSeconds":60}}`).ok(200)
		<-l.calls
		require.Equal(t, "cancelled", b.do("POST", "/jobs/v2/stopped/cancel", "").ok(200)["status"])
		b.do("PUT", "/jobs/v2/reset", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","responseTimeoutInSeconds":60}}`).ok(200)
		<-l.calls
		b.hub.Reset(nil)
		synctest.Wait()
	})
}

func TestBadJobs(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	const twin = `"type":"scheduleUpdateTwin","updateTwin":{}`
	for _, bad := range []string{
		`{}`, `{"type":"magic"}`, `{"type":"scheduleUpdateTwin"}`, `{"type":"scheduleDeviceMethod","updateTwin":{}}`,
		`{"jobId":"other",` + twin + `}`, `{"queryCondition":"tags.a =",` + twin + `}`, `{"startTime":"tomorrow",` + twin + `}`,
		`{"startTime":"2999-01-01T00:00:00Z",` + twin + `}`, `{"maxExecutionTimeInSeconds":-1,` + twin + `}`,
		`{"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a.b":1}}}`, `{"type":"scheduleUpdateTwin","updateTwin":5}`,
		`{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"a/b"}}`, `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":[]}`,
	} {
		b.do("PUT", "/jobs/v2/j", bad).fails(400, "ArgumentInvalid")
	}
	b.do("PUT", "/jobs/v2/a%20b", `{`+twin+`}`).fails(400, "ArgumentInvalid")
	b.refused("SVC-27/invalid")
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for i := range 100 {
		b.do("PUT", fmt.Sprint("/jobs/v2/j", i), `{"startTime":"`+later+`",`+twin+`}`).ok(200)
	}
	b.do("PUT", "/jobs/v2/more", `{`+twin+`}`).fails(429, "ThrottlingMaxActiveJobCountExceeded")
	b.refused("SVC-27/active")
	b.hub.Reset(nil)
}
