package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/plane"
)

type resetInput struct {
	Body *struct {
		Device chosen `json:"device,omitempty" minLength:"1" maxLength:"512" doc:"only devices of this id, or glob in which * crosses slashes; without it everything"`
	}
}

// chosen is a glob that narrows what a call does to everything. What a script fills in from something that is not
// set, be it null, must not widen it again.
type chosen string

// UnmarshalJSON implements json.Unmarshaler.
func (c *chosen) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return errors.New("device is null; leave it out to reset everything")
	}
	return json.Unmarshal(text, (*string)(c))
}

type resetOutput struct {
	Body struct {
		Devices int `json:"devices" doc:"identities that were reset, where a device was named"`
	}
}

type snapshotInput struct {
	Name string `path:"name" doc:"1 to 64 letters, digits, dots, hyphens and underscores"`
}

type snapshotOutput struct{ Body plane.Snapshot }

type snapshotsOutput struct {
	Body struct {
		Snapshots []plane.Snapshot `json:"snapshots"`
	}
}

type snapshotFile struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type snapshotUpload struct {
	Name    string `path:"name"`
	RawBody []byte `contentType:"application/gzip"`
}

const (
	snapshotsPath = "/api/v1/snapshots"
	snapshotPath  = snapshotsPath + "/{name}"
)

func (a *api) life() {
	register(a, call(http.MethodPost, "/api/v1/reset", "reset",
		"Empties the instance and seeds its world again, or does so to some devices; connections are dead when it answers"), a.reset)
	register(a, call(http.MethodGet, snapshotsPath, "snapshots", "The snapshots that are kept"), a.listSnapshots)
	of := func(method, suffix, id, summary string, more ...int) huma.Operation {
		op := call(method, snapshotPath+suffix, id, summary)
		op.Errors = append(op.Errors, append(more, http.StatusUnprocessableEntity)...)
		return op
	}
	register(a, of(http.MethodPost, "", "take-snapshot", "Keeps the state under a name, in place of an earlier snapshot"), a.takeSnapshot)
	register(a, of(http.MethodPost, "/restore", "restore-snapshot", "Makes the instance what it was; all or nothing", http.StatusNotFound), a.restoreSnapshot)
	register(a, stream(of(http.MethodGet, "", "snapshot-file", "The file of a snapshot, for any instance", http.StatusNotFound), "application/gzip"), a.getSnapshot)
	put := of(http.MethodPut, "", "put-snapshot-file", "Keeps a snapshot's file from elsewhere")
	put.MaxBodyBytes = fileLimit
	register(a, put, a.putSnapshot)
	register(a, of(http.MethodDelete, "", "delete-snapshot", "Removes a snapshot", http.StatusNotFound), a.deleteSnapshot)
}

func (a *api) reset(_ context.Context, in *resetInput) (*resetOutput, error) {
	glob := ""
	if in.Body != nil {
		glob = string(in.Body.Device)
	}
	if err := checkGlob("device", glob); err != nil {
		return nil, err
	}
	count, err := a.plane.Life.Reset(glob)
	if err != nil {
		return nil, a.lifeProblem(err)
	}
	out := &resetOutput{}
	out.Body.Devices = count
	return out, nil
}

func (a *api) listSnapshots(context.Context, *struct{}) (*snapshotsOutput, error) {
	list, err := a.plane.Life.Snapshots()
	if err != nil {
		return nil, a.lifeProblem(err)
	}
	out := &snapshotsOutput{}
	out.Body.Snapshots = list
	return out, nil
}

func (a *api) takeSnapshot(_ context.Context, in *snapshotInput) (*snapshotOutput, error) {
	s, err := a.plane.Life.TakeSnapshot(in.Name)
	if err != nil {
		return nil, a.lifeProblem(err)
	}
	return &snapshotOutput{Body: s}, nil
}

func (a *api) restoreSnapshot(_ context.Context, in *snapshotInput) (*struct{}, error) {
	if err := a.plane.Life.RestoreSnapshot(in.Name); err != nil {
		return nil, a.lifeProblem(err)
	}
	return nil, nil
}

func (a *api) getSnapshot(_ context.Context, in *snapshotInput) (*snapshotFile, error) {
	file, err := a.plane.Life.SnapshotFile(in.Name)
	if err != nil {
		return nil, a.lifeProblem(err)
	}
	return &snapshotFile{ContentType: "application/gzip", Body: file}, nil
}

func (a *api) putSnapshot(_ context.Context, in *snapshotUpload) (*snapshotOutput, error) {
	s, err := a.plane.Life.PutSnapshotFile(in.Name, in.RawBody)
	if err != nil {
		return nil, a.lifeProblem(err)
	}
	return &snapshotOutput{Body: s}, nil
}

func (a *api) deleteSnapshot(_ context.Context, in *snapshotInput) (*struct{}, error) {
	if err := a.plane.Life.DeleteSnapshot(in.Name); err != nil {
		return nil, a.lifeProblem(err)
	}
	return nil, nil
}

func (a *api) lifeProblem(err error) error {
	switch {
	case errors.Is(err, plane.ErrNoSnapshot):
		return refuse(http.StatusNotFound, "no such snapshot; GET "+snapshotsPath+" lists them")
	case errors.Is(err, plane.ErrSnapshot):
		return refuse(http.StatusUnprocessableEntity, "nothing has changed: "+err.Error())
	}
	a.log.Error("reset or snapshot failed", "cause", err)
	return refuse(http.StatusInternalServerError, "nothing has changed; the instance's log says why")
}
