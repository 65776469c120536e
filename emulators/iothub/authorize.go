package iothub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// ServiceCredentials are what a back end shows, whatever protocol it speaks.
type ServiceCredentials struct {
	Endpoint string // the hub that the connection was routed to, by any of its names
	// Hosts are further names that may stand for the hub in a token on this connection.
	Hosts []string
	Token string // the Authorization header, or what stands in its place
	// Target is the path below the host that is asked for, decoded, without a leading slash.
	Target string
	Need   Rights // all of them
}

// AuthorizeService judges a back end's token by the wall clock and returns its policy's name. A refusal's
// Code is the hub's own: 401003, or 401002 for a policy that lacks a right (SVC-29, SVC-30).
func (s *Service) AuthorizeService(c ServiceCredentials) (policy string, r *rule.Refusal) {
	hub, err := s.GetHub(c.Endpoint)
	if err != nil {
		return "", s.hostRefusal(c.Endpoint, c.Hosts)
	}
	token, r := readServiceToken(hub, c.Token)
	if r != nil {
		return "", r
	}
	target, err := token.Target()
	if err != nil {
		return "", serviceRefusal("SVC-29/malformed", err.Error(), quote("sr="+token.Resource), "sr="+azure.Escape(hub.Host))
	}
	host, path, _ := strings.Cut(target, "/")
	if name, _, port := strings.Cut(host, ":"); port {
		host = name
	}
	if !hub.answersTo(host, c.Hosts) || path != "" && !azure.Covers(strings.ToLower(path), strings.ToLower(c.Target)) {
		return "", serviceRefusal("SVC-29/resource", "the token's resource does not cover what is asked for",
			"sr="+quote(target)+" (decoded)", "sr="+hub.Host+" (decoded), or a path below it that leads to "+quote("/"+c.Target))
	}
	p, r := servicePolicy(hub, token)
	if r != nil {
		return "", r
	}
	if !signedByEither(token, p.PrimaryKey, p.SecondaryKey) {
		who := subject{hub: hub}
		r := signatureRefusal(who, token, "key of policy "+p.Name, p.PrimaryKey, p.SecondaryKey)
		return "", serviceRefusal("SVC-29/signature", r.Detail, r.Seen, r.Expected)
	}
	now, skew := s.clock.Wall(), hub.Switches.skew()
	if now.After(token.Expiry.Add(skew)) {
		return "", serviceRefusal("SVC-29/expired", fmt.Sprintf("the token expired %s ago", now.Sub(token.Expiry).Round(time.Second)),
			"se="+token.ExpiryS+" ("+stamp(token.Expiry)+")", "se of "+fmt.Sprint(now.Add(-skew).Unix())+" or later (now is "+stamp(now)+")")
	}
	if missing := c.Need &^ p.Rights; missing != 0 {
		return "", &rule.Refusal{Rule: "SVC-30/rights", Code: CodeUnauthorizedAccess,
			Detail: fmt.Sprintf("policy %s lacks %s", p.Name, missing), Seen: "skn=" + p.Name + " with " + p.Rights.String(),
			Expected: "a policy with " + c.Need.String() + ": " + listed(policiesWith(hub, c.Need))}
	}
	return p.Name, nil
}

func serviceRefusal(id rule.ID, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Code: CodeUnauthorized, Detail: detail, Seen: seen, Expected: expected}
}

// readServiceToken parses what stands in the token's place, and explains what is none.
func readServiceToken(hub Hub, text string) (azure.SAS, *rule.Refusal) {
	want := "SharedAccessSignature sr=" + azure.Escape(hub.Host) + "&sig=…&se=…&skn={policy}"
	scheme, _, _ := strings.Cut(text, " ")
	switch {
	case text == "":
		return azure.SAS{}, serviceRefusal("SVC-29/missing", "the request has no Authorization header", "no token", want)
	case strings.EqualFold(scheme, "Bearer"):
		return azure.SAS{}, serviceRefusal("SVC-29/bearer", "Microsoft Entra ID tokens are not emulated", "Authorization: Bearer ***", want)
	}
	token, err := azure.ParseSAS(text)
	if err != nil {
		return token, serviceRefusal("SVC-29/malformed", err.Error(), fmt.Sprintf("text of %d bytes", len(text)), want)
	}
	return token, nil
}

// servicePolicy returns the policy that a token names.
func servicePolicy(hub Hub, token azure.SAS) (Policy, *rule.Refusal) {
	var known []string
	for _, p := range hub.Policies {
		known = append(known, p.Name)
	}
	if i := slices.Index(known, token.Policy); i >= 0 {
		return hub.Policies[i], nil
	}
	detail := "the hub has no policy " + quote(token.Policy)
	if token.Policy == "" {
		detail = "the token names no policy; a device's token does not open the service API"
	} else if near, why := nearest(token.Policy, known); near != "" {
		detail += fmt.Sprintf("; there is %q, %s", near, why)
	}
	return Policy{}, serviceRefusal("SVC-29/policy", detail, "skn="+quote(token.Policy), "skn of one of: "+listed(known))
}

func policiesWith(hub Hub, need Rights) []string {
	var names []string
	for _, p := range hub.Policies {
		if p.Rights&need == need {
			names = append(names, p.Name)
		}
	}
	return names
}
