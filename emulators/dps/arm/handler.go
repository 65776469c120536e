package arm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Host is the resource manager's name.
const Host = "management.azure.com"

// maxBody bounds a request's body in bytes: a certificate in base64.
const maxBody = 256 << 10

// Handler serves the resource provider's operations. It is an http.Handler.
type Handler struct {
	dps  *dps.Service
	peer func(*http.Request) broker.Peer
	log  *slog.Logger
}

var _ http.Handler = (*Handler)(nil)

// New returns the handler of service. peer tells who asks; a nil log discards.
func New(service *dps.Service, peer func(*http.Request) broker.Peer, log *slog.Logger) *Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Handler{dps: service, peer: peer, log: log}
}

// Handles reports whether a path is one of the resource manager's.
func Handles(path string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return strings.EqualFold(first, "subscriptions")
}

// call is one request.
type call struct {
	*Handler
	w http.ResponseWriter
	r *http.Request
	// prefix is the path of the instance as it was asked for; below are the segments after it, decoded.
	prefix      string
	subscribed  string
	group       string
	instance    dps.Instance
	below       []string
	certificate string
}

// answer is what a request gets when all is well; a nil body is none.
type answer struct {
	status int
	body   any
}

// failure is why a request gets an error.
type failure struct {
	status  int
	code    string // of the resource manager
	message string
	refusal rule.Refusal
}

func failed(id rule.ID, status int, code, message, seen, expected string) *failure {
	return &failure{status, code, message, rule.Refusal{Rule: id, Detail: message, Seen: seen, Expected: expected}}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Handler: h, w: w, r: r}
	a, f := c.serve()
	w.Header().Set("x-ms-request-id", h.dps.IDs.GUID())
	if f != nil {
		refusal := f.refusal
		refusal.Code = f.status
		h.dps.Journal.Refuse(c.event(), &refusal)
		c.send(f.status, map[string]any{"error": map[string]string{"code": f.code, "message": f.message}})
		return
	}
	e := c.event()
	e.Code = journal.Code(a.status)
	h.dps.Journal.Append(e)
	c.send(a.status, a.body)
}

func (c *call) event() journal.Event {
	peer := c.peer(c.r)
	e := journal.Event{Platform: dps.Platform, Endpoint: c.instance.Name, Conn: peer.Conn, Kind: journal.HTTP, Dir: journal.In,
		Topic: c.r.Method + " " + clip(c.r.URL.EscapedPath())}
	if peer.Remote != nil {
		e.Address = peer.Remote.String()
	}
	return e
}

func (c *call) send(status int, body any) {
	var text []byte
	if body != nil {
		text = azure.MarshalJSON(body)
		c.w.Header().Set("Content-Type", azure.JSONType)
	}
	c.w.WriteHeader(status)
	if _, err := c.w.Write(text); err != nil && len(text) > 0 {
		c.log.Debug("answer not written", "endpoint", c.instance.Name, "error", err)
	}
}

// serve finds the instance and the operation below it.
func (c *call) serve() (answer, *failure) {
	if scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " "); !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return answer{}, failed("DPS-44/token", http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing or is no bearer token.",
			fmt.Sprintf("an Authorization header of %d bytes", len(c.r.Header.Get("Authorization"))), "Authorization: Bearer …")
	}
	if f := c.find(); f != nil {
		return answer{}, f
	}
	if v := c.r.URL.Query().Get("api-version"); !azure.ValidHubAPIVersion(v) {
		return answer{}, failed("DPS-44/path", http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.", "api-version="+clip(v), "api-version=2022-12-12, or any other date")
	}
	for _, o := range operations {
		if o.method == c.r.Method && c.matches(o.path) {
			return o.serve(c)
		}
	}
	return answer{}, c.noOperation()
}

// instancePath is where an instance lies; {} stands for a name.
var instancePath = strings.Split("subscriptions/{}/resourceGroups/{}/providers/Microsoft.Devices/provisioningServices/{}", "/")

func (c *call) find() *failure {
	parts := strings.Split(strings.Trim(c.r.URL.EscapedPath(), "/"), "/")
	if len(parts) < len(instancePath) || len(parts) > len(instancePath)+3 {
		return c.noOperation()
	}
	var names []string
	for n, p := range parts {
		text, err := url.PathUnescape(p)
		if err != nil || n < len(instancePath) && instancePath[n] != "{}" && !strings.EqualFold(text, instancePath[n]) {
			return c.noOperation()
		}
		parts[n] = text
		if n < len(instancePath) && instancePath[n] == "{}" {
			names = append(names, text)
		}
	}
	c.subscribed, c.group = names[0], names[1]
	for _, i := range c.dps.Instances() {
		if strings.EqualFold(i.Name, names[2]) {
			c.instance = i
		}
	}
	if c.instance.Name == "" {
		return failed("DPS-44/missing", http.StatusNotFound, "ResourceNotFound", "The Resource 'Microsoft.Devices/ProvisioningServices/"+clip(names[2])+"' was not found.", fmt.Sprintf("instance %q", clip(names[2])), "the name of a DPS instance")
	}
	c.prefix = "/subscriptions/" + names[0] + "/resourceGroups/" + names[1] + "/providers/Microsoft.Devices/provisioningServices/" + c.instance.Name
	c.below = parts[len(instancePath):]
	return nil
}

func (c *call) matches(path string) bool {
	pattern := strings.Split(path, "/")
	if path == "" {
		pattern = nil
	}
	if len(pattern) != len(c.below) {
		return false
	}
	for n, p := range pattern {
		if p == "{}" {
			c.certificate = c.below[n]
		} else if !strings.EqualFold(p, c.below[n]) {
			return false
		}
	}
	return true
}

func (c *call) noOperation() *failure {
	return failed("DPS-44/path", http.StatusNotFound, "ResourceNotFound", "The resource provider has no such operation.", c.r.Method+" "+clip(c.r.URL.EscapedPath()),
		"GET, PUT or DELETE …/provisioningServices/{name}/certificates/{certificate}, POST …/generateVerificationCode or …/verify below it")
}

// decode reads the request's body, which must be one JSON object.
func (c *call) decode(into any) *failure {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err == nil {
		err = azure.ReadJSON(body, into)
	}
	if err != nil {
		return failed("DPS-44/invalid", http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: "+clip(err.Error()), fmt.Sprintf("a body of %d bytes", len(body)), "one JSON object")
	}
	return nil
}

// fault explains an error of the core.
func (c *call) fault(err error) *failure {
	var refused *rule.Refusal
	switch {
	case errors.As(err, &refused):
		f := &failure{refused.Code, "BadRequest", "", *refused}
		if refused.Code == http.StatusPreconditionFailed {
			f.code = "PreconditionFailed"
		}
		for _, r := range dps.Rules {
			for _, cause := range r.Causes {
				if r.ID+rule.ID("/"+cause.ID) == refused.Rule {
					f.message = cause.Why
				}
			}
		}
		return f
	case errors.Is(err, dps.ErrNotFound):
		return failed("DPS-44/missing", http.StatusNotFound, "NotFound", "The certificate was not found.", fmt.Sprintf("certificate %q", clip(c.certificate)), "the name of a certificate of instance "+c.instance.Name)
	}
	return failed("DPS-44/invalid", http.StatusBadRequest, "BadRequest", clip(err.Error()), "certificate "+clip(c.certificate), "a CA certificate within the limits of DPS")
}

// ifMatch is the etag without the quotation marks that some send.
func (c *call) ifMatch() string { return strings.Trim(c.r.Header.Get("If-Match"), `"`) }

// clip cuts a client's text to what the journal repeats.
func clip(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
