package iothub

import (
	"bytes"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// serviceSide is what only back ends make and see: jobs and what they did, device by device.
type serviceSide struct {
	jobs       *store.Table[Job]       // by hub and job id
	deviceJobs *store.Table[DeviceJob] // by hub, job and device id

	transfers *store.Table[Transfer] // by hub and job id

	configurations *store.Table[Configuration] // by hub and configuration id

	feedbackRead *store.Table[uint64] // number of the last record that was completed, by hub

	mu    *sync.Mutex // guards what follows; held while a job is made or ended
	order uint64      // of the last job made
	runs  map[string]*jobRun
	held  map[string]feedbackHeld // by hub
}

func newServiceSide(s *store.Store) serviceSide {
	return serviceSide{
		mu:             &sync.Mutex{},
		runs:           map[string]*jobRun{},
		held:           map[string]feedbackHeld{},
		feedbackRead:   store.NewTable[uint64](s, "iothub.feedbackRead", nil),
		configurations: store.NewTable(s, "iothub.configurations", Configuration.clone),
		jobs:           store.NewTable(s, "iothub.jobs", Job.clone),
		transfers:      store.NewTable[Transfer](s, "iothub.transfers", nil),
		deviceJobs:     store.NewTable(s, "iothub.deviceJobs", DeviceJob.clone),
	}
}

// DeviceJob is what a job did, or is to do, to one device.
type DeviceJob struct {
	JobID, DeviceID string
	Type            string
	Status          string // pending, running, completed, failed, canceled
	Created         time.Time
	Started         time.Time
	Ended           time.Time
	Updated         time.Time
	ErrorCode       string          // empty for none
	Error           string          // one sentence
	Response        *MethodResponse // of a device that answered
}

// MethodResponse is a device's answer to a job's method.
type MethodResponse struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

func (j DeviceJob) clone() DeviceJob {
	if j.Response != nil {
		r := *j.Response
		r.Payload = bytes.Clone(r.Payload)
		j.Response = &r
	}
	return j
}

// document returns the row as queries of devices.jobs read it.
func (j DeviceJob) document() map[string]any {
	doc := map[string]any{
		"deviceId": j.DeviceID, "jobId": j.JobID, "jobType": j.Type, "status": j.Status,
		"createdDateTimeUtc": azure.ServiceTime(j.Created), "lastUpdatedDateTimeUtc": azure.ServiceTime(j.Updated),
	}
	maps.Copy(doc, present(map[string]time.Time{"startTimeUtc": j.Started, "endTimeUtc": j.Ended}))
	if j.Error != "" {
		doc["error"] = map[string]any{"code": j.ErrorCode, "description": j.Error}
	}
	if j.Response != nil {
		var payload any
		_ = decodeJSON(j.Response.Payload, &payload) // checked when it came; none is null
		doc["outcome"] = map[string]any{"deviceMethodResponse": map[string]any{"status": j.Response.Status, "payload": payload}}
	}
	return doc
}

func present(times map[string]time.Time) map[string]any {
	found := map[string]any{}
	for k, t := range times {
		if !t.IsZero() {
			found[k] = azure.ServiceTime(t)
		}
	}
	return found
}
