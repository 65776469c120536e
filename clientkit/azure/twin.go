package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// Twin is a device's or module's view of its twin. Each part is a JSON object as the hub sent it, with its
// "$version" member.
type Twin struct {
	Desired         json.RawMessage
	DesiredVersion  int64
	Reported        json.RawMessage
	ReportedVersion int64
}

// TwinError is an answer of the hub to a twin request with a status of 300 and above.
type TwinError struct {
	Status     int // as in HTTP: 400 for a patch that breaks a rule, 429 for throttling
	ErrorCode  int // the hub's six-digit code, e.g. 400004; 0 when it sent none
	TrackingID string
	Message    string
}

func (e *TwinError) Error() string {
	text := fmt.Sprintf("azure: twin request refused: status %d", e.Status)
	if e.ErrorCode != 0 {
		text += fmt.Sprintf(", error code %d", e.ErrorCode)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.TrackingID != "" {
		text += " (tracking id " + e.TrackingID + ")"
	}
	return text
}

// twinAnswer is a message on $iothub/twin/res/{status}/?$rid={rid}[&$version={version}].
type twinAnswer struct {
	status  int
	version int64
	body    []byte
}

// GetTwin reads the twin. It waits for a connection and asks again when the connection is lost before the
// answer.
//
// Errors: *TwinError for a refusal; ErrClosed as Send has it; the end of ctx; or that the hub did not
// answer within 30 seconds.
func (h *Hub) GetTwin(ctx context.Context) (Twin, error) {
	a, err := h.ask(ctx, "$iothub/twin/GET/?$rid=", nil)
	if err != nil {
		return Twin{}, err
	}
	return parseTwin(a.body)
}

// UpdateReported merges patch, anything that marshals to a JSON object, into the reported properties and
// returns their new version. A null removes its key. When the connection is lost before the answer the
// patch is sent again, so the version may grow by more than one.
//
// Errors: those of GetTwin; a patch that is not an object is refused before anything is sent.
func (h *Hub) UpdateReported(ctx context.Context, patch any) (version int64, err error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return 0, fmt.Errorf("azure: reported properties: %w", err)
	}
	if !bytes.HasPrefix(body, []byte("{")) {
		return 0, fmt.Errorf("azure: reported properties are %.40s, expected a JSON object", body)
	}
	a, err := h.ask(ctx, "$iothub/twin/PATCH/properties/reported/?$rid=", body)
	if err != nil {
		return 0, err
	}
	return a.version, nil
}

// ask sends a twin request on the connection there is, or on the next ones.
func (h *Hub) ask(ctx context.Context, topic string, body []byte) (twinAnswer, error) {
	var a twinAnswer
	err := h.session.Again(ctx, "twin request not sent", "twin request not answered", func(l *session.Link) (err error) {
		a, err = h.askOn(ctx, l, topic, body)
		return err
	})
	switch {
	case err != nil:
		return twinAnswer{}, err
	case a.status >= http.StatusMultipleChoices:
		return twinAnswer{}, twinRefused(a)
	}
	return a, nil
}

// errNoAnswer ends a twin request that the hub leaves without an answer.
var errNoAnswer = fmt.Errorf("no answer within %s", answerTimeout)

// askOn sends a twin request on l, which the caller holds.
func (h *Hub) askOn(ctx context.Context, l *session.Link, topic string, body []byte) (twinAnswer, error) {
	if err := h.session.Ensure(ctx, l, twinAnswers+"#"); err != nil {
		return twinAnswer{}, err
	}
	answered := make(chan twinAnswer, 1)
	h.in.mu.Lock()
	h.in.rid++
	rid := strconv.FormatUint(h.in.rid, 16)
	h.in.answers[rid] = answered
	h.in.mu.Unlock()
	defer func() {
		h.in.mu.Lock()
		delete(h.in.answers, rid)
		h.in.mu.Unlock()
	}()
	if err := l.Publish(ctx, topic+rid, body); err != nil {
		return twinAnswer{}, err
	}
	select {
	case a := <-answered:
		return a, nil
	case <-l.Lost():
		return twinAnswer{}, session.ErrLost
	case <-ctx.Done():
		return twinAnswer{}, ctx.Err()
	case <-h.cfg.Timing.After(answerTimeout):
		return twinAnswer{}, errNoAnswer
	}
}

// answered hands an answer to its request; one that nobody waits for is dropped.
func (h *Hub) answered(a session.Arrival) {
	status, text, _ := strings.Cut(strings.TrimPrefix(a.Topic, twinAnswers), "/?")
	code, err := strconv.Atoi(status)
	if err != nil {
		h.cfg.Log.Warn("not an answer to a twin request", "device", h.cfg.clientID(), "topic", a.Topic)
		return
	}
	version, _ := strconv.ParseInt(query(text, "$version"), 10, 64) // only a patch's answer has one
	rid := query(text, "$rid")
	h.in.mu.Lock()
	answered := h.in.answers[rid]
	delete(h.in.answers, rid)
	h.in.mu.Unlock()
	if answered != nil {
		answered <- twinAnswer{status: code, version: version, body: a.Payload}
	}
}

func twinRefused(a twinAnswer) error {
	var body struct {
		ErrorCode  int    `json:"errorCode"`
		TrackingID string `json:"trackingId"`
		Message    string `json:"message"`
	}
	_ = json.Unmarshal(a.body, &body) // without a readable body the status has to do
	return &TwinError{Status: a.status, ErrorCode: body.ErrorCode, TrackingID: body.TrackingID, Message: body.Message}
}

func parseTwin(text []byte) (Twin, error) {
	var body struct{ Desired, Reported json.RawMessage }
	if err := json.Unmarshal(text, &body); err != nil {
		return Twin{}, fmt.Errorf("%w: the twin is not JSON: %w", errProtocol, err)
	}
	t := Twin{Desired: body.Desired, Reported: body.Reported}
	for part, version := range map[*json.RawMessage]*int64{&t.Desired: &t.DesiredVersion, &t.Reported: &t.ReportedVersion} {
		var v struct {
			Version int64 `json:"$version"`
		}
		if err := json.Unmarshal(*part, &v); err != nil {
			return Twin{}, fmt.Errorf("%w: a part of the twin is not an object: %w", errProtocol, err)
		}
		*version = v.Version
	}
	return t, nil
}
