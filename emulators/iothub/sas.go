package iothub

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// verifyToken judges resource and signature of a token, in this order: a token for another device is
// better explained by its resource than by its signature.
func verifyToken(who subject, token azure.SAS, local []string) (AuthMethod, *rule.Refusal) {
	var none AuthMethod
	target, err := token.Target()
	if err != nil {
		return none, refusal("HUB-5/malformed", err.Error(), quote("sr="+token.Resource), "sr="+azure.Escape(who.hub.Host+"/"+who.resource()))
	}
	host, path, _ := strings.Cut(target, "/")
	path = strings.TrimSuffix(path, "/")
	if !who.hub.answersTo(host, local) {
		return none, resourceRefusal(who, target, fmt.Sprintf("the token is for host %s, this hub is %s", quote(host), who.hub.Host))
	}
	if token.Policy != "" {
		return verifyPolicyToken(who, token, target, path)
	}
	if path == "" {
		return none, refusal("HUB-8/no-policy", "a token for the whole hub names no policy",
			"sr="+quote(target)+" without skn", "skn={policy} for a hub token, or sr="+azure.Escape(who.hub.Host+"/"+who.resource()))
	}
	if r := coversIdentity(who, target, path); r != nil {
		return none, r
	}
	k := who.auth.SymmetricKey
	if who.auth.Type != AuthSAS {
		return none, refusal("HUB-5/no-key", fmt.Sprintf("%s has authentication type none: it has no key of its own", who.name()),
			"a token without skn", "a token of a policy with DeviceConnect")
	}
	device := who.device.Authentication.SymmetricKey // empty where the device authenticates otherwise
	switch {
	case who.moduleID != "" && signedByEither(token, k.PrimaryKey, k.SecondaryKey):
		return AuthMethod{Scope: "module", Type: "sas", Issuer: "iothub"}, nil
	case signedByEither(token, device.PrimaryKey, device.SecondaryKey):
		// A device's key opens what is below the device too: all modules of azure-iot-sdk-java's own suite
		// connect with it (iot-e2e-tests, helpers/DeviceConnectionString.java).
		return AuthMethod{Scope: "device", Type: "sas", Issuer: "iothub"}, nil
	case who.moduleID != "":
		return none, signatureRefusal(who, token, "key of the module or of its device", k.PrimaryKey, k.SecondaryKey, device.PrimaryKey, device.SecondaryKey)
	}
	return none, signatureRefusal(who, token, "device key", k.PrimaryKey, k.SecondaryKey)
}

// coversIdentity judges the path of a device key's token: the identity's own, or a longer tail (old
// tools sign …%2Fapi-version%3D2016-11-14), compared by whole segments. A device's token may not stand for
// its module, nor the other way round: they are identities of their own.
func coversIdentity(who subject, target, path string) *rule.Refusal {
	own := who.resource()
	if path != own && !azure.Covers(own, path) {
		return resourceRefusal(who, target, "the token's resource is not "+who.name())
	}
	if tail := strings.TrimPrefix(path, own); who.moduleID == "" && strings.HasPrefix(tail, "/modules/") {
		return resourceRefusal(who, target, "the token is for a module of the device, the client connects as the device")
	}
	return nil
}

func resourceRefusal(who subject, target, detail string) *rule.Refusal {
	return refusal("HUB-7/resource", detail, "sr="+quote(target)+" (decoded)", "sr="+who.hub.Host+"/"+who.resource()+" (decoded)")
}

// verifyPolicyToken judges a token signed with a shared access policy's key (skn).
func verifyPolicyToken(who subject, token azure.SAS, target, path string) (AuthMethod, *rule.Refusal) {
	var none AuthMethod
	i := slices.IndexFunc(who.hub.Policies, func(p Policy) bool { return p.Name == token.Policy })
	if i < 0 {
		return none, unknownPolicy(who, token.Policy)
	}
	p := who.hub.Policies[i]
	if p.Rights&DeviceConnect == 0 {
		return none, refusal("HUB-8/rights", fmt.Sprintf("policy %s may not connect as a device", p.Name),
			"skn="+p.Name+" with "+p.Rights.String(), "a policy with DeviceConnect, such as device or iothubowner")
	}
	if path != "" && !azure.Covers(path, who.resource()) && coversIdentity(who, target, path) != nil {
		return none, resourceRefusal(who, target, "the token's resource does not cover "+who.name())
	}
	if !signedByEither(token, p.PrimaryKey, p.SecondaryKey) {
		return none, signatureRefusal(who, token, "key of policy "+p.Name, p.PrimaryKey, p.SecondaryKey)
	}
	return AuthMethod{Scope: "hub", Type: "sas", Issuer: "iothub"}, nil
}

func unknownPolicy(who subject, seen string) *rule.Refusal {
	var known []string
	for _, p := range who.hub.Policies {
		if p.Rights&DeviceConnect != 0 {
			known = append(known, p.Name)
		}
	}
	detail := fmt.Sprintf("the hub has no policy %s", quote(seen))
	if near, why := nearest(seen, known); near != "" {
		detail += fmt.Sprintf("; there is %q, %s", near, why)
	}
	return refusal("HUB-8/policy", detail, "skn="+quote(seen), "skn of a policy with DeviceConnect: "+listed(known))
}

func signedByEither(token azure.SAS, keys ...string) bool {
	for _, k := range keys {
		if b, err := base64.StdEncoding.DecodeString(k); err == nil && k != "" && token.SignedBy(b) {
			return true
		}
	}
	return false
}

// signatureRefusal says why a signature does not fit, trying the mistakes that are made most often.
func signatureRefusal(who subject, token azure.SAS, what string, keys ...string) *rule.Refusal {
	detail := "the signature does not fit the " + what
	expected := "HMAC-SHA256 over \"" + clip(token.Resource) + "\\n" + token.ExpiryS + "\" with the base64-decoded " + what
	decoded, err := url.PathUnescape(token.Resource)
	if err != nil {
		decoded = token.Resource
	}
	for _, k := range keys {
		b, err := base64.StdEncoding.DecodeString(k)
		if err != nil || k == "" {
			continue
		}
		switch {
		case token.SignedBy([]byte(k)):
			detail += ": it was made with the key's base64 text; decode the key from base64 first"
		case decoded != token.Resource && signed(token, b, decoded):
			detail += ": it was made over the decoded resource; sign the percent-encoded one, as it stands in sr"
		default:
			continue
		}
		return refusal("HUB-5/signature", detail, "sig=*** over sr="+clip(token.Resource), expected)
	}
	for _, p := range who.hub.Policies {
		if token.Policy != p.Name && signedByEither(token, p.PrimaryKey, p.SecondaryKey) {
			detail += fmt.Sprintf(": it was made with the key of policy %s; add &skn=%s", p.Name, p.Name)
			break
		}
	}
	return refusal("HUB-5/signature", detail, "sig=*** over sr="+clip(token.Resource), expected)
}

func signed(token azure.SAS, key []byte, resource string) bool {
	token.Resource = resource
	return token.SignedBy(key)
}
