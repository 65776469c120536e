package rest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Both signatures of one request, as core/auth/signer of huaweicloud-sdk-go-v3 v0.1.207 makes them for AK1,
// SK1 and 2026-01-01 00:30:00 UTC.
const (
	basicSignature   = "SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-project-id;x-sdk-date, Signature=d07816a2d14b15be01cfd1211b2bb24582be6f8c0fba543615962a4b76d28341"
	derivedSignature = "V11-HMAC-SHA256 Credential=AK1/20260101/cn-north-4/iotdm, SignedHeaders=x-project-id;x-sdk-date, Signature=8ce5d02c3f355ab59a2e8e1993a22100c47803a29e4368f2c8d52d5d65afdc7a"
)

// signedCall is that request.
func (a *api) signedCall(header, body string) (int, string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), "POST", a.url+"/v5/iot/"+project+"/products?app_id=a+b%2Bc~d&Z=1", strings.NewReader(body))
	require.NoError(a.t, err)
	r.Header.Set("X-Project-Id", project)
	r.Header.Set("X-Sdk-Date", "20260101T003000Z")
	r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return a.send(r)
}

// DA-59: both kinds of signature, and what breaks them.
func TestSignatures(t *testing.T) {
	t.Parallel()
	a := newAPI(t, iotda.AccessKey{Access: "AK0", Secret: "SK0"}, iotda.AccessKey{Access: "AK1", Secret: "SK1"})
	const body = "{\"name\":\"demo\"}\n"
	for _, header := range []string{basicSignature, derivedSignature} {
		status, text := a.signedCall(header, body)
		require.Equal(t, 201, status, text)
		status, text = a.signedCall(header, body+" ")
		require.Equal(t, 401, status)
		require.Contains(t, text, `"error_code":"APIGW.0301"`)
		a.refusedAs("DA-59/signature")
	}
	for header, id := range map[string]rule.ID{
		"": "DA-59/missing",
		strings.Replace(basicSignature, "AK1", "AK9", 1):              "DA-59/access-key",
		strings.Replace(basicSignature, "AK1", "AK0", 1):              "DA-59/signature",
		strings.Replace(derivedSignature, "cn-north-4", "cn-east", 1): "DA-59/signature",
		"Bearer abc":                             "DA-59/form",
		"SDK-HMAC-SHA256 Access=AK1":             "DA-59/form",
		"V11-HMAC-SHA256 " + basicSignature[16:]: "DA-59/form",
	} {
		status, _ := a.signedCall(header, body)
		require.Equal(t, 401, status, header)
		a.refusedAs(id)
		rule.Proves(t, id)
	}
	rule.Proves(t, "DA-59", "DA-59/signature")
}

// DA-59/token: a token of IAM.
func TestToken(t *testing.T) {
	t.Parallel()
	a := newAPI(t, iotda.AccessKey{Access: "AK1", Secret: "SK1"})
	ask, err := http.NewRequestWithContext(t.Context(), "POST", a.url+"/v3/auth/tokens", strings.NewReader(`{"auth":{}}`))
	require.NoError(t, err)
	answer, err := a.client.Do(ask)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, 201, answer.StatusCode)
	token := answer.Header.Get("X-Subject-Token")
	require.NotEmpty(t, token)
	list := func(token string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/v5/iot/"+project+"/devices", nil)
		require.NoError(t, err)
		r.Header.Set("X-Auth-Token", token)
		status, _ := a.send(r)
		return status
	}
	require.Equal(t, 200, list(token))
	require.Equal(t, 401, list("other"))
	a.clock.Skew(25 * time.Hour)
	require.Equal(t, 401, list(token))
	require.NotContains(t, a.refusedAs("DA-59/token").Seen, token)

	r, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/v3/projects?name=cn-north-4", nil)
	require.NoError(t, err)
	status, text := a.send(r)
	require.Equal(t, 200, status)
	require.Contains(t, text, `"id":"`+project+`"`)
	rule.Proves(t, "DA-59/token")
}
