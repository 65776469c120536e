package rest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// The address in the answer to amo_v4/m leads to the model, without a token.
func TestDownload(t *testing.T) {
	g := newGateway(t)
	model, err := os.ReadFile("../testdata/model-v4.json")
	require.NoError(t, err)
	require.Nil(t, g.session.Publish(context.Background(), wire.ModelV4, model).Refusal)
	out := g.session.Publish(context.Background(), wire.GetModelV4, []byte(`{"id":"1"}`))
	var r struct{ Data struct{ Content string } }
	require.NoError(t, json.Unmarshal(out.Answers[0].Payload, &r))
	address, err := url.Parse(r.Data.Content)
	require.NoError(t, err)
	require.Equal(t, mindsphere.GatewayEU1, address.Host)
	var document map[string]any
	require.Equal(t, 200, g.as(t, "", "GET", address.RequestURI(), "", &document))
	require.Contains(t, document, "typeModel")
	require.Equal(t, 403, g.as(t, "", "GET", address.Path+"?signature=x", "", nil))
}

// A certificate made by MindSphere is good at once, and worthless when it is deleted.
func TestAgentCertificates(t *testing.T) {
	g := newGateway(t)
	const path = "/api/mindconnectmqtt/v3/agentCertificates"
	var made struct{ ID, Name, AgentName, Owner, AgentID, ClientID, PrivateKey, PublicKey, Status string }
	require.Equal(t, 201, g.do(t, "POST", path, `{"name":"device001","owner":"somebody@some.com"}`, &made))
	require.Equal(t, [4]string{"camexia_device001", "camexia_device001", "READY", "somebody@some.com"}, [4]string{made.AgentName, made.ClientID, made.Status, made.Owner})
	require.Regexp(t, `^[0-9A-HJKMNP-TV-Z]{26}$`, made.ID)
	require.Regexp(t, `^[0-9a-f]{32}$`, made.AgentID)
	pair, err := tls.X509KeyPair([]byte(made.PublicKey), []byte(made.PrivateKey))
	require.NoError(t, err)
	require.Contains(t, made.PrivateKey, "BEGIN RSA PRIVATE KEY")
	c := mindsphere.Credentials{ClientID: made.ClientID, Certificates: []*x509.Certificate{pair.Leaf}}
	id, err := g.svc.Authenticate(c)
	require.NoError(t, err)
	require.Equal(t, made.AgentID, id.AgentID)
	_, err = g.svc.Authenticate(mindsphere.Credentials{ClientID: "camexia_other", Certificates: c.Certificates})
	require.ErrorContains(t, err, "MS-5/device")

	var list struct{ Page struct{ TotalElements int } }
	require.Equal(t, 200, g.do(t, "GET", path, "", &list))
	require.Equal(t, 1, list.Page.TotalElements)
	made.PrivateKey = ""
	require.Equal(t, 200, g.do(t, "GET", path+"/"+made.ID, "", &made))
	require.Empty(t, made.PrivateKey, "the service does not keep it")
	for _, body := range []string{`{}`, `{"name":"a/b"}`, `[]`} {
		require.Equal(t, 400, g.do(t, "POST", path, body, nil))
	}
	require.Equal(t, 204, g.do(t, "DELETE", path+"/"+made.ID, "", nil))
	require.Equal(t, 404, g.do(t, "DELETE", path+"/"+made.ID, "", nil))
	require.Equal(t, 404, g.do(t, "GET", path+"/"+made.ID, "", nil))
	_, err = g.svc.Authenticate(c)
	require.ErrorContains(t, err, "MS-6/deleted")
}

// The published rate limits, when they are switched on.
func TestRateLimits(t *testing.T) {
	g := newGateway(t)
	const path = "/api/mindconnectmqtt/v3/caCertificates"
	upload := func() int { return g.do(t, "POST", path, "{}", nil) }
	for range 5 {
		require.Equal(t, 400, upload())
	}
	g.clock.Freeze()
	tenant, _ := g.svc.Tenant("camexia")
	tenant.RateLimits = true
	require.NoError(t, g.svc.PutTenant(tenant))
	for range 5 {
		require.Equal(t, 400, upload())
		require.Equal(t, 400, upload())
		require.Equal(t, 429, upload())
		require.NoError(t, g.clock.Advance(30*time.Second))
	}
	require.Equal(t, 429, upload(), "ten in an hour")
	require.NoError(t, g.clock.Advance(time.Hour))
	require.Equal(t, 400, upload())
	require.Equal(t, 200, g.do(t, "GET", jobs, "", nil))

	list := func(n, status int) {
		t.Helper()
		for range n {
			require.Equal(t, status, g.do(t, "GET", "/api/mindconnectmqtt/v3/agentCertificates", "", nil))
		}
	}
	list(30, 200)
	list(1, 429)
	require.NoError(t, g.clock.Advance(30*time.Second))
	list(10, 200)
	list(1, 429) // forty in a minute
	require.NoError(t, g.clock.Advance(30*time.Second))
	list(30, 200)
}
