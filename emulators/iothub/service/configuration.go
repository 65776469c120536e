package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// mostConfigurations is how many a list holds at most.
const mostConfigurations = 100

// configurationJSON is a configuration as clients send and read it (azure-iothub, pl/models).
type configurationJSON struct {
	ID              string            `json:"id"`
	SchemaVersion   string            `json:"schemaVersion"`
	Labels          map[string]string `json:"labels"`
	Content         json.RawMessage   `json:"content"`
	TargetCondition string            `json:"targetCondition"`
	Created         string            `json:"createdTimeUtc,omitempty"`
	Updated         string            `json:"lastUpdatedTimeUtc,omitempty"`
	Priority        int               `json:"priority"`
	SystemMetrics   *metricsJSON      `json:"systemMetrics,omitempty"`
	Metrics         *metricsJSON      `json:"metrics,omitempty"`
	ETag            string            `json:"etag,omitempty"`
}

// metricsJSON are queries and how many rows each has.
type metricsJSON struct {
	Results map[string]int    `json:"results"`
	Queries map[string]string `json:"queries"`
}

func (c *call) configurationOf(k iothub.Configuration) configurationJSON {
	targeted, custom := c.Handler.hub.ConfigurationMetrics(c.hub.Host, k)
	query := k.TargetQuery()
	if k.Queries == nil {
		k.Queries = map[string]string{}
	}
	if k.Labels == nil {
		k.Labels = map[string]string{}
	}
	return configurationJSON{ID: k.ID, SchemaVersion: k.SchemaVersion, Labels: k.Labels, Content: k.Content, TargetCondition: k.TargetCondition,
		Created: azure.ServiceTime(k.Created), Updated: azure.ServiceTime(k.Updated), Priority: k.Priority, ETag: k.ETag,
		SystemMetrics: &metricsJSON{Results: map[string]int{"targetedCount": targeted, "appliedCount": targeted},
			Queries: map[string]string{"targetedCount": query, "appliedCount": query}},
		Metrics: &metricsJSON{Results: custom, Queries: k.Queries}}
}

func (c *call) listConfigurations() (answer, error) {
	top, err := c.top(mostConfigurations)
	if err != nil {
		return answer{}, err
	}
	list := []configurationJSON{}
	for _, k := range c.Handler.hub.Configurations(c.hub.Host) {
		if len(list) < top {
			list = append(list, c.configurationOf(k))
		}
	}
	return answer{body: list}, nil
}

func (c *call) getConfiguration() (answer, error) {
	k, err := c.Handler.hub.GetConfiguration(c.hub.Host, c.ids[0])
	if err != nil {
		return answer{}, c.configurationFault(err)
	}
	return answer{body: c.configurationOf(k), etag: k.ETag}, nil
}

func (c *call) putConfiguration() (answer, error) {
	var in configurationJSON
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	if in.ID != c.ids[0] {
		return answer{}, failed("SVC-28/invalid", azure.ArgumentInvalid, "the id in the body is not the one in the path", strconv.Quote(show(in.ID)), strconv.Quote(show(c.ids[0])))
	}
	k := iothub.Configuration{ID: in.ID, SchemaVersion: in.SchemaVersion, Labels: in.Labels, TargetCondition: in.TargetCondition, Priority: in.Priority}
	if !isNull(in.Content) {
		k.Content = in.Content
	}
	if in.Metrics != nil {
		k.Queries = in.Metrics.Queries
	}
	var err error
	status := http.StatusOK
	if match, given := c.ifMatch(); given {
		k, err = c.Handler.hub.UpdateConfiguration(c.hub.Host, k, match)
	} else {
		status = http.StatusCreated
		k, err = c.Handler.hub.CreateConfiguration(c.hub.Host, k)
	}
	if err != nil {
		return answer{}, c.configurationFault(err)
	}
	return answer{status: status, body: c.configurationOf(k), etag: k.ETag}, nil
}

func (c *call) deleteConfiguration() (answer, error) {
	match, _ := c.ifMatch()
	if err := c.Handler.hub.DeleteConfiguration(c.hub.Host, c.ids[0], match); err != nil {
		return answer{}, c.configurationFault(err)
	}
	return answer{status: http.StatusNoContent}, nil
}

// testQueries judges the queries of a configuration that is not there yet.
func (c *call) testQueries() (answer, error) {
	var in struct {
		TargetCondition string            `json:"targetCondition"`
		Queries         map[string]string `json:"customMetricQueries"`
	}
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	metrics, target := c.Handler.hub.CheckQueries(in.TargetCondition, in.Queries)
	out := struct {
		Target  *string           `json:"targetConditionError"`
		Metrics map[string]string `json:"customMetricQueryErrors"`
	}{Metrics: map[string]string{}}
	if target != nil {
		text := target.Error()
		out.Target = &text
	}
	for name, err := range metrics {
		out.Metrics[name] = err.Error()
	}
	return answer{body: out}, nil
}

func (c *call) applyContent() (answer, error) {
	var in json.RawMessage
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	err := c.Handler.hub.ApplyContent(c.hub.Host, c.ids[0], in)
	switch {
	case errors.Is(err, iothub.ErrNotFound):
		return answer{}, c.notFound(c.ids[0], "")
	case err != nil:
		return answer{}, c.configurationFault(err)
	}
	return answer{status: http.StatusNoContent}, nil
}

func (c *call) configurationFault(err error) error {
	id := ""
	if len(c.ids) > 0 {
		id = c.ids[0]
	}
	refused := func(cause rule.ID, code int, message, expected string) error {
		return &failure{code: code, message: plain(message), refusal: &rule.Refusal{Rule: cause, Detail: err.Error(), Seen: show(id), Expected: expected}}
	}
	switch {
	case errors.Is(err, iothub.ErrNotFound):
		return refused("SVC-28/unknown", azure.ConfigurationNotFound, "Configuration "+id+" not found", "the id of a configuration of this hub")
	case errors.Is(err, iothub.ErrExists):
		return refused("SVC-28/exists", azure.ConfigurationExists, "A configuration with ID '"+id+"' already exists.", "a new id, or If-Match to change the configuration")
	case errors.Is(err, iothub.ErrPrecondition):
		return refused("SVC-28/etag", azure.PreconditionFailed, "Precondition failed: the version did not match", "the etag of the last answer, or \"*\" for any")
	case errors.Is(err, iothub.ErrImmutableContent):
		return refused("SVC-28/immutable", azure.ImmutableConfiguration, "Configuration content cannot be modified", "the content as it was, or none")
	case errors.Is(err, iothub.ErrTargetCondition):
		return refused("SVC-28/target", azure.InvalidTargetCondition, err.Error(), "a condition as behind WHERE, FROM devices.modules WHERE …, or *")
	case errors.Is(err, iothub.ErrMetricsQuery):
		return refused("SVC-28/metrics", azure.InvalidMetricsQuery, err.Error(), "SELECT … FROM devices …")
	case errors.Is(err, iothub.ErrConfigurationContent):
		return refused("SVC-28/content", azure.InvalidConfiguration, err.Error(), "deviceContent, moduleContent or modulesContent with paths from properties.desired on")
	case errors.Is(err, iothub.ErrTooManyConfigurations):
		return refused("SVC-28/count", azure.TooManyConfigurations, err.Error(), "at most 100")
	}
	return failed("SVC-28/invalid", azure.ArgumentInvalid, err.Error(), show(id), "")
}
