package mindsphere

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// timeLayout is UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Sample is what data points had at one time.
type Sample struct {
	Time   time.Time // zero is now
	Values []Value
}

// Value is the value of one data point.
type Value struct {
	DataPoint string
	Value     any    // string, bool, a number, or time.Time; sent as text
	Quality   string // quality code; default "0"
}

type timeSeriesValue struct {
	DataPointID string `json:"dataPointId"`
	Value       string `json:"value"`
	QualityCode string `json:"qualityCode"`
}

type timeSeries struct {
	Timestamp string            `json:"timestamp"`
	Values    []timeSeriesValue `json:"values"`
}

// SendTimeSeries sends samples in one message and returns once the broker has acknowledged it. MindSphere
// loses data points without a mapping in silence: the model comes first.
//
// Errors: ErrTooLarge, ErrClosed, the end of ctx, after which the message may still have arrived, or that the
// connection was lost five times under the message, or cut for want of the acknowledgement (*clientkit.AckError).
func (a *Agent) SendTimeSeries(ctx context.Context, samples ...Sample) error {
	body := struct {
		TimeSeries []timeSeries `json:"timeseries"`
	}{make([]timeSeries, len(samples))}
	for i, s := range samples {
		out := timeSeries{Timestamp: a.stamp(s.Time), Values: make([]timeSeriesValue, len(s.Values))}
		for j, v := range s.Values {
			text, err := valueText(v.Value)
			if err != nil {
				return fmt.Errorf("mindsphere: data point %s: %w", v.DataPoint, err)
			}
			quality := v.Quality
			if quality == "" {
				quality = "0"
			}
			out.Values[j] = timeSeriesValue{v.DataPoint, text, quality}
		}
		body.TimeSeries[i] = out
	}
	return a.send(ctx, wire.TimeSeries, body)
}

func (a *Agent) stamp(t time.Time) string {
	if t.IsZero() {
		t = a.cfg.Timing.Now()
	}
	return t.UTC().Format(timeLayout)
}

func valueText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32), nil
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), nil
	case time.Time:
		return v.UTC().Format(timeLayout), nil
	}
	return "", fmt.Errorf("a %T is no value, expected text, a number, a bool or a time", v)
}

// The severities that the vendor's sample sends.
const (
	SeverityError       = 20
	SeverityWarning     = 30
	SeverityInformation = 40
)

// Event is something that happened on the agent.
type Event struct {
	ID            string    // default: a random UUID
	CorrelationID string    // default: random
	Time          time.Time // zero is now
	Severity      int       // default SeverityInformation
	Type          string    // an event type of the tenant; required
	Description   string
	Details       any // marshals to a JSON object; optional
}

type eventBody struct {
	ID            string `json:"id"`
	CorrelationID string `json:"correlationId"`
	Timestamp     string `json:"timestamp"`
	Severity      string `json:"severity"`
	Type          string `json:"type"`
	Description   string `json:"description"`
	Details       any    `json:"details,omitempty"`
}

// SendEvents sends events in one message. Errors as of SendTimeSeries.
func (a *Agent) SendEvents(ctx context.Context, events ...Event) error {
	body := struct {
		Events []eventBody `json:"events"`
	}{make([]eventBody, len(events))}
	for i, e := range events {
		if e.Type == "" {
			return errors.New("mindsphere: an event needs a type of the tenant")
		}
		if e.ID == "" {
			e.ID = uuid()
		}
		if e.CorrelationID == "" {
			e.CorrelationID = a.ids()
		}
		if e.Severity == 0 {
			e.Severity = SeverityInformation
		}
		body.Events[i] = eventBody{e.ID, e.CorrelationID, a.stamp(e.Time), strconv.Itoa(e.Severity), e.Type, e.Description, e.Details}
	}
	return a.send(ctx, wire.Events, body)
}

// File is a file of the agent.
type File struct {
	Name    string
	Created time.Time // zero is now
	Content []byte    // three quarters of MaxPayload at most
}

// SendFile sends a file. Errors as of SendTimeSeries.
func (a *Agent) SendFile(ctx context.Context, f File) error {
	if f.Name == "" {
		return errors.New("mindsphere: a file needs a name")
	}
	type file struct {
		Name    string `json:"name"`
		Created string `json:"creationDate"`
		Content []byte `json:"content"` // base64
	}
	return a.send(ctx, wire.File, struct {
		File file `json:"file"`
	}{file{f.Name, a.stamp(f.Created), f.Content}})
}
