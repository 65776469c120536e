package control

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/fakecloud/fakecloud/internal/outbound"
)

// The limits of a request's body in bytes.
const (
	bodyLimit  = 1 << 20
	worldLimit = 8 << 20
	fileLimit  = 256 << 20 // of a snapshot
)

// guard lets only those requests through that a browser's page of another origin cannot have caused, that
// carry the token asked for, and whose body is of a size, depth and type that the calls can bear.
func (a *api) guard(next http.Handler) http.Handler {
	checks := []func(http.ResponseWriter, *http.Request) *problem{
		checkOutbound, a.checkLAN, a.checkHost, checkOrigin, a.checkToken, a.checkTrouble, checkBody,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		for _, check := range checks {
			if p := check(w, r); p != nil {
				a.log.Debug("admin call refused", "method", r.Method, "status", p.Status, "cause", p.Detail)
				p.write(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// checkOutbound refuses our own calls: whoever may set a webhook is not thereby the owner of this instance.
func checkOutbound(_ http.ResponseWriter, r *http.Request) *problem {
	if _, ours := r.Header[outbound.Header]; ours {
		return refuse(http.StatusForbidden, "webhooks and forwarding may not call the admin API")
	}
	return nil
}

// checkLAN shows a client of the local network what it needs to get going, and nothing else.
func (a *api) checkLAN(_ http.ResponseWriter, r *http.Request) *problem {
	if !a.opt.LAN || onLoopback(r) {
		return nil
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	path := r.URL.Path
	if read && (path == "/api/v1/ca.pem" || path == "/api/v1/explain" || path == "/healthz" ||
		path == "/explain" || strings.HasPrefix(path, "/explain/")) {
		return nil
	}
	return refuse(http.StatusForbidden, "with --lan only ca.pem and explain are served beyond this machine")
}

func onLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

var singleLabel = regexp.MustCompile(`^[a-z0-9_-]+$`)

// private are the suffixes that no public name server answers for.
var private = []string{".localhost", ".test", ".internal", ".local", ".svc", ".cluster.local"}

// checkHost refuses names that a rebinding attack would need: a public name that was made to point here.
func (a *api) checkHost(_ http.ResponseWriter, r *http.Request) *problem {
	host := hostOnly(r.Host)
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if singleLabel.MatchString(host) {
		return nil
	}
	for _, suffix := range private {
		if strings.HasSuffix(host, suffix) {
			return nil
		}
	}
	for _, name := range a.opt.Advertised {
		if strings.EqualFold(strings.TrimSuffix(name, "."), host) {
			return nil
		}
	}
	return refuse(http.StatusForbidden, "the Host header names a host that this instance does not answer to; start it with --advertise NAME to use that name")
}

func hostOnly(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// checkOrigin refuses what a page of another origin sends.
func checkOrigin(_ http.ResponseWriter, r *http.Request) *problem {
	const detail = "refused: a web page of another origin may not use the admin API"
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "cross-site", site == "same-site" && !reads:
		return refuse(http.StatusForbidden, detail)
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return refuse(http.StatusForbidden, detail)
		}
	}
	return nil
}

// open are the paths that need no token: they tell nothing but life and the public CA.
var open = map[string]bool{"/healthz": true, "/readyz": true, "/api/v1/ca.pem": true}

func (a *api) checkToken(w http.ResponseWriter, r *http.Request) *problem {
	if (a.opt.AdminToken == "" && a.opt.ViewerToken == "") || open[r.URL.Path] {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	if same(token, a.opt.AdminToken) {
		return nil
	}
	if !same(token, a.opt.ViewerToken) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="fakecloud"`)
		return refuse(http.StatusUnauthorized, "a bearer token is needed: Authorization: Bearer TOKEN, as given by --admin-token or --viewer-token")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return refuse(http.StatusForbidden, "the viewer token only reads; use the token given by --admin-token")
	}
	if showsKeys(r.URL.Path) {
		return refuse(http.StatusForbidden, "worlds, snapshots and signed addresses of containers hold keys, which the viewer token does not show; use the token given by --admin-token")
	}
	return nil
}

// containerPath is where the signed address of a container is read: whoever has it may write there.
var containerPath = regexp.MustCompile(`^` + strings.Replace(hubPath, "{hub}", "[^/]+", 1) + `/containers/`)

// showsKeys names what is read with more than a viewer's right.
func showsKeys(path string) bool {
	return path == "/api/v1/world" || strings.HasPrefix(path, snapshotsPath+"/") || containerPath.MatchString(path)
}

// same compares in a time that tells neither length nor content; an unset token equals nothing.
func same(given, want string) bool {
	g, w := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:]) == 1 && want != ""
}

// checkTrouble refuses changes that would wait for room on the disk; those of faults and clock need none.
func (a *api) checkTrouble(_ http.ResponseWriter, r *http.Request) *problem {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || needsNoRoom(r.URL.Path) {
		return nil
	}
	if err := a.trouble(); err != nil {
		return refuse(http.StatusServiceUnavailable, err.Error())
	}
	return nil
}

// needsNoRoom names the changes that are kept in memory only.
func needsNoRoom(path string) bool {
	return path == faultsPath || strings.HasPrefix(path, "/api/v1/clock/")
}

func (a *api) trouble() error {
	if a.plane.Trouble == nil {
		return nil
	}
	return a.plane.Trouble()
}

// checkBody refuses the types that a form can send, and bodies that are too large, too deep or no JSON.
func checkBody(_ http.ResponseWriter, r *http.Request) *problem {
	kind := r.Header.Get("Content-Type")
	if r.ContentLength == 0 && kind == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(kind)
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	isYAML := r.URL.Path == "/api/v1/world" && (media == "application/yaml" || media == "application/x-yaml" || media == "text/yaml")
	isFile := r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, snapshotsPath+"/") && (media == "application/gzip" || media == "application/octet-stream")
	if err != nil || (!isJSON && !isYAML && !isFile) {
		return refuse(http.StatusUnsupportedMediaType, "the body has to be JSON; copy: "+lineToCopy(r))
	}
	limit := int64(bodyLimit)
	switch {
	case isFile:
		limit = fileLimit
	case r.URL.Path == "/api/v1/world":
		limit = worldLimit
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "the body is larger than this call takes")
	case err != nil:
		return refuse(http.StatusBadRequest, "the body did not arrive as a whole")
	case isJSON && len(body) > 0:
		if err := checkJSON(body); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
	case isYAML:
		if err := checkYAML(body); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

var plainTarget = regexp.MustCompile(`^[A-Z]+ [A-Za-z0-9._:\[\]-]+/[A-Za-z0-9/._-]*$`)

// lineToCopy is a curl line for the same call with a JSON body; characters that a shell may take for its
// own are not repeated.
func lineToCopy(r *http.Request) string {
	method, target := r.Method, r.Host+r.URL.EscapedPath()
	if !plainTarget.MatchString(method + " " + target) {
		method, target = http.MethodPost, "127.0.0.1:8484/api/v1/…"
	}
	return "curl -X " + method + " -H 'Content-Type: application/json' --data '{…}' http://" + target
}
