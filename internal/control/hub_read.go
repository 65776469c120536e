package control

import (
	"context"

	"github.com/fakecloud/fakecloud/internal/plane"
)

type telemetryInput struct {
	Hub    string `path:"hub" maxLength:"256" doc:"name or host name of the hub"`
	Device string `query:"device" maxLength:"128" doc:"only this device and its modules"`
	Since  uint64 `query:"since" doc:"only messages after this number; 0 is all that are kept"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"at most so many messages"`
}

type telemetryOutput struct {
	Body struct {
		Messages []plane.HubMessage `json:"messages"`
		Next     uint64             `json:"nextSince" doc:"the since that continues after this answer"`
	}
}

type filesInput struct {
	Hub    string `path:"hub" maxLength:"256" doc:"name or host name of the hub"`
	Device string `query:"device" maxLength:"128" doc:"only this device's"`
}

type filesOutput struct {
	Body struct {
		Files []plane.HubFile `json:"files"`
	}
}

type hubFileInput struct {
	Hub  string `path:"hub" maxLength:"256" doc:"name or host name of the hub"`
	File string `path:"file" maxLength:"4096" doc:"slashes may stand as they are or escaped"`
}

func (a *api) getTelemetry(_ context.Context, in *telemetryInput) (*telemetryOutput, error) {
	messages, next, err := a.plane.Hubs.Telemetry(in.Hub, in.Device, in.Since, in.Limit)
	if err != nil {
		return nil, a.hubProblem(err, hubDevice{Hub: in.Hub})
	}
	out := &telemetryOutput{}
	out.Body.Messages, out.Body.Next = messages, next
	return out, nil
}

func (a *api) listFiles(_ context.Context, in *filesInput) (*filesOutput, error) {
	files, err := a.plane.Hubs.Files(in.Hub, in.Device)
	if err != nil {
		return nil, a.hubProblem(err, hubDevice{Hub: in.Hub})
	}
	out := &filesOutput{}
	out.Body.Files = files
	return out, nil
}

// getFile hands a device's bytes out as a download of no type: a browser must not take them for a page.
func (a *api) getFile(_ context.Context, in *hubFileInput) (*fileOutput, error) {
	_, body, err := a.plane.Hubs.File(in.Hub, in.File)
	if err != nil {
		return nil, a.hubProblem(err, hubDevice{Hub: in.Hub})
	}
	return &fileOutput{ContentType: "application/octet-stream", Disposition: "attachment", Body: body}, nil
}
