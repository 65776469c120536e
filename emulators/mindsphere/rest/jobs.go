package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

const milliseconds = "2006-01-02T15:04:05.000Z"

func timestamp(t time.Time) string { return t.UTC().Format(milliseconds) }

// job and command are the shapes of commanding (mindconnect-nodejs, commanding-models.ts).
type job struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	ClientIDs []string        `json:"clientIds,omitempty"`
	TenantID  string          `json:"tenantId,omitempty"`
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data,omitempty"`
	CreatedAt string          `json:"createdAt"`
}

type command struct {
	ID        string          `json:"id"`
	ClientID  string          `json:"clientId"`
	TenantID  string          `json:"tenantId"`
	Status    string          `json:"status"`
	Response  json.RawMessage `json:"response,omitempty"`
	UpdatedAt string          `json:"updatedAt"`
}

func jobOf(j mindsphere.Job) job {
	return job{j.ID, j.Name, j.ClientIDs, j.Tenant, j.Status, j.Data, timestamp(j.CreatedAt)}
}

func commandOf(x mindsphere.JobCommand) command {
	return command{x.ID, x.ClientID, x.Tenant, x.Status, x.Response, timestamp(x.UpdatedAt)}
}

func (c *call) createJob() {
	var want struct {
		Name      string          `json:"name"`
		ClientIDs []string        `json:"clientIds"`
		Data      json.RawMessage `json:"data"`
	}
	if !c.json(&want) {
		return
	}
	j, err := c.svc.CreateJob(c.tenant, mindsphere.Job{Name: want.Name, ClientIDs: want.ClientIDs, Data: want.Data})
	if err != nil {
		c.refused(err)
		return
	}
	c.reply(http.StatusCreated, jobOf(j))
}

func (c *call) listJobs() {
	jobs := []job{}
	for _, j := range c.svc.Jobs(c.tenant) {
		short := jobOf(j)
		short.ClientIDs, short.Data, short.TenantID = nil, nil, ""
		jobs = append(jobs, short)
	}
	c.list("deliveryJobs", jobs, len(jobs))
}

func (c *call) getJob() {
	id := c.req.PathValue("id")
	j, ok := c.svc.Job(c.tenant, id)
	if !ok {
		c.missing("delivery job", id)
		return
	}
	c.reply(http.StatusOK, jobOf(j))
}

func (c *call) deleteJob() {
	id := c.req.PathValue("id")
	if !c.svc.DeleteJob(c.tenant, id) {
		c.missing("delivery job", id)
		return
	}
	c.reply(http.StatusNoContent, nil)
}

func (c *call) listCommands() {
	id := c.req.PathValue("id")
	if _, ok := c.svc.Job(c.tenant, id); !ok {
		c.missing("delivery job", id)
		return
	}
	commands := []command{}
	for _, x := range c.svc.Commands(c.tenant, id) {
		short := commandOf(x)
		short.Response = nil
		commands = append(commands, short)
	}
	c.list("commands", commands, len(commands))
}

func (c *call) getCommand() {
	id := c.req.PathValue("command")
	for _, x := range c.svc.Commands(c.tenant, c.req.PathValue("id")) {
		if x.ID == id {
			c.reply(http.StatusOK, commandOf(x))
			return
		}
	}
	c.missing("command", id)
}
