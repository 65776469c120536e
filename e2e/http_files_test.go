package e2e

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const version = "?api-version=2021-04-12"

// grant is the answer to POST files.
type grant struct {
	CorrelationID, HostName, ContainerName, BlobName, SASToken string
}

// beginUpload asks for a place for a file.
func beginUpload(t *testing.T, cloud *fakecloud.Cloud, name string) grant {
	t.Helper()
	r := contosoSays(t, cloud, "POST /devices/dev-01/files"+version, fmt.Sprintf(`{"blobName":%q}`, name), "Content-Type: application/json")
	require.Equal(t, 200, r.StatusCode, r.body)
	require.Regexp(t, `"sasToken":"\?sv=\d{4}-\d\d-\d\d&sr=b&sig=[^&"]+&se=[^&"]+&sp=rw&spr=https"`, r.body, "as text: not every client unescapes")
	var g grant
	require.NoError(t, json.Unmarshal([]byte(r.body), &g))
	return g
}

func (g grant) path() string { return "/" + g.ContainerName + "/" + g.BlobName }

// blob asks the blob host.
func blob(t *testing.T, cloud *fakecloud.Cloud, line, body string, header ...string) reply {
	t.Helper()
	return ask(t, cloud, via{name: contosoHost}, line, body, header...)
}

func TestHTTPFileUpload(t *testing.T) {
	t.Parallel()
	for _, notify := range []string{"/devices/dev-01/files/notifications", "/devices/dev-01/files/notifications/", "/devices/dev-01/files/notifications/%s"} {
		cloud := startContoso(t)
		g := beginUpload(t, cloud, "logs/today.txt")
		require.Equal(t, contosoHost, g.HostName)
		require.Equal(t, "dev-01/logs/today.txt", g.BlobName)

		sum := md5.Sum([]byte("hello"))
		r := blob(t, cloud, "PUT "+g.path()+g.SASToken, "hello", "x-ms-blob-type: BlockBlob", "x-ms-version: 2021-12-02", "If-None-Match: *",
			"Content-Type: text/plain", "x-ms-meta-Line: 4", "x-ms-client-request-id: abc", "Content-MD5: "+base64.StdEncoding.EncodeToString(sum[:]))
		require.Equal(t, 201, r.StatusCode, r.body)
		require.Regexp(t, `^"0x[0-9A-F]+"$`, r.Header.Get("ETag"))
		require.Equal(t, "2021-12-02", r.Header.Get("x-ms-version"))
		require.Equal(t, "abc", r.Header.Get("x-ms-client-request-id"))
		require.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), r.Header.Get("Content-MD5"))
		require.NotEmpty(t, r.Header.Get("Last-Modified"))

		r = blob(t, cloud, "GET "+g.path()+g.SASToken, "")
		require.Equal(t, 200, r.StatusCode)
		require.Equal(t, "hello", r.body)
		require.Equal(t, "text/plain", r.Header.Get("Content-Type"))
		require.Equal(t, "4", r.Header.Get("x-ms-meta-line"))
		require.Equal(t, "BlockBlob", r.Header.Get("x-ms-blob-type"))
		r = blob(t, cloud, "GET "+g.path()+g.SASToken, "", "x-ms-range: bytes=1-2")
		require.Equal(t, 206, r.StatusCode)
		require.Equal(t, "el", r.body)
		require.Equal(t, "bytes 1-2/5", r.Header.Get("Content-Range"))

		path, body := notify, fmt.Sprintf(`{"correlationId":%q,"isSuccess":true,"statusCode":200,"statusDescription":"done"}`, g.CorrelationID)
		if strings.Contains(notify, "%s") {
			path, body = fmt.Sprintf(notify, g.CorrelationID), `{"isSuccess":true,"statusCode":200,"statusDescription":"done"}`
		}
		r = contosoSays(t, cloud, "POST "+path+version, body, "Content-Type: application/json")
		require.Equal(t, 204, r.StatusCode, r.body)
		r = contosoSays(t, cloud, "POST "+path+version, body, "Content-Type: application/json")
		wantHubError(t, r, 400, "InvalidFileUploadCorrelationId")
		refused(t, cloud, "HUB-65/correlation")
		var steps []string
		for _, e := range cloud.Events(fakecloud.Filter{Kind: "file", Device: "dev-01"}) {
			steps = append(steps, e.Detail)
			require.NotContains(t, e.Topic, "sig=")
		}
		require.Equal(t, []string{"upload begun", "blob of 5 bytes written", "upload done"}, steps)
		rule.Proves(t, "HUB-65")
	}
}

// Who came by an address is sent to that address, with the port that it wrote.
func TestHTTPFileUploadByAddress(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	token := sasFor(t, demoKey, "127.0.0.1%2Fdevices%2Fdev-01", farFuture, "")
	r := ask(t, cloud, via{}, "POST /devices/dev-01/files"+version, `{"blobName":"f"}`, "Authorization: "+token)
	require.Equal(t, 200, r.StatusCode, r.body)
	var g grant
	require.NoError(t, json.Unmarshal([]byte(r.body), &g))
	require.Equal(t, httpsAddr(cloud), g.HostName)
	r = ask(t, cloud, via{}, "PUT "+g.path()+g.SASToken, "x", "x-ms-blob-type: BlockBlob")
	require.Equal(t, 201, r.StatusCode, r.body)
}

func TestHTTPFileUploadInBlocks(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	g := beginUpload(t, cloud, "big.bin")
	var list strings.Builder
	for i, part := range []string{"aaa", "bb", "cccc"} {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block-%02d", i))
		r := blob(t, cloud, "PUT "+g.path()+g.SASToken+"&comp=block&blockid="+strings.ReplaceAll(id, "=", "%3D"), part)
		require.Equal(t, 201, r.StatusCode, r.body)
		list.WriteString("<Latest>" + id + "</Latest>")
	}
	r := blob(t, cloud, "GET "+g.path()+g.SASToken, "")
	require.Equal(t, 404, r.StatusCode, "not committed yet")
	require.Equal(t, "BlobNotFound", r.Header.Get("x-ms-error-code"))
	refused(t, cloud, "HUB-65/missing")
	r = blob(t, cloud, "PUT "+g.path()+g.SASToken+"&comp=blocklist", `<?xml version="1.0" encoding="utf-8"?><BlockList>`+list.String()+`</BlockList>`,
		"x-ms-blob-content-type: application/x-log")
	require.Equal(t, 201, r.StatusCode, r.body)
	r = blob(t, cloud, "GET "+g.path()+g.SASToken, "")
	require.Equal(t, "aaabbcccc", r.body)
	require.Equal(t, "application/x-log", r.Header.Get("Content-Type"))
	r = blob(t, cloud, "HEAD "+g.path()+g.SASToken, "")
	require.Equal(t, 200, r.StatusCode)
	require.EqualValues(t, 9, r.ContentLength)

	// Committed blocks may be used again.
	second := base64.StdEncoding.EncodeToString([]byte("block-01"))
	r = blob(t, cloud, "PUT "+g.path()+g.SASToken+"&comp=blocklist", `<BlockList><Committed>`+second+`</Committed><Committed>`+second+`</Committed></BlockList>`)
	require.Equal(t, 201, r.StatusCode, r.body)
	require.Equal(t, "bbbb", blob(t, cloud, "GET "+g.path()+g.SASToken, "").body)
	rule.Proves(t, "HUB-65")
}

func TestHTTPFileRefusals(t *testing.T) {
	t.Parallel()
	block := base64.StdEncoding.EncodeToString([]byte("nope"))
	for _, c := range []struct {
		name, method, tail, body string
		header                   []string
		spoil                    func(sas string) string
		status                   int
		code                     string
		rule                     rule.ID
	}{
		{"no signature", "PUT", "", "x", nil, func(string) string { return "" }, 403, "AuthenticationFailed", "HUB-65/sas"},
		{"other signature", "PUT", "", "x", nil, func(sas string) string { return strings.Replace(sas, "sp=rw", "sp=rwd", 1) }, 403, "AuthenticationFailed", "HUB-65/sas"},
		{"other blob", "PUT", "", "x", nil, func(sas string) string { return "x" + sas }, 403, "AuthenticationFailed", "HUB-65/sas"},
		{"delete", "DELETE", "", "", nil, nil, 403, "AuthorizationPermissionMismatch", "HUB-65/permission"},
		{"no blob type", "PUT", "", "x", nil, nil, 400, "InvalidHeaderValue", "HUB-65/blob"},
		{"append blob", "PUT", "&comp=appendblock", "x", nil, nil, 400, "UnsupportedHttpVerb", "HUB-65/blob"},
		{"wrong MD5", "PUT", "", "x", []string{"x-ms-blob-type: BlockBlob", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA=="}, nil, 400, "Md5Mismatch", "HUB-65/blob"},
		{"If-Match without a blob", "PUT", "", "x", []string{"x-ms-blob-type: BlockBlob", `If-Match: "0x1"`}, nil, 412, "ConditionNotMet", "HUB-65/blob"},
		{"block id", "PUT", "&comp=block&blockid=%3F", "x", nil, nil, 400, "InvalidQueryParameterValue", "HUB-65/blob"},
		{"block list that is no XML", "PUT", "&comp=blocklist", "x", nil, nil, 400, "InvalidXmlDocument", "HUB-65/blob"},
		{"unknown block", "PUT", "&comp=blocklist", "<BlockList><Latest>" + block + "</Latest></BlockList>", nil, nil, 400, "InvalidBlockList", "HUB-65/block"},
		{"no blob", "GET", "", "", nil, nil, 404, "BlobNotFound", "HUB-65/missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			g := beginUpload(t, cloud, "f")
			sas := g.SASToken
			if c.spoil != nil {
				sas = c.spoil(sas)
			}
			r := blob(t, cloud, c.method+" "+g.path()+sas+c.tail, c.body, c.header...)
			require.Equal(t, c.status, r.StatusCode, r.body)
			require.Equal(t, c.code, r.Header.Get("x-ms-error-code"))
			require.Contains(t, r.body, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Error><Code>"+c.code+"</Code><Message>")
			e := refused(t, cloud, c.rule)
			require.Equal(t, "dev-01", e.Device)
			require.NotContains(t, e.Seen+e.Topic, "sig=ey")
		})
	}
}

// A range that begins at the end of a blob or behind it is refused, so that an SDK sees that a blob is empty.
func TestHTTPBlobRangeBehindTheEnd(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	g := beginUpload(t, cloud, "f")
	for content, part := range map[string]string{"": "bytes=0-33554431", "abc": "bytes=3-"} {
		require.Equal(t, 201, blob(t, cloud, "PUT "+g.path()+g.SASToken, content, "x-ms-blob-type: BlockBlob").StatusCode)
		r := blob(t, cloud, "GET "+g.path()+g.SASToken, "", "x-ms-range: "+part)
		require.Equal(t, 416, r.StatusCode, r.body)
		require.Equal(t, "InvalidRange", r.Header.Get("x-ms-error-code"))
		require.Equal(t, fmt.Sprintf("bytes */%d", len(content)), r.Header.Get("Content-Range"))
		require.Contains(t, r.body, "<Error><Code>InvalidRange</Code><Message>")
		refused(t, cloud, "HUB-65/blob")
		r = blob(t, cloud, "GET "+g.path()+g.SASToken, "")
		require.Equal(t, 200, r.StatusCode)
		require.Equal(t, content, r.body)
	}
}

// A read whose conditions do not hold says so by the storage error's name; the 304 has no body, the 412 has no content.
func TestHTTPBlobConditions(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	g := beginUpload(t, cloud, "f")
	at := g.path() + g.SASToken
	require.Equal(t, 201, blob(t, cloud, "PUT "+at, "abc", "x-ms-blob-type: BlockBlob", "x-ms-blob-content-encoding: gzip").StatusCode)
	etag := blob(t, cloud, "GET "+at, "").Header.Get("ETag")
	r := blob(t, cloud, "GET "+at, "", "If-Match: "+etag)
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, "abc", r.body)
	require.Empty(t, r.Header.Get("x-ms-error-code"))
	for _, method := range []string{"GET ", "HEAD "} {
		r = blob(t, cloud, method+at, "", "If-None-Match: "+etag)
		require.Equal(t, 304, r.StatusCode)
		require.Equal(t, "ConditionNotMet", r.Header.Get("x-ms-error-code"))
		require.Equal(t, etag, r.Header.Get("ETag"))
		require.Empty(t, r.body)
		r = blob(t, cloud, method+at, "", `If-Match: "0x1"`)
		require.Equal(t, 412, r.StatusCode)
		require.Equal(t, "ConditionNotMet", r.Header.Get("x-ms-error-code"))
		require.Empty(t, r.Header.Get("Content-Encoding"))
		if method == "GET " {
			require.Contains(t, r.body, "<Error><Code>ConditionNotMet</Code><Message>")
		}
		e := refused(t, cloud, "HUB-65/blob")
		require.Equal(t, `If-Match: "0x1"`, e.Seen)
		require.Contains(t, e.Expected, strings.Trim(etag, `"`))
	}
}

// A request may not be larger than a blob; its length is judged before it is read.
func TestHTTPBlobTooLarge(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	g := beginUpload(t, cloud, "f")
	conn := dialHTTPS(t, cloud, via{name: contosoHost})
	_, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: 67108865\r\n\r\n", g.path()+g.SASToken, contosoHost)
	require.NoError(t, err)
	head := make([]byte, 12)
	_, err = conn.Read(head)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 413", string(head))
	refused(t, cloud, "HUB-65/storage")
}

func TestHTTPBlobExists(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	g := beginUpload(t, cloud, "f")
	for _, want := range []int{201, 409} {
		r := blob(t, cloud, "PUT "+g.path()+g.SASToken, "x", "x-ms-blob-type: BlockBlob", "If-None-Match: *")
		require.Equal(t, want, r.StatusCode, r.body)
	}
	refused(t, cloud, "HUB-65/blob")
}

func TestHTTPFileRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, body string
		status           int
		errorName        string
		rule             rule.ID
	}{
		{"no JSON", "/devices/dev-01/files", "x", 400, "IotHubFormatError", "HUB-65/json"},
		{"no name", "/devices/dev-01/files", "{}", 400, "ArgumentInvalid", "HUB-65/name"},
		{"long name", "/devices/dev-01/files/", `{"blobName":"` + strings.Repeat("n", 1020) + `"}`, 400, "ArgumentInvalid", "HUB-65/name"},
		{"unknown correlation", "/devices/dev-01/files/notifications", `{"correlationId":"x","isSuccess":true}`, 400, "InvalidFileUploadCorrelationId", "HUB-65/correlation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			wantHubError(t, contosoSays(t, cloud, "POST "+c.path+version, c.body), c.status, c.errorName)
			refused(t, cloud, c.rule)
		})
	}
}

func TestHTTPEleventhUpload(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	var first grant
	for i := range 10 {
		g := beginUpload(t, cloud, fmt.Sprint("f", i))
		if i == 0 {
			first = g
		}
	}
	r := contosoSays(t, cloud, "POST /devices/dev-01/files"+version, `{"blobName":"f"}`)
	wantHubError(t, r, 403, "DeviceMaximumActiveFileUploadLimitExceeded")
	refused(t, cloud, "HUB-65/count")
	r = contosoSays(t, cloud, "POST /devices/dev-01/files/notifications"+version, fmt.Sprintf(`{"correlationId":%q,"isSuccess":false,"statusCode":500}`, first.CorrelationID))
	require.Equal(t, 204, r.StatusCode, r.body)
	beginUpload(t, cloud, "f")
}

// After an hour the signature and the upload have ended. The device's own token lasts.
func TestHTTPUploadTooLate(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	g := beginUpload(t, cloud, "f")
	cloud.Skew(61 * 60 * 1e9)
	r := blob(t, cloud, "PUT "+g.path()+g.SASToken, "x", "x-ms-blob-type: BlockBlob")
	require.Equal(t, 403, r.StatusCode)
	require.Equal(t, "AuthenticationFailed", r.Header.Get("x-ms-error-code"))
	refused(t, cloud, "HUB-65/expired")
	r = contosoSays(t, cloud, "POST /devices/dev-01/files/notifications"+version, fmt.Sprintf(`{"correlationId":%q,"isSuccess":true}`, g.CorrelationID))
	wantHubError(t, r, 400, "ExpiredFileUploadCorrelationId")
	refused(t, cloud, "HUB-65/late")
}
