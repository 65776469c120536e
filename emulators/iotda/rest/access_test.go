package rest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t *testing.T, cn string, by *issued, life time.Duration) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life)}
	parent, signer := c, key
	if by == nil {
		c.IsCA, c.BasicConstraintsValid = true, true
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &issued{cert, key}
}

// content is a body with the certificate as PEM.
func (i *issued) content(field string) string {
	b, err := json.Marshal(map[string]string{field: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// DA-19: verifying a CA.
func TestVerifyCA(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	root := issue(t, "zhangsan", nil, time.Hour)
	ca := a.must(201, "POST", "/certificates", root.content("content"))
	require.Equal(t, []any{false, "zhangsan"}, []any{ca["status"], ca["cn_name"]})
	code, path := ca["verify_code"].(string), "/certificates/"+ca["certificate_id"].(string)
	require.NotEmpty(t, code)
	verify := path + "/action?action_id=verify"
	for id, proof := range map[rule.ID]*issued{
		"DA-19/code":      issue(t, "zhangsan", root, time.Hour),
		"DA-19/signature": issue(t, code, issue(t, "zhangsan", nil, time.Hour), time.Hour),
	} {
		a.fails(400, "IOTDA.000006", "POST", verify, proof.content("verify_content"))
		a.refusedAs(id)
		rule.Proves(t, id)
	}
	a.fails(400, "IOTDA.000006", "POST", verify, root.content("verify_content"))
	a.fails(400, "IOTDA.000006", "POST", verify, `{"verify_content":"no PEM"}`)
	require.Equal(t, false, a.must(200, "GET", path, "")["status"])
	a.must(200, "POST", verify, issue(t, code, root, time.Hour).content("verify_content"))
	require.Equal(t, true, a.must(200, "GET", path, "")["status"])

	old := issue(t, "old", nil, -time.Hour)
	ca = a.must(201, "POST", "/certificates", old.content("content"))
	a.fails(400, "IOTDA.000006", "POST", "/certificates/"+ca["certificate_id"].(string)+"/action?action_id=verify",
		issue(t, ca["verify_code"].(string), old, time.Hour).content("verify_content"))
	a.refusedAs("DA-19/expired")
	require.Len(t, a.must(200, "GET", "/certificates", "")["certificates"], 2)
	a.must(204, "DELETE", path, "")
	a.fails(404, "IOTDA.000005", "GET", path, "")
	a.fails(400, "IOTDA.000006", "POST", "/certificates", `{"content":"x"}`)
	for range 99 {
		a.must(201, "POST", "/certificates", old.content("content"))
	}
	a.fails(409, "IOTDA.000007", "POST", "/certificates", old.content("content"))
	rule.Proves(t, "DA-19", "DA-19/expired")
}

func TestTemplatesAndPolicies(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const template = `{"template_name":"t","template_body":{"parameters":{"iotda::certificate::common_name":{"type":"String"}},
		"resources":{"device":{"node_id":{"ref":"iotda::certificate::common_name"},"product_id":"demo"}}}}`
	made := a.must(201, "POST", "/provisioning-templates", template)
	path := "/provisioning-templates/" + made["template_id"].(string)
	device := a.must(200, "GET", path, "")["template_body"].(map[string]any)["resources"].(map[string]any)["device"].(map[string]any)
	require.Equal(t, map[string]any{"node_id": map[string]any{"ref": "iotda::certificate::common_name"}, "product_id": "demo"}, device)
	a.fails(400, "IOTDA.000006", "POST", "/provisioning-templates", `{"template_name":"t","template_body":{"parameters":{"x":{"type":"String"}}}}`)
	root := issue(t, "root", nil, time.Hour)
	ca := a.must(201, "POST", "/certificates", root.content("content"))
	caPath := "/certificates/" + ca["certificate_id"].(string)
	a.fails(400, "IOTDA.000006", "PUT", caPath, `{"provision_enable":true}`)
	a.fails(404, "IOTDA.000005", "PUT", caPath, `{"provision_enable":true,"template_id":"nope"}`)
	require.Equal(t, true, a.must(200, "PUT", caPath, `{"provision_enable":true,"template_id":"`+made["template_id"].(string)+`"}`)["provision_enable"])
	a.fails(409, "IOTDA.000007", "DELETE", path, "")
	a.must(204, "DELETE", caPath, "")
	a.must(204, "DELETE", path, "")

	policy := a.must(201, "POST", "/device-policies", `{"policy_name":"p","statement":[{"effect":"DENY","actions":["iotda:devices:publish"],"resources":["topic:/a/*"]}]}`)
	path = "/device-policies/" + policy["policy_id"].(string)
	require.Equal(t, "q", a.must(200, "PUT", path, `{"policy_name":"q","statement":[{"effect":"ALLOW","actions":["iotda:devices:subscribe"],"resources":["topic:/a/*"]}]}`)["policy_name"])
	a.fails(400, "IOTDA.000006", "POST", "/device-policies", `{"policy_name":"p","statement":[{"effect":"DENY","actions":["iotda:devices:publish"],"resources":["/a/*"]}]}`)
	require.Len(t, a.must(200, "GET", "/device-policies", "")["policies"], 1)
	a.must(204, "DELETE", path, "")
	a.fails(404, "IOTDA.000005", "GET", path, "")
}

// What is said of OCSP is kept, and stays where a later call does not speak of it.
func TestOCSPOfCA(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	body := issue(t, "zhangsan", nil, time.Hour).content("content")
	ca := a.must(201, "POST", "/certificates", body)
	require.Equal(t, []any{false, false, nil}, []any{ca["ocsp_enable"], ca["ocsp_ssl_enable"], ca["ocsp_server_ca_id"]})
	path := "/certificates/" + ca["certificate_id"].(string)
	a.must(200, "PUT", path, `{"ocsp_enable":true,"ocsp_ssl_enable":true,"ocsp_server_ca_id":"server1"}`)
	a.must(200, "PUT", path, `{"ocsp_ssl_enable":false}`)
	ca = a.must(200, "GET", path, "")
	require.Equal(t, []any{true, false, "server1"}, []any{ca["ocsp_enable"], ca["ocsp_ssl_enable"], ca["ocsp_server_ca_id"]})
	a.fails(400, "IOTDA.000008", "PUT", path, `{"ocsp_enable":"yes"}`)
	ca = a.must(201, "POST", "/certificates", strings.Replace(body, "{", `{"ocsp_enable":true,`, 1))
	require.Equal(t, true, ca["ocsp_enable"])
}
