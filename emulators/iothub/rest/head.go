package rest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// WebSocketPath is where the hub speaks MQTT over WebSocket, with any query.
const WebSocketPath = "/$iothub/websocket"

// currentAPI is the api-version of today's documents, for what a client should have sent.
const currentAPI = "2021-04-12"

// Head serves the device API of all hubs of a service.
type Head struct {
	hub      *iothub.Service
	peer     func(*http.Request) broker.Peer
	inFlight atomic.Int64 // bytes of blob requests that are being read
}

// New returns the head of hub. peer tells the connection that a request came on.
func New(hub *iothub.Service, peer func(*http.Request) broker.Peer) *Head {
	return &Head{hub: hub, peer: peer}
}

// Serves reports whether a request is a device's, or one to a blob. Other paths of a hub's host are not
// this head's, but it answers them with 404 as well.
func Serves(r *http.Request) bool {
	path := r.URL.EscapedPath()
	_, _, blob := blobPath(path)
	return blob && isBlob(r.URL) || azure.ParseHubPath(path).Kind != azure.HubPathOther
}

// Device returns the device that a path of the device API or of an uploaded file names, empty where it
// names none.
func Device(escapedPath string) string {
	if p := azure.ParseHubPath(escapedPath); p.Kind != azure.HubPathOther {
		return p.DeviceID
	}
	if container, name, ok := blobPath(escapedPath); ok && container == iothub.UploadContainer {
		device, _, _ := strings.Cut(name, "/")
		return device
	}
	return ""
}

// call is one request.
type call struct {
	head    *Head
	w       http.ResponseWriter
	r       *http.Request
	peer    broker.Peer
	path    azure.HubPath
	id      iothub.Identity
	request string // x-ms-request-id
	status  int
}

// ServeHTTP implements http.Handler.
func (h *Head) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{head: h, w: w, r: r, peer: h.peer(r)}
	c.request, _ = h.hub.Tracking()
	w.Header()[azure.RequestHeader] = []string{c.request}
	if container, name, ok := blobPath(r.URL.EscapedPath()); ok && isBlob(r.URL) {
		b := &blobCall{call: c, container: container, name: name}
		b.serve()
	} else {
		c.path = azure.ParseHubPath(r.URL.EscapedPath())
		if h.hub.Unavailable(c.peer.Endpoint, c.path.DeviceID, iothub.Origin{Conn: c.peer.Conn, Address: c.address()}) {
			c.status = c.answerError(&rule.Refusal{Code: iothub.CodeUnavailable, Detail: "Service unavailable"})
		} else if refusal := c.serve(); refusal != nil {
			c.refuse(refusal)
			return
		}
	}
	if c.status > 0 {
		e := c.event(journal.HTTP)
		e.Code = journal.Code(c.status)
		h.hub.Journal().Append(e)
	}
}

// operations are the kinds of path with their method and what answers them.
var operations = map[azure.HubPathKind]struct {
	method string
	serve  func(*call) *rule.Refusal
}{
	azure.HubPathEvents:        {http.MethodPost, (*call).telemetry},
	azure.HubPathDevicebound:   {http.MethodGet, (*call).receive},
	azure.HubPathSettle:        {http.MethodDelete, (*call).settle},
	azure.HubPathAbandon:       {http.MethodPost, (*call).abandon},
	azure.HubPathFiles:         {http.MethodPost, (*call).beginUpload},
	azure.HubPathNotifications: {http.MethodPost, (*call).endUpload},
}

func (c *call) serve() *rule.Refusal {
	op, ok := operations[c.path.Kind]
	switch {
	case !ok || c.path.ModuleID != "" && c.path.Kind != azure.HubPathEvents:
		return c.noPath()
	case c.r.Method != op.method:
		c.w.Header().Set("Allow", op.method)
		return &rule.Refusal{Rule: "HUB-60/method", Code: 405000, Detail: "the path does not take this method",
			Seen: c.r.Method + " " + shown(c.r.URL.Path), Expected: op.method + " " + azure.FormatHubPath(c.path)}
	}
	version := c.r.URL.Query().Get("api-version")
	if !azure.ValidHubAPIVersion(version) {
		detail := "the query names no api-version"
		if version != "" {
			detail = "the api-version is no date"
		}
		return &rule.Refusal{Rule: "HUB-66/api-version", Code: 400001, Detail: detail, Seen: "api-version=" + shown(version), Expected: "?api-version=" + currentAPI}
	}
	if r := c.authenticate(); r != nil {
		return r
	}
	return op.serve(c)
}

// noPath explains a path that no device has.
func (c *call) noPath() *rule.Refusal {
	near := azure.HubPath{Kind: azure.HubPathEvents, DeviceID: c.path.DeviceID}
	if near.DeviceID == "" {
		near.DeviceID = "{device}"
	}
	lower := strings.ToLower(c.r.URL.Path)
	switch {
	case strings.EqualFold(c.r.Header.Get("Upgrade"), "websocket"):
		return &rule.Refusal{Rule: "HUB-20/path", Code: 404000, Detail: "the hub speaks WebSocket at one path only",
			Seen: shown(c.r.URL.Path), Expected: WebSocketPath}
	case strings.Contains(lower, "bound"):
		near.Kind = azure.HubPathDevicebound
	case strings.Contains(lower, "notif"):
		near.Kind = azure.HubPathNotifications
	case strings.Contains(lower, "file"):
		near.Kind = azure.HubPathFiles
	}
	return &rule.Refusal{Rule: "HUB-60/path", Code: 404000, Detail: "the hub has no such path for devices",
		Seen: c.r.Method + " " + shown(c.r.URL.Path), Expected: operations[near.Kind].method + " " + azure.FormatHubPath(near) + "?api-version=" + currentAPI}
}

// authenticate judges the token in the Authorization header, or the client certificate.
func (c *call) authenticate() *rule.Refusal {
	token := c.r.Header.Get("Authorization")
	if token == "" && len(c.peer.Certificates) == 0 {
		return &rule.Refusal{Rule: "HUB-60/authorization", Code: iothub.CodeUnauthorized, Detail: "the request has no Authorization header and no client certificate",
			Seen: "no credentials", Expected: "Authorization: SharedAccessSignature sr=" + azure.Escape(c.peer.Endpoint+"/devices/"+c.path.DeviceID) + "&sig=…&se=…"}
	}
	id, err := c.head.hub.Authenticate(c.r.Context(), iothub.Credentials{Endpoint: c.peer.Endpoint, Hosts: c.peer.Hosts,
		DeviceID: c.path.DeviceID, ModuleID: c.path.ModuleID, Password: token, Certificates: c.peer.Certificates})
	var r *rule.Refusal
	if errors.As(err, &r) {
		return onHTTP(r)
	}
	c.id = id
	return nil
}

// onHTTP gives a refusal at sign-in the code that HTTPS has for it: an unknown identity is 404 there, as the
// Node SDK's end-to-end tests expect.
func onHTTP(r *rule.Refusal) *rule.Refusal {
	known := *r
	switch r.Rule {
	case "HUB-9/unknown":
		known.Code = 404001
	case "HUB-9/module":
		known.Code = 404010
	case "HUB-11/host":
		known.Code = 401001
	}
	return &known
}

// visit opens a session for the request.
func (c *call) visit() *iothub.Session {
	return c.head.hub.Visit(c.id, iothub.Origin{Conn: c.peer.Conn, Address: c.address(), APIVersion: c.r.URL.Query().Get("api-version")})
}

func (c *call) address() string {
	if c.peer.Remote == nil {
		return ""
	}
	return c.peer.Remote.String()
}

// event is what all events of the request start from. The query may hold a signature and is left out.
func (c *call) event(k journal.Kind) journal.Event {
	e := journal.Event{Platform: iothub.Platform, Endpoint: c.peer.Endpoint, Conn: c.peer.Conn, Address: c.address(), Kind: k,
		Dir: journal.In, Topic: c.r.Method + " " + clip(c.r.URL.EscapedPath()), Device: c.path.DeviceID}
	if c.path.ModuleID != "" {
		e.Device += "/" + c.path.ModuleID
	}
	return e
}

// refuse answers an error and journals it. r.Code is the hub's error code.
func (c *call) refuse(r *rule.Refusal) { c.journalRefusal(r, c.answerError(r)) }

// answerError writes an error's answer and returns its status.
func (c *call) answerError(r *rule.Refusal) (status int) {
	id, at := c.head.hub.Tracking()
	status = azure.ErrorStatus(r.Code)
	h := c.w.Header()
	h.Set("Content-Type", azure.JSONType)
	h[azure.ErrorHeader] = []string{azure.ErrorName(r.Code)}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(azure.RegistryError(r.Code, r.Detail, azure.Trace{ID: id, At: at}))
	return status
}

func (c *call) journalRefusal(r *rule.Refusal, status int) {
	answered := *r
	answered.Code, answered.Silent = status, false
	c.head.hub.Journal().Refuse(c.event(journal.Refused), &answered)
}

// done answers a success.
func (c *call) done(status int, body []byte) {
	c.status = status
	if body != nil {
		c.w.Header().Set("Content-Type", azure.JSONType)
	}
	c.w.WriteHeader(status)
	if body != nil {
		_, _ = c.w.Write(body)
	}
}

// read reads a body of at most limit bytes. ok is false where it is longer or cannot be read.
func (c *call) read(limit int64) (body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	return body, err == nil
}

// shown quotes a client's text, cut to a sane length.
func shown(text string) string { return `"` + clip(text) + `"` }

func clip(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
