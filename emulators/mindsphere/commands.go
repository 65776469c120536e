package mindsphere

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Limits of commanding ("MindConnect MQTT Commanding").
const (
	MaxJobClients  = 20
	MaxCommandData = 4 << 10 // bytes of data, each direction
	maxJobName     = 128
	maxJobs        = 1000 // per tenant
)

// The states of jobs and commands.
const (
	Executing = "EXECUTING"
	Executed  = "EXECUTED"
	Failed    = "FAILED" // commands only
)

// Job is a delivery job: one command to several agents.
type Job struct {
	ID        string          `json:"id"` // 32 hex digits
	Tenant    string          `json:"tenant"`
	Name      string          `json:"name"`      // 1 to 128 characters
	ClientIDs []string        `json:"clientIds"` // 1 to 20 agents of the tenant
	Data      json.RawMessage `json:"data"`      // an object of at most 4 kB
	CreatedAt time.Time       `json:"createdAt"`
	Status    string          `json:"status"`
	// Commands are the ids of its commands, in the order of ClientIDs.
	Commands []string `json:"commands"`
}

// JobCommand is the command of a job to one agent.
type JobCommand struct {
	ID        string          `json:"id"` // 32 hex digits
	JobID     string          `json:"jobId"`
	Tenant    string          `json:"tenant"`
	ClientID  string          `json:"clientId"`
	Status    string          `json:"status"`
	Response  json.RawMessage `json:"response,omitempty"` // of the latest update
	UpdatedAt time.Time       `json:"updatedAt"`
	Updates   int             `json:"updates"` // received from the agent
}

func (j Job) clone() Job {
	j.ClientIDs, j.Data, j.Commands = slices.Clone(j.ClientIDs), slices.Clone(j.Data), slices.Clone(j.Commands)
	return j
}

func (c JobCommand) clone() JobCommand {
	c.Response = slices.Clone(c.Response)
	return c
}

// commandMessage is what the agent gets.
type commandMessage struct {
	ID   string      `json:"id"`
	Data commandData `json:"data"`
}

type commandData struct {
	JobID     string          `json:"jobId"`
	CreatedAt string          `json:"createdAt"`
	Payload   json.RawMessage `json:"payload"`
}

const milliseconds = "2006-01-02T15:04:05.000Z"

// CreateJob makes a delivery job and sends its commands (MS-25). Only Name, ClientIDs and Data are read. The
// error is a *rule.Refusal whose Code is an HTTP status (MS-27), or says that there is no such tenant.
func (s *Service) CreateJob(tenant string, j Job) (Job, error) {
	if _, ok := s.Tenant(tenant); !ok {
		return Job{}, fmt.Errorf("tenant %q: %w", clip(tenant), ErrNotFound)
	}
	if r := s.checkJob(tenant, j); r != nil {
		return Job{}, r
	}
	now := s.clock.Wall().UTC()
	j = j.clone()
	j.ID, j.Tenant, j.CreatedAt, j.Status = s.ids.Hex(32), tenant, now, Executing
	s.admin.Lock()
	for _, old := range surplus(s.jobs.List(tenant+"/"), maxJobs) {
		s.dropJob(old)
	}
	commands := make([]JobCommand, len(j.ClientIDs))
	j.Commands = make([]string, len(j.ClientIDs))
	for i, id := range j.ClientIDs {
		commands[i] = JobCommand{ID: s.ids.Hex(32), JobID: j.ID, Tenant: tenant, ClientID: id, Status: Executing, UpdatedAt: now}
		j.Commands[i] = commands[i].ID
		s.commands.Put(commandKey(j.ID, commands[i].ID), commands[i])
	}
	s.jobs.Put(key(tenant, j.ID), j)
	s.admin.Unlock()
	for _, c := range commands {
		s.sendCommand(j, c)
	}
	return j, nil
}

// surplus returns the oldest jobs that have to go so that one more fits.
func surplus(jobs []Job, most int) []Job {
	if len(jobs) < most {
		return nil
	}
	sort.Slice(jobs, func(i, j int) bool { return jobs[i].CreatedAt.Before(jobs[j].CreatedAt) })
	return jobs[:len(jobs)-most+1]
}

func commandKey(job, id string) string { return job + "/" + id }

// badRequest is the HTTP status of a refused job.
const badRequest = 400

func refuseJob(id rule.ID, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Code: badRequest, Seen: seen, Expected: expected}
}

// checkJob decides MS-27.
func (s *Service) checkJob(tenant string, j Job) *rule.Refusal {
	var object map[string]json.RawMessage
	switch {
	case j.Name == "" || len([]rune(j.Name)) > maxJobName:
		return refuseJob("MS-27/name", fmt.Sprintf("a name of %d characters", len([]rune(j.Name))), "1 to 128 characters")
	case len(j.ClientIDs) == 0 || len(j.ClientIDs) > MaxJobClients:
		return refuseJob("MS-27/clients", fmt.Sprintf("%d client ids", len(j.ClientIDs)), "1 to 20 client ids")
	case len(j.Data) > MaxCommandData:
		return refuseJob("MS-27/size", fmt.Sprintf("data of %d bytes", len(j.Data)), "at most 4096 bytes (4 kB)")
	case json.Unmarshal(j.Data, &object) != nil || object == nil:
		return refuseJob("MS-27/data", "data that is no JSON object", `"data":{"key":"value"}`)
	}
	for i, id := range j.ClientIDs {
		a, ok := s.agents.Get(id)
		if !ok || a.Tenant != tenant {
			return refuseJob("MS-27/agent", fmt.Sprintf("client id %q", clip(id)), "an agent of tenant "+tenant+s.agentNames(tenant))
		}
		if slices.Contains(j.ClientIDs[:i], id) {
			return refuseJob("MS-27/twice", fmt.Sprintf("client id %q twice", clip(id)), "each agent once")
		}
	}
	return nil
}

// agentNames names some of a tenant's agents.
func (s *Service) agentNames(tenant string) string {
	ids := s.agents.Keys(tenant + "_")
	if len(ids) == 0 {
		return "; it has none yet"
	}
	slices.Sort(ids)
	return ": " + names(ids)
}

// sendCommand sends one command; one that nobody gets is told of in the journal.
func (s *Service) sendCommand(j Job, c JobCommand) {
	m := Message{Channel: mindsphere.Command, Payload: mindsphere.Encode(commandMessage{c.ID, commandData{j.ID, j.CreatedAt.Format(milliseconds), j.Data}})}
	fate, err := s.Deliver(c.ClientID, m)
	e := journal.Event{Platform: Platform, Endpoint: j.Tenant, Device: c.ClientID, Kind: journal.Command, Dir: journal.Out,
		Properties: map[string]string{"jobId": j.ID, "commandId": c.ID}}
	if err == nil && fate != Lost {
		s.journal.Append(e)
		return
	}
	why := "the agent is not connected, and has no kept session"
	if _, online := s.Connection(c.ClientID); online {
		why = "the agent is connected, but has not subscribed to its commands"
	}
	s.journal.Refuse(e, refuse("MS-25/lost", why, "command "+c.ID+" of job "+j.ID,
		"a subscription to "+mindsphere.Branch(j.Tenant, c.ClientID, mindsphere.Inbound)+mindsphere.Command.String()))
}

// updateCommand takes an agent's status of a command (MS-26): the latest one is kept.
func (s *Service) updateCommand(from sender, payload []byte) Outcome {
	const want = `{"id":…,"requestId":"{id of the command}","data":{"timestamp":"2026-01-01T00:00:00.000Z","jobId":…,"status":"EXECUTED","response":{…}}}`
	root := readDocument(payload)
	if root.ok() {
		root.object()
	}
	data := root.get("data")
	id, job := root.get("requestId").text(), data.get("jobId").need()
	status, response := data.get("status").need(), data.get("response")
	if response.value != nil {
		response.object()
	}
	if !root.ok() {
		return swallowed("MS-26/unreadable", "the update is lost: "+root.doc.summary(), root.doc.problems[0].Path, want)
	}
	if !slices.Contains([]string{Executing, Executed, Failed}, status) {
		return swallowed("MS-26/status", fmt.Sprintf("the status %q is lost", clip(status)), fmt.Sprintf("status %q", clip(status)), "EXECUTING, EXECUTED or FAILED")
	}
	var text json.RawMessage
	if response.value != nil {
		text = mindsphere.Encode(response.value)
	}
	if len(text) > MaxCommandData {
		return swallowed("MS-26/size", "the update is lost", fmt.Sprintf("a response of %d bytes", len(text)), "at most 4096 bytes (4 kB)")
	}
	c, ok := s.findCommand(from, job, id)
	if !ok {
		return swallowed("MS-26/unknown", "the update is lost", fmt.Sprintf("requestId %q, jobId %q", clip(id), clip(job)), "id and jobId of a command that the agent was sent")
	}
	if err := s.keepStatus(c, status, text); err != nil {
		return swallowed("MS-26/unknown", "the job has just been deleted", "job "+c.JobID, "an update of a job that exists")
	}
	e := from.event
	e.Kind, e.Detail, e.Properties = journal.Command, status, map[string]string{"jobId": c.JobID, "commandId": c.ID}
	s.journal.Append(e)
	return Outcome{}
}

// keepStatus writes an update down, and what it makes of the job.
func (s *Service) keepStatus(c JobCommand, status string, response json.RawMessage) error {
	s.admin.Lock() // two agents' last updates must not both miss the other's
	defer s.admin.Unlock()
	now := s.clock.Wall().UTC()
	_, err := s.commands.Update(commandKey(c.JobID, c.ID), func(c JobCommand) (JobCommand, error) {
		c.Status, c.Response, c.UpdatedAt, c.Updates = status, response, now, c.Updates+1
		return c, nil
	})
	if err == nil {
		s.finishJob(c.Tenant, c.JobID)
	}
	return err
}

// findCommand returns the agent's command of a job. A job has one command for each agent, so an update without
// requestId finds it, too.
func (s *Service) findCommand(from sender, job, id string) (JobCommand, bool) {
	if id != "" {
		c, ok := s.commands.Get(commandKey(job, id))
		return c, ok && c.ClientID == from.ClientID
	}
	for _, c := range s.Commands(from.Tenant, job) {
		if c.ClientID == from.ClientID {
			return c, true
		}
	}
	return JobCommand{}, false
}

// finishJob sets a job's state from its commands. The caller holds admin.
func (s *Service) finishJob(tenant, id string) {
	status := Executed
	for _, c := range s.Commands(tenant, id) {
		if c.Status == Executing {
			status = Executing
		}
	}
	_, _ = s.jobs.Update(key(tenant, id), func(j Job) (Job, error) { // one that has gone meanwhile needs no state
		j.Status = status
		return j, nil
	})
}

// Jobs returns the delivery jobs of a tenant, oldest first.
func (s *Service) Jobs(tenant string) []Job {
	jobs := s.jobs.List(tenant + "/")
	sort.SliceStable(jobs, func(i, j int) bool { return jobs[i].CreatedAt.Before(jobs[j].CreatedAt) })
	return jobs
}

// Job returns one delivery job of a tenant.
func (s *Service) Job(tenant, id string) (Job, bool) { return s.jobs.Get(key(tenant, id)) }

// Commands returns the commands of a job, ordered by client id.
func (s *Service) Commands(tenant, job string) []JobCommand {
	j, _ := s.Job(tenant, job)
	var commands []JobCommand
	for _, id := range j.Commands {
		if c, ok := s.commands.Get(commandKey(job, id)); ok {
			commands = append(commands, c)
		}
	}
	sort.Slice(commands, func(i, j int) bool { return commands[i].ClientID < commands[j].ClientID })
	return commands
}

// DeleteJob removes a job with its commands and reports whether there was one. What was sent stays sent.
func (s *Service) DeleteJob(tenant, id string) bool {
	s.admin.Lock()
	defer s.admin.Unlock()
	j, ok := s.jobs.Get(key(tenant, id))
	if ok {
		s.dropJob(j)
	}
	return ok
}

// dropJob removes a job. The caller holds admin.
func (s *Service) dropJob(j Job) {
	for _, id := range j.Commands {
		s.commands.Delete(commandKey(j.ID, id))
	}
	s.jobs.Delete(key(j.Tenant, j.ID))
}
