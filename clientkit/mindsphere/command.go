package mindsphere

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// maxCommands is how many commands may wait for the handler; what comes beyond stays with the broker.
const maxCommands = 64

// statusTimeout is for the last status of a command.
const statusTimeout = 30 * time.Second

// Command is a command of a delivery job.
type Command struct {
	ID      string
	JobID   string
	Created time.Time
	Payload json.RawMessage // a JSON object
	agent   *Agent
}

// inboundCommand waits for the handler.
type inboundCommand struct {
	command Command
	ack     func()
}

// The states of a command.
const (
	executing = "EXECUTING"
	executed  = "EXECUTED"
	failed    = "FAILED"
)

// errTaken is returned where only one handler can be, errNoHandler where there is none.
var (
	errTaken     = errors.New("mindsphere: commands have a handler already")
	errNoHandler = errors.New("mindsphere: the handler of commands is nil")
)

// errResponse is a response that is no JSON.
var errResponse = errors.New("mindsphere: the response of a command cannot be sent")

// OnCommand subscribes to commands and has handle called with each, one after the other. What handle returns is
// sent as the command's status: the response with EXECUTED, or with FAILED when there is an error, whose text
// is the response where handle returns none. The response marshals to JSON of at most 4 kB.
//
// In eu1 and private clouds a command whose status could not be sent, as when Close came before, comes again on
// a later connection, so handle may see it twice; in eu2 it has left the hub when it is taken. ctx of handle
// ends with Close, which waits for handle; handle must not call Close.
//
// It returns once the broker has granted the subscription, which the kit renews on every connection.
func (a *Agent) OnCommand(ctx context.Context, handle func(ctx context.Context, c Command) (response any, err error)) error {
	if handle == nil {
		return errNoHandler
	}
	a.mu.Lock()
	taken := a.handling
	a.handling = true
	a.mu.Unlock()
	if taken {
		return errTaken
	}
	err := a.way.listen(ctx, wire.Command)
	if err == nil && !a.way.spawn(func() { a.takeCommands(handle) }) {
		err = ErrClosed
	}
	if err != nil {
		a.mu.Lock()
		a.handling = false
		a.mu.Unlock()
	}
	return err
}

// commandArrived keeps a command for the handler; it never blocks.
func (a *Agent) commandArrived(body []byte, ack func()) {
	var form struct {
		ID   string `json:"id"`
		Data struct {
			JobID     string          `json:"jobId"`
			CreatedAt time.Time       `json:"createdAt"`
			Payload   json.RawMessage `json:"payload"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &form); err != nil {
		a.cfg.Log.Warn("command cannot be read", "device", a.cfg.clientID(), "cause", err)
		ack() // it would come again for ever
		return
	}
	c := Command{form.ID, form.Data.JobID, form.Data.CreatedAt, form.Data.Payload, a}
	select {
	case a.commands <- inboundCommand{c, ack}:
	default:
		a.cfg.Log.Warn("more commands than can wait", "device", a.cfg.clientID())
	}
}

// takeCommands hands over commands until the agent ends.
func (a *Agent) takeCommands(handle func(context.Context, Command) (any, error)) {
	for {
		select {
		case <-a.way.context().Done():
			return
		case <-a.way.done():
			return
		case in := <-a.commands:
			a.takeCommand(in, handle)
		}
	}
}

func (a *Agent) takeCommand(in inboundCommand, handle func(context.Context, Command) (any, error)) {
	response, err := handle(a.way.context(), in.command)
	status := executed
	if err != nil {
		status = failed
		if response == nil {
			response = map[string]string{"error": err.Error()}
		}
	}
	ctx, cancel := context.WithTimeout(a.way.context(), statusTimeout)
	defer cancel()
	err = in.command.update(ctx, status, response)
	if errors.Is(err, ErrTooLarge) || errors.Is(err, errResponse) {
		a.cfg.Log.Error("command's response cannot be sent", "device", a.cfg.clientID(), "command", in.command.ID, "cause", err)
		err = in.command.update(ctx, failed, map[string]string{"error": err.Error()})
	}
	if err != nil {
		a.cfg.Log.Warn("command not answered", "device", a.cfg.clientID(), "command", in.command.ID, "cause", err)
		return // eu1 sends it again
	}
	in.ack()
}

// Update tells that the command is being executed, with a response such as how far it is; it may be called
// several times. Errors as of SendTimeSeries.
func (c Command) Update(ctx context.Context, response any) error {
	return c.update(ctx, executing, response)
}

func (c Command) update(ctx context.Context, status string, response any) error {
	text, err := json.Marshal(response)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errResponse, err)
	case len(text) > MaxCommandData:
		return fmt.Errorf("%w: the response of a command has %d bytes, MindSphere takes %d", ErrTooLarge, len(text), MaxCommandData)
	}
	type data struct {
		Timestamp string          `json:"timestamp"`
		JobID     string          `json:"jobId"`
		Status    string          `json:"status"`
		Response  json.RawMessage `json:"response,omitempty"`
	}
	if response == nil {
		text = nil
	}
	return c.agent.send(ctx, wire.CommandStatus, struct {
		ID        string `json:"id"`
		RequestID string `json:"requestId"`
		Data      data   `json:"data"`
	}{c.agent.ids(), c.ID, data{c.agent.stamp(time.Time{}), c.JobID, status, text}})
}
