package service

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// The limits of request bodies: a hundred devices with their twins, and one of anything else.
const (
	maxBulk = 8 << 20
	maxBody = 512 << 10
)

// decode reads the request's body, which must be one JSON value.
func (c *call) decode(into any, most int64) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return failed("SVC-38/size", azure.RequestTooLarge, "the body is too large", fmt.Sprintf("more than %d bytes", most), fmt.Sprintf("at most %d bytes", most))
	}
	if err != nil {
		return failed("SVC-38/json", azure.ArgumentInvalid, "the body ended early", fmt.Sprintf("%d bytes", len(body)), "as many bytes as Content-Length says")
	}
	return readJSON(body, into)
}

// readJSON reads a body, or a part of one.
func readJSON(body []byte, into any) error {
	err := azure.ReadJSON(body, into)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, azure.ErrJSONDepth):
		return failed("SVC-38/depth", azure.ArgumentInvalid, err.Error(), fmt.Sprintf("a body of %d bytes", len(body)), fmt.Sprintf("at most %d levels", azure.MaxJSONDepth))
	}
	return failed("SVC-38/json", azure.ArgumentInvalid, "the body is not the JSON that is expected: "+plain(err.Error()), fmt.Sprintf("a body of %d bytes", len(body)), "one JSON value in UTF-8, with the types of the REST reference")
}

// ifMatch returns the ETag of If-Match without quotation marks; clients send "x", "*", x, * and W/"x".
func (c *call) ifMatch() (etag string, given bool) {
	etag = strings.TrimSpace(c.r.Header.Get("If-Match"))
	if etag == "" {
		return "", false
	}
	return unquoted(etag), true
}

func unquoted(etag string) string {
	etag = strings.TrimPrefix(etag, "W/")
	if n := len(etag); n >= 2 && etag[0] == '"' && etag[n-1] == '"' {
		etag = etag[1 : n-1]
	}
	return etag
}
