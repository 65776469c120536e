package iothub

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Section is one part of a twin's properties, desired or reported.
type Section struct {
	Values  map[string]any // JSON values, numbers as json.Number; never nil
	Version int64          // starts at 1 and grows with every accepted patch
	Meta    *Metadata      // times of the values, in the same shape
}

// Metadata says when a value was last set, and by which version.
type Metadata struct {
	Updated time.Time
	Version int64
	Members map[string]*Metadata // of an object's members
}

// Twin is the state of an identity that both sides share ("Understand and use device twins").
type Twin struct {
	DeviceID string
	ModuleID string
	Version  int64 // grows with every accepted change of any part
	Tags     map[string]any
	Desired  Section
	Reported Section
}

// ETag returns the twin's tag: its version, as the hub writes it ("AAAAAAAAAAc=").
func (t Twin) ETag() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(t.Version))
	return base64.StdEncoding.EncodeToString(b[:])
}

func (t Twin) clone() Twin {
	t.Tags = cloneObject(t.Tags)
	t.Desired, t.Reported = t.Desired.clone(), t.Reported.clone()
	return t
}

func (s Section) clone() Section {
	s.Values, s.Meta = cloneObject(s.Values), s.Meta.clone()
	return s
}

// newTwin is the twin of a new identity; initial is what DPS gave it, or nil. It was validated before.
func (s *Service) newTwin(device, module string, initial json.RawMessage) Twin {
	now := s.clock.Wall().UTC()
	t := Twin{DeviceID: device, ModuleID: module, Version: 1, Tags: map[string]any{}}
	for _, part := range []*Section{&t.Desired, &t.Reported} {
		*part = Section{Values: map[string]any{}, Version: 1, Meta: &Metadata{Updated: now, Version: 1}}
	}
	if in, err := readInitialTwin(initial); err == nil {
		merge(t.Tags, in.Tags, nil, Metadata{})
		merge(t.Desired.Values, in.Properties.Desired, t.Desired.Meta, Metadata{Updated: now, Version: 1})
	}
	return t
}

// initialTwin is the JSON of an enrollment's initialTwin.
type initialTwin struct {
	Tags       map[string]any `json:"tags"`
	Properties struct {
		Desired map[string]any `json:"desired"`
	} `json:"properties"`
}

// readInitialTwin reads and validates an initial twin; nil is an empty one.
func readInitialTwin(text json.RawMessage) (initialTwin, error) {
	var in initialTwin
	if len(text) == 0 || string(text) == "null" {
		return in, nil
	}
	if err := decodeJSON(text, &in); err != nil {
		return in, fmt.Errorf("%w: the initial twin is not JSON of the form {\"tags\":{…},\"properties\":{\"desired\":{…}}}: %w", ErrInvalid, err)
	}
	for _, part := range []struct {
		name   string
		values map[string]any
		most   int
	}{{"tags", in.Tags, maxTags}, {"properties.desired", in.Properties.Desired, maxSection}} {
		delete(part.values, "$version")
		delete(part.values, "$metadata")
		if f := checkObject(part.values); f != nil {
			return in, fmt.Errorf("%w: initial twin, %s: %s", ErrInvalid, part.name, f.detail)
		}
		if n := sizeOf(part.values); n > part.most {
			return in, fmt.Errorf("%w: initial twin, %s: %d bytes, at most %d", ErrInvalid, part.name, n, part.most)
		}
	}
	return in, nil
}

// twinKey returns where an identity's twin lies.
func twinKey(hub, device, module string) string { return key(hub, device, module) }

// GetTwin returns the twin of a device or, where module is not empty, of a module.
func (s *Service) GetTwin(hub, device, module string) (Twin, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Twin{}, err
	}
	t, ok := s.twins.Get(twinKey(h.Host, device, module))
	if !ok {
		return Twin{}, fmt.Errorf("twin of %s: %w", quote(name(device, module)), ErrNotFound)
	}
	return t, nil
}

// TwinPatch is a change of a twin by the service side. A nil part is left alone; in a patch a null
// removes its key, in a replacement (Replace) the part becomes what is given.
type TwinPatch struct {
	Tags    map[string]any
	Desired map[string]any
	Replace bool
	// ClearTags and ClearDesired remove every key of a part, as a null in the place of the part does.
	ClearTags, ClearDesired bool
}

// nulls is the patch that removes every key of values.
func nulls(values map[string]any) map[string]any {
	patch := make(map[string]any, len(values))
	for k := range values {
		patch[k] = nil
	}
	return patch
}

// DesiredSink is a Downlink that can tell its client of changed desired properties.
type DesiredSink interface {
	// Desired hands over a change: the patch as sent, or the whole document after a replacement, with
	// the new "$version" in it. It must not block; a client that has not asked for changes gets none.
	Desired(version int64, body []byte)
}

// ChangeTwin applies a change of the service side and tells the device. match is an ETag that must still
// hold; empty or * takes any.
func (s *Service) ChangeTwin(hub, device, module string, p TwinPatch, match string) (Twin, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Twin{}, err
	}
	for part, values := range map[string]map[string]any{"tags": p.Tags, "properties.desired": p.Desired} {
		if f := checkObject(values); f != nil {
			return Twin{}, fmt.Errorf("%w: %s: %s", ErrInvalid, part, f.detail)
		}
	}
	s.notify.Lock() // changes reach the device in the order of their versions
	defer s.notify.Unlock()
	t, err := s.twins.Update(twinKey(h.Host, device, module), func(t Twin) (Twin, error) {
		if !matches(match, t.ETag()) {
			return t, ErrPrecondition
		}
		if p.ClearTags {
			p.Tags = nulls(t.Tags)
		}
		if p.ClearDesired {
			p.Desired = nulls(t.Desired.Values)
		}
		return s.change(t, p)
	})
	if err != nil {
		return Twin{}, fmt.Errorf("twin of %s: %w", quote(name(device, module)), err)
	}
	if p.Desired != nil {
		s.tellDesired(h.Host, t, p)
	}
	return t, nil
}

// change returns t with p applied, or why it may not be.
func (s *Service) change(t Twin, p TwinPatch) (Twin, error) {
	at := Metadata{Updated: s.clock.Wall().UTC(), Version: t.Desired.Version + 1}
	t.Version++
	if p.Tags != nil {
		if p.Replace {
			t.Tags = map[string]any{}
		}
		merge(t.Tags, p.Tags, nil, at)
	}
	if p.Desired != nil {
		if p.Replace {
			t.Desired.Values, t.Desired.Meta = map[string]any{}, &Metadata{}
		}
		merge(t.Desired.Values, p.Desired, t.Desired.Meta, at)
		t.Desired.Version++
	}
	if n := sizeOf(t.Tags); n > maxTags {
		return t, fmt.Errorf("%w: tags of %d bytes, at most %d", ErrInvalid, n, maxTags)
	}
	if n := sizeOf(t.Desired.Values); n > maxSection {
		return t, fmt.Errorf("%w: desired properties of %d bytes, at most %d", ErrInvalid, n, maxSection)
	}
	return t, nil
}

// tellDesired journals a change of desired properties and hands it to the live connection.
func (s *Service) tellDesired(hub string, t Twin, p TwinPatch) {
	shown := p.Desired
	if p.Replace {
		shown = t.Desired.Values
	}
	body := withVersion(shown, t.Desired.Version)
	e := journal.Event{Platform: Platform, Endpoint: hub, Device: name(t.DeviceID, t.ModuleID)}
	c := s.session(hub, t.DeviceID, t.ModuleID)
	if c != nil {
		e = c.Event(journal.Twin)
	}
	e.Kind, e.Dir, e.Detail, e.Payload = journal.Twin, journal.Out, "desired properties changed", body
	e.Properties = map[string]string{"version": strconv.FormatInt(t.Desired.Version, 10)}
	s.journal.Append(e)
	if c == nil || c.Ended() {
		return
	}
	if sink, ok := c.down.(DesiredSink); ok {
		sink.Desired(t.Desired.Version, body)
	}
}

// TwinForDevice returns what a device reads: {"desired":{…,"$version":n},"reported":{…,"$version":m}}.
func (c *Session) TwinForDevice() ([]byte, *rule.Refusal) {
	if r := c.broken(fault.TwinGet); r != nil {
		return nil, r
	}
	if r := c.admit(meterTwinReads, 1); r != nil {
		return nil, r
	}
	if r := c.versioned(); r != nil {
		return nil, r
	}
	t, ok := c.svc.twins.Get(twinKey(c.id.Hub, c.id.DeviceID, c.id.ModuleID))
	if !ok {
		return nil, deletedRefusal(c.id.Name())
	}
	body := mustJSON(map[string]json.RawMessage{
		"desired":  withVersion(t.Desired.Values, t.Desired.Version),
		"reported": withVersion(t.Reported.Values, t.Reported.Version),
	})
	c.journalTwin("twin read", body, t.Reported.Version)
	return body, nil
}

// Report merges a patch into the reported properties and returns their new version. base, where not
// empty, is the version that the device thinks it changes. A refusal's Code is the hub's error code.
func (c *Session) Report(patch []byte, base string) (version int64, r *rule.Refusal) {
	if r := c.broken(fault.TwinPatch); r != nil {
		return 0, r
	}
	if r := c.admit(meterTwinUpdates, 1); r != nil {
		return 0, r
	}
	if r := c.versioned(); r != nil {
		return 0, r
	}
	values, r := readPatch(patch)
	if r != nil {
		return 0, r
	}
	t, err := c.svc.twins.Update(twinKey(c.id.Hub, c.id.DeviceID, c.id.ModuleID), func(t Twin) (Twin, error) {
		at := Metadata{Updated: c.svc.clock.Wall().UTC(), Version: t.Reported.Version + 1}
		if base != "" && base != strconv.FormatInt(t.Reported.Version, 10) {
			return t, twinRefusal("HUB-51/version", CodePrecondition, "the patch is based on another version of the reported properties",
				"$version="+quote(base), "$version="+strconv.FormatInt(t.Reported.Version, 10)+", or none")
		}
		merge(t.Reported.Values, values, t.Reported.Meta, at)
		if n := sizeOf(t.Reported.Values); n > maxSection {
			return t, twinRefusal("HUB-54/size", CodeMessageTooLarge, "the reported properties would become too large",
				fmt.Sprintf("%d bytes", n), fmt.Sprintf("at most %d bytes of keys and values", maxSection))
		}
		t.Reported.Version++
		t.Version++
		return t, nil
	})
	if err != nil {
		return 0, asRefusal(err, c.id)
	}
	c.journalTwin("reported properties changed", patch, t.Reported.Version)
	return t.Reported.Version, nil
}

// versioned refuses twin requests of a client that named no api-version (HUB-3).
func (c *Session) versioned() *rule.Refusal {
	if c.origin.APIVersion != "" {
		return nil
	}
	return twinRefusal("HUB-3/api-version", CodeArgumentInvalid, "twin requests need an api-version in the username",
		"a username without api-version", "{hub}/{device}/?api-version=2021-04-12")
}

func (c *Session) journalTwin(detail string, payload []byte, version int64) {
	c.active.Store(c.svc.clock.Wall().UnixNano())
	e := c.Event(journal.Twin)
	e.Detail, e.Payload = detail, payload
	e.Properties = map[string]string{"version": strconv.FormatInt(version, 10)}
	c.svc.journal.Append(e)
}
