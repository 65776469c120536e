package iotda

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The states of a batch task and of its targets, spelled as the API spells them.
const (
	TaskWaiting    = "Waitting"
	TaskProcessing = "Processing"
	TaskSuccess    = "Success"
	TaskFail       = "Fail"
	TaskPartial    = "PartialSuccess"
	TaskStopped    = "Stopped"
)

// The kinds of batch task.
const (
	taskSoftware = "softwareUpgrade"
	taskFirmware = "firmwareUpgrade"
	taskDelete   = "deleteDevices"
	taskFreeze   = "freezeDevices"
	taskUnfreeze = "unfreezeDevices"
	taskCommands = "createCommands"
	taskMessages = "createMessages"
	taskShadows  = "updateDeviceShadows"
)

var taskTypes = []string{taskSoftware, taskFirmware, taskDelete, taskFreeze, taskUnfreeze, taskCommands, taskMessages, taskShadows}

// Limits of batch tasks: the first is the API's.
const (
	maxTargets = 30_000
	maxTasks   = 100
)

// Task is a batch task.
type Task struct {
	ID       string          `json:"task_id"`
	AppID    string          `json:"app_id"`
	Name     string          `json:"task_name"`
	Type     string          `json:"task_type"`
	Document json.RawMessage `json:"document,omitempty"`
	Confirm  bool            `json:"need_confirm,omitempty"` // it waits for ConfirmTask
	Targets  []Target        `json:"targets"`
	Created  time.Time       `json:"created"`
}

// Target is one device of a batch task.
type Target struct {
	Device string `json:"target"`
	Status string `json:"status"`
	Output string `json:"output,omitempty"`
	// Error is why it failed, where the platform itself refused.
	Error *ErrorInfo `json:"error,omitempty"`
}

func (t Task) clone() Task {
	t.Targets = slices.Clone(t.Targets)
	return t
}

func (t *Task) upgrades() bool { return t.Type == taskSoftware || t.Type == taskFirmware }

func (t *Task) packageID() string {
	var document struct {
		PackageID string `json:"package_id"`
	}
	_ = json.Unmarshal(t.Document, &document) // it was read when the task was made
	return document.PackageID
}

// Counts counts the targets by status.
func (t Task) Counts() map[string]int {
	n := map[string]int{}
	for _, at := range t.Targets {
		n[at.Status]++
	}
	return n
}

// Status is the state of the whole task.
func (t Task) Status() string {
	n := t.Counts()
	switch {
	case n[TaskWaiting] == len(t.Targets) && len(t.Targets) > 0:
		return TaskWaiting
	case n[TaskProcessing]+n[TaskWaiting] > 0:
		return TaskProcessing
	case n[TaskStopped] > 0:
		return TaskStopped
	case n[TaskFail] == 0:
		return TaskSuccess
	case n[TaskSuccess] > 0:
		return TaskPartial
	}
	return TaskFail
}

// NewTask is a batch task to begin: its devices by id, or by the groups that they are in.
type NewTask struct {
	Task
	Devices []string
	Groups  []string
}

// CreateTask begins a batch task. Upgrades go on as devices come and answer; the others are done when it
// returns, but for commands, whose answers follow.
func (s *Service) CreateTask(instance string, n NewTask) (Task, error) {
	t := n.Task
	if err := s.known(instance); err != nil {
		return t, err
	}
	app, err := s.App(instance, t.AppID)
	if err != nil {
		return t, err
	}
	t.AppID = app.AppID
	switch {
	case t.Name == "" || utf8.RuneCountInString(t.Name) > 128:
		return t, invalid("task_name: 1 to 128 characters")
	case !slices.Contains(taskTypes, t.Type):
		return t, invalid("task_type %q: one of %s", clip(t.Type), strings.Join(taskTypes, ", "))
	}
	devices := slices.Clone(n.Devices)
	for _, g := range n.Groups {
		group, err := s.Group(instance, g)
		if err != nil {
			return t, err
		}
		devices = append(devices, group.Devices...)
	}
	if len(devices) == 0 || len(devices) > maxTargets {
		return t, invalid("targets: 1 to %d device ids, or targets_filter with group_ids", maxTargets)
	}
	if t.upgrades() {
		if _, err := s.Package(instance, t.packageID()); err != nil {
			return t, invalid("document: {\"package_id\":\"…\"} of a package that exists")
		}
	}
	slices.Sort(devices)
	for _, d := range slices.Compact(devices) {
		t.Targets = append(t.Targets, Target{Device: d, Status: TaskWaiting})
	}
	s.admin.Lock()
	if len(s.tasks.Keys(instance+keySeparator)) >= maxTasks {
		s.admin.Unlock()
		return t, conflict("there are %d batch tasks already, which is the limit", maxTasks)
	}
	t.ID, t.Created = s.ids.Hex(24), s.clock.Wall().UTC()
	s.tasks.Put(key(instance, t.ID), t)
	s.admin.Unlock()
	s.tellTask(instance, "", t)
	if t.Confirm {
		return t, nil
	}
	s.runTask(instance, t)
	return s.Task(instance, t.ID)
}

// Task returns one batch task.
func (s *Service) Task(instance, id string) (Task, error) {
	t, ok := s.tasks.Get(key(instance, id))
	if !ok {
		return t, notFound("batch task", id)
	}
	return t, nil
}

// Tasks returns the batch tasks of an instance, ordered by id.
func (s *Service) Tasks(instance string) []Task { return s.tasks.List(instance + keySeparator) }

// DeleteTask removes a batch task.
func (s *Service) DeleteTask(instance, id string) error {
	return notFoundIf(!s.tasks.Delete(key(instance, id)), "batch task", id)
}

// ConfirmTask begins a task that waits for it.
func (s *Service) ConfirmTask(instance, id string) error {
	t, err := s.tasks.Update(key(instance, id), func(t Task) (Task, error) {
		if !t.Confirm {
			return t, invalid("task %s does not wait to be confirmed", clip(id))
		}
		t.Confirm = false
		return t, nil
	})
	if t.ID == "" {
		return notFound("batch task", id)
	}
	if err == nil {
		s.runTask(instance, t)
	}
	return err
}

// StopTask ends what has not been done yet. targets limits it to some devices.
func (s *Service) StopTask(instance, id string, targets []string) error {
	return s.changeTask(instance, id, func(at *Target) bool {
		if len(targets) > 0 && !slices.Contains(targets, at.Device) || at.Status != TaskWaiting && at.Status != TaskProcessing {
			return false
		}
		at.Status = TaskStopped
		return true
	})
}

// RetryTask begins again what has failed or was stopped. targets limits it to some devices.
func (s *Service) RetryTask(instance, id string, targets []string) error {
	err := s.changeTask(instance, id, func(at *Target) bool {
		if len(targets) > 0 && !slices.Contains(targets, at.Device) || at.Status != TaskFail && at.Status != TaskStopped {
			return false
		}
		at.Status, at.Output, at.Error = TaskWaiting, "", nil
		return true
	})
	if err != nil {
		return err
	}
	t, err := s.Task(instance, id)
	if err == nil {
		s.runTask(instance, t)
	}
	return err
}

func (s *Service) changeTask(instance, id string, change func(*Target) bool) error {
	before := ""
	t, err := s.tasks.Update(key(instance, id), func(t Task) (Task, error) {
		before, t = t.Status(), t.clone()
		for i := range t.Targets {
			change(&t.Targets[i])
		}
		return t, nil
	})
	if err != nil {
		return notFound("batch task", id)
	}
	s.tellTask(instance, before, t)
	return nil
}

// eachTarget changes what the tasks of an instance hold of one device.
func (s *Service) eachTarget(instance, device string, change func(*Task, *Target)) {
	for _, k := range s.tasks.Keys(instance + keySeparator) {
		t, ok := s.tasks.Get(k)
		if !ok || !slices.ContainsFunc(t.Targets, func(at Target) bool { return at.Device == device }) {
			continue
		}
		before := ""
		t, err := s.tasks.Update(k, func(t Task) (Task, error) { // it may be gone
			before, t = t.Status(), t.clone()
			for i := range t.Targets {
				if t.Targets[i].Device == device && !t.Confirm {
					change(&t, &t.Targets[i])
				}
			}
			return t, nil
		})
		if err == nil {
			s.tellTask(instance, before, t)
		}
	}
}

// runTask carries out what waits of a task.
func (s *Service) runTask(instance string, t Task) {
	for _, at := range t.Targets {
		if at.Status != TaskWaiting {
			continue
		}
		d, err := s.Device(instance, at.Device)
		if err == nil && t.upgrades() {
			s.query(instance, d) // what the device answers decides; one that is away is asked when it comes
			continue
		}
		if err == nil && t.Type == taskCommands {
			s.background(func() { s.finish(instance, t.ID, at.Device, s.batchCommand(instance, d, t.Document)) })
			continue
		}
		if err == nil {
			err = s.carryOut(instance, d, t)
		}
		s.finish(instance, t.ID, at.Device, err)
	}
}

// carryOut does for one device what a task asks for, if that is done at once.
func (s *Service) carryOut(instance string, d Device, t Task) error {
	switch t.Type {
	case taskDelete:
		return s.DeleteDevice(instance, d.DeviceID)
	case taskFreeze:
		return s.Freeze(instance, d.DeviceID, true)
	case taskUnfreeze:
		return s.Freeze(instance, d.DeviceID, false)
	case taskMessages:
		var m struct {
			Message json.RawMessage `json:"message"`
			Topic   string          `json:"topic"`
			TTL     *int            `json:"ttl"`
		}
		if err := iotda.Decode(t.Document, &m); err != nil {
			return &Error{Code: CodeFormat, Text: err.Error()}
		}
		_, err := s.SendMessage(instance, d.DeviceID, NewMessage{Content: m.Message, Topic: m.Topic, TTL: m.TTL})
		return err
	}
	var wanted struct {
		Shadow []Desired `json:"shadow"`
	}
	if err := iotda.Decode(t.Document, &wanted); err != nil {
		return &Error{Code: CodeFormat, Text: err.Error()}
	}
	_, err := s.SetDesired(instance, d.DeviceID, wanted.Shadow)
	return err
}

func (s *Service) batchCommand(instance string, d Device, document json.RawMessage) error {
	var call iotda.CommandCall
	if err := iotda.Decode(document, &call); err != nil {
		return &Error{Code: CodeFormat, Text: err.Error()}
	}
	ctx, cancel := context.WithCancel(s.out.ctx)
	defer cancel()
	_, err := s.Command(ctx, instance, d.DeviceID, call)
	return err
}

// finish notes what became of one target.
func (s *Service) finish(instance, id, device string, cause error) {
	_ = s.changeTask(instance, id, func(at *Target) bool { // the task may be gone
		if at.Device != device || at.Status == TaskStopped {
			return false
		}
		at.Status, at.Output, at.Error = TaskSuccess, "", nil
		if cause != nil {
			at.Status, at.Output = TaskFail, cause.Error()
		}
		var known *Error
		if errors.As(cause, &known) {
			at.Error = known.Info()
		}
		return true
	})
}

// resumeUpgrades asks a device that has come for its version, where an upgrade waits for it.
func (s *Service) resumeUpgrades(instance string, d Device) {
	if s.tasks.Len() == 0 {
		return
	}
	waits := false
	s.eachTarget(instance, d.DeviceID, func(t *Task, at *Target) {
		waits = waits || t.upgrades() && at.Status == TaskWaiting
	})
	if waits {
		s.query(instance, d)
	}
}
