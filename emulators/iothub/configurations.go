package iothub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// Configuration is what a hub sets on all twins that it targets ("Automatic device and module management
// using the Azure CLI"; deployments to IoT Edge devices are the same).
type Configuration struct {
	ID            string
	SchemaVersion string
	Labels        map[string]string
	// Content is {"deviceContent"|"moduleContent"|"modulesContent": …}; it never changes.
	Content json.RawMessage
	// TargetCondition is what stands behind WHERE over devices, or FROM devices.modules WHERE …; * is all
	// and empty none.
	TargetCondition string
	Priority        int               // the larger wins
	Queries         map[string]string // custom metrics
	ETag            string            // made by the hub, like the times
	Created         time.Time
	Updated         time.Time
}

// maxConfigurations is how many a hub has at most ("IoT Hub quotas and throttling").
const maxConfigurations = 100

// Errors of configurations beside those of the registry; they are wrapped with what is wrong.
var (
	ErrTargetCondition       = errors.New("target condition")
	ErrConfigurationContent  = errors.New("content")
	ErrImmutableContent      = errors.New("the content of a configuration cannot be changed")
	ErrMetricsQuery          = errors.New("custom metrics query")
	ErrTooManyConfigurations = errors.New("too many configurations")
)

func (c Configuration) clone() Configuration {
	c.Labels, c.Queries = maps.Clone(c.Labels), maps.Clone(c.Queries)
	c.Content = bytes.Clone(c.Content)
	return c
}

// target is a target condition that was read.
type target struct {
	from  hubquery.Collection
	match func(doc map[string]any) bool
}

func readTarget(condition string) (target, error) {
	text := strings.TrimSpace(condition)
	if namesCollection(text) {
		q, err := hubquery.Parse("SELECT * " + text)
		if err != nil {
			return target{}, fmt.Errorf("%w: %w", ErrTargetCondition, err)
		}
		return target{q.From, q.Match}, nil
	}
	if text == "" {
		return target{hubquery.Devices, func(map[string]any) bool { return false }}, nil
	}
	c, err := hubquery.ParseCondition(hubquery.Devices, text)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", ErrTargetCondition, err)
	}
	return target{hubquery.Devices, c.Match}, nil
}

// TargetQuery is the query that finds what a configuration targets. Tools run it to show who is behind a figure
// (azure-iot-cli-extension, iot hub configuration show-metric).
func (c Configuration) TargetQuery() string {
	switch text := strings.TrimSpace(c.TargetCondition); {
	case text == "":
		return "select deviceId from devices where false"
	case text == "*":
		return "select deviceId from devices"
	case namesCollection(text):
		return "select deviceId, moduleId " + text
	default:
		return "select deviceId from devices where " + text
	}
}

// namesCollection reports whether a target condition says itself what it reads: FROM devices.modules WHERE ….
func namesCollection(condition string) bool {
	return len(condition) >= 5 && strings.EqualFold(condition[:5], "FROM ")
}

// CheckQueries judges a target condition and custom metrics, the latter by name, as a configuration's
// would be.
func (s *Service) CheckQueries(condition string, queries map[string]string) (metrics map[string]error, target error) {
	_, target = readTarget(condition)
	metrics = map[string]error{}
	for name, text := range queries {
		if _, err := hubquery.Parse(text); err != nil {
			metrics[name] = fmt.Errorf("%w %s: %w", ErrMetricsQuery, quote(name), err)
		}
	}
	return metrics, target
}

func (s *Service) completeConfiguration(c *Configuration) error {
	if !jobID.MatchString(c.ID) {
		return fmt.Errorf("%w: configuration id %s: 1 to 128 of letters, digits and - : + %% _ # * ? ! ( ) , = @ ; $ '", ErrInvalid, quote(c.ID))
	}
	if c.Priority < 0 {
		return fmt.Errorf("%w: priority %d, 0 or more is allowed", ErrInvalid, c.Priority)
	}
	if c.SchemaVersion == "" {
		c.SchemaVersion = "1.0"
	}
	metrics, target := s.CheckQueries(c.TargetCondition, c.Queries)
	if target != nil {
		return target
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		return metrics[name]
	}
	return nil
}

// CreateConfiguration adds a configuration and sets it on the twins that it targets.
func (s *Service) CreateConfiguration(hub string, c Configuration) (Configuration, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Configuration{}, err
	}
	if err := s.completeConfiguration(&c); err != nil {
		return Configuration{}, err
	}
	if _, err := readContent(c.Content); err != nil {
		return Configuration{}, err
	}
	c = c.clone()
	c.Created, c.ETag = s.clock.Wall().UTC(), s.etag()
	c.Updated = c.Created
	s.side.mu.Lock()
	if len(s.side.configurations.Keys(h.Host+keySeparator)) >= maxConfigurations {
		err = fmt.Errorf("%w: %d", ErrTooManyConfigurations, maxConfigurations)
	} else {
		err = s.side.configurations.Create(key(h.Host, c.ID), c)
	}
	s.side.mu.Unlock()
	if err != nil {
		return Configuration{}, fmt.Errorf("configuration %s: %w", quote(c.ID), err)
	}
	s.ApplyConfigurations(h.Host, "")
	return c, nil
}

// UpdateConfiguration changes everything but the content, which may be left out. match is an ETag that
// must still hold; empty or * takes any.
func (s *Service) UpdateConfiguration(hub string, c Configuration, match string) (Configuration, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Configuration{}, err
	}
	if err := s.completeConfiguration(&c); err != nil {
		return Configuration{}, err
	}
	c = c.clone()
	stored, err := s.side.configurations.Update(key(h.Host, c.ID), func(old Configuration) (Configuration, error) {
		switch {
		case !matches(match, old.ETag):
			return old, ErrPrecondition
		case len(c.Content) > 0 && !sameJSON(c.Content, old.Content):
			return old, ErrImmutableContent
		}
		c.Content, c.Created, c.Updated, c.ETag = old.Content, old.Created, s.clock.Wall().UTC(), s.etag()
		return c, nil
	})
	if err != nil {
		return Configuration{}, fmt.Errorf("configuration %s: %w", quote(c.ID), err)
	}
	s.ApplyConfigurations(h.Host, "")
	return stored, nil
}

// sameJSON compares contents; parts that are null or empty do not count, as clients send them back.
func sameJSON(a, b json.RawMessage) bool {
	x, errA := readContent(a)
	y, errB := readContent(b)
	return errA == nil && errB == nil && bytes.Equal(mustJSON(x), mustJSON(y))
}

// GetConfiguration returns a configuration.
func (s *Service) GetConfiguration(hub, id string) (Configuration, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Configuration{}, err
	}
	c, ok := s.side.configurations.Get(key(h.Host, id))
	if !ok {
		return c, fmt.Errorf("configuration %s: %w", quote(id), ErrNotFound)
	}
	return c, nil
}

// Configurations returns a hub's configurations, ordered by id.
func (s *Service) Configurations(hub string) []Configuration {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	return s.side.configurations.List(h.Host + keySeparator)
}

// DeleteConfiguration removes a configuration; what it has set stays.
func (s *Service) DeleteConfiguration(hub, id, match string) error {
	c, err := s.GetConfiguration(hub, id)
	if err != nil {
		return err
	}
	if !matches(match, c.ETag) {
		return fmt.Errorf("configuration %s: %w", quote(id), ErrPrecondition)
	}
	h, err := s.GetHub(hub)
	if err != nil {
		return err
	}
	s.side.configurations.Delete(key(h.Host, id))
	return nil
}

// ConfigurationMetrics are a configuration's figures: how many identities it targets, and how many rows
// each of its custom metrics has.
func (s *Service) ConfigurationMetrics(hub string, c Configuration) (targeted int, custom map[string]int) {
	h, err := s.GetHub(hub)
	if err != nil {
		return 0, nil
	}
	if t, err := readTarget(c.TargetCondition); err == nil {
		for _, doc := range s.documents(h.Host, t.from, "") {
			if t.match(doc) {
				targeted++
			}
		}
	}
	custom = map[string]int{}
	for name, text := range c.Queries {
		if q, err := hubquery.Parse(text); err == nil {
			custom[name] = s.countRows(h.Host, q)
		}
	}
	return targeted, custom
}

func (s *Service) countRows(hub string, q *hubquery.Query) int {
	if q.Grouped() {
		return len(s.grouped(hub, q, maxQueryRows, queryCursor{}).Rows)
	}
	return len(s.rows(hub, q, maxQueryRows, queryCursor{}).Rows)
}

// maxQueryRows bounds what one metric counts.
const maxQueryRows = 1 << 20
