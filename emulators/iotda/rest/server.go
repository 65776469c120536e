package rest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// maxBody bounds a request: a message of the largest size in base64, and what stands around it.
const maxBody = 2 << 20

// Config makes a Server. All but Peer and Log is required.
type Config struct {
	Service *iotda.Service
	Clock   clock.Clock
	Journal *journal.Journal
	// Peer tells who asks; its Endpoint is the instance that the request was routed to by its host name. Where
	// that is empty, and where Peer is nil, the project id in the path decides, else the first instance.
	Peer func(*http.Request) broker.Peer
	Log  *slog.Logger // nil discards
}

// Server is the application API of all instances of a service.
type Server struct {
	cfg    Config
	mux    *http.ServeMux
	tokens tokens
}

// New returns the API of a service.
func New(cfg Config) *Server {
	if cfg.Peer == nil {
		cfg.Peer = func(*http.Request) broker.Peer { return broker.Peer{} }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /v3/auth/tokens", s.issueToken)
	s.mux.HandleFunc("GET /v3/projects", s.projects)
	s.mux.HandleFunc(iotda.ObjectPath, s.object)
	for _, table := range []map[string]operation{operations, routing, devops} {
		for pattern, op := range table {
			s.mux.HandleFunc(pattern, s.handle(op))
		}
	}
	s.mux.HandleFunc("/", s.unknown)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, iotda.ObjectPath) { // objects have a limit of their own
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	s.mux.ServeHTTP(w, r)
}

// Claims reports whether a request without a telling host name is for this API.
func Claims(path string) bool {
	for _, prefix := range []string{"/v5/iot/", "/v3/auth/tokens", "/v3/projects", iotda.ObjectPath} {
		if len(path) >= len(prefix) && path[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

// call is one request at work.
type call struct {
	*iotda.Service
	request  *http.Request
	instance string
	body     []byte
}

func (c *call) path(name string) string  { return c.request.PathValue(name) }
func (c *call) query(name string) string { return c.request.URL.Query().Get(name) }

// read decodes the body into v.
func (c *call) read(v any) error {
	if err := wire.Decode(c.body, v); err != nil {
		// Its own words speak of a device's topic.
		why := strings.TrimPrefix(err.Error(), wire.ErrJSON.Error()+": ")
		return &iotda.Error{Code: iotda.CodeFormat, Text: "the body is not the JSON that the call wants: " + why}
	}
	return nil
}

// operation answers a call with a status and a body; a nil body is none.
type operation func(*call) (status int, body any, err error)

func (s *Server) handle(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		c := &call{Service: s.cfg.Service, request: r, instance: s.instance(r), body: body}
		if err != nil {
			s.write(w, c, http.StatusRequestEntityTooLarge, failure(&iotda.Error{Code: iotda.CodeInvalid, Text: fmt.Sprintf("a body has at most %d bytes", maxBody)}))
			return
		}
		if refused := s.authenticate(c); refused != nil {
			s.cfg.Journal.Refuse(s.event(c, 0), refused)
			s.write(w, c, http.StatusUnauthorized, errorBody{Code: "APIGW.0301", Text: "Incorrect IAM authentication information: " + refused.Detail})
			return
		}
		if c.instance == "" {
			s.write(w, c, http.StatusNotFound, failure(&iotda.Error{Code: iotda.CodeNotFound, Text: "no instance has this project id"}))
			return
		}
		status, answer, err := op(c)
		if err != nil {
			status, answer = statusOf(err), failure(err)
		}
		s.write(w, c, status, answer)
	}
}

// instance finds the instance that a request is for.
func (s *Server) instance(r *http.Request) string {
	if name := s.cfg.Peer(r).Endpoint; name != "" {
		return name
	}
	project := r.PathValue("project")
	for _, i := range s.cfg.Service.Instances() {
		if project == "" || i.ProjectID == project {
			return i.Name
		}
	}
	return ""
}

// errorBody is the shape of every error.
type errorBody struct {
	Code string `json:"error_code"`
	Text string `json:"error_msg"`
}

func failure(err error) errorBody {
	var known *iotda.Error
	if errors.As(err, &known) {
		return errorBody{string(known.Code), known.Text}
	}
	return errorBody{"IOTDA.000001", err.Error()}
}

func statusOf(err error) int {
	var known *iotda.Error
	if !errors.As(err, &known) {
		return http.StatusInternalServerError
	}
	switch known.Code {
	case iotda.CodeNoDevice, iotda.CodeNotFound:
		return http.StatusNotFound
	case iotda.CodeNotOnline:
		return http.StatusForbidden
	case iotda.CodeTimeout:
		return http.StatusOK
	case iotda.CodeConflict:
		return http.StatusConflict
	}
	return http.StatusBadRequest
}

func (s *Server) write(w http.ResponseWriter, c *call, status int, body any) {
	s.journal(c, status, "")
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(wire.Encode(body)) // a caller that is gone has no use for it
}

func (s *Server) journal(c *call, status int, detail string) {
	e := s.event(c, status)
	e.Kind, e.Detail = journal.HTTP, detail
	s.cfg.Journal.Append(e)
}

func (s *Server) event(c *call, status int) journal.Event {
	e := journal.Event{Platform: iotda.Platform, Endpoint: c.instance, Conn: s.cfg.Peer(c.request).Conn, Address: c.request.RemoteAddr, Device: c.path("device"),
		Dir: journal.In, Topic: c.request.Method + " " + clip(c.request.URL.Path)}
	if status != 0 {
		e.Code = journal.Code(status)
	}
	return e
}

// unknown answers a path that the API does not have.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	c := &call{Service: s.cfg.Service, request: r, instance: s.instance(r)}
	s.write(w, c, http.StatusNotFound, errorBody{"APIGW.0101", "the API does not exist, or is not emulated: " + r.Method + " " + clip(r.URL.Path)})
}

func clip(text string) string {
	const most = 256
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// refused makes a refusal of DA-59.
func refused(cause, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: rule.ID("DA-59/" + cause), Code: http.StatusUnauthorized, Detail: detail, Seen: seen, Expected: expected}
}

// object is a JSON object that is passed through.
type object = map[string]any
