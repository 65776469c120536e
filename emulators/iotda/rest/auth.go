package rest

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The two kinds of signature (core/auth/signer of huaweicloud-sdk-go-v3).
const (
	basicScheme   = "SDK-HMAC-SHA256"
	derivedScheme = "V11-HMAC-SHA256"
	unsigned      = "UNSIGNED-PAYLOAD"
)

// tokenLife is how long a token of IAM holds.
const tokenLife = 24 * time.Hour

// maxTokens bounds the tokens that are remembered; beyond it they are forgotten all at once.
const maxTokens = 10_000

// tokens are those that IAM has issued, with their end.
type tokens struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (t *tokens) issue(until time.Time) string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	text := hex.EncodeToString(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil || len(t.until) >= maxTokens {
		t.until = map[string]time.Time{}
	}
	t.until[text] = until
	return text
}

func (t *tokens) holds(text string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.until[text]
	return ok && now.Before(until)
}

// authenticate judges a call (DA-59): by token or by signature. An instance without access keys accepts
// every caller.
func (s *Server) authenticate(c *call) *rule.Refusal {
	i, _ := c.Instance(c.instance)
	if len(i.AccessKeys) == 0 {
		return nil
	}
	if token := c.request.Header.Get("X-Auth-Token"); token != "" {
		if s.tokens.holds(token, s.cfg.Clock.Wall()) {
			return nil
		}
		return refused("token", "the token is none of this instance's, or has run out", "X-Auth-Token of another origin", "the X-Subject-Token of POST /v3/auth/tokens, at most 24 h old")
	}
	header := c.request.Header.Get("Authorization")
	if header == "" {
		return refused("missing", "the call has neither token nor signature", "no X-Auth-Token and no Authorization", "one of them")
	}
	return verify(c, header, i.AccessKeys)
}

// signature is an Authorization header taken apart.
type signature struct {
	scheme, access, scope string // scope is {date}/{region}/{service} of a derived signature
	headers               []string
	value                 string
}

func parseSignature(header string) (signature, bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	sig := signature{scheme: scheme}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Access":
			sig.access = value
		case "Credential":
			sig.access, sig.scope, _ = strings.Cut(value, "/")
		case "SignedHeaders":
			sig.headers = strings.Split(value, ";")
		case "Signature":
			sig.value = value
		}
	}
	ok = ok && sig.access != "" && sig.value != "" && len(sig.headers) > 0 && len(sig.headers) <= 50
	switch scheme {
	case basicScheme:
		return sig, ok && sig.scope == ""
	case derivedScheme:
		return sig, ok && strings.Count(sig.scope, "/") == 2
	}
	return sig, false
}

func verify(c *call, header string, keys []iotda.AccessKey) *rule.Refusal {
	sig, ok := parseSignature(header)
	if !ok {
		return refused("form", "the Authorization header has not the form of a signature", clip(sig.scheme),
			basicScheme+" Access=…, SignedHeaders=…, Signature=…, or "+derivedScheme+" Credential=…/{date}/{region}/{service}, SignedHeaders=…, Signature=…")
	}
	at := slices.IndexFunc(keys, func(k iotda.AccessKey) bool { return k.Access == sig.access })
	if at < 0 {
		return refused("access-key", "the instance has no such access key", "AK "+clip(sig.access), "an access key of the instance")
	}
	date := c.request.Header.Get("X-Sdk-Date")
	signed, err := sign(sig, keys[at].Secret, date, canonical(c, sig.headers))
	if err != nil || subtle.ConstantTimeCompare([]byte(signed), []byte(sig.value)) != 1 {
		return refused("signature", "the signature does not fit the request and the secret key", sig.scheme+" over "+clip(strings.Join(sig.headers, ";")),
			"the signature by the secret key of "+sig.access+" over method, path, query, headers and body as they arrive")
	}
	return nil
}

// sign makes the signature of a canonical request.
func sign(sig signature, secret, date, request string) (string, error) {
	hash := sha256.Sum256([]byte(request))
	key, text := secret, sig.scheme+"\n"+date+"\n"
	if sig.scheme == derivedScheme {
		derived, err := hkdf.Key(sha256.New, []byte(secret), []byte(sig.access), sig.scope, sha256.Size)
		if err != nil {
			return "", err
		}
		key, text = hex.EncodeToString(derived), text+sig.scope+"\n"
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text + hex.EncodeToString(hash[:])))
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// canonical writes a request in the form that is signed.
func canonical(c *call, headers []string) string {
	r := c.request
	segments := strings.Split(r.URL.Path, "/")
	for i := range segments {
		segments[i] = escape(segments[i])
	}
	path := strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	var query []string
	parameters := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		for _, v := range slices.Sorted(slices.Values(parameters[name])) {
			query = append(query, escape(name)+"="+escape(v))
		}
	}
	var lines strings.Builder
	for _, name := range headers {
		value := strings.TrimSpace(r.Header.Get(name))
		if strings.EqualFold(name, "host") {
			value = r.Host
		}
		lines.WriteString(strings.ToLower(name) + ":" + value + "\n")
	}
	body := r.Header.Get("X-Sdk-Content-Sha256")
	if body != unsigned {
		hash := sha256.Sum256(c.body)
		body = hex.EncodeToString(hash[:])
	}
	return strings.Join([]string{r.Method, path, strings.Join(query, "&"), lines.String(), strings.Join(headers, ";"), body}, "\n")
}

// escape leaves only the unreserved characters of RFC 3986.
func escape(text string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(text))
}

// issueToken answers IAM's POST /v3/auth/tokens: whoever asks for a token of the emulator gets one.
func (s *Server) issueToken(w http.ResponseWriter, r *http.Request) {
	c := &call{Service: s.cfg.Service, request: r, instance: s.instance(r)}
	until := s.cfg.Clock.Wall().Add(tokenLife)
	i, _ := c.Instance(c.instance)
	w.Header().Set("X-Subject-Token", s.tokens.issue(until))
	s.write(w, c, http.StatusCreated, object{"token": object{
		"expires_at": until.UTC().Format("2006-01-02T15:04:05.000000Z"), "methods": []string{"password"},
		"project": object{"id": i.ProjectID, "name": i.Region}, "user": object{"name": "fakecloud"},
	}})
}

// projects answers IAM's GET /v3/projects, by which SDKs find the project id of a region.
func (s *Server) projects(w http.ResponseWriter, r *http.Request) {
	c := &call{Service: s.cfg.Service, request: r, instance: s.instance(r)}
	list := []object{}
	for _, i := range c.Instances() {
		if name := c.query("name"); name == "" || name == i.Region {
			list = append(list, object{"id": i.ProjectID, "name": i.Region, "enabled": true})
		}
	}
	s.write(w, c, http.StatusOK, object{"projects": list})
}
