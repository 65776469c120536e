package dps

import (
	"crypto/hmac"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// unbase64 decodes a key that was validated when its record was put.
func unbase64(key string) []byte {
	raw, _ := base64.StdEncoding.DecodeString(key)
	return raw
}

const wantedToken = "SharedAccessSignature sr={idScope}%2Fregistrations%2F{registrationId}&sig={signature}&se={unix seconds}&skn=registration"

// resource is what a device's token must be made for.
func (c Caller) resource() string { return c.Scope + "/registrations/" + c.RegistrationID }

// parseToken reads the caller's token and checks what it was made for, not yet who signed it.
func (c Caller) parseToken() (azure.SAS, *denial) {
	sas, err := azure.ParseSAS(c.Token)
	if err != nil {
		return sas, deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-15/token",
			Detail: err.Error(), Seen: c.credential(),
			Expected: wantedToken})
	}
	resource, err := url.PathUnescape(sas.Resource)
	if err != nil || !strings.EqualFold(resource, c.resource()) {
		return sas, deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-15/resource",
			Seen: "sr=" + clip(sas.Resource), Expected: "sr=" + url.QueryEscape(c.resource())})
	}
	return sas, nil
}

// keyItself recognises a password that is one of the keys that should have signed a token.
func (c Caller) keyItself(keys ...[]byte) *denial {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(c.Token))
	if err != nil || len(raw) == 0 || !slices.ContainsFunc(keys, func(key []byte) bool { return hmac.Equal(key, raw) }) {
		return nil
	}
	return deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-15/key",
		Seen: "a symmetric key of the enrollment", Expected: "a SAS token as password: " + wantedToken})
}

// checkToken judges a token against the keys that may have signed it.
func (s *Service) checkToken(i Instance, c Caller, keys ...[]byte) *denial {
	if d := c.keyItself(keys...); d != nil {
		return d
	}
	sas, d := c.parseToken()
	if d != nil {
		return d
	}
	for _, key := range keys {
		if sas.SignedBy(key) {
			return c.checkExpiry(sas, s.Clock.Wall())
		}
	}
	return c.badSignature(i, sas, keys)
}

// checkExpiry compares with the wall reading: the device's clock is real.
func (c Caller) checkExpiry(sas azure.SAS, now time.Time) *denial {
	if sas.Expiry.After(now) {
		return nil
	}
	return deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-16/expired",
		Seen:     "se=" + sas.ExpiryS + ", which is " + sas.Expiry.Format(time.RFC3339),
		Expected: "a time after " + now.UTC().Format(time.RFC3339)})
}

// badSignature refuses a token that no key signed, and says how it was signed where that can be found out.
func (c Caller) badSignature(i Instance, sas azure.SAS, keys [][]byte) *denial {
	r := rule.Refusal{Rule: "DPS-15/signature", Seen: clip(azure.MaskSAS(c.Token)),
		Expected: fmt.Sprintf("sig = base64(HMAC-SHA256(base64-decoded key, %q + \"\\n\" + %q)) of an enrollment of %s in instance %s",
			clip(sas.Resource), sas.ExpiryS, c.RegistrationID, i.Name)}
	for _, key := range keys {
		if sas.SignedBy([]byte(base64.StdEncoding.EncodeToString(key))) {
			r.Detail = "the key is right, but it was not base64-decoded before signing"
		}
		for _, spelling := range []string{c.resource(), url.QueryEscape(c.resource()), strings.ToLower(url.QueryEscape(c.resource()))} {
			other := sas
			other.Resource = spelling
			if other.SignedBy(key) {
				r.Detail = fmt.Sprintf("the key is right, but the signature was made over %q while the token says sr=%s", spelling, sas.Resource)
			}
		}
	}
	return deny(codeUnauthorized, messageUnauthorized, r)
}

// attestKeyGroup finds the group whose derived key signed the caller's token.
func (s *Service) attestKeyGroup(i Instance, c Caller) (admission, *denial) {
	groups := s.keyGroups(i)
	if len(groups) == 0 {
		return admission{}, s.notEnrolled(i, c, "the instance has no enrollment group with symmetric keys")
	}
	if d := c.keyItself(c.keysOf(groups)...); d != nil {
		return admission{}, d
	}
	sas, d := c.parseToken()
	if d != nil {
		return admission{}, d
	}
	var tried [][]byte
	for _, g := range groups {
		k := g.Attestation.SymmetricKey
		primary, secondary := derive(k.Primary, c.RegistrationID), derive(k.Secondary, c.RegistrationID)
		if sas.SignedBy(primary) || sas.SignedBy(secondary) {
			return admission{kind: kindKey, groupID: g.ID, deviceID: c.RegistrationID, terms: g.Terms,
				auth: Auth{PrimaryKey: base64.StdEncoding.EncodeToString(primary), SecondaryKey: base64.StdEncoding.EncodeToString(secondary)},
			}, c.checkExpiry(sas, s.Clock.Wall())
		}
		tried = append(tried, primary, secondary)
	}
	if d := c.groupKeyItself(sas, groups); d != nil {
		return admission{}, d
	}
	return admission{}, c.badSignature(i, sas, tried)
}

func (s *Service) keyGroups(i Instance) []Group {
	var groups []Group
	for _, g := range s.Groups(i.Name) {
		if g.Attestation.SymmetricKey != nil {
			groups = append(groups, g)
		}
	}
	return groups
}

// keysOf are the keys of groups, and those that are derived from them for the caller.
func (c Caller) keysOf(groups []Group) (keys [][]byte) {
	for _, g := range groups {
		for _, k := range []string{g.Attestation.SymmetricKey.Primary, g.Attestation.SymmetricKey.Secondary} {
			keys = append(keys, unbase64(k), derive(k, c.RegistrationID))
		}
	}
	return keys
}

func derive(groupKey, registrationID string) []byte {
	return azure.DeriveKey(unbase64(groupKey), registrationID)
}

// groupKeyItself recognises tokens signed with a group key, or with a key derived for the id in
// another case.
func (c Caller) groupKeyItself(sas azure.SAS, groups []Group) *denial {
	for _, g := range groups {
		for _, k := range []string{g.Attestation.SymmetricKey.Primary, g.Attestation.SymmetricKey.Secondary} {
			if sas.SignedBy(unbase64(k)) {
				return deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-19/group-key",
					Seen:     "a token signed with the key of enrollment group " + g.ID,
					Expected: fmt.Sprintf("a token signed with the derived key base64(HMAC-SHA256(base64-decoded group key, %q))", c.RegistrationID)})
			}
			for _, id := range []string{strings.ToLower(c.RegistrationID), strings.ToUpper(c.RegistrationID)} {
				if sas.SignedBy(derive(k, id)) {
					return deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-15/signature",
						Detail:   "the key was derived from the registration id in another case",
						Seen:     fmt.Sprintf("a key of group %s derived from %q", g.ID, id),
						Expected: fmt.Sprintf("the key derived from %q, as the username spells it", c.RegistrationID)})
				}
			}
		}
	}
	return nil
}
