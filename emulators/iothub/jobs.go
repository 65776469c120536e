package iothub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// JobType is what a job does to each device.
type JobType string

// The types of jobs.
const (
	JobTwin   JobType = "scheduleUpdateTwin"
	JobMethod JobType = "scheduleDeviceMethod"
)

// JobStatus is how far a job is.
type JobStatus string

// The states of a job (azure-iothub, pl/models); its device jobs have pending, running and the last three.
const (
	JobScheduled JobStatus = "scheduled"
	JobQueued    JobStatus = "queued"
	JobPending   JobStatus = "pending"
	JobRunning   JobStatus = "running"
	JobCompleted JobStatus = "completed"
	JobFailed    JobStatus = "failed"
	JobCancelled JobStatus = "cancelled"
)

// Ended reports whether nothing more will happen.
func (s JobStatus) Ended() bool { return s == JobCompleted || s == JobFailed || s == JobCancelled }

// The limits of jobs.
const (
	maxJobs         = 1000 // kept of one hub, the oldest ended one goes first
	maxActiveJobs   = 100
	maxJobExecution = 7 * 24 * time.Hour
	// DefaultJobExecution is how long a job may take that says nothing of it.
	DefaultJobExecution = time.Hour
)

// Errors of jobs beside those of the registry.
var (
	ErrTooManyJobs = errors.New("too many jobs are active")
	ErrJobEnded    = errors.New("the job has ended")
)

// Job is something to be done to all devices that a query finds.
type Job struct {
	ID             string
	Type           JobType
	QueryCondition string // what stands behind WHERE; empty and * are all devices
	Start          time.Time
	MaxExecution   time.Duration   // zero takes DefaultJobExecution
	Twin           json.RawMessage `json:",omitempty"` // of a twin job: {"tags":{…},"properties":{"desired":{…}},"etag":…}, as it came
	Method         *MethodCall     // of a method job
	MethodText     json.RawMessage `json:",omitempty"` // as it came

	Created       time.Time // made by the hub, like all that follows
	Started       time.Time
	Ended         time.Time
	Status        JobStatus
	FailureReason string
	Order         uint64
}

// JobStatistics count a job's devices.
type JobStatistics struct {
	Devices, Succeeded, Failed, Running, Pending int
}

func (j Job) clone() Job {
	j.Twin, j.MethodText = slices.Clone(j.Twin), slices.Clone(j.MethodText)
	if j.Method != nil {
		m := *j.Method
		m.Payload = slices.Clone(m.Payload)
		j.Method = &m
	}
	return j
}

// jobID is the alphabet of the ids of jobs and configurations: that of devices.
var jobID = regexp.MustCompile(`^[A-Za-z0-9\-.+%_#*?!(),=@$':;]{1,128}$`)

// twinOf reads a twin job's change.
func twinOf(text json.RawMessage) (TwinPatch, string, error) {
	var in struct {
		initialTwin
		ETag string `json:"etag"`
	}
	if err := decodeJSON(text, &in); err != nil {
		return TwinPatch{}, "", fmt.Errorf("%w: updateTwin is no twin: %w", ErrInvalid, err)
	}
	p := TwinPatch{Tags: in.Tags, Desired: in.Properties.Desired}
	for part, values := range map[string]map[string]any{"tags": p.Tags, "properties.desired": p.Desired} {
		delete(values, "$version")
		delete(values, "$metadata")
		if f := checkObject(values); f != nil {
			return p, "", fmt.Errorf("%w: updateTwin, %s: %s", ErrInvalid, part, f.detail)
		}
	}
	return p, strings.Trim(in.ETag, `"`), nil
}

func (j *Job) complete(now time.Time) error {
	if j.MaxExecution == 0 {
		j.MaxExecution = DefaultJobExecution
	}
	if j.Start.IsZero() {
		j.Start = now
	}
	if _, err := hubquery.ParseCondition(hubquery.Devices, j.QueryCondition); err != nil {
		return err
	}
	switch {
	case !jobID.MatchString(j.ID):
		return fmt.Errorf("%w: job id %s: 1 to 128 of A-Z a-z 0-9 and - . + %% _ # * ? ! ( ) , = @ $ ' : ; are allowed", ErrInvalid, quote(j.ID))
	case j.MaxExecution < 0 || j.MaxExecution > maxJobExecution:
		return fmt.Errorf("%w: an execution time of %s, at most %s", ErrInvalid, j.MaxExecution, maxJobExecution)
	case j.Start.Sub(now) > 366*24*time.Hour:
		return fmt.Errorf("%w: a start in %s, at most a year from now", ErrInvalid, j.Start.Sub(now).Round(time.Hour))
	case j.Type == JobTwin && j.Twin == nil, j.Type == JobMethod && j.Method == nil:
		return fmt.Errorf("%w: a %s job needs updateTwin or cloudToDeviceMethod, as its type says", ErrInvalid, j.Type)
	}
	switch j.Type {
	case JobTwin:
		_, _, err := twinOf(j.Twin)
		return err
	case JobMethod:
		return j.Method.complete()
	}
	return fmt.Errorf("%w: job type %s; known are %s and %s", ErrInvalid, quote(string(j.Type)), JobTwin, JobMethod)
}

// CreateJob plans a job, whose start follows the timers clock. What it returns is queued, also where the job
// itself is scheduled for later or runs already: so the hub answers (azure-iot-sdk-node,
// e2etests/test/job_client.js). Errors: ErrInvalid, a *hubquery.SyntaxError, ErrExists, ErrTooManyJobs.
func (s *Service) CreateJob(hub string, j Job) (Job, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Job{}, err
	}
	now := s.clock.Wall().UTC()
	if err := j.complete(now); err != nil {
		return Job{}, err
	}
	j = j.clone()
	j.Created, j.Status = now, JobQueued
	wait := j.Start.Sub(now)
	if wait > 0 {
		j.Status = JobScheduled
	}
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	if err := s.roomForJob(h.Host); err != nil {
		return Job{}, err
	}
	s.side.order++
	j.Order = s.side.order
	k := key(h.Host, j.ID)
	if err := s.side.jobs.Create(k, j); err != nil {
		return Job{}, fmt.Errorf("job %s: %w", quote(j.ID), err)
	}
	answer := j
	answer.Status = JobQueued
	ctx, stop := context.WithCancelCause(context.Background())
	run := &jobRun{stop: stop}
	s.side.runs[k] = run
	if wait <= 0 {
		go s.runJob(ctx, h.Host, j)
		return answer, nil
	}
	run.timer = s.clock.AfterFunc(wait, func() {
		if j.Type == JobMethod {
			go s.runJob(ctx, h.Host, j) // whoever moves the clock on does not wait for devices
			return
		}
		s.runJob(ctx, h.Host, j)
	})
	return answer, nil
}

// roomForJob refuses too many active jobs and forgets old ones. The caller holds side.mu.
func (s *Service) roomForJob(hub string) error {
	jobs := s.Jobs(hub)
	active := 0
	for _, j := range jobs {
		if !j.Status.Ended() {
			active++
		}
	}
	if active >= maxActiveJobs {
		return fmt.Errorf("%w: %d", ErrTooManyJobs, active)
	}
	for i := 0; len(jobs)-i >= maxJobs && i < len(jobs); i++ {
		if jobs[i].Status.Ended() {
			s.forgetJob(hub, jobs[i].ID)
		}
	}
	return nil
}

func (s *Service) forgetJob(hub, id string) {
	s.side.jobs.Delete(key(hub, id))
	for _, k := range s.side.deviceJobs.Keys(key(hub, id) + keySeparator) {
		s.side.deviceJobs.Delete(k)
	}
}

// Jobs returns a hub's jobs, oldest first.
func (s *Service) Jobs(hub string) []Job {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	jobs := s.side.jobs.List(h.Host + keySeparator)
	sort.Slice(jobs, func(i, j int) bool { return jobs[i].Order < jobs[j].Order })
	return jobs
}

// GetJob returns a job with the figures of its devices.
func (s *Service) GetJob(hub, id string) (Job, JobStatistics, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Job{}, JobStatistics{}, err
	}
	j, ok := s.side.jobs.Get(key(h.Host, id))
	if !ok {
		return Job{}, JobStatistics{}, fmt.Errorf("job %s: %w", quote(id), ErrNotFound)
	}
	var n JobStatistics
	for _, d := range s.side.deviceJobs.List(key(h.Host, id) + keySeparator) {
		n.Devices++
		switch JobStatus(d.Status) {
		case JobCompleted:
			n.Succeeded++
		case JobRunning:
			n.Running++
		case JobPending:
			n.Pending++
		default:
			n.Failed++
		}
	}
	return j, n, nil
}

// CancelJob ends a job; what it has done stays. Errors: ErrNotFound, ErrJobEnded.
func (s *Service) CancelJob(hub, id string) (Job, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Job{}, err
	}
	if _, _, err := s.GetJob(h.Host, id); err != nil {
		return Job{}, err
	}
	if !s.endJob(h.Host, id, JobCancelled, "") {
		return Job{}, fmt.Errorf("job %s: %w", quote(id), ErrJobEnded)
	}
	j, _, err := s.GetJob(h.Host, id)
	return j, err
}
