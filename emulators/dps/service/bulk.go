package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// maxBulk is how many records a bulk operation may have (REST reference, Run Bulk Operation).
const maxBulk = 10

// bulkRequest is the body of a bulk operation; one of its lists is given.
type bulkRequest struct {
	Mode        string            `json:"mode"`
	Enrollments []json.RawMessage `json:"enrollments"`
	Groups      []json.RawMessage `json:"enrollmentGroups"`
}

// bulkAnswer is a BulkEnrollmentOperationResult or a BulkEnrollmentGroupOperationResult.
type bulkAnswer struct {
	Errors     []bulkError `json:"errors"`
	Successful bool        `json:"isSuccessful"`
}

type bulkError struct {
	RegistrationID string `json:"registrationId,omitempty"`
	GroupID        string `json:"enrollmentGroupId,omitempty"`
	Code           int    `json:"errorCode"`
	Status         string `json:"errorStatus"`
}

// bulk does the same with up to ten records, each by itself: what fails is named in the answer, and in the
// journal with its rule.
func (c *call) bulk() (answer, *failure) {
	var in bulkRequest
	if f := c.decode(&in); f != nil {
		return answer{}, f
	}
	list, name := in.Enrollments, "enrollments"
	if c.kind == groups {
		list, name = in.Groups, "enrollmentGroups"
	}
	if len(list) == 0 || len(list) > maxBulk {
		return answer{}, failed("DPS-40/bulk", codeInvalid, fmt.Sprintf("A bulk operation has 1 to %d records.", maxBulk), fmt.Sprintf("%d %s", len(list), name), fmt.Sprintf("%s: 1 to %d records", name, maxBulk))
	}
	mode := strings.ToLower(in.Mode)
	if !bulkModes[mode] {
		return answer{}, failed("DPS-40/bulk", codeInvalid, "The mode is not known.", fmt.Sprintf("mode %q", show(in.Mode)), "create, update, updateIfMatchETag or delete")
	}
	out := bulkAnswer{Errors: []bulkError{}, Successful: true}
	seen := map[string]bool{}
	for _, text := range list {
		id, f := c.bulkOne(mode, text, seen)
		if f == nil {
			continue
		}
		out.Successful = false
		e := bulkError{RegistrationID: id, Code: f.code, Status: f.message}
		if c.kind == groups {
			e.RegistrationID, e.GroupID = "", id
		}
		out.Errors = append(out.Errors, e)
		refusal := f.refusal
		refusal.Code = http.StatusOK
		c.dps.Journal.Refuse(c.event(), &refusal)
	}
	return answer{body: out}, nil
}

// The modes of a bulk operation, in lower case.
const (
	bulkCreate  = "create"
	bulkUpdate  = "update"
	bulkIfMatch = "updateifmatchetag"
	bulkDelete  = "delete"
)

var bulkModes = map[string]bool{bulkCreate: true, bulkUpdate: true, bulkIfMatch: true, bulkDelete: true}

// bulkOne treats one record of a bulk operation.
func (c *call) bulkOne(mode string, text json.RawMessage, seen map[string]bool) (id string, f *failure) {
	var r record
	if err := azure.ReadJSON(text, &r); err != nil {
		return "", failed("DPS-40/body", codeInvalid, "The record could not be parsed: "+show(err.Error()), fmt.Sprintf("a record of %d bytes", len(text)), "a JSON object with the types of the REST reference")
	}
	if id = r.id(); c.kind == groups {
		id = r.GroupID
	}
	c.id = id
	switch {
	case id == "":
		return id, failed("DPS-40/invalid", codeInvalid, "The record has no id.", "neither registrationId nor enrollmentGroupId", "registrationId, or enrollmentGroupId of a group")
	case seen[strings.ToLower(id)]:
		return id, failed("DPS-40/bulk", codeInvalid, "The record is there twice.", fmt.Sprintf("%q again", show(id)), "each id once")
	}
	seen[strings.ToLower(id)] = true
	match := map[string]string{bulkCreate: "", bulkUpdate: "*", bulkIfMatch: bare(r.ETag), bulkDelete: bare(r.ETag)}[mode]
	switch {
	case mode == bulkDelete:
		if err := c.kind.remove(c.dps, c.instance, id, match); err != nil {
			return id, c.fault(err)
		}
		return id, nil
	case mode == bulkIfMatch && match == "":
		return id, failed("DPS-41/etag", codePrecondition, "Precondition failed.", "a record without etag", "the etag that the record has now")
	case mode == bulkUpdate:
		if _, _, ok := c.kind.get(c.dps, c.instance, id); !ok {
			return id, c.missing(codeMissing)
		}
	}
	if _, err := c.kind.put(c.dps, c.instance, id, r, match); err != nil {
		return id, c.fault(err)
	}
	return id, nil
}

// bare is an etag without the quotation marks and the W/ that some send.
func bare(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}
