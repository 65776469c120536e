package rest

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Head serves the device API of all instances of a service.
type Head struct {
	service *dps.Service
	peer    func(*http.Request) broker.Peer
}

// New returns the head of a service. peer tells the connection that a request came on.
func New(s *dps.Service, peer func(*http.Request) broker.Peer) *Head {
	return &Head{service: s, peer: peer}
}

// Scope returns the ID scope of a path of the device API, empty for another path.
func Scope(escapedPath string) string { return azure.ParseDPSPath(escapedPath).Scope }

// call is one request.
type call struct {
	*Head
	w    http.ResponseWriter
	r    *http.Request
	peer broker.Peer
	path azure.DPSPath
}

// ServeHTTP implements http.Handler.
func (h *Head) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Head: h, w: w, r: r, peer: h.peer(r), path: azure.ParseDPSPath(r.URL.EscapedPath())}
	a := c.serve()
	if a.Lost {
		panic(http.ErrAbortHandler) // a fault: the connection ends without an answer
	}
	c.answer(a)
}

// methods are the kinds of path with their method.
var methods = map[azure.DPSPathKind]string{
	azure.DPSPathRegister: http.MethodPut,
	azure.DPSPathPoll:     http.MethodGet,
	azure.DPSPathLookup:   http.MethodPost,
}

func (c *call) serve() dps.Answer {
	if refusal := c.judge(); refusal != nil {
		return c.service.Reject(messages[refusal.Code], *refusal)
	}
	caller := dps.Caller{Scope: c.path.Scope, RegistrationID: c.path.RegistrationID, APIVersion: c.r.URL.Query().Get("api-version"),
		Token: c.r.Header.Get("Authorization"), Certificates: c.peer.Certificates, Door: c.peer.Door, HTTPS: true,
		Conn: c.peer.Conn, Address: c.address()}
	session := c.service.Open(caller)
	if c.path.Kind == azure.DPSPathPoll {
		return session.Poll(c.r.Context(), c.path.OperationID) // a body, which the C and Node SDKs may send, does not count
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, azure.MaxDPSMessage+1))
	if err != nil {
		body = make([]byte, azure.MaxDPSMessage+1) // the core has the rule for it
	}
	if c.path.Kind == azure.DPSPathLookup {
		return session.Lookup(c.r.Context(), body)
	}
	return session.Register(c.r.Context(), body)
}

// messages are those of errors that the head decides. The service's own texts are not known.
var messages = map[int]string{
	http.StatusBadRequest:       "The request is not valid.",
	http.StatusNotFound:         "Resource not found.",
	http.StatusMethodNotAllowed: "Method not allowed.",
}

// judge checks what a request says by itself; nil for a good one.
func (c *call) judge() *rule.Refusal {
	method, ok := methods[c.path.Kind]
	if !ok {
		near := c.path
		near.Kind = azure.DPSPathRegister
		if near.Scope == "" {
			near.Scope, near.RegistrationID = "{idScope}", "{registrationId}"
		}
		return &rule.Refusal{Rule: "DPS-35/path", Code: http.StatusNotFound, Seen: c.r.Method + " " + clip(c.r.URL.Path),
			Expected: "PUT /" + near.Scope + "/registrations/" + near.RegistrationID + "/register?api-version=" + azure.DPSAPIVersion}
	}
	if c.r.Method != method {
		c.w.Header().Set("Allow", method)
		return &rule.Refusal{Rule: "DPS-35/method", Code: http.StatusMethodNotAllowed, Seen: c.r.Method + " " + clip(c.r.URL.Path),
			Expected: method + " " + azure.FormatDPSPath(c.path)}
	}
	if v := c.r.URL.Query().Get("api-version"); !azure.ValidHubAPIVersion(v) {
		return &rule.Refusal{Rule: "DPS-35/api-version", Code: http.StatusBadRequest, Seen: "api-version=" + strconv.Quote(clip(v)), Expected: "?api-version=" + azure.DPSAPIVersion}
	}
	if !azure.ValidDPSRegistrationID(c.path.RegistrationID) {
		return &rule.Refusal{Rule: "DPS-35/registration-id", Code: http.StatusBadRequest, Seen: strconv.Quote(clip(c.path.RegistrationID)),
			Expected: azure.ErrDPSRegistrationID.Error()}
	}
	return nil
}

func (c *call) address() string {
	if c.peer.Remote == nil {
		return ""
	}
	return c.peer.Remote.String()
}

// answer writes an answer with the service's header fields and journals it.
func (c *call) answer(a dps.Answer) {
	h := c.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	if a.RetryAfter > 0 {
		h["retry-after"] = []string{strconv.Itoa(a.RetryAfter)} // as spelled: some look it up so
	}
	var said struct {
		OperationID string `json:"operationId"`
		ErrorCode   int    `json:"errorCode"`
		TrackingID  string `json:"trackingId"`
	}
	_ = json.Unmarshal(a.Body, &said) // our own text
	if said.ErrorCode != 0 {
		h["x-ms-error-code"] = []string{strconv.Itoa(said.ErrorCode)}
	}
	if said.TrackingID == "" {
		said.TrackingID = c.service.IDs.GUID()
	}
	h["x-ms-request-id"] = []string{said.TrackingID}
	if a.Status == http.StatusAccepted && said.OperationID != "" {
		poll := c.path
		poll.Kind, poll.OperationID = azure.DPSPathPoll, said.OperationID
		h.Set("Location", "https://"+c.r.Host+azure.FormatDPSPath(poll)+"?api-version="+c.r.URL.Query().Get("api-version"))
	}
	c.w.WriteHeader(a.Status)
	_, _ = c.w.Write(a.Body)
	c.journal(a)
}

func (c *call) journal(a dps.Answer) {
	e := journal.Event{Platform: dps.Platform, Endpoint: c.peer.Endpoint, Conn: c.peer.Conn, Address: c.address(), Device: c.path.RegistrationID,
		Kind: journal.HTTP, Dir: journal.In, Topic: c.r.Method + " " + clip(c.r.URL.EscapedPath())}
	if a.Refusal == nil {
		e.Code = journal.Code(a.Status)
		c.service.Journal.Append(e)
		return
	}
	shown := *a.Refusal
	shown.Code = a.Status
	c.service.Journal.Refuse(e, &shown)
}

func clip(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
