package rest

import (
	"net/http"
	"slices"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/pki"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

func viewCA(ca iotda.CA) object {
	v := object{
		"certificate_id": ca.ID, "status": ca.Verified, "verify_code": ca.VerifyCode, "provision_enable": ca.ProvisionEnable, "app_id": ca.AppID,
		"template_id": ca.TemplateID, "ocsp_enable": ca.OCSP.Enable, "ocsp_ssl_enable": ca.OCSP.SSLEnable, "create_date": wire.FormatTime(ca.Created),
	}
	if ca.OCSP.ServerCAID != "" {
		v["ocsp_server_ca_id"] = ca.OCSP.ServerCAID
	}
	if certs, err := pki.ParseCertificates([]byte(ca.Certificate)); err == nil {
		v["cn_name"], v["owner"] = certs[0].Subject.CommonName, pki.Name(certs[0].Subject)
		v["effective_date"], v["expiry_date"] = wire.FormatTime(certs[0].NotBefore), wire.FormatTime(certs[0].NotAfter)
	}
	return v
}

func uploadCA(c *call) (int, any, error) {
	var ask struct {
		Content         string `json:"content"`
		AppID           string `json:"app_id"`
		ProvisionEnable bool   `json:"provision_enable"`
		TemplateID      string `json:"template_id"`
		iotda.OCSP
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	ca, err := c.UploadCA(c.instance, iotda.CA{AppID: ask.AppID, Certificate: ask.Content, ProvisionEnable: ask.ProvisionEnable, TemplateID: ask.TemplateID, OCSP: ask.OCSP})
	return http.StatusCreated, viewCA(ca), err
}

func listCAs(c *call) (int, any, error) {
	app := c.query("app_id")
	all := slices.DeleteFunc(c.CAs(c.instance), func(ca iotda.CA) bool { return app != "" && ca.AppID != app })
	list, page, err := paged(c, all, func(ca iotda.CA) string { return ca.ID })
	return http.StatusOK, object{"certificates": mapped(list, viewCA), "page": page}, err
}

func showCA(c *call) (int, any, error) {
	ca, err := c.CA(c.instance, c.path("certificate"))
	return http.StatusOK, viewCA(ca), err
}

func updateCA(c *call) (int, any, error) {
	var ask struct {
		ProvisionEnable *bool   `json:"provision_enable"`
		TemplateID      *string `json:"template_id"`
		OCSPEnable      *bool   `json:"ocsp_enable"`
		OCSPServerCAID  *string `json:"ocsp_server_ca_id"`
		OCSPSSLEnable   *bool   `json:"ocsp_ssl_enable"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	ca, err := c.UpdateCA(c.instance, c.path("certificate"), iotda.CAChange(ask))
	return http.StatusOK, viewCA(ca), err
}

func deleteCA(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteCA(c.instance, c.path("certificate"))
}

func verifyCA(c *call) (int, any, error) {
	if c.query("action_id") != "verify" {
		return 0, nil, &iotda.Error{Code: iotda.CodeInvalid, Text: "action_id: verify"}
	}
	var ask struct {
		Content string `json:"verify_content"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{}, c.VerifyCA(c.instance, c.path("certificate"), ask.Content)
}

// templateView is a provisioning template as the API shows it.
type templateView struct {
	iotda.Template
	CreateTime string `json:"create_time"`
}

func viewTemplate(t iotda.Template) templateView { return templateView{t, wire.FormatTime(t.Created)} }

func createTemplate(c *call) (int, any, error) {
	var t iotda.Template
	if err := c.read(&t); err != nil {
		return 0, nil, err
	}
	t.ID = ""
	t, err := c.PutTemplate(c.instance, t)
	return http.StatusCreated, viewTemplate(t), err
}

func listTemplates(c *call) (int, any, error) {
	list, page, err := paged(c, c.Templates(c.instance), func(t iotda.Template) string { return t.ID })
	return http.StatusOK, object{"templates": mapped(list, viewTemplate), "page": page}, err
}

func showTemplate(c *call) (int, any, error) {
	t, err := c.Template(c.instance, c.path("template"))
	return http.StatusOK, viewTemplate(t), err
}

func updateTemplate(c *call) (int, any, error) {
	t, err := c.Template(c.instance, c.path("template"))
	if err != nil {
		return 0, nil, err
	}
	ask := struct {
		Name        string              `json:"template_name"`
		Description string              `json:"description"`
		Body        *iotda.TemplateBody `json:"template_body"`
	}{Name: t.Name, Description: t.Description}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	t.Name, t.Description = ask.Name, ask.Description
	if ask.Body != nil {
		t.Body = *ask.Body
	}
	t, err = c.PutTemplate(c.instance, t)
	return http.StatusOK, viewTemplate(t), err
}

func deleteTemplate(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteTemplate(c.instance, c.path("template"))
}

func createPolicy(c *call) (int, any, error) {
	var p iotda.Policy
	if err := c.read(&p); err != nil {
		return 0, nil, err
	}
	p.ID = ""
	p, err := c.PutPolicy(c.instance, p)
	return http.StatusCreated, p, err
}

func listPolicies(c *call) (int, any, error) {
	list, page, err := paged(c, c.Policies(c.instance), func(p iotda.Policy) string { return p.ID })
	return http.StatusOK, object{"policies": list, "page": page}, err
}

func showPolicy(c *call) (int, any, error) {
	p, err := c.Policy(c.instance, c.path("policy"))
	return http.StatusOK, p, err
}

func updatePolicy(c *call) (int, any, error) {
	p, err := c.Policy(c.instance, c.path("policy"))
	if err != nil {
		return 0, nil, err
	}
	ask := struct {
		Name       string            `json:"policy_name"`
		Statements []iotda.Statement `json:"statement"`
	}{Name: p.Name}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	p.Name = ask.Name
	if ask.Statements != nil {
		p.Statements = ask.Statements
	}
	p, err = c.PutPolicy(c.instance, p)
	return http.StatusOK, p, err
}

func deletePolicy(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeletePolicy(c.instance, c.path("policy"))
}

func bindPolicy(bind bool) operation {
	return func(c *call) (int, any, error) {
		var ask struct {
			Type string   `json:"target_type"`
			IDs  []string `json:"target_ids"`
		}
		if err := c.read(&ask); err != nil {
			return 0, nil, err
		}
		done, failed, err := c.BindPolicy(c.instance, c.path("policy"), ask.Type, ask.IDs, bind)
		return http.StatusOK, object{"policy_id": c.path("policy"), "target_type": ask.Type, "success_targets": done, "failure_targets": failed}, err
	}
}

func policyTargets(c *call) (int, any, error) {
	var ask struct {
		Type string `json:"target_type"`
	}
	if len(c.body) > 0 {
		if err := c.read(&ask); err != nil {
			return 0, nil, err
		}
	}
	p, err := c.Policy(c.instance, c.path("policy"))
	targets := []object{}
	for _, kind := range iotda.TargetTypes {
		if ask.Type != "" && ask.Type != kind {
			continue
		}
		for _, id := range p.Targets(kind) {
			targets = append(targets, object{"target_type": kind, "target_id": id})
		}
	}
	return http.StatusOK, object{"targets": targets}, err
}
