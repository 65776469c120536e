package service

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// jobJSON is a job as clients send and read it (azure-iothub, pl/models: JobRequest, JobResponse).
type jobJSON struct {
	ID             string          `json:"jobId"`
	QueryCondition string          `json:"queryCondition"`
	Created        string          `json:"createdTime,omitempty"`
	Start          string          `json:"startTime,omitempty"`
	End            string          `json:"endTime,omitempty"`
	MaxExecution   int             `json:"maxExecutionTimeInSeconds"`
	Type           string          `json:"type"`
	Method         json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
	Twin           json.RawMessage `json:"updateTwin,omitempty"`
	Status         string          `json:"status,omitempty"`
	FailureReason  string          `json:"failureReason,omitempty"`
	StatusMessage  string          `json:"statusMessage,omitempty"`
	Statistics     *jobStatistics  `json:"deviceJobStatistics,omitempty"`
}

type jobStatistics struct {
	Devices   int `json:"deviceCount"`
	Failed    int `json:"failedCount"`
	Succeeded int `json:"succeededCount"`
	Running   int `json:"runningCount"`
	Pending   int `json:"pendingCount"`
}

func (c *call) putJob() (answer, error) {
	var in jobJSON
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	if in.ID != "" && in.ID != c.ids[0] {
		return answer{}, failed("SVC-27/invalid", azure.ArgumentInvalid, "the jobId in the body is not the one in the path", strconv.Quote(show(in.ID)), strconv.Quote(show(c.ids[0])))
	}
	j := iothub.Job{ID: c.ids[0], Type: iothub.JobType(in.Type), QueryCondition: in.QueryCondition, MaxExecution: seconds(in.MaxExecution)}
	if !isNull(in.Twin) {
		j.Twin = in.Twin
	}
	if in.Start != "" {
		start, err := readTime(in.Start)
		if err != nil {
			return answer{}, failed("SVC-27/invalid", azure.ArgumentInvalid, "startTime is no time", strconv.Quote(show(in.Start)), "ISO 8601, such as 2026-01-31T12:00:00Z")
		}
		j.Start = start
	}
	if !isNull(in.Method) {
		var m methodRequest
		if err := azure.ReadJSON(in.Method, &m); err != nil {
			return answer{}, failed("SVC-27/invalid", azure.ArgumentInvalid, "cloudToDeviceMethod is no method: "+plain(err.Error()), "", "methodName, payload, responseTimeoutInSeconds, connectTimeoutInSeconds")
		}
		call := m.call()
		j.Method, j.MethodText = &call, in.Method
	}
	j, err := c.Handler.hub.CreateJob(c.hub.Host, j)
	if err != nil {
		return answer{}, c.jobFault(err)
	}
	return answer{body: jobOf(j, iothub.JobStatistics{})}, nil
}

func isNull(text json.RawMessage) bool { return len(text) == 0 || string(text) == "null" }

// readTime reads the forms that clients send: with a zone, or without one for UTC.
func readTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), nil
	}
	return time.Parse("2006-01-02T15:04:05.999999999", text)
}

func (c *call) jobFault(err error) error {
	id := ""
	if len(c.ids) > 0 {
		id = c.ids[0]
	}
	var syntax *hubquery.SyntaxError
	refused := func(cause rule.ID, code int, message, expected string) error {
		return &failure{code: code, message: message, refusal: &rule.Refusal{Rule: cause, Detail: err.Error(), Seen: show(id), Expected: expected}}
	}
	switch {
	case errors.As(err, &syntax):
		return failed("SVC-27/invalid", azure.ArgumentInvalid, "queryCondition cannot be read: "+syntax.Error(), "", "a condition as behind WHERE, or *")
	case errors.Is(err, iothub.ErrExists):
		return refused("SVC-27/exists", azure.JobAlreadyExists, "A job with ID '"+id+"' already exists.", "a new id")
	case errors.Is(err, iothub.ErrNotFound):
		return refused("SVC-27/unknown", azure.JobNotFound, "Job "+id+" not found", "the id of a job of this hub")
	case errors.Is(err, iothub.ErrJobEnded):
		return refused("SVC-27/ended", azure.JobPrecondition, "Job "+id+" has ended", "a job that is scheduled, queued or running")
	case errors.Is(err, iothub.ErrTooManyJobs):
		return refused("SVC-27/active", azure.TooManyJobs, "The maximum active job count has been exceeded", "fewer jobs at once")
	}
	return failed("SVC-27/invalid", azure.ArgumentInvalid, err.Error(), "", "")
}

func jobOf(j iothub.Job, n iothub.JobStatistics) jobJSON {
	out := jobJSON{ID: j.ID, QueryCondition: j.QueryCondition, Created: azure.ServiceTime(j.Created), Start: azure.ServiceTime(j.Start),
		MaxExecution: int(j.MaxExecution / time.Second), Type: string(j.Type), Method: j.MethodText, Twin: j.Twin, Status: string(j.Status),
		FailureReason: j.FailureReason, Statistics: &jobStatistics{n.Devices, n.Failed, n.Succeeded, n.Running, n.Pending}}
	if !j.Ended.IsZero() {
		out.End = azure.ServiceTime(j.Ended)
	}
	return out
}

func (c *call) getJob() (answer, error) {
	j, n, err := c.Handler.hub.GetJob(c.hub.Host, c.ids[0])
	if err != nil {
		return answer{}, c.jobFault(err)
	}
	return answer{body: jobOf(j, n)}, nil
}

func (c *call) cancelJob() (answer, error) {
	if _, err := c.Handler.hub.CancelJob(c.hub.Host, c.ids[0]); err != nil {
		return answer{}, c.jobFault(err)
	}
	return c.getJob()
}

// queryJobs lists jobs by type and status, a page at a time.
func (c *call) queryJobs() (answer, error) {
	size, err := c.pageSize()
	if err != nil {
		return answer{}, err
	}
	after, err := c.jobCursor()
	if err != nil {
		return answer{}, err
	}
	query := c.r.URL.Query()
	kind, status := query.Get("jobType"), query.Get("jobStatus")
	jobs := slices.DeleteFunc(c.Handler.hub.Jobs(c.hub.Host), func(j iothub.Job) bool {
		return j.Order <= after || kind != "" && !strings.EqualFold(kind, string(j.Type)) || status != "" && !strings.EqualFold(status, string(j.Status))
	})
	a := answer{header: map[string]string{headerItemType: "jobResponse"}}
	rows := []jobJSON{}
	for _, j := range jobs[:min(size, len(jobs))] {
		if j, n, err := c.Handler.hub.GetJob(c.hub.Host, j.ID); err == nil {
			rows = append(rows, jobOf(j, n))
		}
	}
	if len(jobs) > size {
		a.header[headerContinuation] = base64.StdEncoding.EncodeToString([]byte(strconv.FormatUint(jobs[size-1].Order, 10)))
	}
	a.body = rows
	return a, nil
}

func (c *call) jobCursor() (uint64, error) {
	text := c.r.Header.Get(headerContinuation)
	if text == "" {
		return 0, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		var n uint64
		if n, err = strconv.ParseUint(string(raw), 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, failed("SVC-18/continuation", azure.ArgumentInvalid, "the continuation token is none of a list of jobs", headerContinuation+" of another list", "the token of the page before")
}
