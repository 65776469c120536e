package rest

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
)

// object serves PUT and GET of /obs/{bucket}/{name}, which stand in for Huawei's object storage. A signed
// address, or an access token of an upgrade, lets a device in; an application comes with its token or signature, as to the API.
func (s *Server) object(w http.ResponseWriter, r *http.Request) {
	bucket, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, iotda.ObjectPath), "/")
	c := &call{Service: s.cfg.Service, request: r, instance: s.instance(r)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, iotda.MaxObject))
	c.body = body
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case err != nil:
		s.objectFailure(w, c, http.StatusRequestEntityTooLarge, "EntityTooLarge", "an object has at most 32 MB")
	case r.Method != http.MethodPut && method != http.MethodGet:
		s.objectFailure(w, c, http.StatusMethodNotAllowed, "MethodNotAllowed", "PUT, GET and HEAD are served")
	case method == http.MethodGet && bearerOf(r) != "":
		err := s.admitted(c, func(instance string) error { return c.MayGetObject(instance, bucket, name, bearerOf(r)) })
		if err != nil {
			s.objectFailure(w, c, http.StatusUnauthorized, "Unauthorized", err.Error())
			return
		}
		s.serveObject(w, c, method, bucket, name)
	case r.URL.Query().Has("Signature"):
		err := s.admitted(c, func(instance string) error { return c.MayReachObject(instance, method, bucket, name, r.URL.Query()) })
		if err != nil {
			s.objectFailure(w, c, http.StatusForbidden, "AccessDenied", err.Error())
			return
		}
		s.serveObject(w, c, method, bucket, name)
	default:
		if refused := s.authenticate(c); refused != nil {
			s.cfg.Journal.Refuse(s.event(c, 0), refused)
			s.objectFailure(w, c, http.StatusForbidden, "AccessDenied", refused.Detail)
			return
		}
		s.serveObject(w, c, method, bucket, name)
	}
}

// bearerOf returns the access token that a device downloads an upgrade package with.
func bearerOf(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// admitted finds the instance that has signed what a device comes with; devices that dial an address name none.
func (s *Server) admitted(c *call, by func(instance string) error) error {
	names := []string{c.instance}
	if s.cfg.Peer(c.request).Endpoint == "" {
		for _, i := range c.Instances() {
			names = append(names, i.Name)
		}
	}
	var err error
	for _, instance := range names {
		if err = by(instance); err == nil {
			c.instance = instance
			return nil
		}
	}
	return err
}

func (s *Server) serveObject(w http.ResponseWriter, c *call, method, bucket, name string) {
	if method == http.MethodPut {
		if err := c.PutObject(c.instance, bucket, name, c.body); err != nil {
			s.objectFailure(w, c, http.StatusBadRequest, "InvalidRequest", err.Error())
			return
		}
		s.write(w, c, http.StatusOK, nil)
		return
	}
	o, err := c.Object(c.instance, bucket, name)
	if err != nil {
		s.objectFailure(w, c, http.StatusNotFound, "NoSuchKey", "the specified key does not exist")
		return
	}
	s.journal(c, http.StatusOK, "")
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, c.request, "", o.Modified, bytes.NewReader(o.Body))
}

// objectFailure answers as object storage does: in XML.
func (s *Server) objectFailure(w http.ResponseWriter, c *call, status int, code, text string) {
	s.journal(c, status, code+": "+text)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	// A caller that is gone has no use for the answer.
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>`+escaped+`</Message></Error>`)
}
