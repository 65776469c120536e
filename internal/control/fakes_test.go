package control

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// devices is a plane.Devices in a map.
type devices struct {
	mu   sync.Mutex
	all  map[string]plane.Device // by platform/endpoint/id
	gone []string                // disconnected
}

func key(platform, endpoint, id string) string { return platform + "|" + endpoint + "|" + id }

func (d *devices) List() []plane.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []plane.Device
	for _, v := range d.all {
		list = append(list, v)
	}
	return list
}

func (d *devices) Get(platform, endpoint, id string) (plane.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.all[key(platform, endpoint, id)]
	if !ok {
		return v, plane.ErrNoDevice
	}
	return v, nil
}

func (d *devices) Delete(platform, endpoint, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.all[key(platform, endpoint, id)]; !ok {
		return plane.ErrNoDevice
	}
	delete(d.all, key(platform, endpoint, id))
	return nil
}

func (d *devices) Disconnect(platform, endpoint, id string) error {
	if _, err := d.Get(platform, endpoint, id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = append(d.gone, id)
	return nil
}

func (d *devices) Expire(platform, endpoint, id string) error {
	if err := d.Disconnect(platform, endpoint, id); err != nil {
		return err
	}
	if id != "dev-01" {
		return plane.ErrNothingToExpire
	}
	return nil
}

// life is a plane.Life that keeps files and what it was asked for.
type life struct {
	mu    sync.Mutex
	files map[string][]byte
	calls []string
}

func (l *life) note(call string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, call)
}

func (l *life) Reset(glob string) (int, error) {
	l.note("reset " + glob)
	return len(glob), nil
}

func (l *life) Snapshots() ([]plane.Snapshot, error) {
	return []plane.Snapshot{{Name: "one", Bytes: 3}}, nil
}

func (l *life) TakeSnapshot(name string) (plane.Snapshot, error) {
	if name == "-" {
		return plane.Snapshot{}, plane.ErrSnapshot
	}
	l.note("take " + name)
	return plane.Snapshot{Name: name}, nil
}

func (l *life) RestoreSnapshot(name string) error {
	if _, err := l.SnapshotFile(name); err != nil {
		return err
	}
	l.note("restore " + name)
	return nil
}

func (l *life) SnapshotFile(name string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if file, ok := l.files[name]; ok {
		return file, nil
	}
	return nil, plane.ErrNoSnapshot
}

func (l *life) PutSnapshotFile(name string, file []byte) (plane.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[name] = file
	return plane.Snapshot{Name: name, Bytes: len(file)}, nil
}

func (l *life) DeleteSnapshot(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.files, name)
	return nil
}

// world is a plane.World that keeps the last document.
type world struct{ document, patched, replaced []byte }

func (w *world) Current() ([]byte, error) { return w.document, nil }

func (w *world) Patch(_ context.Context, document []byte) error {
	if bytes.Contains(document, []byte("wrong")) {
		return errors.New("line 2: azure.hubs[0].nmae: unknown key, name is meant\n   1 | azure:\n>  2 |   key: c2VjcmV0\n         ^")
	}
	w.patched = document
	return nil
}

func (w *world) Replace(_ context.Context, document []byte) error {
	w.replaced = document
	return nil
}
