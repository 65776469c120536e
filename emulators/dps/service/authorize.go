package service

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// authorize judges the request's token by the wall clock, and remembers its policy (DPS-43).
func (c *call) authorize() *failure {
	i, ok := c.dps.Instance(c.instance)
	if !ok {
		return unauthorized("DPS-43/instance", fmt.Sprintf("host of %q", show(c.instance)), "the host name of an instance, {name}.azure-devices-provisioning.net")
	}
	header, self, now := c.r.Header.Get("Authorization"), i.Host(), c.dps.Clock.Wall()
	want := "SharedAccessSignature sr=" + self + "&sig=…&se=…&skn=" + dps.OwnerPolicy
	token, err := azure.ParseSAS(header)
	if err != nil {
		return unauthorized("DPS-43/token", fmt.Sprintf("an Authorization header of %d bytes: %v", len(header), err), want)
	}
	target, err := token.Target()
	if err != nil {
		return unauthorized("DPS-43/token", err.Error(), want)
	}
	policy, known := i.Policy(token.Policy)
	host, path, _ := strings.Cut(target, "/")
	if name, _, port := strings.Cut(host, ":"); port {
		host = name
	}
	switch {
	case !known:
		return unauthorized("DPS-43/policy", fmt.Sprintf("skn=%q", show(token.Policy)), "skn="+dps.OwnerPolicy+", or another policy of the instance")
	case host != self && !slices.Contains(c.peer.Hosts, host), path != "" && !azure.Covers(strings.ToLower(path), strings.ToLower(strings.Trim(c.r.URL.Path, "/"))):
		return unauthorized("DPS-43/resource", fmt.Sprintf("sr=%q (decoded)", show(target)), "sr="+self+", or a path below it that leads to what is asked for")
	case !signedBy(policy, token):
		return unauthorized("DPS-43/signature", "a signature that neither key of the policy made", "a signature by the base64-decoded key over sr, a newline and se as they stand in the token")
	case now.After(token.Expiry):
		return unauthorized("DPS-43/expired", "se="+token.ExpiryS, fmt.Sprintf("se of %d or later", now.Add(time.Second).Unix()))
	}
	c.policy = policy
	return nil
}

// permit judges whether the policy may do what is asked for.
func (c *call) permit(need dps.Rights) *failure {
	if c.policy.Rights&need != need {
		return unauthorized("DPS-43/rights", fmt.Sprintf("policy %s with %s", show(c.policy.Name), c.policy.Rights), "a policy with "+need.String())
	}
	return nil
}

func signedBy(p dps.Policy, token azure.SAS) bool {
	for _, k := range []string{p.Primary, p.Secondary} {
		if raw, err := base64.StdEncoding.DecodeString(k); err == nil && len(raw) > 0 && token.SignedBy(raw) {
			return true
		}
	}
	return false
}

func unauthorized(id rule.ID, seen, expected string) *failure {
	return &failure{codeUnauthorized, "Unauthorized", rule.Refusal{Rule: id, Seen: seen, Expected: expected}}
}
