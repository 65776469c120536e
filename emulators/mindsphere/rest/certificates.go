package rest

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

// ca is the shape of a CA certificate. The documentation names the operations; the fields are ours.
type ca struct {
	ID          string `json:"id"`
	Certificate string `json:"certificate"`
	Status      string `json:"status"`
	CreatedDate string `json:"createdDate"`
}

func caOf(x mindsphere.CA) ca {
	status := "UNVERIFIED"
	if x.Verified {
		status = "VERIFIED"
	}
	return ca{x.ID, x.Certificate, status, timestamp(x.Created)}
}

// certificate reads a certificate: {"certificate":"{PEM}"}, or the PEM text itself.
func (c *call) certificate() (string, bool) {
	text, ok := c.body()
	if !ok || bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----")) {
		return string(text), ok
	}
	var want struct {
		Certificate string `json:"certificate"`
	}
	if err := json.Unmarshal(text, &want); err != nil || want.Certificate == "" {
		c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidRequestBodyProperty", `the body is neither {"certificate":"-----BEGIN CERTIFICATE-----\n…"} nor PEM text`)
		return "", false
	}
	return want.Certificate, true
}

func (c *call) createCA() {
	text, ok := c.certificate()
	if !ok {
		return
	}
	x, err := c.svc.PutCA(c.tenant, mindsphere.CA{Certificate: text})
	if err != nil {
		c.refused(err)
		return
	}
	c.reply(http.StatusCreated, caOf(x))
}

func (c *call) listCAs() {
	cas := []ca{}
	for _, x := range c.svc.CAs(c.tenant) {
		cas = append(cas, caOf(x))
	}
	c.list("caCertificates", cas, len(cas))
}

// found returns the CA certificate that the path names, or answers that there is none.
func (c *call) found() (mindsphere.CA, bool) {
	id := c.req.PathValue("id")
	x, ok := c.svc.CA(c.tenant, id)
	if !ok {
		c.missing("CA certificate", id)
	}
	return x, ok
}

func (c *call) getCA() {
	if x, ok := c.found(); ok {
		c.reply(http.StatusOK, caOf(x))
	}
}

func (c *call) deleteCA() {
	if x, ok := c.found(); ok {
		c.svc.DeleteCA(c.tenant, x.ID)
		c.reply(http.StatusNoContent, nil)
	}
}

func (c *call) registrationCode() {
	if x, ok := c.found(); ok {
		c.reply(http.StatusOK, map[string]string{"registrationCode": x.RegistrationCode})
	}
}

func (c *call) verifyCA() {
	x, ok := c.found()
	if !ok {
		return
	}
	text, ok := c.certificate()
	if !ok {
		return
	}
	if err := c.svc.VerifyCA(c.tenant, x.ID, text); err != nil {
		c.refused(err)
		return
	}
	c.getCA()
}

// agentCertificate is the shape of a certificate made by MindSphere ("Obtaining Auto-Generated Agent
// Certificate"): publicKey is the certificate, and privateKey is there once, in the answer to POST.
type agentCertificate struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	AgentName  string `json:"agentName"`
	Owner      string `json:"owner,omitempty"`
	AgentID    string `json:"agentId"`
	ClientID   string `json:"clientId"`
	PrivateKey string `json:"privateKey,omitempty"`
	PublicKey  string `json:"publicKey"`
	Status     string `json:"status"`
}

func agentCertificateOf(x mindsphere.IssuedCertificate) agentCertificate {
	return agentCertificate{ID: x.ID, Name: x.Name, AgentName: x.ClientID, Owner: x.Owner, AgentID: x.AgentID, ClientID: x.ClientID,
		PublicKey: x.Certificate, Status: mindsphere.Ready}
}

func (c *call) createAgentCertificate() {
	var want struct{ Name, Owner string }
	if !c.json(&want) {
		return
	}
	x, private, err := c.svc.IssueCertificate(c.tenant, want.Name, want.Owner)
	if err != nil {
		c.refused(err)
		return
	}
	a := agentCertificateOf(x)
	a.PrivateKey = private
	c.reply(http.StatusCreated, a)
}

func (c *call) listAgentCertificates() {
	list := []agentCertificate{}
	for _, x := range c.svc.IssuedCertificates(c.tenant) {
		list = append(list, agentCertificateOf(x))
	}
	c.list("agentCertificates", list, len(list))
}

func (c *call) getAgentCertificate() {
	id := c.req.PathValue("id")
	x, ok := c.svc.IssuedCertificate(c.tenant, id)
	if !ok {
		c.missing("agent certificate", id)
		return
	}
	c.reply(http.StatusOK, agentCertificateOf(x))
}

func (c *call) deleteAgentCertificate() {
	id := c.req.PathValue("id")
	if !c.svc.DeleteIssuedCertificate(c.tenant, id) {
		c.missing("agent certificate", id)
		return
	}
	c.reply(http.StatusNoContent, nil)
}
