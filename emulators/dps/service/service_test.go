package service_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/dps/service"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

const (
	ownerKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	host     = "fakedps.azure-devices-provisioning.net"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is an instance with its service API behind a real HTTP server, and a client of it.
type backend struct {
	t        *testing.T
	dps      *dps.Service
	journal  *journal.Journal
	server   *httptest.Server
	token    string
	instance string
}

func newBackend(t *testing.T) *backend {
	c := clock.New()
	b := &backend{t: t, instance: "fakedps", token: sas(host, ownerKey, "provisioningserviceowner", time.Now().Add(time.Hour).Unix())}
	b.journal = journal.New(c, rule.NewTable(dps.Rules, service.Rules), journal.Options{})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b.dps = dps.New(dps.Config{Clock: c, IDs: ids.New(1), Journal: b.journal, Store: store.New(), Log: log})
	require.NoError(t, b.dps.PutInstance(dps.Instance{Name: "fakedps", IDScope: "0ne00FAKE01", Policies: []dps.Policy{
		{Name: "provisioningserviceowner", Rights: 31, SymmetricKey: dps.SymmetricKey{Primary: ownerKey}},
		{Name: "reader", Rights: dps.EnrollmentRead, SymmetricKey: dps.SymmetricKey{Primary: otherKey}}}}))
	b.server = httptest.NewServer(service.New(b.dps, func(*http.Request) broker.Peer {
		return broker.Peer{Conn: 7, Endpoint: b.instance, Hosts: []string{"localhost"}}
	}, log))
	t.Cleanup(b.server.Close)
	return b
}

// sas signs as the vendor's page says, apart from the product's own code.
func sas(resource, key, policy string, expiry int64) string {
	raw, _ := base64.StdEncoding.DecodeString(key)
	sr, se := url.QueryEscape(resource), fmt.Sprint(expiry)
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(sr + "\n" + se))
	return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se + "&skn=" + policy
}

func (b *backend) do(method, path, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	if !strings.Contains(path, "?") {
		path += "?api-version=2021-10-01"
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(body))
	require.NoError(b.t, err)
	r.Header.Set("Authorization", b.token)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	got, err := b.server.Client().Do(r)
	require.NoError(b.t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(b.t, err)
	return got, string(text)
}

func (b *backend) ok(method, path, body string, headers ...string) map[string]any {
	b.t.Helper()
	got, text := b.do(method, path, body, headers...)
	require.Equal(b.t, 200, got.StatusCode, text)
	var v map[string]any
	require.NoError(b.t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// fails wants an error body with its header, and the reason in the journal.
func (b *backend) fails(code int, id rule.ID, method, path, body string, headers ...string) {
	b.t.Helper()
	got, text := b.do(method, path, body, headers...)
	require.Equal(b.t, code/1000, got.StatusCode, text)
	require.Equal(b.t, fmt.Sprint(code), got.Header.Get("x-ms-error-code"))
	require.Regexp(b.t, fmt.Sprintf(`^\{"errorCode":%d,"trackingId":"[0-9a-f-]{36}","message":".+","timestampUtc":"\d{4}-\d\d-\d\dT[0-9:]{8}\.\d{7}Z"\}$`, code), text)
	events, _ := b.journal.Select(journal.Filter{Kind: journal.Refused, Rule: id})
	require.NotEmpty(b.t, events, "the journal does not name %s", id)
	e := events[len(events)-1]
	require.Equal(b.t, id, e.Rule)
	require.Equal(b.t, code/1000, *e.Code)
	require.NotEmpty(b.t, e.Fix)
	rule.Proves(b.t, id)
}

const keyed = `{"registrationId":"dev-1","deviceId":"d1","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"` + ownerKey + `"}},
	"initialTwin":{"tags":{"a":1}},"reprovisionPolicy":{"migrateDeviceData":false},"capabilities":{"iotEdge":true},"unknown":1}`

// DPS-40 and DPS-41: enrollments and groups, from making to deleting.
func TestRecords(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{"/enrollments/dev-1": keyed, "/enrollmentGroups/dev-1": strings.Replace(keyed, `"registrationId":"dev-1","deviceId":"d1"`, `"enrollmentGroupId":"dev-1"`, 1)} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t)
			made := b.ok("PUT", path, body)
			given := made["attestation"].(map[string]any)["symmetricKey"].(map[string]any)
			require.Equal(t, ownerKey, given["primaryKey"])
			require.NotEmpty(t, given["secondaryKey"], "generated")
			made["attestation"] = map[string]any{"type": "symmetricKey"} // all that is read later
			require.Regexp(t, `^".+"$`, made["etag"])
			got := b.ok("GET", path, "")
			require.Equal(t, made, got)
			require.Equal(t, map[string]any{"type": "symmetricKey"}, got["attestation"])
			require.Equal(t, "enabled", got["provisioningStatus"])
			require.Equal(t, map[string]any{"updateHubAssignment": true, "migrateDeviceData": false}, got["reprovisionPolicy"])
			require.Equal(t, map[string]any{"iotEdge": true}, got["capabilities"])
			keys := b.ok("POST", strings.ToLower(path)+"/attestationmechanism", "")["symmetricKey"].(map[string]any)
			require.Equal(t, ownerKey, keys["primaryKey"])
			require.Equal(t, given, keys)
			rule.Proves(t, "DPS-40")

			b.fails(409000, "DPS-41/exists", "PUT", path, body)
			b.fails(412000, "DPS-41/etag", "PUT", path, body, "If-Match", `"stale"`)
			b.fails(412000, "DPS-41/etag", "DELETE", path, "", "If-Match", "stale")
			// what GET shows may be sent back, and keeps the keys
			got["provisioningStatus"] = "disabled"
			text, err := json.Marshal(got)
			require.NoError(t, err)
			second := b.ok("PUT", path, string(text), "If-Match", got["etag"].(string))
			require.Equal(t, "disabled", second["provisioningStatus"])
			require.Equal(t, keys, second["attestation"].(map[string]any)["symmetricKey"])
			require.Equal(t, keys, b.ok("POST", path+"/attestationmechanism", "")["symmetricKey"])
			b.fails(412000, "DPS-41/etag", "PUT", path, body, "If-Match", got["etag"].(string))
			b.ok("PUT", path, body, "If-Match", strings.Trim(second["etag"].(string), `"`))
			b.ok("PUT", path, body, "If-Match", `"*"`)
			answer, gone := b.do("DELETE", path, "", "If-Match", "*")
			require.Equal(t, 204, answer.StatusCode)
			require.Empty(t, gone)
			rule.Proves(t, "DPS-41")
			code := map[bool]int{true: 404202, false: 404201}[strings.Contains(path, "Groups")]
			for _, method := range []string{"GET", "DELETE"} {
				b.fails(code, "DPS-40/missing", method, path, "")
			}
			b.fails(code, "DPS-40/missing", "POST", path+"/attestationmechanism", "")
			b.fails(code, "DPS-40/missing", "PUT", path, body, "If-Match", "x")
		})
	}
}

// What a back end keeps with an enrollment comes back as it is, also from the list and when the record is sent back.
func TestDeviceInformation(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	want := map[string]any{"site": "<a&b>", "rack": map[string]any{"n": 1.0}}
	const body = `{"attestation":{"type":"symmetricKey"},"optionalDeviceInformation":`
	require.Equal(t, want, b.ok("PUT", "/enrollments/d", body+`{"site":"<a&b>", "rack":{"n":1}}}`)["optionalDeviceInformation"])
	got := b.ok("GET", "/enrollments/d", "")
	require.Equal(t, want, got["optionalDeviceInformation"])
	back, err := json.Marshal(got)
	require.NoError(t, err)
	require.Equal(t, want, b.ok("PUT", "/enrollments/d", string(back), "If-Match", "*")["optionalDeviceInformation"])
	_, listed := b.do("POST", "/enrollments/query", `{"query":"SELECT * FROM enrollments"}`)
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(listed), &all))
	require.Equal(t, want, all[0]["optionalDeviceInformation"])
	require.NotContains(t, b.ok("PUT", "/enrollments/d", body+`null}`, "If-Match", "*"), "optionalDeviceInformation")
	most := `{"a":"` + strings.Repeat("x", 64<<10-8) + `"}`
	b.ok("PUT", "/enrollments/d", body+most+`}`, "If-Match", "*")
	for _, bad := range []string{"[]", "5", `"x"`, strings.Replace(most, "x", "xx", 1)} {
		b.fails(400000, "DPS-40/invalid", "PUT", "/enrollments/e", body+bad+`}`)
	}
	rule.Proves(t, "DPS-40")
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(10), Subject: pkix.Name{CommonName: "dev-2"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4102444800, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	require.NoError(t, err)
	b.ok("PUT", "/enrollments/dev-2", `{"attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":`+string(text)+`}}}}}`)
	got := b.ok("GET", "/enrollments/dev-2", "")
	primary := got["attestation"].(map[string]any)["x509"].(map[string]any)["clientCertificates"].(map[string]any)["primary"].(map[string]any)
	require.NotContains(t, primary, "certificate")
	info := primary["info"].(map[string]any)
	require.Equal(t, "A", info["serialNumber"])
	require.Equal(t, fmt.Sprintf("%X", sha256.Sum256(der)), info["sha256Thumbprint"])
	back, err := json.Marshal(got)
	require.NoError(t, err)
	require.Equal(t, info, b.ok("PUT", "/enrollments/dev-2", string(back), "If-Match", "*")["attestation"].(map[string]any)["x509"].(map[string]any)["clientCertificates"].(map[string]any)["primary"].(map[string]any)["info"])
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	for _, body := range []string{"", "{", "[]", `{"attestation":5}`, strings.Repeat("[", 1000)} {
		b.fails(400000, "DPS-40/body", "PUT", "/enrollments/x", body)
	}
	b.fails(413000, "DPS-40/body", "PUT", "/enrollments/x", `{"etag":"`+strings.Repeat("x", 600<<10)+`"}`)
	for _, body := range []string{"{}", `{"attestation":{"type":"tpm"}}`, `{"attestation":{"type":"none"}}`, `{"attestation":{"type":"x509"}}`, strings.Replace(keyed, "dev-1", "other", 1),
		`{"attestation":{"type":"symmetricKey"},"allocationPolicy":"custom"}`, `{"attestation":{"type":"symmetricKey"},"provisioningStatus":"maybe"}`} {
		b.fails(400000, "DPS-40/invalid", "PUT", "/enrollments/x", body)
	}
	b.fails(404000, "DPS-40/path", "GET", "/nothing", "")
	b.fails(405000, "DPS-40/path", "PATCH", "/enrollments/x", "")
	b.fails(400000, "DPS-40/path", "GET", "/enrollments/x?api-version=latest", "")
	b.fails(404202, "DPS-40/missing", "GET", "/registrations/x", "")
	b.fails(404202, "DPS-40/missing", "DELETE", "/registrations/x", "")
}

// DPS-42: page by page.
func TestQuery(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	const body, all = `{"attestation":{"type":"symmetricKey"}}`, `{"query":"SELECT * FROM enrollments"}`
	for _, path := range []string{"enrollments", "enrollmentGroups"} {
		for _, id := range []string{"B", "a"} {
			b.ok("PUT", "/"+path+"/"+id, body)
		}
		var seen []string
		next := ""
		for range 2 {
			got, text := b.do("POST", "/"+path+"/query", all, "x-ms-max-item-count", "1", "x-ms-continuation", next)
			require.Equal(t, 200, got.StatusCode, text)
			require.Equal(t, map[string]string{"enrollments": "Enrollment", "enrollmentGroups": "EnrollmentGroup"}[path], got.Header.Get("x-ms-item-type"))
			var page []struct{ RegistrationID, EnrollmentGroupID string }
			require.NoError(t, json.Unmarshal([]byte(text), &page))
			require.Len(t, page, 1)
			require.NotContains(t, text, "primaryKey")
			seen = append(seen, page[0].RegistrationID+page[0].EnrollmentGroupID)
			next = got.Header.Get("x-ms-continuation")
		}
		require.Equal(t, []string{"a", "B"}, seen)
		require.Empty(t, next)
		b.fails(400000, "DPS-42/query", "POST", "/"+path+"/query", `{"query":"SELECT deviceId FROM enrollments"}`)
		b.fails(400000, "DPS-42/page", "POST", "/"+path+"/query", all, "x-ms-max-item-count", "many")
		b.fails(400000, "DPS-42/page", "POST", "/"+path+"/query", all, "x-ms-continuation", "?")
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/enrollments/query?api-version=2021-10-01", strings.NewReader(all))
	r.Header.Set("Authorization", b.token)
	b.server.Config.Handler.ServeHTTP(w, r)
	require.Contains(t, w.Header(), "x-ms-item-type", "azure-iot-sdk-c looks for this spelling only")
	_, text := b.do("POST", "/registrations/a/query", "")
	require.Equal(t, "[]", text)
	rule.Proves(t, "DPS-42")
}

// DPS-40: up to ten records at once, each by itself.
func TestBulk(t *testing.T) {
	t.Parallel()
	for path, id := range map[string]string{"enrollments": "registrationId", "enrollmentGroups": "enrollmentGroupId"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t)
			record := func(name, more string) string {
				return `{"` + id + `":"` + name + `","attestation":{"type":"symmetricKey"}` + more + `}`
			}
			run := func(mode string, records ...string) []any {
				t.Helper()
				got := b.ok("POST", "/"+path+"/", `{"mode":"`+mode+`","`+path+`":[`+strings.Join(records, ",")+`]}`)
				errs := got["errors"].([]any)
				require.Equal(t, len(errs) == 0, got["isSuccessful"])
				return errs
			}
			// refused wants one error with its code, and the rule in the journal
			refused := func(errs []any, name string, code float64, rid rule.ID) {
				t.Helper()
				require.Len(t, errs, 1)
				e := errs[0].(map[string]any)
				require.Equal(t, name, e[id])
				require.Equal(t, code, e["errorCode"])
				require.NotEmpty(t, e["errorStatus"])
				events, _ := b.journal.Select(journal.Filter{Kind: journal.Refused, Rule: rid})
				require.NotEmpty(t, events)
				rule.Proves(t, rid)
			}
			require.Empty(t, run("create", record("a", ""), record("b", "")))
			refused(run("create", record("a", ""), record("c", "")), "a", 409000, "DPS-41/exists")
			require.Empty(t, run("Update", record("A", `,"provisioningStatus":"disabled"`)))
			made := b.ok("GET", "/"+path+"/a", "")
			require.Equal(t, "disabled", made["provisioningStatus"])
			etag, err := json.Marshal(made["etag"])
			require.NoError(t, err)
			require.Empty(t, run("updateIfMatchETag", record("a", `,"etag":`+string(etag))))
			refused(run("updateIfMatchETag", record("a", `,"etag":`+string(etag))), "a", 412000, "DPS-41/etag")
			refused(run("updateIfMatchETag", record("b", "")), "b", 412000, "DPS-41/etag")
			code := map[string]float64{"enrollments": 404201, "enrollmentGroups": 404202}[path]
			refused(run("update", record("none", "")), "none", code, "DPS-40/missing")
			refused(run("create", record("d", ""), record("D", "")), "D", 400000, "DPS-40/bulk")
			refused(run("create", `{"`+id+`":"e","attestation":{"type":"x"}}`), "e", 400000, "DPS-40/invalid")
			require.Len(t, run("create", `{}`, `5`, `[]`), 3)
			refused(run("delete", `{"`+id+`":"b","etag":"stale"}`), "b", 412000, "DPS-41/etag")
			require.Empty(t, run("delete", `{"`+id+`":"a"}`, `{"`+id+`":"b"}`, `{"`+id+`":"c"}`, `{"`+id+`":"d"}`))
			b.fails(int(code), "DPS-40/missing", "GET", "/"+path+"/a", "")
			b.fails(400000, "DPS-40/bulk", "POST", "/"+path, `{"mode":"create"}`)
			b.fails(400000, "DPS-40/bulk", "POST", "/"+path, `{"mode":"create","`+path+`":[`+strings.Repeat("{},", 10)+`{}]}`)
			b.fails(400000, "DPS-40/bulk", "POST", "/"+path, `{"mode":"upsert","`+path+`":[{}]}`)
		})
	}
}

// DPS-43: bad tokens, and good ones of every form.
func TestTokens(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.ok("PUT", "/enrollments/dev-1", keyed)
	soon := time.Now().Add(time.Hour).Unix()
	const owner = "provisioningserviceowner"
	for _, c := range []struct {
		token string
		id    rule.ID
	}{
		{"", "DPS-43/token"}, {"Bearer x", "DPS-43/token"}, {"SharedAccessSignature sr=%zz&sig=YQ%3D%3D&se=1", "DPS-43/token"},
		{sas(host, ownerKey, "registration", soon), "DPS-43/policy"},
		{sas("other.azure-devices-provisioning.net", ownerKey, owner, soon), "DPS-43/resource"},
		{sas(host+"/enrollmentGroups", ownerKey, owner, soon), "DPS-43/resource"},
		{sas(host, otherKey, owner, soon), "DPS-43/signature"},
		{sas(host, ownerKey, owner, soon-7200), "DPS-43/expired"},
	} {
		b.token = c.token
		b.fails(401002, c.id, "GET", "/enrollments/dev-1", "")
	}
	i, _ := b.dps.Instance("fakedps")
	for _, token := range []string{sas("FAKEDPS.azure-devices-provisioning.net:443", ownerKey, owner, soon), sas(host+"/enrollments", ownerKey, owner, soon),
		sas("localhost", ownerKey, owner, soon), sas(host, i.Policies[0].Secondary, owner, soon*1000)} {
		b.token = token
		b.ok("GET", "/enrollments/dev-1", "")
	}
	b.token = sas(host, otherKey, "Reader", soon)
	b.ok("GET", "/enrollments/dev-1", "")
	for _, c := range [][2]string{{"PUT", "/enrollments/dev-1"}, {"POST", "/enrollments/dev-1/attestationmechanism"}, {"POST", "/enrollmentGroups"},
		{"GET", "/registrations/dev-1"}, {"DELETE", "/registrations/dev-1"}} {
		b.fails(401002, "DPS-43/rights", c[0], c[1], "{}")
	}
	b.instance = ""
	b.fails(401002, "DPS-43/instance", "GET", "/enrollments/dev-1", "")
	rule.Proves(t, "DPS-43")
	events, _ := b.journal.Select(journal.Filter{})
	text, err := json.Marshal(events)
	require.NoError(t, err)
	require.NotContains(t, string(text), ownerKey)
	require.NotRegexp(t, `sig=[^…]`, string(text))
}
