package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// container returns the address of a container with its signature.
func (b *backend) container(name, permissions string) string {
	b.t.Helper()
	sas, err := b.hub.BlobSAS(contoso, name, "", permissions, time.Hour)
	require.NoError(b.t, err)
	return "https://" + contoso + "/" + name + sas
}

// blob returns the lines of a blob.
func (b *backend) blob(container, name string) []string {
	b.t.Helper()
	blob, err := b.hub.GetBlob(contoso, container, name)
	require.NoError(b.t, err)
	return strings.Split(strings.TrimSuffix(string(blob.Body), "\n"), "\n")
}

func (b *backend) transfer(fields map[string]any) map[string]any {
	b.t.Helper()
	text, err := json.Marshal(fields)
	require.NoError(b.t, err)
	job := b.do("POST", "/jobs/create", string(text)).ok(200)
	require.Equal(b.t, job, b.do("GET", "/jobs/"+job["jobId"].(string), "").ok(200))
	require.EqualValues(b.t, 100, job["progress"])
	require.NotContains(b.t, fmt.Sprint(job), "sig=")
	return job
}

// What an export writes, an import into another hub makes again.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.do("PUT", "/devices/dev-1", `{"deviceId":"dev-1","status":"disabled","statusReason":"sold","authentication":{"symmetricKey":{"primaryKey":"`+ownerKey+`","secondaryKey":"`+otherKey+`"}},"capabilities":{"iotEdge":true}}`).ok(200)
	b.do("PATCH", "/twins/dev-1", `{"tags":{"site":"here"},"properties":{"desired":{"rate":5}}}`).ok(200)
	b.do("PUT", "/devices/dev-1/modules/mod", `{"deviceId":"dev-1","moduleId":"mod"}`)
	b.create("dev-2")
	job := b.transfer(map[string]any{"type": "export", "outputBlobContainerUri": b.container("exports", "rwcl"), "excludeKeysInExport": false})
	require.Equal(t, "completed", job["status"])
	require.Nil(t, job["failureReason"])
	lines := b.blob("exports", "devices.txt")
	require.Len(t, lines, 5, "two devices, their module, and the two of every Edge device")
	var first map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, [4]any{"dev-1", "disabled", "sold", map[string]any{"site": "here"}}, [4]any{first["id"], first["status"], first["statusReason"], first["tags"]})
	require.Equal(t, ownerKey, first["authentication"].(map[string]any)["symmetricKey"].(map[string]any)["primaryKey"])
	require.EqualValues(t, 5, first["properties"].(map[string]any)["desired"].(map[string]any)["rate"])
	require.Contains(t, lines[3], `"moduleId":"mod"`)

	bare := b.transfer(map[string]any{"type": "export", "outputBlobContainerUri": b.container("exports", "w"), "outputBlobName": "bare.txt", "excludeKeysInExport": true})
	require.Equal(t, "completed", bare["status"])
	require.NotContains(t, strings.Join(b.blob("exports", "bare.txt"), ""), ownerKey)

	for _, id := range []string{"dev-1", "dev-2"} {
		b.do("DELETE", "/devices/"+id, "").ok(204)
	}
	job = b.transfer(map[string]any{"type": "import", "inputBlobContainerUri": b.container("exports", "r"), "outputBlobContainerUri": b.container("logs", "w")})
	require.Equal(t, "completed", job["status"])
	device := b.do("GET", "/devices/dev-1", "").ok(200)
	require.Equal(t, [2]any{"disabled", "sold"}, [2]any{device["status"], device["statusReason"]})
	require.Equal(t, ownerKey, device["authentication"].(map[string]any)["symmetricKey"].(map[string]any)["primaryKey"])
	twin := b.do("GET", "/twins/dev-1", "").ok(200)
	require.Equal(t, map[string]any{"site": "here"}, twin["tags"])
	b.do("GET", "/devices/dev-1/modules/mod", "").ok(200)
	b.do("GET", "/devices/dev-2", "").ok(200)
	_, err := b.hub.GetBlob(contoso, "logs", "importErrors.log")
	require.Error(t, err, "nothing failed")
	require.Len(t, b.do("GET", "/jobs", "").list(), 3)
	require.Empty(t, b.do("DELETE", "/jobs/"+job["jobId"].(string), "").ok(204))
	b.noSecrets()
	rule.Proves(t, "SVC-27")
}

// Lines that cannot be imported are logged, and keep no other line from it.
func TestImportErrors(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("there")
	put := func(text string) {
		_, refusal := b.hub.PutBlob(iothub.Blob{Hub: contoso, Container: "in", Name: "list.txt", Body: []byte(text)}, false, "")
		require.Nil(t, refusal)
	}
	run := func() map[string]any {
		return b.transfer(map[string]any{"type": "Import", "inputBlobContainerUri": b.container("in", "r"), "inputBlobName": "list.txt", "outputBlobContainerUri": b.container("out", "cw")})
	}
	put("\r\n" + `{"id":"new"}` + "\r\n" + `{"id":"there","importMode":"create"}` + "\n" + `{"id":"a b"}` + "\n{\n" + `{"id":"none","importMode":"delete"}` + "\n" + strings.Repeat("[", 500) + "\n" + `{"id":"last"}`)
	require.Equal(t, "completed", run()["status"])
	b.do("GET", "/devices/new", "").ok(200)
	b.do("GET", "/devices/last", "").ok(200)
	log := b.blob("out", "importErrors.log")
	require.Len(t, log, 5)
	text := strings.Join(log, "\n")
	for _, want := range []string{"line 5 cannot be read", "line 7 cannot be read", `"id":"there","errorCode":"DeviceAlreadyExists"`, `"id":"a b","errorCode":"ArgumentInvalid"`, `"id":"none","errorCode":"DeviceNotFound"`} {
		require.Contains(t, text, want)
	}
	put(strings.Repeat(`{"id":"x","importMode":"delete"}`+"\n", 10_001))
	job := run()
	require.Equal(t, "failed", job["status"])
	require.Contains(t, job["failureReason"], "line 10001")
	require.True(t, b.hub.DeleteBlob(contoso, "in", "list.txt"))
	job = run()
	require.Equal(t, "failed", job["status"])
	require.Contains(t, job["failureReason"], "is not there")
}

func TestTransfersRefused(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	good := b.container("exports", "rw")
	for _, address := range []string{"", "nonsense", "https://account.blob.core.windows.net/exports?sv=1&sig=x", strings.Replace(good, "https", "http", 1), "https://" + contoso + "/exports",
		strings.Replace(good, "/exports", "/other", 1), strings.Replace(good, "/exports", "/a/b", 1), b.container("exports", "r"), strings.Replace(good, "sig=", "sig=A", 1),
		strings.Replace(good, "sr=c", "sr=b", 1)} {
		text, err := json.Marshal(map[string]any{"type": "export", "outputBlobContainerUri": address})
		require.NoError(t, err)
		b.do("POST", "/jobs/create", string(text)).fails(400, "BlobContainerValidationError")
		b.refused("SVC-27/container")
	}
	quoted, err := json.Marshal(good)
	require.NoError(t, err)
	for _, body := range []string{`{"type":"copy","outputBlobContainerUri":` + string(quoted) + `}`, `{"type":"export","outputBlobContainerUri":` + string(quoted) + `,"storageAuthenticationType":"identityBased"}`} {
		b.do("POST", "/jobs/create", body).fails(400, "ArgumentInvalid")
		b.refused("SVC-27/invalid")
	}
	b.do("POST", "/jobs/create", `{"type":"import","inputBlobContainerUri":"","outputBlobContainerUri":`+string(quoted)+`}`).fails(400, "BlobContainerValidationError")
	b.do("GET", "/jobs/none", "").fails(404, "JobNotFound")
	b.do("DELETE", "/jobs/none", "").fails(404, "JobNotFound")
	b.refused("SVC-27/unknown")
	b.token = sas(contoso, ownerKey, "registryRead", time.Hour)
	b.do("POST", "/jobs/create", `{}`).fails(401, "IotHubUnauthorizedAccess")
	b.refused("SVC-30/rights")
	b.noSecrets()
}
