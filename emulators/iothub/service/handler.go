package service

import (
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Handler serves the service API of every hub. It is an http.Handler.
type Handler struct {
	hub  *iothub.Service
	peer func(*http.Request) broker.Peer
	log  *slog.Logger
}

// New returns the handler of hub. peer tells who asks, its Endpoint being the hub; a nil log discards.
func New(hub *iothub.Service, peer func(*http.Request) broker.Peer, log *slog.Logger) *Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Handler{hub: hub, peer: peer, log: log}
}

// Handles reports whether a path (of http.Request.URL.Path) is of the service API. Devices have paths of their own below /devices.
func Handles(path string) bool {
	segments := split(path)
	for i := range routes {
		if routes[i].matches(segments) {
			return true
		}
	}
	switch strings.ToLower(segments[0]) {
	case "twins", "statistics", "jobs", "configurations", "digitaltwins":
		return true
	}
	return len(segments) == 1 && strings.EqualFold(segments[0], "devices")
}

// Claim returns the hub that a request by a name that is no hub's own is for: the one that holds the
// device which the path names, else the default hub.
func Claim(hub *iothub.Service, path string) (endpoint string, ok bool) {
	if !Handles(path) {
		return "", false
	}
	var device string
	if s := split(path); len(s) > 1 && (strings.EqualFold(s[0], "devices") || strings.EqualFold(s[0], "twins")) {
		device = s[1]
	}
	endpoint = hub.HubOf(device)
	return endpoint, endpoint != ""
}

// route is one operation.
type route struct {
	method  string
	pattern []string // {} stands for an id
	need    iothub.Rights
	methods bool // errors in the form of direct methods
	serve   func(*call) (answer, error)
}

// rights that most operations need ("Control access to IoT Hub").
const (
	read    = iothub.RegistryRead
	write   = iothub.RegistryWrite
	connect = iothub.ServiceConnect
)

func on(method, path string, need iothub.Rights, serve func(*call) (answer, error)) route {
	return route{method: method, pattern: split(path), need: need, serve: serve}
}

// withMethodErrors marks a route whose errors are JSON within JSON.
func withMethodErrors(r route) route {
	r.methods = true
	return r
}

var routes = []route{
	on("GET", "/devices", read, (*call).listDevices),
	on("POST", "/devices", write, (*call).bulk),
	on("POST", "/devices/query", connect, (*call).query),
	on("GET", "/devices/{}", read, (*call).getDevice),
	on("PUT", "/devices/{}", write, (*call).putDevice),
	on("DELETE", "/devices/{}", write, (*call).deleteDevice),
	on("GET", "/devices/{}/modules", read, (*call).listModules),
	on("GET", "/devices/{}/modules/{}", read, (*call).getModule),
	on("PUT", "/devices/{}/modules/{}", write, (*call).putModule),
	on("DELETE", "/devices/{}/modules/{}", write, (*call).deleteModule),
	on("DELETE", "/devices/{}/commands", connect, (*call).purge),
	on("GET", "/twins/{}", connect, (*call).getTwin),
	on("PATCH", "/twins/{}", connect, (*call).patchTwin),
	on("PUT", "/twins/{}", connect, (*call).putTwin),
	on("GET", "/twins/{}/modules/{}", connect, (*call).getTwin),
	on("PATCH", "/twins/{}/modules/{}", connect, (*call).patchTwin),
	on("PUT", "/twins/{}/modules/{}", connect, (*call).putTwin),
	withMethodErrors(on("POST", "/twins/{}/methods", connect, (*call).invoke)),
	withMethodErrors(on("POST", "/twins/{}/modules/{}/methods", connect, (*call).invoke)),
	on("GET", "/jobs/v2/query", read, (*call).queryJobs),
	on("PUT", "/jobs/v2/{}", write, (*call).putJob),
	on("GET", "/jobs/v2/{}", read, (*call).getJob),
	on("POST", "/jobs/v2/{}/cancel", write, (*call).cancelJob),
	on("POST", "/jobs/create", write, (*call).createTransfer),
	on("GET", "/jobs", write, (*call).listTransfers),
	on("GET", "/jobs/{}", write, (*call).getTransfer),
	on("DELETE", "/jobs/{}", write, (*call).cancelTransfer),
	on("GET", "/configurations", read|connect, (*call).listConfigurations),
	on("POST", "/configurations/testQueries", read|connect, (*call).testQueries),
	on("GET", "/configurations/{}", read|connect, (*call).getConfiguration),
	on("PUT", "/configurations/{}", write|connect, (*call).putConfiguration),
	on("DELETE", "/configurations/{}", write|connect, (*call).deleteConfiguration),
	on("POST", "/devices/{}/applyConfigurationContent", write|connect, (*call).applyContent),
	on("GET", "/messages/serviceBound/feedback", connect, (*call).receiveFeedback),
	on("DELETE", "/messages/serviceBound/feedback/{}", connect, (*call).completeFeedback),
	on("POST", "/messages/serviceBound/feedback/{}/abandon", connect, (*call).abandonFeedback),
	on("GET", "/statistics/devices", read, (*call).deviceStatistics),
	on("GET", "/statistics/service", read, (*call).serviceStatistics),
}

// split returns a path's segments, still escaped; the slash at the end does not count.
func split(path string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
}

func (r *route) matches(segments []string) bool {
	if len(segments) != len(r.pattern) {
		return false
	}
	for i, p := range r.pattern {
		if p == "{}" && segments[i] != "" {
			continue
		}
		if !strings.EqualFold(p, segments[i]) {
			return false
		}
	}
	return true
}

// call is one request.
type call struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	peer   broker.Peer
	hub    iothub.Hub
	route  *route
	ids    []string // of the path, decoded
	policy string   // whose token the request came with
}

// answer is what a request gets when all is well.
type answer struct {
	status int    // 0 is 200
	body   any    // nil: none
	etag   string // of what the body shows
	header map[string]string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Handler: h, w: w, r: r, peer: h.peer(r)}
	c.w.Header().Set("Server", "Microsoft-HTTPAPI/2.0")
	a, err := c.serve()
	if r.Context().Err() != nil {
		return // the client has gone
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.write(a)
}

func (c *call) serve() (answer, error) {
	if err := c.find(); err != nil {
		return answer{}, err
	}
	host := c.peer.Endpoint
	if host == "" {
		host, _ = Claim(c.Handler.hub, c.r.URL.Path)
	}
	if hub, err := c.Handler.hub.GetHub(host); err == nil {
		c.hub = hub
	}
	o := iothub.Origin{Conn: c.peer.Conn}
	if c.peer.Remote != nil {
		o.Address = c.peer.Remote.String()
	}
	if c.Handler.hub.Unavailable(host, "", o) {
		return answer{}, unavailable()
	}
	policy, r := c.Handler.hub.AuthorizeService(iothub.ServiceCredentials{
		Endpoint: host, Hosts: c.peer.Hosts, Token: c.r.Header.Get("Authorization"),
		Target: strings.Trim(c.r.URL.Path, "/"), Need: c.route.need,
	})
	if r != nil {
		return answer{}, unauthorized(r)
	}
	c.policy = policy
	if err := c.version(); err != nil {
		return answer{}, err
	}
	return c.route.serve(c)
}

// method returns the request's method. PATCH may come as POST with X-HTTP-Method-Override: the client of
// Java's library knows no PATCH (azure-iot-sdk-java, iot-service-client, HttpRequest.java).
func (c *call) method() string {
	if c.r.Method == http.MethodPost && c.r.Header.Get("X-HTTP-Method-Override") == http.MethodPatch {
		return http.MethodPatch
	}
	return c.r.Method
}

// find looks for the operation of a path and a method.
func (c *call) find() error {
	path, method := c.r.URL.EscapedPath(), c.method()
	segments := split(path)
	var methods []string
	for i := range routes {
		r := &routes[i]
		if !r.matches(segments) {
			continue
		}
		if r.method != method {
			methods = append(methods, r.method)
			continue
		}
		c.route = r
		for j, p := range r.pattern {
			if p != "{}" {
				continue
			}
			id, err := url.PathUnescape(segments[j])
			if err != nil {
				return failed("SVC-38/path", azure.ArgumentInvalid, "an id in the path is not percent-encoded", show(path), "%XX for each byte")
			}
			c.ids = append(c.ids, id)
		}
		return nil
	}
	if len(methods) > 0 {
		c.w.Header().Set("Allow", strings.Join(methods, ", "))
		return failed("SVC-38/method", azure.MethodNotAllowed, "the path has no operation "+method, method+" "+show(path), strings.Join(methods, ", "))
	}
	return failed("SVC-38/path", azure.NotFound, "the service API has no such path", method+" "+show(path), nearestPath(segments))
}

// nearestPath returns the operations whose first segment a path has.
func nearestPath(segments []string) string {
	var near []string
	for i := range routes {
		if p := "/" + strings.Join(routes[i].pattern, "/"); strings.EqualFold(routes[i].pattern[0], segments[0]) {
			near = append(near, routes[i].method+" "+p)
		}
	}
	if len(near) == 0 {
		return "a path of the service API, such as /devices/{} or /twins/{}"
	}
	return strings.Join(near, ", ")
}

// version takes any date, also of a preview: clients send 2016-11-14 to 2024-03-31.
func (c *call) version() error {
	v := c.r.URL.Query().Get("api-version")
	if azure.ValidHubAPIVersion(v) {
		return nil
	}
	return failed("SVC-38/api-version", azure.InvalidProtocolVersion, "the request names no valid api-version", "api-version="+show(v), "api-version=2021-04-12, or any other date")
}

// event is what every event of the request starts from.
func (c *call) event() journal.Event {
	e := journal.Event{Platform: iothub.Platform, Endpoint: c.hub.Host, Conn: c.peer.Conn, Kind: journal.HTTP, Dir: journal.In,
		Topic: c.method() + " " + show(c.r.URL.EscapedPath())}
	if e.Endpoint == "" {
		e.Endpoint = c.peer.Endpoint
	}
	if c.peer.Remote != nil {
		e.Address = c.peer.Remote.String()
	}
	if c.route != nil && len(c.ids) > 0 && (c.route.pattern[0] == "devices" || c.route.pattern[0] == "twins") {
		e.Device = show(strings.Join(c.ids, "/"))
	}
	if c.policy != "" {
		e.Properties = map[string]string{"policy": c.policy}
	}
	return e
}

func (c *call) write(a answer) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	e := c.event()
	e.Code = journal.Code(a.status)
	c.Handler.hub.Journal().Append(e)
	header := c.w.Header()
	for k, v := range a.header {
		header[k] = []string{v} // as spelled: azure-iot-sdk-c looks fields up in the spelling of the hub
	}
	if a.etag != "" {
		header["ETag"] = []string{strconv.Quote(a.etag)}
	}
	var body []byte
	if a.body != nil {
		body = azure.MarshalJSON(a.body)
	}
	c.send(a.status, body)
}

func (c *call) send(status int, body []byte) {
	header := c.w.Header()
	header.Set("Vary", "Origin")
	if body != nil && header.Get("Content-Type") == "" {
		header.Set("Content-Type", azure.JSONType)
	}
	if status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	c.w.WriteHeader(status)
	if _, err := c.w.Write(body); err != nil && len(body) > 0 {
		c.log.Debug("answer not written", "endpoint", c.hub.Host, "error", err)
	}
}

// refuse answers with an error and journals why.
func (c *call) refuse(err error) {
	f := asFailure(err)
	if f.refusal == nil {
		e := c.event()
		e.Code = journal.Code(azure.ErrorStatus(f.code))
		c.Handler.hub.Journal().Append(e)
	} else if !f.journalled {
		shown := *f.refusal
		shown.Code = azure.ErrorStatus(f.code)
		c.Handler.hub.Journal().Refuse(c.event(), &shown)
	}
	id, at := c.Handler.hub.Tracking()
	trace := azure.Trace{ID: id, At: at}
	c.w.Header()[azure.ErrorHeader] = []string{azure.ErrorName(f.code)}
	body := azure.RegistryError(f.code, f.message, trace)
	if c.route != nil && c.route.methods {
		body = azure.MethodError(f.code, f.message, f.info, trace)
	}
	if f.body != nil {
		body = azure.MarshalJSON(f.body)
	}
	c.send(azure.ErrorStatus(f.code), body)
}

// show cuts a client's text to what the journal repeats.
func show(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

var _ http.Handler = (*Handler)(nil)

// refusalOf is for handlers that pass a core's refusal on.
func refusalOf(r *rule.Refusal, message string) error {
	return &failure{refusal: r, code: r.Code, message: message}
}
