package iotda

import (
	"context"
	"encoding/json"

	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Command is a command of the application.
type Command struct {
	DeviceID  string // the device's own, or that of a gateway's child
	ServiceID string
	Name      string
	Paras     map[string]any // numbers are json.Number
}

// Response answers a command.
type Response struct {
	Name  string         // of the product model; optional
	Paras map[string]any // optional
}

// CommandHandler runs a command. An error is told to the application with its text as paras' "error": as its
// code where it is a *Failure, else as 1.
type CommandHandler func(ctx context.Context, c Command) (Response, error)

// OnCommand has handle called with each command. Calls run beside each other, a hundred at most. The application
// waits 20 seconds. ctx of handle ends with Close, which waits for handle; handle must not call Close. A handler
// set before is replaced; without one, a command is answered with result code 1.
func (d *Device) OnCommand(handle CommandHandler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.command = handle
}

func (d *Device) runCommand(ctx context.Context, payload []byte) any {
	d.mu.Lock()
	handle := d.command
	d.mu.Unlock()
	var call wire.CommandCall
	err := wire.Decode(payload, &call)
	var answer Response
	switch {
	case err == nil && handle == nil:
		err = errNoHandler
	case err == nil:
		answer, err = handle(ctx, Command{d.object(call.ObjectDeviceID), call.ServiceID, call.CommandName, call.Paras})
	}
	if err == nil {
		_, err = json.Marshal(answer.Paras)
	}
	r := wire.CommandResponse{ResponseName: answer.Name, Paras: answer.Paras}
	if err != nil {
		var text string
		r.ResultCode, text = resultOf(err)
		r.Paras = map[string]any{"error": text}
	}
	return r
}
