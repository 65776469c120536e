package rest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/emulators/mindsphere/rest"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// gateway is the REST side of a service with tenant camexia and agent camexia_a, behind a real listener.
type gateway struct {
	*httptest.Server
	svc     *mindsphere.Service
	cas     *pki.DeviceCAs
	journal *journal.Journal
	session *mindsphere.Session
	clock   *clock.Control
	handler *rest.Handler
}

type nothing struct{}

func (nothing) Close(error) {}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	c := clock.New()
	j := journal.New(c, rule.NewTable(mindsphere.Rules), journal.Options{})
	cas, err := pki.OpenDeviceCAs(pki.Options{})
	require.NoError(t, err)
	g := &gateway{cas: cas, journal: j, clock: c, svc: mindsphere.New(mindsphere.Config{Clock: c, IDs: ids.New(1), Journal: j, Store: store.New()})}
	g.handler = rest.New(g.svc, func(*http.Request) broker.Peer { return broker.Peer{Conn: 7} }, nil)
	g.Server = httptest.NewServer(g.handler)
	t.Cleanup(g.Server.Close)
	require.NoError(t, g.svc.PutTenant(mindsphere.Tenant{Name: "camexia"}))
	_, err = cas.CreateCA(pki.CARequest{Name: "ca"})
	require.NoError(t, err)
	i, err := cas.IssueDevice(pki.DeviceRequest{CommonName: "a", CA: "ca"})
	require.NoError(t, err)
	a, err := g.svc.AddAgent("camexia", "a", i.Leaf)
	require.NoError(t, err)
	g.session = g.svc.Open(mindsphere.Identity{Tenant: "camexia", Region: mindsphere.EU1, ClientID: "camexia_a", AgentID: a.AgentID}, mindsphere.Origin{}, nothing{})
	return g
}

// do sends a request as tenant camexia and reads the answer into into, which may be nil.
func (g *gateway) do(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	return g.as(t, "camexia", method, path, body, into)
}

func (g *gateway) as(t *testing.T, token, method, path, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := g.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	if into != nil {
		require.NoError(t, json.Unmarshal(text, into), "%s", text)
	}
	return res.StatusCode
}

const jobs = "/api/commanding/v3/deliveryJobs"

type failure struct {
	Errors []struct{ Code, LogRef, Message string }
}

// MS-27: jobs beyond the limits, on the wire and in the journal.
func TestRejectedJobs(t *testing.T) {
	g := newGateway(t)
	clients := func(n int) string {
		return `["` + strings.Join(strings.Split(strings.Repeat("camexia_a ", n)[:10*n-1], " "), `","`) + `"]`
	}
	for _, c := range []struct {
		rule                rule.ID
		name, clients, data string
	}{
		{"MS-27/clients", "n", clients(21), "{}"},
		{"MS-27/clients", "n", "[]", "{}"},
		{"MS-27/size", "n", clients(1), `{"k":"` + strings.Repeat("x", 4096) + `"}`},
		{"MS-27/name", "", clients(1), "{}"},
		{"MS-27/name", strings.Repeat("ä", 129), clients(1), "{}"},
		{"MS-27/data", "n", clients(1), "[]"},
		{"MS-27/data", "n", clients(1), "null"},
		{"MS-27/agent", "n", `["camexia_b"]`, "{}"},
		{"MS-27/twice", "n", clients(2), "{}"},
	} {
		var f failure
		status := g.do(t, "POST", jobs, `{"name":"`+c.name+`","clientIds":`+c.clients+`,"data":`+c.data+`}`, &f)
		require.Equal(t, 400, status, c.rule)
		require.Len(t, f.Errors, 1)
		events, _ := g.journal.Select(journal.Filter{Rule: c.rule, Kind: journal.Refused})
		require.NotEmpty(t, events, c.rule)
		e := events[len(events)-1]
		require.Equal(t, 400, *e.Code)
		require.Contains(t, f.Errors[0].Message, e.Expected)
		require.NotEmpty(t, e.Fix)
		rule.Proves(t, c.rule, "MS-27")
	}
	for body, message := range map[string]string{`{"clientIds":"camexia_a"}`: "clientIds is a JSON string", `[]`: "it is a JSON array", `{`: "unexpected end of JSON input"} {
		var f failure
		require.Equal(t, 400, g.do(t, "POST", jobs, body, &f))
		require.Equal(t, "the body is not the JSON that is wanted: "+message, f.Errors[0].Message)
	}
	require.Empty(t, g.svc.Jobs("camexia"))
}

func TestJobs(t *testing.T) {
	g := newGateway(t)
	var job struct {
		ID, Name, Status, TenantID string
		ClientIDs                  []string
		Data                       map[string]string
	}
	require.Equal(t, 201, g.do(t, "POST", jobs, `{"name":"restart","clientIds":["camexia_a"],"data":{"k":"v"}}`, &job))
	require.Equal(t, "EXECUTING", job.Status)
	require.Equal(t, map[string]string{"k": "v"}, job.Data)
	var list struct {
		Embedded struct {
			DeliveryJobs []struct{ ID, Name, Status string }
			Commands     []struct{ ID, ClientID, Status string }
		} `json:"_embedded"`
		Page struct{ TotalElements int }
	}
	require.Equal(t, 200, g.do(t, "GET", jobs, "", &list))
	require.Equal(t, job.ID, list.Embedded.DeliveryJobs[0].ID)
	require.Equal(t, 200, g.do(t, "GET", jobs+"/"+job.ID+"/commands", "", &list))
	require.Equal(t, 1, list.Page.TotalElements)
	command := list.Embedded.Commands[0]
	require.Equal(t, "camexia_a", command.ClientID)
	g.session.Publish(context.Background(), wire.CommandStatus, []byte(`{"requestId":"`+command.ID+`","data":{"jobId":"`+job.ID+`","status":"EXECUTED","response":{"r":"1"}}}`))
	var got struct {
		Status   string
		Response map[string]string
	}
	require.Equal(t, 200, g.do(t, "GET", jobs+"/"+job.ID+"/commands/"+command.ID, "", &got))
	require.Equal(t, "EXECUTED", got.Status)
	require.Equal(t, map[string]string{"r": "1"}, got.Response)
	require.Equal(t, 200, g.do(t, "GET", jobs+"/"+job.ID, "", &job))
	require.Equal(t, "EXECUTED", job.Status)
	require.Equal(t, 204, g.do(t, "DELETE", jobs+"/"+job.ID, "", nil))
	for _, path := range []string{"/" + job.ID, "/" + job.ID + "/commands", "/" + job.ID + "/commands/x"} {
		require.Equal(t, 404, g.do(t, "GET", jobs+path, "", nil))
	}
	require.Equal(t, 404, g.do(t, "DELETE", jobs+"/"+job.ID, "", nil))
}

// The whole way of a CA: upload, registration code, verification.
func TestCACertificates(t *testing.T) {
	g := newGateway(t)
	const path = "/api/mindconnectmqtt/v3/caCertificates"
	ca, err := g.cas.CA("ca")
	require.NoError(t, err)
	body, err := json.Marshal(map[string]string{"certificate": string(ca.PEM())})
	require.NoError(t, err)
	var made struct{ ID, Status string }
	require.Equal(t, 201, g.do(t, "POST", path, string(body), &made))
	require.Equal(t, "UNVERIFIED", made.Status)
	var code struct{ RegistrationCode string }
	require.Equal(t, 200, g.do(t, "GET", path+"/"+made.ID+"/registrationCode", "", &code))
	proof, err := g.cas.Proof("ca", code.RegistrationCode)
	require.NoError(t, err)
	require.Equal(t, 400, g.do(t, "POST", path+"/"+made.ID+"/verify", string(ca.PEM()), nil))
	require.Equal(t, 200, g.do(t, "POST", path+"/"+made.ID+"/verify", proof.Certificate, &made))
	require.Equal(t, "VERIFIED", made.Status)

	other, err := g.cas.CreateCA(pki.CARequest{Name: "other"})
	require.NoError(t, err)
	require.Equal(t, 201, g.do(t, "POST", path, string(other.PEM()), nil))
	require.Equal(t, 409, g.do(t, "POST", path, string(other.PEM()), nil), "a third one")
	var list struct{ Page struct{ TotalElements int } }
	require.Equal(t, 200, g.do(t, "GET", path, "", &list))
	require.Equal(t, 2, list.Page.TotalElements)
	require.Equal(t, 204, g.do(t, "DELETE", path+"/"+made.ID, "", nil))
	for _, tail := range []string{"", "/registrationCode"} {
		require.Equal(t, 404, g.do(t, "GET", path+"/"+made.ID+tail, "", nil))
	}
	require.Equal(t, 404, g.do(t, "POST", path+"/"+made.ID+"/verify", "", nil))
	require.Equal(t, 400, g.do(t, "POST", path, "{}", nil))
	require.Equal(t, 400, g.do(t, "POST", path, "-----BEGIN NOTHING-----", nil))
	require.Equal(t, 413, g.do(t, "POST", path, strings.Repeat("x", 200<<10), nil))
}

// The proof of possession may be a certificate request with the registration code, signed by the CA's key.
func TestVerificationByRequest(t *testing.T) {
	g := newGateway(t)
	const path = "/api/mindconnectmqtt/v3/caCertificates"
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	strange, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, own.Public(), own)
	require.NoError(t, err)
	var made struct{ ID, Status string }
	require.Equal(t, 201, g.do(t, "POST", path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), &made))
	var code struct{ RegistrationCode string }
	require.Equal(t, 200, g.do(t, "GET", path+"/"+made.ID+"/registrationCode", "", &code))
	verify := func(name string, key *ecdsa.PrivateKey) int {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
		require.NoError(t, err)
		return g.do(t, "POST", path+"/"+made.ID+"/verify", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil)
	}
	require.Equal(t, 400, verify(code.RegistrationCode, strange))
	require.Equal(t, 400, verify("other", own))
	require.Equal(t, 400, g.do(t, "POST", path+"/"+made.ID+"/verify", "-----BEGIN CERTIFICATE REQUEST-----\nQQ==\n-----END CERTIFICATE REQUEST-----\n", nil))
	require.Equal(t, 200, g.do(t, "GET", path+"/"+made.ID, "", &made))
	require.Equal(t, "UNVERIFIED", made.Status)
	require.Equal(t, 200, verify(code.RegistrationCode, own))
	require.Equal(t, 200, g.do(t, "GET", path+"/"+made.ID, "", &made))
	require.Equal(t, "VERIFIED", made.Status)
}

// Assets by filter, time series by time.
func TestAssetsAndTimeSeries(t *testing.T) {
	g := newGateway(t)
	model, err := os.ReadFile("../testdata/model-v4.json")
	require.NoError(t, err)
	require.Nil(t, g.session.Publish(context.Background(), wire.ModelV4, model).Refusal)
	require.Nil(t, g.session.Publish(context.Background(), wire.TimeSeries, []byte(`{"timeseries":[
		{"timestamp":"2026-01-01T00:00:01.000Z","values":[{"dataPointId":"rpm","value":"1.5","qualityCode":"0"},{"dataPointId":"speed","value":3}]},
		{"timestamp":"2026-01-01T00:00:02.000Z","values":[{"dataPointId":"rpm","value":"2.5","qualityCode":"0"}]}]}`)).Refusal)
	find := func(filter string) (found []struct{ AssetID, TypeID, ExternalID string }) {
		var list struct {
			Embedded struct {
				Assets []struct{ AssetID, TypeID, ExternalID string }
			} `json:"_embedded"`
		}
		require.Equal(t, 200, g.do(t, "GET", "/api/assetmanagement/v3/assets?filter="+url.QueryEscape(filter), "", &list))
		return list.Embedded.Assets
	}
	require.Equal(t, "core.mcmqtt", find(`{"externalId":"camexia_a"}`)[0].TypeID)
	machine := find(`{"name":{"eq":"Machine"}}`)[0].AssetID
	require.Len(t, find(""), 2)
	require.Equal(t, 400, g.do(t, "GET", "/api/assetmanagement/v3/assets?filter=x", "", nil))
	require.Equal(t, 400, g.do(t, "GET", `/api/assetmanagement/v3/assets?filter={"colour":"red"}`, "", nil))
	require.Equal(t, 200, g.do(t, "GET", "/api/assetmanagement/v3/assets/"+machine, "", nil))
	require.Equal(t, 404, g.do(t, "GET", "/api/assetmanagement/v3/assets/x", "", nil))

	read := func(query string) (records []map[string]any) {
		require.Equal(t, 200, g.do(t, "GET", "/api/iottimeseries/v3/timeseries/"+machine+"/mechanics"+query, "", &records))
		return records
	}
	first := map[string]any{"_time": "2026-01-01T00:00:01Z", "rpm": 1.5, "rpm_qc": "0", "speed": 3.0}
	second := map[string]any{"_time": "2026-01-01T00:00:02Z", "rpm": 2.5, "rpm_qc": "0"}
	require.Equal(t, []map[string]any{second}, read(""))
	require.Equal(t, []map[string]any{first, second}, read("?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"))
	require.Equal(t, []map[string]any{second}, read("?from=2026-01-01T00:00:00Z&sort=desc&limit=1"))
	require.Equal(t, []map[string]any{{"_time": "2026-01-01T00:00:01Z", "speed": 3.0}}, read("?from=2026-01-01T00:00:00Z&select=speed"))
	for _, query := range []string{"?from=x", "?limit=0", "?limit=x"} {
		require.Equal(t, 400, g.do(t, "GET", "/api/iottimeseries/v3/timeseries/"+machine+"/mechanics"+query, "", nil))
	}
	require.Equal(t, 404, g.do(t, "GET", "/api/iottimeseries/v3/timeseries/x/y", "", nil))
}

// Who may call: tokens of ours, tokens with a claim ten, a tenant's name; nobody else.
func TestTokens(t *testing.T) {
	g := newGateway(t)
	var own struct {
		Token string `json:"access_token"`
	}
	require.Equal(t, 200, g.as(t, "", "POST", "/api/technicaltokenmanager/v3/oauth/token", `{"appName":"a","hostTenant":"x","userTenant":"camexia"}`, &own))
	require.Equal(t, 404, g.as(t, "", "POST", "/api/technicaltokenmanager/v3/oauth/token", `{"hostTenant":"x"}`, nil))
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"ten":"camexia"}`))
	for token, status := range map[string]int{own.Token: 200, "e30." + claims + ".c2ln": 200, "camexia": 200, "": 401, "other": 401, "a.b.c": 401, "e30.e30.": 401} {
		require.Equal(t, status, g.as(t, token, "GET", jobs, "", nil), token)
	}
	out := g.session.Publish(context.Background(), wire.TokenRequest, []byte(`{"id":"request1"}`))
	var answer struct {
		Data struct {
			Token string `json:"access_token"`
		}
	}
	require.NoError(t, json.Unmarshal(out.Answers[0].Payload, &answer))
	hour := time.Hour - time.Second
	for _, c := range []struct {
		ahead  time.Duration
		status int
	}{{0, 200}, {hour, 200}, {time.Hour, 401}} { // MS-28: good for an hour
		g.clock.Skew(c.ahead)
		require.Equal(t, c.status, g.as(t, answer.Data.Token, "GET", jobs, "", nil), c.ahead)
	}
	g.clock.Skew(0)
	var f failure
	require.Equal(t, 401, g.as(t, "other", "GET", jobs, "", &f))
	require.Equal(t, `bearer token: it is for no tenant that exists; there are "camexia"`, f.Errors[0].Message)
	require.Equal(t, 404, g.do(t, "GET", "/api/nothing", "", nil))
	require.Equal(t, 404, g.do(t, "PUT", jobs+"/x", "", nil))
	require.True(t, rest.Handles(jobs))
	require.False(t, rest.Handles("/devices"))
	events, _ := g.journal.Select(journal.Filter{Kind: journal.HTTP})
	require.NotEmpty(t, events)
	for _, e := range events {
		require.NotContains(t, e.Detail+e.Topic, own.Token)
	}
}
