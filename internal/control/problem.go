package control

import (
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// problem is an error answer: problem details (RFC 9457) with the extensions below.
type problem struct {
	Type       string          `json:"type"`
	Title      string          `json:"title"`
	Status     int             `json:"status"`
	Detail     string          `json:"detail,omitempty"`
	Matched    *int            `json:"matched,omitempty"`    // events that a wait has seen
	Wanted     int             `json:"wanted,omitempty"`     // events that it asked for
	Next       uint64          `json:"nextSince,omitempty"`  // as the header X-Next-Since
	NearMisses []nearMiss      `json:"nearMisses,omitempty"` // events that differ in one point only
	Refused    []journal.Event `json:"refused,omitempty"`    // refusals while it waited
	Closest    []string        `json:"closest,omitempty"`    // known names like the one asked for
	Rule       rule.ID         `json:"rule,omitempty"`       // of a platform's refusal, as in the journal; with it:
	Seen       string          `json:"seen,omitempty"`
	Expected   string          `json:"expected,omitempty"`
	Fix        string          `json:"fix,omitempty"`
}

func refuse(status int, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// write answers with p where huma is not at work.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone needs no answer
}

// hideSubmitted takes the submitted values out of the answers that huma makes itself.
func hideSubmitted(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	shown := *m
	shown.Type = "about:blank"
	shown.Errors = make([]*huma.ErrorDetail, len(m.Errors))
	for i, e := range m.Errors {
		shown.Errors[i] = &huma.ErrorDetail{Message: e.Message, Location: e.Location}
	}
	return &shown, nil
}

// unknown answers paths that are no call of the API, and calls with a method they do not have.
func (a *api) unknown(w http.ResponseWriter, r *http.Request) {
	var allow string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" && pattern != "" {
			if allow != "" {
				allow += ", "
			}
			allow += method
		}
	}
	if allow == "" {
		refuse(http.StatusNotFound, "no such path; /api/v1/openapi.json lists what there is").write(w)
		return
	}
	w.Header().Set("Allow", allow)
	refuse(http.StatusMethodNotAllowed, "this path has "+allow).write(w)
}
