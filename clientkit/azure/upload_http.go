package azure

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Limits of one request of an upload.
const (
	uploadTries    = 5
	maxUploadReply = 64 << 10 // bytes of an answer that are read
	headerTimeout  = time.Minute
)

// UploadStep is a step of [Hub.Upload].
type UploadStep string

// The steps, in their order.
const (
	UploadBegin  UploadStep = "asking the hub for a place"
	UploadWrite  UploadStep = "writing to the storage account"
	UploadCommit UploadStep = "committing the blocks"
	UploadNotify UploadStep = "notifying the hub"
)

// UploadError is an answer of the hub or of the storage account that refuses a step.
type UploadError struct {
	Step   UploadStep
	Status int    // of HTTP
	Code   string // iothub-errorcode of the hub, x-ms-error-code of the storage account; may be empty
	// Message is the hub's text; empty from the storage account.
	Message string
}

func (e *UploadError) Error() string {
	text := fmt.Sprintf("azure: upload: %s: status %d", e.Step, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

func (e *UploadError) passing() bool {
	return e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// upload is one file's way, with connections of its own.
type upload struct {
	cfg       HubConfig
	hub, blob *http.Client
}

func newUpload(cfg HubConfig) *upload {
	client := func(config *tls.Config, once bool) *http.Client {
		return &http.Client{
			Transport: &http.Transport{DialContext: cfg.Dial, TLSClientConfig: config, DisableCompression: true, DisableKeepAlives: once,
				TLSHandshakeTimeout: headerTimeout, ResponseHeaderTimeout: headerTimeout},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	// The hub is asked once before and once after what may take hours: no connection is kept for that.
	// The storage account is another host: it gets no certificate, and is verified by its own name.
	storage := Credential{}.tlsConfig(cfg.TLS, "")
	storage.ServerName, storage.Certificates, storage.GetClientCertificate = "", nil, nil
	return &upload{cfg: cfg, hub: client(cfg.Credential.tlsConfig(cfg.TLS, cfg.Host), true), blob: client(storage, false)}
}

func (u *upload) close() {
	u.hub.CloseIdleConnections()
	u.blob.CloseIdleConnections()
}

// hubCall posts to the device's files and returns the answer.
func (u *upload) hubCall(ctx context.Context, step UploadStep, under string, body []byte) ([]byte, error) {
	address := &url.URL{Scheme: "https", Host: u.cfg.Host, Path: "/devices/" + u.cfg.DeviceID + "/files" + under,
		RawPath: "/devices/" + escape(u.cfg.DeviceID) + "/files" + under, RawQuery: "api-version=" + escape(u.cfg.APIVersion)}
	return u.retry(ctx, step, false, func() ([]byte, error) {
		header := http.Header{"Content-Type": {"application/json"}}
		if sas := u.cfg.Credential.password(u.cfg.resource(), u.cfg.Timing.Now().Add(u.cfg.TokenLife), ""); sas != "" {
			header.Set("Authorization", sas)
		}
		return call(ctx, u.hub, step, http.MethodPost, address, body, header)
	})
}

// blobCall puts to the blob.
func (u *upload) blobCall(ctx context.Context, step UploadStep, g grant, more string, body []byte, header http.Header) error {
	address, err := g.url(more)
	if err != nil {
		return err
	}
	_, err = u.retry(ctx, step, true, func() ([]byte, error) {
		return call(ctx, u.blob, step, http.MethodPut, address, body, header)
	})
	return err
}

// retry repeats what may pass; a lost connection only when the request may arrive twice.
func (u *upload) retry(ctx context.Context, step UploadStep, twice bool, try func() ([]byte, error)) ([]byte, error) {
	for n := 1; ; n++ {
		answer, err := try()
		var refused *UploadError
		var untrusted *tls.CertificateVerificationError
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil, n == uploadTries, errors.As(err, &untrusted):
			return nil, err
		case errors.As(err, &refused) && !refused.passing(), !errors.As(err, &refused) && !twice:
			return nil, err
		}
		delay := u.cfg.Timing.Backoff(n)
		u.cfg.Log.Info("upload step failed", "device", u.cfg.DeviceID, "step", string(step), "cause", err, "retry_in", delay)
		if u.cfg.Timing.Wait(ctx, delay) != nil {
			return nil, err
		}
	}
}

// lent is a request's body, whose bytes are used anew after Close: net/http may still read when the answer is
// there.
type lent struct {
	mu sync.Mutex
	in *bytes.Reader // nil once closed
}

func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.in == nil {
		return 0, io.ErrClosedPipe
	}
	return l.in.Read(p)
}

// Close ends the use of the bytes.
func (l *lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = nil
	return nil
}

// call makes one request. Its errors never hold the address, whose query is a secret.
func call(ctx context.Context, client *http.Client, step UploadStep, method string, address *url.URL, body []byte, header http.Header) ([]byte, error) {
	r := (&http.Request{Method: method, URL: address, Host: address.Host, Header: http.Header{}, ContentLength: int64(len(body))}).WithContext(ctx)
	for name, values := range header {
		r.Header.Set(name, values[0])
	}
	r.Body = http.NoBody
	if len(body) > 0 {
		sent := &lent{in: bytes.NewReader(body)}
		defer sent.Close()
		r.Body = sent
	}
	answer, err := client.Do(r)
	if err != nil {
		var withAddress *url.Error
		if errors.As(err, &withAddress) {
			err = withAddress.Err
		}
		return nil, fmt.Errorf("azure: upload: %s: %w", step, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxUploadReply))
	switch {
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		refused := &UploadError{Step: step, Status: answer.StatusCode, Code: answer.Header.Get("iothub-errorcode")}
		if refused.Code == "" {
			refused.Code = answer.Header.Get("x-ms-error-code")
		}
		var said struct{ Message string }
		if json.Unmarshal(text, &said) == nil {
			refused.Message = said.Message
		}
		return nil, refused
	case err != nil:
		return nil, fmt.Errorf("azure: upload: %s: %w", step, err)
	}
	return text, nil
}
