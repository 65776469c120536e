package service

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Limits of a request.
const (
	maxBody = 512 << 10 // bytes: certificates and an initial twin
	maxPage = 1000      // records
)

// decode reads the request's body, which must be one JSON object.
func (c *call) decode(into any) *failure {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return failed("DPS-40/body", codeTooLarge, "The body is too large.", fmt.Sprintf("more than %d bytes", maxBody), fmt.Sprintf("at most %d bytes", maxBody))
	case err == nil:
		err = azure.ReadJSON(body, into)
	}
	if err != nil {
		return failed("DPS-40/body", codeInvalid, "The body could not be parsed: "+show(err.Error()), fmt.Sprintf("a body of %d bytes", len(body)), "one JSON object in UTF-8, with the types of the REST reference")
	}
	return nil
}

// ifMatch returns the etag of If-Match, which SDKs send with and without quotation marks.
func (c *call) ifMatch() string { return bare(c.r.Header.Get("If-Match")) }

// fault explains an error of the core.
func (c *call) fault(err error) *failure {
	switch {
	case errors.Is(err, dps.ErrExists):
		return failed("DPS-41/exists", codeExists, "The record exists already.", "no If-Match", `If-Match: "*", or the etag`)
	case errors.Is(err, dps.ErrPrecondition):
		return failed("DPS-41/etag", codePrecondition, "Precondition failed.", "If-Match: "+show(c.r.Header.Get("If-Match")), "the etag that the record has now")
	case errors.Is(err, dps.ErrNotFound):
		return c.missing(codeMissing)
	}
	return failed("DPS-40/invalid", codeInvalid, cut(err.Error(), mostTold), c.r.Method+" "+show(c.id), "a record within the limits of DPS")
}

func (c *call) missing(code int) *failure {
	if c.kind == groups {
		code = codeNoRecord
	}
	return failed("DPS-40/missing", code, "The record was not found.", fmt.Sprintf("id %q", show(c.id)), "the id of a record of instance "+c.instance)
}

func (c *call) put() (answer, *failure) {
	var in record
	if f := c.decode(&in); f != nil {
		return answer{}, f
	}
	if id := in.id(); id != "" && !strings.EqualFold(id, c.id) {
		return answer{}, failed("DPS-40/invalid", codeInvalid, "The id in the body is not the one in the path.", fmt.Sprintf("%q", show(id)), fmt.Sprintf("%q", show(c.id)))
	}
	out, err := c.kind.put(c.dps, c.instance, c.id, in, c.ifMatch())
	if err != nil {
		return answer{}, c.fault(err)
	}
	return answer{body: out}, nil
}

func (c *call) get() (answer, *failure) {
	r, _, ok := c.kind.get(c.dps, c.instance, c.id)
	if !ok {
		return answer{}, c.missing(codeMissing)
	}
	return answer{body: r}, nil
}

func (c *call) remove() (answer, *failure) {
	if err := c.kind.remove(c.dps, c.instance, c.id, c.ifMatch()); err != nil {
		return answer{}, c.fault(err)
	}
	return answer{status: http.StatusNoContent}, nil
}

// mechanism shows the keys, which get and query hide.
func (c *call) mechanism() (answer, *failure) {
	r, a, ok := c.kind.get(c.dps, c.instance, c.id)
	if !ok {
		return answer{}, c.missing(codeMissing)
	}
	r.Attestation.SymmetricKey = a.SymmetricKey
	return answer{body: r.Attestation}, nil
}

func (c *call) getRegistration() (answer, *failure) {
	r, ok := c.dps.Registration(c.instance, c.id)
	if !ok {
		return answer{}, c.missing(codeNoRecord)
	}
	return answer{body: r.State()}, nil
}

func (c *call) removeRegistration() (answer, *failure) {
	r, ok := c.dps.Registration(c.instance, c.id)
	if !ok {
		return answer{}, c.missing(codeNoRecord)
	}
	if match := c.ifMatch(); match != "" && match != "*" && match != azure.FormatDPSETag(r.ETag) {
		return answer{}, c.fault(dps.ErrPrecondition)
	}
	c.dps.DeleteRegistration(c.instance, c.id)
	return answer{status: http.StatusNoContent}, nil
}

// misread returns where a text stops being the one query that is served, SELECT * FROM {collection}, as a column from
// 1, and what should stand there; 0 when it is one. The CLI leaves FROM and the name out. No regular expression: a
// query may have half a megabyte.
func misread(query string) (column int, expected string) {
	rest := query
	wrong := func(expected string) (int, string) {
		return utf8.RuneCountInString(query[:len(query)-len(skipSpace(rest))]) + 1, expected
	}
	ends := func() bool { return skipSpace(strings.TrimPrefix(skipSpace(rest), ";")) == "" }
	word := func(fits func(string) bool) bool {
		w := firstWord(skipSpace(rest))
		if !fits(w) {
			return false
		}
		rest = skipSpace(rest)[len(w):]
		return true
	}
	if !word(func(w string) bool { return strings.EqualFold(w, "select") }) {
		return wrong("SELECT")
	}
	star, found := strings.CutPrefix(skipSpace(rest), "*")
	if !found {
		return wrong("*")
	}
	rest = star
	switch {
	case ends():
		return 0, ""
	case !word(func(w string) bool { return strings.EqualFold(w, "from") }):
		return wrong("FROM, or the end,")
	case !word(func(w string) bool { return w != "" && !strings.ContainsAny(w, "0123456789_") }):
		return wrong("the name of a collection")
	case !ends():
		return wrong("the end of the query")
	}
	return 0, ""
}

func skipSpace(text string) string { return strings.TrimLeft(text, " \t\r\n\f") }

// firstWord is the letters, digits and underscores that a text begins with.
func firstWord(text string) string {
	end := strings.IndexFunc(text, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '_'
	})
	if end < 0 {
		return text
	}
	return text[:end]
}

func (c *call) query() (answer, *failure) {
	var q struct{ Query string }
	if f := c.decode(&q); f != nil {
		return answer{}, f
	}
	if column, expected := misread(q.Query); column > 0 {
		return answer{}, failed("DPS-42/query", codeInvalid, fmt.Sprintf("The query is not supported: %s is expected at column %d.", expected, column), show(q.Query), "SELECT * FROM enrollments")
	}
	return page(c, c.kind.itemType, c.kind.list(c.dps, c.instance), record.id)
}

func (c *call) queryRegistrations() (answer, *failure) {
	var members []*azure.DPSState
	for _, r := range c.dps.Registrations(c.instance) {
		if strings.EqualFold(r.GroupID, c.id) {
			members = append(members, r.State())
		}
	}
	return page(c, "DeviceRegistration", members, func(s *azure.DPSState) string { return s.RegistrationID })
}

// page answers with the records after the continuation, at most as many as are wanted. all is ordered by id.
func page[T any](c *call, itemType string, all []T, id func(T) string) (answer, *failure) {
	most := maxPage
	if text := c.r.Header.Get("x-ms-max-item-count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return answer{}, failed("DPS-42/page", codeInvalid, "x-ms-max-item-count is no number of records.", show(text), fmt.Sprintf("1 to %d", maxPage))
		}
		most = min(n, maxPage)
	}
	after, err := base64.StdEncoding.DecodeString(c.r.Header.Get("x-ms-continuation"))
	if err != nil {
		return answer{}, failed("DPS-42/page", codeInvalid, "x-ms-continuation is not valid.", show(c.r.Header.Get("x-ms-continuation")), "the text of the last answer, or none")
	}
	shown, header := []T{}, map[string]string{"x-ms-item-type": itemType}
	for _, r := range all {
		if strings.ToLower(id(r)) <= string(after) {
			continue
		}
		if len(shown) == most {
			last := strings.ToLower(id(shown[most-1]))
			header["x-ms-continuation"] = base64.StdEncoding.EncodeToString([]byte(last))
			break
		}
		shown = append(shown, r)
	}
	return answer{body: shown, header: header}, nil
}
