package iothub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// configurationContent is a configuration's content; each value is by the path of what it sets, such as
// "properties.desired.fleet".
type configurationContent struct {
	Device  map[string]any            `json:"deviceContent,omitempty"`
	Module  map[string]any            `json:"moduleContent,omitempty"`
	Modules map[string]map[string]any `json:"modulesContent,omitempty"` // by module id, IoT Edge
}

// desiredPath opens every path that a configuration sets.
const desiredPath = "properties.desired"

// readContent reads and checks a content.
func readContent(text json.RawMessage) (configurationContent, error) {
	var c configurationContent
	if len(text) == 0 || string(text) == "null" {
		return c, nil
	}
	if err := decodeJSON(text, &c); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfigurationContent, err)
	}
	parts := slices.Collect(maps.Values(c.Modules))
	for _, part := range append(parts, c.Device, c.Module) {
		patch, err := desiredOf(part)
		if err != nil {
			return c, err
		}
		if f := checkObject(patch); f != nil {
			return c, fmt.Errorf("%w: %s", ErrConfigurationContent, f.detail)
		}
	}
	return c, nil
}

// desiredOf makes a patch of desired properties from a content's paths.
func desiredOf(part map[string]any) (map[string]any, error) {
	patch := map[string]any{}
	for _, p := range slices.Sorted(maps.Keys(part)) {
		rest, ok := strings.CutPrefix(p, desiredPath)
		if !ok || rest != "" && !strings.HasPrefix(rest, ".") {
			return nil, fmt.Errorf("%w: %s sets nothing; paths begin with %s", ErrConfigurationContent, quote(p), desiredPath)
		}
		at := patch
		steps := strings.Split(strings.TrimPrefix(rest, "."), ".")
		if rest == "" {
			whole, ok := part[p].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%w: %s is no object", ErrConfigurationContent, quote(p))
			}
			merge(patch, whole, nil, Metadata{})
			continue
		}
		for _, step := range steps[:len(steps)-1] {
			below, ok := at[step].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[step] = below
			}
			at = below
		}
		at[steps[len(steps)-1]] = cloneValue(part[p])
	}
	return patch, nil
}

// ApplyConfigurations sets a hub's configurations on the twins that they target, of one device or, where
// device is empty, of all. Where two set the same, the one of the larger priority wins, then the newer.
// Twins that have it all are left alone.
func (s *Service) ApplyConfigurations(hub, device string) {
	all := s.Configurations(hub)
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Created.Compare(b.Created)) < 0
	})
	h, err := s.GetHub(hub)
	if err != nil || len(all) == 0 {
		return
	}
	patches := map[string]map[string]any{}
	deployed := map[string]configurationContent{}
	for _, c := range all {
		t, errT := readTarget(c.TargetCondition)
		content, errC := readContent(c.Content)
		if errT != nil || errC != nil {
			continue // both were read when it came
		}
		for id, doc := range s.targets(h.Host, t.from, device) {
			if !t.match(doc) {
				continue
			}
			part := content.Device
			if t.from == hubquery.Modules {
				part = content.Module
			} else if content.Modules != nil {
				deployed[id] = content
			}
			patch, err := desiredOf(part)
			if err != nil || len(patch) == 0 {
				continue
			}
			if patches[id] == nil {
				patches[id] = map[string]any{}
			}
			merge(patches[id], patch, nil, Metadata{})
		}
	}
	for id, patch := range patches {
		of, module, _ := strings.Cut(id, keySeparator)
		_ = s.setDesired(h.Host, of, module, patch, false) // a twin that would become too large keeps what it has
	}
	for id, content := range deployed {
		_ = s.deploy(h.Host, id, content) // as above
	}
}

// targets goes through a collection, or through one device's part of it.
func (s *Service) targets(hub string, from hubquery.Collection, device string) func(func(string, map[string]any) bool) {
	return func(yield func(string, map[string]any) bool) {
		if device != "" && from == hubquery.Devices {
			if doc, err := s.TwinDocument(hub, device, ""); err == nil {
				yield(device, doc)
			}
			return
		}
		for id, doc := range s.documents(hub, from, "") {
			if of, _, _ := strings.Cut(id, keySeparator); device != "" && of != device {
				continue
			}
			if !yield(id, doc) {
				return
			}
		}
	}
}

// setDesired changes desired properties where they are not as they should be.
func (s *Service) setDesired(hub, device, module string, want map[string]any, replace bool) error {
	t, err := s.GetTwin(hub, device, module)
	if err != nil {
		return err
	}
	after := map[string]any{}
	if !replace {
		after = cloneObject(t.Desired.Values)
	}
	merge(after, want, nil, Metadata{})
	if bytes.Equal(mustJSON(after), mustJSON(t.Desired.Values)) {
		return nil
	}
	_, err = s.ChangeTwin(hub, device, module, TwinPatch{Desired: want, Replace: replace}, "")
	return err
}

// ApplyContent sets a content on one device at once: the desired properties of its modules, which are made
// where they are missing, and its own. Errors: ErrNotFound, ErrConfigurationContent, ErrInvalid.
func (s *Service) ApplyContent(hub, device string, text json.RawMessage) error {
	d, err := s.GetDevice(hub, device)
	if err != nil {
		return err
	}
	content, err := readContent(text)
	if err != nil {
		return err
	}
	if content.Modules == nil && content.Device == nil {
		return fmt.Errorf("%w: neither modulesContent nor deviceContent", ErrConfigurationContent)
	}
	h, err := s.GetHub(hub)
	if err != nil {
		return err
	}
	patch, err := desiredOf(content.Device)
	if err != nil {
		return err
	}
	if len(patch) > 0 {
		if err := s.setDesired(h.Host, d.DeviceID, "", patch, false); err != nil {
			return err
		}
	}
	return s.deploy(h.Host, d.DeviceID, content)
}

// deploy sets the desired properties of a device's modules.
func (s *Service) deploy(hub, device string, content configurationContent) error {
	for _, module := range slices.Sorted(maps.Keys(content.Modules)) {
		part := content.Modules[module]
		_, err := s.CreateModule(hub, Module{DeviceID: device, ModuleID: module, ManagedBy: "iotEdge"})
		if err != nil && !errors.Is(err, ErrExists) {
			return err
		}
		patch, err := desiredOf(part)
		if err != nil {
			return err
		}
		_, whole := part[desiredPath]
		if err := s.setDesired(hub, device, module, patch, whole); err != nil {
			return err
		}
	}
	return nil
}
