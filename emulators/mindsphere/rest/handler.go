package rest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// maxBody bounds a request's body.
const maxBody = 128 << 10

// Handler serves the APIs of all tenants. It is an http.Handler.
type Handler struct {
	svc  *mindsphere.Service
	peer func(*http.Request) broker.Peer
	log  *slog.Logger
	mux  *http.ServeMux

	mu    sync.Mutex
	calls map[string][]time.Time // by tenant and operation, the newest last
}

// New returns the handler of svc. peer tells who asks; a nil log discards.
func New(svc *mindsphere.Service, peer func(*http.Request) broker.Peer, log *slog.Logger) *Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{svc: svc, peer: peer, log: log, mux: http.NewServeMux(), calls: map[string][]time.Time{}}
	const (
		jobs   = "/api/commanding/v3/deliveryJobs"
		cas    = "/api/mindconnectmqtt/v3/caCertificates"
		agents = "/api/mindconnectmqtt/v3/agentCertificates"
		assets = "/api/assetmanagement/v3/assets"
	)
	h.on("POST "+jobs, (*call).createJob)
	h.on("GET "+jobs, (*call).listJobs)
	h.on("GET "+jobs+"/{id}", (*call).getJob)
	h.on("DELETE "+jobs+"/{id}", (*call).deleteJob)
	h.on("GET "+jobs+"/{id}/commands", (*call).listCommands)
	h.on("GET "+jobs+"/{id}/commands/{command}", (*call).getCommand)
	h.on("POST "+cas, (*call).createCA)
	h.on("GET "+cas, (*call).listCAs)
	h.on("GET "+cas+"/{id}", (*call).getCA)
	h.on("DELETE "+cas+"/{id}", (*call).deleteCA)
	h.on("GET "+cas+"/{id}/registrationCode", (*call).registrationCode)
	h.on("POST "+cas+"/{id}/verify", (*call).verifyCA)
	h.on("POST "+agents, (*call).createAgentCertificate)
	h.on("GET "+agents, (*call).listAgentCertificates)
	h.on("GET "+agents+"/{id}", (*call).getAgentCertificate)
	h.on("DELETE "+agents+"/{id}", (*call).deleteAgentCertificate)
	h.on("GET "+assets, (*call).listAssets)
	h.on("GET "+assets+"/{id}", (*call).getAsset)
	h.on("GET /api/iottimeseries/v3/timeseries/{asset}/{aspect}", (*call).readSeries)
	h.open("GET "+mindsphere.DownloadPath+"{id}", (*call).download)
	h.open("POST /api/technicaltokenmanager/v3/oauth/token", (*call).token)
	h.open("/", (*call).unknown)
	return h
}

// Handles reports whether a path is of these APIs.
func Handles(path string) bool {
	for _, prefix := range []string{"/api/commanding/", "/api/mindconnectmqtt/", "/api/assetmanagement/", "/api/iottimeseries/", "/api/assetmodeler/", "/api/technicaltokenmanager/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// call is one request.
type call struct {
	*Handler
	http.ResponseWriter
	req    *http.Request
	tenant string
	status int
	detail string
}

// on serves a pattern for callers with a token.
func (h *Handler) on(pattern string, serve func(*call)) {
	h.open(pattern, func(c *call) {
		tenant, why := c.authorize()
		if why != "" {
			c.Header().Set("WWW-Authenticate", "Bearer")
			c.fail(http.StatusUnauthorized, "mdsp.core.generic.unauthorized", why)
			return
		}
		c.tenant = tenant
		if !h.admit(tenant, pattern) {
			c.fail(http.StatusTooManyRequests, "mdsp.core.generic.tooManyRequests", "more requests of this kind than MindSphere allows: "+limits[pattern].String())
			return
		}
		serve(c)
	})
}

// open serves a pattern for everybody and journals what came of it.
func (h *Handler) open(pattern string, serve func(*call)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Handler: h, ResponseWriter: w, req: r, status: http.StatusOK}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		serve(c)
		e := c.event()
		e.Code, e.Detail = journal.Code(c.status), c.detail
		h.svc.Journal().Append(e)
	})
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (c *call) event() journal.Event {
	p := c.peer(c.req)
	e := journal.Event{Platform: mindsphere.Platform, Endpoint: c.tenant, Conn: p.Conn, Kind: journal.HTTP, Dir: journal.In,
		Topic: clip(c.req.Method + " " + c.req.URL.Path)}
	if p.Remote != nil {
		e.Address = p.Remote.String()
	}
	return e
}

// authorize returns the caller's tenant, or why there is none.
func (c *call) authorize() (tenant, why string) {
	token, ok := strings.CutPrefix(c.req.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return "", "no bearer token: send the header Authorization: Bearer {token}; the tenant's name will do for a token"
	}
	tenant, err := c.svc.Authorize(token)
	if err != nil {
		return "", err.Error()
	}
	return tenant, ""
}

// reply answers with JSON; a nil body is none.
func (c *call) reply(status int, body any) {
	c.status = status
	if body == nil {
		c.WriteHeader(status)
		return
	}
	text := wire.Encode(body)
	c.Header().Set("Content-Type", "application/json;charset=UTF-8")
	c.WriteHeader(status)
	_, _ = c.Write(append(text, '\n')) // a caller that is gone needs no answer
}

// errors in MindSphere's form.
type problems struct {
	Errors []problem `json:"errors"`
}

type problem struct {
	Code    string `json:"code"`
	LogRef  string `json:"logref"`
	Message string `json:"message"`
}

func (c *call) fail(status int, code, message string) {
	c.detail = message
	c.reply(status, problems{[]problem{{code, code, message}}})
}

// refused answers a call's error.
func (c *call) refused(err error) {
	var r *rule.Refusal
	switch {
	case errors.As(err, &r):
		why := r.Detail
		if why == "" {
			why = r.Seen + "; wanted: " + r.Expected
		}
		c.svc.Journal().Refuse(c.event(), r)
		c.fail(r.Code, "mdsp.core.generic.invalidParameter", why)
	case errors.Is(err, mindsphere.ErrNotFound):
		c.fail(http.StatusNotFound, "mdsp.core.generic.resourceNotFound", err.Error())
	case errors.Is(err, mindsphere.ErrLimit), errors.Is(err, mindsphere.ErrExists):
		c.fail(http.StatusConflict, "mdsp.core.generic.conflict", err.Error())
	case errors.Is(err, mindsphere.ErrInvalid):
		c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidParameter", err.Error())
	default:
		c.log.Error("a request failed", "topic", c.req.URL.Path, "cause", err)
		c.fail(http.StatusInternalServerError, "mdsp.core.generic.internalServerError", "internal error")
	}
}

func (c *call) missing(what, id string) {
	c.fail(http.StatusNotFound, "mdsp.core.generic.resourceNotFound", fmt.Sprintf("tenant %s has no %s %q", c.tenant, what, clip(id)))
}

func (c *call) unknown() {
	c.fail(http.StatusNotFound, "mdsp.core.generic.resourceNotFound", fmt.Sprintf("there is no %s %s here", c.req.Method, clip(c.req.URL.Path)))
}

// body reads the whole body, or answers why it cannot.
func (c *call) body() ([]byte, bool) {
	text, err := io.ReadAll(c.req.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		c.fail(http.StatusRequestEntityTooLarge, "mdsp.core.generic.payloadTooLarge", fmt.Sprintf("the body has more than %d bytes", maxBody))
		return nil, false
	case err != nil:
		c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidRequest", "the body could not be read")
		return nil, false
	}
	return text, true
}

// json reads a JSON body, or answers what is wrong with it.
func (c *call) json(into any) bool {
	text, ok := c.body()
	if !ok {
		return false
	}
	if err := json.Unmarshal(text, into); err != nil {
		why := err.Error()
		var other *json.UnmarshalTypeError
		if errors.As(err, &other) {
			why = fmt.Sprintf("%s is a JSON %s", cmp.Or(other.Field, "it"), other.Value)
		}
		c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidRequestBodyProperty", "the body is not the JSON that is wanted: "+why)
		return false
	}
	return true
}

// list is a page of a listing. fakecloud answers with one page that holds everything.
type list struct {
	Embedded map[string]any `json:"_embedded"`
	Page     page           `json:"page"`
	Links    map[string]any `json:"_links"`
}

type page struct {
	Size          int `json:"size"`
	TotalElements int `json:"totalElements"`
	TotalPages    int `json:"totalPages"`
	Number        int `json:"number"`
}

func (c *call) list(name string, items any, n int) {
	c.reply(http.StatusOK, list{map[string]any{name: items}, page{n, n, 1, 0}, map[string]any{"self": map[string]string{"href": c.req.URL.Path}}})
}

// clip shortens what a client sent, for messages.
func clip(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
