package rest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// maxInFlight bounds the bytes of blob requests that are being read at a time.
const maxInFlight = 4 * iothub.MaxBlob

// blobPath reads /{container}/{blob}, the blob's name with slashes, escaped or not.
func blobPath(escaped string) (container, name string, ok bool) {
	container, rest, found := strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	if !found || rest == "" {
		return "", "", false
	}
	name, err := url.PathUnescape(rest)
	return container, name, err == nil
}

// isBlob reports whether a request is to a blob: in the container that devices upload to, or with a shared
// access signature in its query, which the hub's own paths never have.
func isBlob(u *url.URL) bool {
	container, _, ok := blobPath(u.EscapedPath())
	return ok && (container == iothub.UploadContainer || u.Query().Has("sig"))
}

// blobCall is a request to a blob.
type blobCall struct {
	*call
	hub             string
	container, name string
}

// blobFailure is a refusal with the storage error's name.
type blobFailure struct {
	*rule.Refusal
	name string
}

func (b *blobCall) serve() {
	if b.container == iothub.UploadContainer {
		b.path.DeviceID, _, _ = strings.Cut(b.name, "/")
	}
	h := b.w.Header()
	h.Set("x-ms-version", azure.BlobVersion)
	if v := b.r.Header.Get("x-ms-version"); v != "" {
		h.Set("x-ms-version", clip(v))
	}
	if id := b.r.Header.Get("x-ms-client-request-id"); id != "" {
		h.Set("x-ms-client-request-id", clip(id))
	}
	if f := b.do(); f != nil {
		b.fail(f)
	}
}

func (b *blobCall) do() *blobFailure {
	hub, err := b.head.hub.GetHub(b.peer.Endpoint)
	if err != nil {
		return &blobFailure{&rule.Refusal{Rule: "HUB-11/host", Code: 404, Detail: "no hub here has this name", Seen: shown(b.peer.Endpoint),
			Expected: "the hostName that POST …/files answered"}, "ResourceNotFound"}
	}
	b.hub = hub.Host
	query := b.r.URL.Query()
	operation := b.r.Method + " " + query.Get("comp")
	ops := map[string]struct {
		need string
		do   func() *blobFailure
	}{
		"PUT ":          {"cw", b.putBlob},
		"PUT block":     {"cw", b.putBlock},
		"PUT blocklist": {"cw", b.putBlockList},
		"GET ":          {"r", b.get},
		"HEAD ":         {"r", b.get},
		"DELETE ":       {"d", b.remove},
	}
	op, known := ops[operation]
	if !known {
		return b.wrong("UnsupportedHttpVerb", "blobs here know no such operation", b.r.Method+" with comp="+shown(query.Get("comp")),
			"PUT, PUT with comp=block or comp=blocklist, GET, HEAD or DELETE")
	}
	if f := b.authorize(query, op.need); f != nil {
		return f
	}
	return op.do()
}

func (b *blobCall) authorize(query url.Values, need string) *blobFailure {
	sas, err := azure.ParseBlobSAS(query)
	if err != nil {
		return &blobFailure{&rule.Refusal{Rule: "HUB-65/sas", Code: iothub.BlobForbidden, Detail: err.Error(), Seen: "the query's fields " + fields(query),
			Expected: "the sasToken that POST …/files answered, as it is, behind the blob's address"}, "AuthenticationFailed"}
	}
	if r := b.head.hub.AuthorizeBlob(b.hub, sas, b.container, b.name, need); r != nil {
		name := "AuthenticationFailed"
		if r.Rule == "HUB-65/permission" {
			name = "AuthorizationPermissionMismatch"
		}
		return &blobFailure{r, name}
	}
	return nil
}

// fields names a query's fields, without their values.
func fields(query url.Values) string {
	var names []string
	for name := range query {
		names = append(names, clip(name))
	}
	return strings.Join(names, ", ")
}

func (b *blobCall) wrong(name, detail, seen, expected string) *blobFailure {
	return &blobFailure{&rule.Refusal{Rule: "HUB-65/blob", Code: iothub.BlobBadRequest, Detail: detail, Seen: seen, Expected: expected}, name}
}

// fail answers a storage error.
func (b *blobCall) fail(f *blobFailure) {
	_, at := b.head.hub.Tracking()
	h := b.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("x-ms-error-code", f.name)
	b.w.WriteHeader(f.Code)
	if b.r.Method != http.MethodHead {
		_, _ = b.w.Write(azure.BlobError(f.name, f.Detail, b.request, at))
	}
	b.journalRefusal(f.Refusal, f.Code)
}

// body reads the request's body, whose length must be told.
func (b *blobCall) body(limit int64) ([]byte, *blobFailure) {
	n := b.r.ContentLength
	switch {
	case n < 0:
		return nil, &blobFailure{&rule.Refusal{Rule: "HUB-65/blob", Code: http.StatusLengthRequired, Detail: "the request does not tell its length",
			Seen: "no Content-Length", Expected: "a Content-Length header"}, "MissingContentLengthHeader"}
	case n > limit:
		return nil, &blobFailure{&rule.Refusal{Rule: "HUB-65/storage", Code: iothub.BlobTooLarge, Detail: "the request is too large",
			Seen: strconv.FormatInt(n, 10) + " bytes", Expected: fmt.Sprintf("at most %d bytes", limit)}, "RequestBodyTooLarge"}
	}
	defer b.head.inFlight.Add(-n)
	if b.head.inFlight.Add(n) > maxInFlight {
		return nil, &blobFailure{&rule.Refusal{Rule: "HUB-65/storage", Code: http.StatusServiceUnavailable, Detail: "too many uploads at a time",
			Seen: "requests of more than " + strconv.Itoa(maxInFlight) + " bytes together", Expected: "fewer uploads at a time"}, "ServerBusy"}
	}
	text, ok := b.read(limit)
	if !ok {
		return nil, b.wrong("IncompleteBody", "the body ended early", "fewer bytes than Content-Length says", "the whole body")
	}
	if sum := b.r.Header.Get("Content-MD5"); sum != "" {
		if own := md5.Sum(text); base64.StdEncoding.EncodeToString(own[:]) != sum {
			return nil, b.wrong("Md5Mismatch", "Content-MD5 is not that of the body", "Content-MD5: "+shown(sum), base64.StdEncoding.EncodeToString(own[:]))
		}
	}
	return text, nil
}

// blob is the blob as the request's header describes it.
func (b *blobCall) blob() iothub.Blob {
	h := b.r.Header
	get := func(name string) string { return clip(h.Get("x-ms-blob-" + name)) }
	out := iothub.Blob{Hub: b.hub, Container: b.container, Name: b.name, ContentType: get("content-type"), ContentEncoding: get("content-encoding"),
		ContentLanguage: get("content-language"), ContentDisposition: get("content-disposition"), CacheControl: get("cache-control")}
	if out.ContentType == "" {
		out.ContentType = "application/octet-stream"
	}
	for name, values := range h {
		if meta, ok := strings.CutPrefix(strings.ToLower(name), "x-ms-meta-"); ok && meta != "" {
			if out.Metadata == nil {
				out.Metadata = map[string]string{}
			}
			out.Metadata[meta] = strings.Join(values, ",")
		}
	}
	return out
}

// conditions returns the request's If-None-Match: * and If-Match.
func (b *blobCall) conditions() (create bool, match string) {
	return strings.TrimSpace(b.r.Header.Get("If-None-Match")) == "*", strings.Trim(b.r.Header.Get("If-Match"), `"`)
}

func (b *blobCall) putBlob() *blobFailure {
	if kind := b.r.Header.Get("x-ms-blob-type"); kind != "BlockBlob" {
		return b.wrong("InvalidHeaderValue", "the blob's type is missing or not emulated", "x-ms-blob-type: "+shown(kind), "x-ms-blob-type: BlockBlob")
	}
	body, f := b.body(iothub.MaxBlob)
	if f != nil {
		return f
	}
	blob := b.blob()
	blob.Body = body
	if blob.ContentType == "application/octet-stream" && b.r.Header.Get("Content-Type") != "" {
		blob.ContentType = clip(b.r.Header.Get("Content-Type"))
	}
	create, match := b.conditions()
	written, r := b.head.hub.PutBlob(blob, create, match)
	return b.written(written, r)
}

// written answers a write.
func (b *blobCall) written(blob iothub.Blob, r *rule.Refusal) *blobFailure {
	if r != nil {
		return &blobFailure{r, storageName(r)}
	}
	b.stamp(blob)
	b.created()
	return nil
}

func (b *blobCall) created() {
	b.w.Header().Set("x-ms-request-server-encrypted", "true")
	b.done(http.StatusCreated, nil)
}

// storageName is the storage error's name of a core's refusal.
func storageName(r *rule.Refusal) string {
	switch r.Code {
	case iothub.BlobExists:
		return "BlobAlreadyExists"
	case iothub.BlobConditions:
		return conditionNotMet
	case iothub.BlobTooLarge:
		return "RequestBodyTooLarge"
	}
	if r.Rule == "HUB-65/block" {
		return "InvalidBlockList"
	}
	return "InvalidInput"
}

func (b *blobCall) stamp(blob iothub.Blob) {
	h := b.w.Header()
	h.Set("ETag", `"`+blob.ETag+`"`)
	h.Set("Last-Modified", blob.Modified.UTC().Format(http.TimeFormat))
	h.Set("Content-MD5", base64.StdEncoding.EncodeToString(blob.MD5))
}

func (b *blobCall) putBlock() *blobFailure {
	id, err := azure.ParseBlockID(b.r.URL.Query().Get("blockid"))
	if err != nil {
		return b.wrong("InvalidQueryParameterValue", err.Error(), "blockid="+shown(b.r.URL.Query().Get("blockid")), "blockid={base64 of 1 to 64 bytes}")
	}
	body, f := b.body(iothub.MaxBlob)
	if f != nil {
		return f
	}
	if r := b.head.hub.PutBlock(b.hub, b.container, b.name, id, body); r != nil {
		return &blobFailure{r, storageName(r)}
	}
	sum := md5.Sum(body)
	b.w.Header().Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	b.created()
	return nil
}

func (b *blobCall) putBlockList() *blobFailure {
	text, f := b.body(azure.MaxBlockList)
	if f != nil {
		return f
	}
	ids, err := azure.ParseBlockList(text)
	if err != nil {
		return b.wrong("InvalidXmlDocument", clip(err.Error()), fmt.Sprintf("%d bytes", len(text)), "<BlockList><Latest>{block id}</Latest>…</BlockList>")
	}
	create, match := b.conditions()
	written, r := b.head.hub.CommitBlocks(b.blob(), ids, create, match)
	return b.written(written, r)
}

// get answers a blob's content or, for HEAD, its properties. Ranges and conditions are those of HTTP.
func (b *blobCall) get() *blobFailure {
	blob, err := b.head.hub.GetBlob(b.hub, b.container, b.name)
	if err != nil {
		return &blobFailure{&rule.Refusal{Rule: "HUB-65/missing", Code: iothub.BlobMissing, Detail: "the blob does not exist",
			Seen: shown(b.container + "/" + b.name), Expected: "a blob that was put"}, "BlobNotFound"}
	}
	if part := b.r.Header.Get("x-ms-range"); part != "" {
		b.r.Header.Set("Range", part)
	}
	if f := b.rangeStart(len(blob.Body)); f != nil {
		return f
	}
	plain := b.w.Header().Clone()
	b.stamp(blob)
	h := b.w.Header()
	for name, value := range map[string]string{"Content-Type": blob.ContentType, "Content-Encoding": blob.ContentEncoding,
		"Content-Language": blob.ContentLanguage, "Content-Disposition": blob.ContentDisposition, "Cache-Control": blob.CacheControl} {
		if value != "" {
			h.Set(name, value)
		}
	}
	for name, value := range blob.Metadata {
		h["x-ms-meta-"+name] = []string{value}
	}
	h.Set("x-ms-blob-type", "BlockBlob")
	h.Set("x-ms-creation-time", blob.Created.UTC().Format(http.TimeFormat))
	h.Set("x-ms-server-encrypted", "true")
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-lease-state", "available")
	if b.r.Header.Get("Range") != "" {
		h.Del("Content-MD5") // it would be that of the range
		h.Set("x-ms-blob-content-md5", base64.StdEncoding.EncodeToString(blob.MD5))
	}
	b.status = http.StatusOK
	w := &conditional{ResponseWriter: b.w}
	http.ServeContent(w, b.r, "", blob.Modified, bytes.NewReader(blob.Body))
	if !w.unmet {
		return nil
	}
	clear(h)
	maps.Copy(h, plain)
	f := b.wrong(conditionNotMet, "the blob does not meet the request's conditions", conditionsOf(b.r.Header),
		fmt.Sprintf(`the blob's ETag %q, last modified %s`, blob.ETag, blob.Modified.UTC().Format(http.TimeFormat)))
	f.Code = iothub.BlobConditions
	return f
}

// conditionNotMet is the storage error's name where the conditions of a request do not hold, of 304 as of 412 (Azure
// Storage REST, Blob service error codes).
const conditionNotMet = "ConditionNotMet"

// conditional names the error of a read whose conditions do not hold. A 412 is not written, as it has a body.
type conditional struct {
	http.ResponseWriter
	unmet bool
}

func (w *conditional) WriteHeader(status int) {
	switch status {
	case http.StatusPreconditionFailed:
		w.unmet = true
		return
	case http.StatusNotModified:
		w.Header().Set("x-ms-error-code", conditionNotMet)
	}
	w.ResponseWriter.WriteHeader(status)
}

// conditionsOf shows the conditions that answer 412 when they do not hold.
func conditionsOf(h http.Header) string {
	var given []string
	for _, name := range []string{"If-Match", "If-Unmodified-Since"} {
		if value := h.Get(name); value != "" {
			given = append(given, name+": "+clip(value))
		}
	}
	return strings.Join(given, ", ")
}

// rangeStart refuses a range that begins at the content's end or behind it, of an empty blob too: Azure's SDKs read a
// blob by a range first, and take from 416 that it is empty (Azure Storage REST, Get Blob; azure-storage-blob for
// Python, _download.py). What is no such range is left to HTTP.
func (b *blobCall) rangeStart(size int) *blobFailure {
	part := b.r.Header.Get("Range")
	text, ok := strings.CutPrefix(part, "bytes=")
	first, _, _ := strings.Cut(text, "-")
	at, err := strconv.ParseUint(first, 10, 64)
	if !ok || err != nil || at < uint64(size) {
		return nil
	}
	b.w.Header().Set("Content-Range", "bytes */"+strconv.Itoa(size))
	f := b.wrong("InvalidRange", "the range begins behind the blob's end", clip(part), fmt.Sprintf("a first byte below the blob's size, %d", size))
	f.Code = iothub.BlobRange
	return f
}

func (b *blobCall) remove() *blobFailure {
	if !b.head.hub.DeleteBlob(b.hub, b.container, b.name) {
		return &blobFailure{&rule.Refusal{Rule: "HUB-65/missing", Code: iothub.BlobMissing, Detail: "the blob does not exist",
			Seen: shown(b.container + "/" + b.name), Expected: "a blob that was put"}, "BlobNotFound"}
	}
	b.done(http.StatusAccepted, nil)
	return nil
}
