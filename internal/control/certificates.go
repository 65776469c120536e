package control

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fakecloud/fakecloud/internal/pki"
)

type fileOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

type deviceRequest struct {
	CommonName string    `json:"commonName" minLength:"1" maxLength:"64" doc:"the device id as the platform wants it"`
	CA         string    `json:"ca,omitempty" maxLength:"64" doc:"device CA that signs; demo-ca when not given"`
	Key        string    `json:"key,omitempty" enum:"ecdsa,rsa2048" doc:"ecdsa when not given"`
	NotBefore  time.Time `json:"notBefore,omitempty" required:"false" doc:"a day ago when not given"`
	NotAfter   time.Time `json:"notAfter,omitempty" required:"false" doc:"in a year when not given"`
	X509v1     bool      `json:"x509v1,omitempty" doc:"without extensions, as openssl x509 -req makes it"`
	Format     string    `json:"format,omitempty" enum:"pem,pfx" doc:"pem when not given"`
	Password   string    `json:"password,omitempty" maxLength:"256" doc:"of the PFX"`
}

// Issued is a device's certificate as PEM, with its key and thumbprints.
type Issued struct {
	Certificate string `json:"certificate" doc:"PEM of the leaf"`
	Chain       string `json:"chain" doc:"PEM of the leaf and the CAs above it"`
	PrivateKey  string `json:"privateKey" doc:"PEM: PKCS#1 or SEC1"`
	SHA1        string `json:"sha1" doc:"thumbprint, 40 upper-case hex digits"`
	SHA256      string `json:"sha256" doc:"thumbprint, 64 upper-case hex digits"`
}

// issuing bounds how many keys are made at a time: an RSA key takes a core for up to a second.
const issuing = 2

func (a *api) certificates() {
	file := func(op huma.Operation, types ...string) huma.Operation {
		errs := op.Errors
		op = stream(op, types...)
		op.Errors = append(errs, http.StatusNotFound)
		return op
	}
	ca := file(call(http.MethodGet, "/api/v1/ca.pem", "ca", "The root that clients have to trust"), "application/x-pem-file")
	register(a, ca, func(context.Context, *struct{}) (*fileOutput, error) {
		return pemFile("ca.pem", a.plane.PKI.RootPEM()), nil
	})
	named := file(call(http.MethodGet, "/api/v1/pki/{file}", "pki", "{name}.pem: root (also as AmazonRootCA1), the gateways' azure-iot-test-only.root.ca.cert, or a device CA with those above it"), "application/x-pem-file")
	register(a, named, a.getCA)

	issue := call(http.MethodPost, "/api/v1/pki/devices", "issue-device", "A key and a certificate for a device, as JSON with PEM texts or as a PFX file")
	issue = stream(issue, "application/x-pkcs12")
	issue.Errors = append(issue.Errors, http.StatusNotFound, http.StatusUnprocessableEntity)
	schema := huma.SchemaFromType(a.huma.OpenAPI().Components.Schemas, reflect.TypeFor[Issued]())
	issue.Responses["200"].Content["application/json"] = &huma.MediaType{Schema: schema}
	slots := make(chan struct{}, issuing)
	register(a, issue, func(ctx context.Context, in *struct{ Body deviceRequest }) (*huma.StreamResponse, error) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return nil, refuse(http.StatusServiceUnavailable, "the call was broken off")
		}
		return a.issueDevice(&in.Body)
	})
}

func pemFile(name string, text []byte) *fileOutput {
	return &fileOutput{ContentType: "application/x-pem-file", Disposition: `attachment; filename="` + name + `"`, Body: text}
}

func (a *api) getCA(_ context.Context, in *struct {
	File string `path:"file" maxLength:"80"`
}) (*fileOutput, error) {
	if in.File == pki.EdgeRootFile && a.plane.EdgeRoot != nil {
		root, err := a.plane.EdgeRoot()
		if err != nil {
			a.log.Error("the gateways' root not made", "cause", err)
			return nil, refuse(http.StatusInternalServerError, "the gateways' root could not be made; the instance's log says why")
		}
		return pemFile(in.File, root), nil
	}
	name, ok := strings.CutSuffix(in.File, ".pem")
	if ok && (name == "root" || pki.IsVendorRoot(in.File)) {
		return pemFile(in.File, a.plane.PKI.RootPEM()), nil
	}
	if !ok {
		return nil, refuse(http.StatusNotFound, "certificates are files that end in .pem")
	}
	ca, err := a.plane.PKI.CA(name)
	if err != nil {
		return nil, a.caProblem(err)
	}
	return pemFile(in.File, ca.PEM()), nil
}

func (a *api) caProblem(err error) error {
	if errors.Is(err, pki.ErrNoCA) {
		p := refuse(http.StatusNotFound, "no such device CA")
		if cas, err := a.plane.PKI.CAs(); err == nil {
			for _, ca := range cas {
				p.Closest = append(p.Closest, ca.Name)
			}
		}
		return p
	}
	return refuse(http.StatusUnprocessableEntity, withoutQuoted(err.Error()))
}

func (a *api) issueDevice(in *deviceRequest) (*huma.StreamResponse, error) {
	if in.Password != "" && in.Format != "pfx" {
		return nil, refuse(http.StatusUnprocessableEntity, `password goes with "format":"pfx" only: PEM files here carry the key in the clear`)
	}
	issued, err := a.plane.PKI.IssueDevice(pki.DeviceRequest{CommonName: in.CommonName, CA: in.CA, Key: pki.KeyType(in.Key),
		NotBefore: in.NotBefore, NotAfter: in.NotAfter, X509v1: in.X509v1})
	if err != nil {
		return nil, a.caProblem(err)
	}
	if in.Format != "pfx" {
		body := Issued{Certificate: issued.Certificate, Chain: issued.Chain, PrivateKey: issued.PrivateKey, SHA1: issued.SHA1, SHA256: issued.SHA256}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "application/json")
			c.SetStatus(http.StatusOK)
			_ = a.huma.Marshal(c.BodyWriter(), "application/json", body) // a client that has gone needs nothing
		}}, nil
	}
	pfx, err := pkcs12.Modern2023.Encode(issued.Key, issued.Leaf, issued.Issuers, in.Password)
	if err != nil {
		a.log.Error("PFX not made", "cause", err)
		return nil, refuse(http.StatusInternalServerError, "the PFX could not be made; the instance's log says why")
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/x-pkcs12")
		c.SetHeader("Content-Disposition", `attachment; filename="device.pfx"`)
		c.SetStatus(http.StatusOK)
		_, _ = c.BodyWriter().Write(pfx) // as above
	}}, nil
}

var quoted = regexp.MustCompile(`\s*"[^"]*"`)

// withoutQuoted takes out what an error repeats of its input.
func withoutQuoted(text string) string { return quoted.ReplaceAllString(text, "") }
