package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// adminFile is the file in the data directory in which serve leaves the URL of its admin API.
const adminFile = "admin.url"

// adminAnswerLimit bounds an answer that is read as a whole.
const adminAnswerLimit = 64 << 20

// adminRequest is one call of the admin API. Only Path is required.
type adminRequest struct {
	Method      string // GET where empty
	Path        string // with its leading slash; escape segments with url.PathEscape
	Query       url.Values
	Body        []byte
	ContentType string // of Body; application/json where empty
	Accept      string
	Patient     bool // the answer may take long: waits and streams
}

// adminError is a refusal by the admin API (RFC 9457).
type adminError struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
	Rule     string   `json:"rule"` // of a platform's refusal, with the three that follow
	Seen     string   `json:"seen"`
	Expected string   `json:"expected"`
	Fix      string   `json:"fix"`
	Closest  []string `json:"closest"`
	Body     []byte   `json:"-"` // the whole answer, for its further extensions
}

func (e *adminError) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	text += meant(e.Closest)
	if e.Rule != "" {
		text += fmt.Sprintf("\n  rule      %s\n  seen      %s\n  expected  %s\n  fix       %s", e.Rule, e.Seen, e.Expected, e.Fix)
	}
	for _, d := range e.Errors {
		text += "; " + d.Message
		if d.Location != "" {
			text += " (" + d.Location + ")"
		}
	}
	return text
}

// adminJSON calls the admin API with in as JSON body (nil: no body) and decodes the answer into out
// (nil: ignored).
func (a *app) adminJSON(ctx context.Context, method, path string, in, out any) error {
	r := adminRequest{Method: method, Path: path, Accept: "application/json"}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		r.Body = body
	}
	body, err := a.adminBytes(ctx, r)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("the admin API's answer to %s %s is no JSON of the kind expected: %w", method, path, err)
	}
	return nil
}

// adminBytes calls the admin API and returns the answer's body.
func (a *app) adminBytes(ctx context.Context, r adminRequest) ([]byte, error) {
	answer, err := a.adminDo(ctx, r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(io.LimitReader(answer.Body, adminAnswerLimit))
}

// adminDo calls the admin API and returns its answer, whose body the caller closes. An answer of 400 or
// more comes as *adminError.
func (a *app) adminDo(ctx context.Context, r adminRequest) (*http.Response, error) {
	bases, err := a.adminBases()
	if err != nil {
		return nil, err
	}
	client := adminHTTP(r.Patient)
	for _, base := range bases {
		var request *http.Request
		if request, err = a.adminHTTPRequest(ctx, base, r); err != nil {
			return nil, err
		}
		var answer *http.Response
		if answer, err = client.Do(request); err == nil {
			return checkAnswer(base, answer)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, noInstance(bases[len(bases)-1], err)
}

func noInstance(base string, cause error) error {
	var timeout net.Error
	if errors.As(cause, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%s does not answer in time: %w", base, errors.Unwrap(cause))
	}
	return fmt.Errorf("no fakecloud answers at %s: start it with `fakecloud serve`, or name it with --admin", base)
}

// adminBases returns where to look for the instance, best guess first: --admin or FAKECLOUD_ADMIN alone
// when given, else what serve left in the data directory, then the default.
func (a *app) adminBases() ([]string, error) {
	if a.adminURL != "" {
		base, err := adminBase(a.adminURL)
		return []string{base}, err
	}
	data := a.env("FAKECLOUD_DATA")
	if data == "" {
		data = "fakecloud-data"
	}
	var bases []string
	if text, err := os.ReadFile(filepath.Join(data, adminFile)); err == nil {
		if base, err := adminBase(strings.TrimSpace(string(text))); err == nil {
			bases = append(bases, base)
		}
	}
	return append(bases, defaultAdmin), nil
}

func adminBase(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", usagef("--admin wants the URL of a running instance, like %s", defaultAdmin)
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

func (a *app) adminHTTPRequest(ctx context.Context, base string, r adminRequest) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	target := base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if r.Body != nil {
		kind := r.ContentType
		if kind == "" {
			kind = "application/json"
		}
		request.Header.Set("Content-Type", kind)
	}
	if r.Accept != "" {
		request.Header.Set("Accept", r.Accept)
	}
	token := a.token
	if token == "" {
		token = a.env("FAKECLOUD_ADMIN_TOKEN")
	}
	if token == "" {
		token = a.env("FAKECLOUD_VIEWER_TOKEN")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return request, nil
}

// adminHTTP takes no proxy from the environment: a proxy there is for the devices.
func adminHTTP(patient bool) *http.Client {
	transport := &http.Transport{
		DialContext:       (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		DisableKeepAlives: true,
	}
	if !patient {
		transport.ResponseHeaderTimeout = 30 * time.Second
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func checkAnswer(base string, answer *http.Response) (*http.Response, error) {
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	refusal := &adminError{Body: body}
	if kind != "application/problem+json" || json.Unmarshal(body, refusal) != nil {
		return nil, fmt.Errorf("%s answers %s, but not as fakecloud's admin API: is it another program's port?", base, answer.Status)
	}
	refusal.Status = answer.StatusCode
	return nil, refusal
}
