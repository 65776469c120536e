package service

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Handler serves the service API of every instance. It is an http.Handler.
type Handler struct {
	dps  *dps.Service
	peer func(*http.Request) broker.Peer
	log  *slog.Logger
}

// New returns the handler of service. peer tells who asks, its Endpoint being the instance; a nil log
// discards.
func New(service *dps.Service, peer func(*http.Request) broker.Peer, log *slog.Logger) *Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Handler{dps: service, peer: peer, log: log}
}

// route is one operation. Paths are compared without case, as the Node SDK needs.
type route struct {
	method string
	path   string // lower case; {} stands for an id
	kind   *kind
	need   dps.Rights
	serve  func(*call) (answer, *failure)
}

// What most operations need.
const (
	read  = dps.EnrollmentRead
	write = dps.EnrollmentWrite
)

var routes = []route{
	{"PUT", "enrollments/{}", enrollments, write, (*call).put},
	{"GET", "enrollments/{}", enrollments, read, (*call).get},
	{"DELETE", "enrollments/{}", enrollments, write, (*call).remove},
	{"POST", "enrollments/{}/attestationmechanism", enrollments, write, (*call).mechanism},
	{"POST", "enrollments/query", enrollments, read, (*call).query},
	{"POST", "enrollments", enrollments, write, (*call).bulk},
	{"PUT", "enrollmentgroups/{}", groups, write, (*call).put},
	{"GET", "enrollmentgroups/{}", groups, read, (*call).get},
	{"DELETE", "enrollmentgroups/{}", groups, write, (*call).remove},
	{"POST", "enrollmentgroups/{}/attestationmechanism", groups, write, (*call).mechanism},
	{"POST", "enrollmentgroups/query", groups, read, (*call).query},
	{"POST", "enrollmentgroups", groups, write, (*call).bulk},
	{"GET", "registrations/{}", nil, dps.RegistrationStatusRead, (*call).getRegistration},
	{"DELETE", "registrations/{}", nil, dps.RegistrationStatusWrite, (*call).removeRegistration},
	{"POST", "registrations/{}/query", nil, dps.RegistrationStatusRead, (*call).queryRegistrations},
}

// Handles reports whether a path, as it stands in the request line, is one of the service API's.
func Handles(escapedPath string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(escapedPath, "/"), "/")
	return slices.ContainsFunc(routes, func(r route) bool {
		own, _, _ := strings.Cut(r.path, "/")
		return strings.EqualFold(first, own)
	})
}

// Claim returns the instance that a request by a name that is no instance's own is for: the one that holds
// the record which the path names, else the default one.
func Claim(s *dps.Service, escapedPath string) (endpoint string, ok bool) {
	if !Handles(escapedPath) {
		return "", false
	}
	parts := strings.Split(strings.Trim(escapedPath, "/"), "/")
	if len(parts) > 1 {
		if id, err := url.PathUnescape(parts[1]); err == nil {
			endpoint = s.HolderOf(id)
		}
	}
	if endpoint == "" {
		endpoint = s.DefaultInstance()
	}
	return endpoint, endpoint != ""
}

// call is one request.
type call struct {
	*Handler
	w        http.ResponseWriter
	r        *http.Request
	peer     broker.Peer
	instance string
	policy   dps.Policy
	kind     *kind
	id       string // of the path, decoded
}

// answer is what a request gets when all is well.
type answer struct {
	status int // 0 is 200
	body   any // nil: none
	header map[string]string
}

// failure is why a request gets an error, and what of it the wire shows.
type failure struct {
	code    int // of six digits
	message string
	refusal rule.Refusal
}

// The error codes; where the vendor's sub-code is not known it is 000.
const (
	codeInvalid      = 400000
	codeUnauthorized = 401002
	codeMissing      = 404201
	codeNoRecord     = 404202
	codeNoPath       = 404000
	codeMethod       = 405000
	codeExists       = 409000
	codePrecondition = 412000
	codeTooLarge     = 413000
)

func failed(id rule.ID, code int, message, seen, expected string) *failure {
	return &failure{code, message, rule.Refusal{Rule: id, Detail: message, Seen: seen, Expected: expected}}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Handler: h, w: w, r: r, peer: h.peer(r)}
	c.instance = c.peer.Endpoint
	a, f := c.serve()
	if f != nil {
		c.refuse(f)
		return
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	e := c.event()
	e.Code = journal.Code(a.status)
	h.dps.Journal.Append(e)
	for k, v := range a.header {
		w.Header()[k] = []string{v} // as spelled: azure-iot-sdk-c looks fields up in the spelling of the service
	}
	var body []byte
	if a.body != nil {
		body = azure.MarshalJSON(a.body)
	}
	c.send(a.status, body)
}

func (c *call) serve() (answer, *failure) {
	if f := c.authorize(); f != nil {
		return answer{}, f
	}
	found, f := c.find()
	if f != nil {
		return answer{}, f
	}
	if v := c.r.URL.Query().Get("api-version"); !azure.ValidHubAPIVersion(v) {
		return answer{}, failed("DPS-40/path", codeInvalid, "The request names no valid api-version.", "api-version="+show(v), "api-version=2021-10-01, or any other date")
	}
	if f := c.permit(found.need); f != nil {
		return answer{}, f
	}
	c.kind = found.kind
	return found.serve(c)
}

// find looks for the operation of a path and a method.
func (c *call) find() (*route, *failure) {
	segments := strings.Split(strings.Trim(c.r.URL.EscapedPath(), "/"), "/")
	var methods []string
	for n := range routes {
		r := &routes[n]
		id, ok := r.match(segments)
		switch {
		case !ok:
		case r.method != c.r.Method:
			methods = append(methods, r.method)
		default:
			var err error
			if c.id, err = url.PathUnescape(id); err != nil {
				return nil, failed("DPS-40/path", codeNoPath, "An id in the path is not percent-encoded.", show(id), "%XX for each byte")
			}
			return r, nil
		}
	}
	seen := c.r.Method + " " + show(c.r.URL.EscapedPath())
	if len(methods) > 0 {
		c.w.Header().Set("Allow", strings.Join(methods, ", "))
		return nil, failed("DPS-40/path", codeMethod, "The path has no such method.", seen, strings.Join(methods, ", "))
	}
	return nil, failed("DPS-40/path", codeNoPath, "The service API has no such path.", seen, "/enrollments/{id}, /enrollmentGroups/{id}, /registrations/{id}, or one below")
}

func (r *route) match(segments []string) (id string, ok bool) {
	pattern := strings.Split(r.path, "/")
	if len(pattern) != len(segments) {
		return "", false
	}
	for n, p := range pattern {
		switch {
		case p == "{}" && segments[n] != "":
			id = segments[n]
		case !strings.EqualFold(p, segments[n]):
			return "", false
		}
	}
	return id, true
}

// event is what every event of the request starts from.
func (c *call) event() journal.Event {
	e := journal.Event{Platform: dps.Platform, Endpoint: c.instance, Conn: c.peer.Conn, Kind: journal.HTTP, Dir: journal.In,
		Topic: c.r.Method + " " + show(c.r.URL.EscapedPath()), Properties: map[string]string{"policy": c.policy.Name}}
	if c.peer.Remote != nil {
		e.Address = c.peer.Remote.String()
	}
	return e
}

// refuse answers with an error and journals why.
func (c *call) refuse(f *failure) {
	body := azure.DPSError{ErrorCode: f.code, TrackingID: c.dps.IDs.GUID(), Message: f.message, TimestampUTC: azure.FormatDPSTime(c.dps.Clock.Wall())}
	refusal := f.refusal
	refusal.Code = body.Status()
	e := c.event()
	e.Properties = nil
	c.dps.Journal.Refuse(e, &refusal)
	c.w.Header()["x-ms-error-code"] = []string{strconv.Itoa(f.code)}
	c.send(body.Status(), azure.MarshalJSON(body))
}

func (c *call) send(status int, body []byte) {
	header := c.w.Header()
	if body != nil {
		header.Set("Content-Type", azure.JSONType)
	}
	if status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	c.w.WriteHeader(status)
	if _, err := c.w.Write(body); err != nil && len(body) > 0 {
		c.log.Debug("answer not written", "endpoint", c.instance, "error", err)
	}
}

// The most that the journal repeats of a client's text, and that the wire says of an error: the latter ends
// with what would be right, behind ids that may be long.
const (
	mostShown = 300
	mostTold  = 1000
)

// show cuts a client's text to what the journal repeats.
func show(text string) string { return cut(text, mostShown) }

func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

var _ http.Handler = (*Handler)(nil)
