package iothub

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// jobMethods is how many devices a method job calls at once.
const jobMethods = 10

// jobRun is a job that has not ended.
type jobRun struct {
	stop  context.CancelCauseFunc
	timer clock.Timer // of its start, nil when it has started at once
}

var (
	errJobTime = errors.New("the job's execution time is over")
	errJobStop = errors.New("the job was cancelled")
)

// endJob settles a job that has not ended and reports whether it was this call that did. Its devices that
// wait are settled with it.
func (s *Service) endJob(hub, id string, status JobStatus, reason string) bool {
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	k, ended := key(hub, id), false
	_, err := s.side.jobs.Update(k, func(j Job) (Job, error) {
		if j.Status.Ended() {
			return j, nil
		}
		ended = true
		j.Status, j.FailureReason, j.Ended = status, reason, s.clock.Wall().UTC()
		return j, nil
	})
	if err != nil || !ended {
		return false
	}
	if run := s.side.runs[k]; run != nil {
		if run.timer != nil {
			run.timer.Stop()
		}
		run.stop(errJobStop)
		delete(s.side.runs, k)
	}
	if status == JobCompleted {
		return true
	}
	for _, d := range s.side.deviceJobs.List(k + keySeparator) {
		if d.Status == string(JobPending) || d.Status == string(JobRunning) {
			s.deviceJob(hub, d.JobID, d.DeviceID, func(d *DeviceJob) { d.Status, d.Ended = string(status), s.clock.Wall().UTC() })
		}
	}
	return true
}

// deviceJob changes a job's row of one device, if the job still has it.
func (s *Service) deviceJob(hub, id, device string, change func(*DeviceJob)) {
	_, _ = s.side.deviceJobs.Update(key(hub, id, device), func(d DeviceJob) (DeviceJob, error) { // gone: the hub was reset
		if !JobStatus(d.Status).Ended() {
			change(&d)
			d.Updated = s.clock.Wall().UTC()
		}
		return d, nil
	})
}

// runJob does a job to every device that its query finds when it starts.
func (s *Service) runJob(ctx context.Context, hub string, j Job) {
	k := key(hub, j.ID)
	_, err := s.side.jobs.Update(k, func(j Job) (Job, error) {
		if j.Status.Ended() {
			return j, ErrJobEnded
		}
		j.Status, j.Started = JobRunning, s.clock.Wall().UTC()
		return j, nil
	})
	if err != nil {
		return
	}
	over := s.clock.AfterFunc(j.MaxExecution, func() { s.endJob(hub, j.ID, JobFailed, errJobTime.Error()) })
	defer over.Stop()
	devices := s.jobDevices(hub, j)
	if j.Type == JobTwin {
		for _, device := range devices {
			if ctx.Err() == nil {
				s.twinJob(hub, j, device)
			}
		}
		s.ApplyConfigurations(hub, "")
	} else {
		s.methodJobs(ctx, hub, j, devices)
	}
	s.endJob(hub, j.ID, JobCompleted, "")
}

// jobDevices makes a row for each device of the job.
func (s *Service) jobDevices(hub string, j Job) []string {
	condition, err := hubquery.ParseCondition(hubquery.Devices, j.QueryCondition)
	if err != nil {
		return nil // it was read when the job came
	}
	var devices []string
	now := s.clock.Wall().UTC()
	for id, doc := range s.documents(hub, hubquery.Devices, "") {
		if condition.Match(doc) {
			devices = append(devices, id)
			s.side.deviceJobs.Put(key(hub, j.ID, id), DeviceJob{JobID: j.ID, DeviceID: id, Type: string(j.Type),
				Status: string(JobPending), Created: now, Updated: now})
		}
	}
	return devices
}

func (s *Service) twinJob(hub string, j Job, device string) {
	patch, match, err := twinOf(j.Twin)
	if err == nil {
		s.startDevice(hub, j, device)
		_, err = s.ChangeTwin(hub, device, "", patch, match)
	}
	s.settleDevice(hub, j, device, nil, err)
}

func (s *Service) startDevice(hub string, j Job, device string) {
	s.deviceJob(hub, j.ID, device, func(d *DeviceJob) { d.Status, d.Started = string(JobRunning), s.clock.Wall().UTC() })
}

// settleDevice records how a job went with one device.
func (s *Service) settleDevice(hub string, j Job, device string, answer *MethodResult, err error) {
	s.deviceJob(hub, j.ID, device, func(d *DeviceJob) {
		d.Status, d.Ended = string(JobCompleted), s.clock.Wall().UTC()
		if answer != nil {
			d.Response = &MethodResponse{Status: answer.Status, Payload: answer.Payload}
		}
		if err != nil {
			code, description := jobError(err)
			d.Status, d.ErrorCode, d.Error = string(JobFailed), azure.ErrorName(code), description
		}
	})
}

// jobError is what a job's row of one device shows of an error; rules stand in the journal, not on the wire.
func jobError(err error) (code int, description string) {
	var r *rule.Refusal
	if errors.As(err, &r) && r.Code != 0 {
		return r.Code, r.Detail
	}
	return bulkCode(err, ""), err.Error()
}

// methodJobs calls the devices, some at a time, and returns when all are done or the job has ended.
func (s *Service) methodJobs(ctx context.Context, hub string, j Job, devices []string) {
	var running sync.WaitGroup
	free := make(chan struct{}, jobMethods)
	for _, device := range devices {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			running.Wait()
			return
		}
		running.Go(func() {
			defer func() { <-free }()
			s.startDevice(hub, j, device)
			answer, err := s.InvokeMethod(ctx, hub, device, "", *j.Method)
			if ctx.Err() != nil {
				return // the job's end has settled the device
			}
			if err != nil {
				s.settleDevice(hub, j, device, nil, err)
				return
			}
			s.settleDevice(hub, j, device, &answer, nil)
		})
	}
	running.Wait()
}

// stopJobs ends all runs and locks without a trace, when the store is emptied.
func (s *Service) stopJobs() {
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	for k, run := range s.side.runs {
		if run.timer != nil {
			run.timer.Stop()
		}
		run.stop(errJobStop)
		delete(s.side.runs, k)
	}
	clear(s.side.held)
}

// recoverJobs settles the jobs of an earlier process: what it had begun it cannot go on with.
func (s *Service) recoverJobs() {
	for _, h := range s.Hubs() {
		for _, j := range s.Jobs(h.Host) {
			s.side.order = max(s.side.order, j.Order)
			if !j.Status.Ended() {
				s.endJob(h.Host, j.ID, JobFailed, "the hub was stopped while the job was under way at "+s.clock.Wall().UTC().Format(time.RFC3339))
			}
		}
	}
}
