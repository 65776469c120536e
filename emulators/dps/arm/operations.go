package arm

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/pki"
)

// operations are what is served below an instance; {} stands for the name of a certificate.
var operations = []struct {
	method, path string
	serve        func(*call) (answer, *failure)
}{
	{"GET", "", (*call).getInstance},
	{"POST", "listkeys", (*call).listKeys},
	{"GET", "certificates", (*call).list},
	{"GET", "certificates/{}", (*call).get},
	{"PUT", "certificates/{}", (*call).put},
	{"DELETE", "certificates/{}", (*call).remove},
	{"POST", "certificates/{}/generateVerificationCode", (*call).newCode},
	{"POST", "certificates/{}/verify", (*call).verify},
}

// resource is what every resource begins with.
type resource struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	ETag       string `json:"etag,omitempty"`
	Location   string `json:"location,omitempty"`
	Group      string `json:"resourcegroup,omitempty"`
	Subscribed string `json:"subscriptionid,omitempty"`
	Properties any    `json:"properties"`
}

type certificateProperties struct {
	Subject     string `json:"subject"`
	Expiry      string `json:"expiry"`
	Thumbprint  string `json:"thumbprint"`
	Verified    bool   `json:"isVerified"`
	Certificate string `json:"certificate"` // base64 of DER
	Created     string `json:"created"`
	Updated     string `json:"updated"`
	Code        string `json:"verificationCode,omitempty"`
}

// timeForm is the resource provider's form of times.
const timeForm = http.TimeFormat

func (c *call) shown(ca dps.CA, code bool) resource {
	cert := c.dps.CertificateOf(ca)
	p := certificateProperties{Subject: pki.Name(cert.Subject), Expiry: cert.NotAfter.UTC().Format(timeForm), Thumbprint: fmt.Sprintf("%X", sha1.Sum(cert.Raw)),
		Verified: ca.Verified, Certificate: base64.StdEncoding.EncodeToString(cert.Raw),
		Created: ca.Created.UTC().Format(timeForm), Updated: ca.Updated.UTC().Format(timeForm)}
	if code {
		p.Code = ca.Code
	}
	return resource{ID: c.prefix + "/certificates/" + ca.Name, Name: ca.Name, Type: "Microsoft.Devices/provisioningServices/certificates", ETag: `"` + ca.ETag + `"`, Properties: p}
}

func (c *call) list() (answer, *failure) {
	shown := []resource{}
	for _, ca := range c.dps.CAs(c.instance.Name) {
		shown = append(shown, c.shown(ca, false))
	}
	return answer{http.StatusOK, map[string]any{"value": shown}}, nil
}

func (c *call) get() (answer, *failure) {
	ca, ok := c.dps.CA(c.instance.Name, c.certificate)
	if !ok {
		return answer{}, c.fault(dps.ErrNotFound)
	}
	return answer{http.StatusOK, c.shown(ca, false)}, nil
}

func (c *call) put() (answer, *failure) {
	var in struct {
		Properties struct {
			Certificate string `json:"certificate"`
			Verified    bool   `json:"isVerified"`
		} `json:"properties"`
	}
	if f := c.decode(&in); f != nil {
		return answer{}, f
	}
	ca, err := c.dps.PutCAIf(c.instance.Name, dps.CA{Name: c.certificate, Certificate: certificateText(in.Properties.Certificate), Verified: in.Properties.Verified}, c.ifMatch())
	if err != nil {
		return answer{}, c.fault(err)
	}
	return answer{http.StatusOK, c.shown(ca, false)}, nil
}

// certificateText turns base64 of PEM text, which the tools send, into the text; base64 of DER stays.
func certificateText(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if block, _ := pem.Decode(raw); err == nil && block != nil {
		return string(raw)
	}
	return text
}

func (c *call) remove() (answer, *failure) {
	if err := c.dps.DeleteCAIf(c.instance.Name, c.certificate, c.ifMatch()); err != nil {
		return answer{}, c.fault(err)
	}
	return answer{status: http.StatusOK}, nil
}

func (c *call) newCode() (answer, *failure) {
	ca, err := c.dps.NewCode(c.instance.Name, c.certificate, c.ifMatch())
	if err != nil {
		return answer{}, c.fault(err)
	}
	return answer{http.StatusOK, c.shown(ca, true)}, nil
}

func (c *call) verify() (answer, *failure) {
	var in struct{ Certificate string }
	if f := c.decode(&in); f != nil {
		return answer{}, f
	}
	ca, err := c.dps.ProveCA(c.instance.Name, c.certificate, c.ifMatch(), certificateText(in.Certificate))
	if err != nil {
		return answer{}, c.fault(err)
	}
	return answer{http.StatusOK, c.shown(ca, false)}, nil
}

func (c *call) getInstance() (answer, *failure) {
	type linked struct {
		Name     string `json:"name"`
		Location string `json:"location"`
	}
	hubs := []linked{}
	for _, h := range c.instance.LinkedHubs {
		hubs = append(hubs, linked{h, location})
	}
	policy := c.instance.AllocationPolicy
	if policy == "" {
		policy = dps.Hashed
	}
	return answer{http.StatusOK, resource{ID: c.prefix, Name: c.instance.Name, Type: "Microsoft.Devices/provisioningServices", Location: location, Group: c.group, Subscribed: c.subscribed,
		Properties: map[string]any{"state": "Active", "provisioningState": "Succeeded", "iotHubs": hubs, "idScope": c.instance.IDScope,
			"allocationPolicy":           strings.ToUpper(string(policy[:1])) + string(policy[1:]),
			"serviceOperationsHostName":  c.instance.Host(),
			"deviceProvisioningHostName": "global.azure-devices-provisioning.net",
			"enableDataResidency":        false,
			"authorizationPolicies":      nil,
			"privateEndpointConnections": nil}}}, nil
}

// location is the region of every resource.
const location = "westeurope"

func (c *call) listKeys() (answer, *failure) {
	type key struct {
		Name      string `json:"keyName"`
		Primary   string `json:"primaryKey"`
		Secondary string `json:"secondaryKey"`
		Rights    string `json:"rights"`
	}
	keys := []key{}
	for _, p := range c.instance.Policies {
		keys = append(keys, key{p.Name, p.Primary, p.Secondary, strings.ReplaceAll(p.Rights.String(), ", ", ",")})
	}
	return answer{http.StatusOK, map[string]any{"value": keys}}, nil
}
