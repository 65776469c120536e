package edge

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Credentials are what a child shows.
type Credentials struct {
	Gateway string // host name
	// Hosts are further names that may stand for the gateway in a token: loopback, advertised names, the
	// address dialled.
	Hosts     []string
	DeviceID  string
	ModuleID  string
	AuthChain string // of a child that comes through a gateway below
	Password  string // a SAS token, or whatever stands in its place
	// Certificates are the client's, leaf first, not verified.
	Certificates []*x509.Certificate
}

// Admission is a child that has proved who it is.
type Admission struct {
	Gateway  string
	Identity Identity
	// Guest says that it is no child: the hub vouched for it (ModeCloudAndScope).
	Guest bool
}

// Authenticate judges a child. The error is a *rule.Refusal; every one is return code 5.
func (s *Service) Authenticate(_ context.Context, c Credentials) (Admission, error) {
	g, err := s.find(c.Gateway)
	if err != nil {
		return Admission{}, refusal("EDGE-11/gateway", err.Error(), quote(c.Gateway), "a gateway that is emulated")
	}
	a, r := g.admit(c)
	if r != nil {
		return Admission{}, r
	}
	return a, nil
}

func (g *gateway) admit(c Credentials) (Admission, *rule.Refusal) {
	who := Identity{DeviceID: c.DeviceID, ModuleID: c.ModuleID}
	g.welcome(c)
	switch {
	case c.Password != "":
		if chain := azure.AuthChainIDs(c.AuthChain); len(chain) > 1 {
			return g.onBehalf(c, who, chain)
		}
		return g.byToken(c, who)
	case len(c.Certificates) == 0:
		return Admission{}, refusal("EDGE-16/none", "neither a token nor a client certificate was presented", "no password, no client certificate",
			"a SAS token as password, or a client certificate and no password")
	case c.ModuleID != "":
		return Admission{}, refusal("EDGE-14/module", "a gateway takes no certificates of modules", "a certificate of "+subject(c.Certificates[0])+" for module "+quote(who.Name()),
			"a SAS token of the module or of its device")
	}
	return g.byCertificate(c, who)
}

// byToken judges a token of the identity, or for a module of its device.
func (g *gateway) byToken(c Credentials, who Identity) (Admission, *rule.Refusal) {
	token, r := g.readToken(c, who)
	if r != nil {
		return Admission{}, r
	}
	id, ok, why := g.lookup(c.DeviceID, c.ModuleID, false)
	if !ok {
		if a, r := g.guest(c, who, token); a != nil || r != nil {
			return *orNone(a), r
		}
		return Admission{}, g.stranger(who, why)
	}
	if r = g.signed(c, id, token); r != nil {
		if id, ok, _ = g.lookup(c.DeviceID, c.ModuleID, true); !ok || g.signed(c, id, token) != nil {
			return Admission{}, r // the hub knows no newer key either
		}
	}
	if r := g.stillAllowed(id); r != nil {
		return Admission{}, r
	}
	return Admission{Gateway: g.name, Identity: id}, nil
}

// signed judges a token by the identity's keys, or for a module by those of its device.
func (g *gateway) signed(c Credentials, id Identity, token azure.SAS) *rule.Refusal {
	r := g.checkToken(c, id, id, token)
	if r != nil && id.ModuleID != "" {
		if device, known, _ := g.lookup(id.DeviceID, "", false); known && g.checkToken(c, id, device, token) == nil {
			return nil
		}
	}
	return r
}

func orNone(a *Admission) *Admission {
	if a == nil {
		return &Admission{}
	}
	return a
}

// guest asks the hub about a device that is no child, where the mode allows it.
func (g *gateway) guest(c Credentials, who Identity, token azure.SAS) (*Admission, *rule.Refusal) {
	g.mu.Lock()
	set := g.set
	g.mu.Unlock()
	if set.Mode != ModeCloudAndScope || g.down() {
		return nil, nil
	}
	id, err := g.svc.upstream.Identity(set.Hub, who.DeviceID, who.ModuleID)
	if err != nil {
		return nil, nil
	}
	if r := g.checkToken(c, id, id, token); r != nil {
		return nil, r
	}
	if id.Disabled {
		return nil, disabled(id)
	}
	return &Admission{Gateway: g.name, Identity: id, Guest: true}, nil
}

// stranger says why an identity is not in the scope.
func (g *gateway) stranger(who Identity, why string) *rule.Refusal {
	g.mu.Lock()
	set := g.set
	g.mu.Unlock()
	expected := fmt.Sprintf("a device of hub %s whose parent is %s", set.Hub, set.DeviceID)
	if g.down() {
		return refusal("EDGE-33/unknown", quote(who.Name())+" is not among the gateway's children: "+why, quote(who.Name()), expected+", seen while the hub could be reached")
	}
	if why != "" {
		return refusal("EDGE-11/cached", quote(who.Name())+" is not among the gateway's children; "+why, quote(who.Name()), expected)
	}
	if _, err := g.svc.upstream.Identity(set.Hub, who.DeviceID, who.ModuleID); err == nil {
		return refusal("EDGE-11/parent", fmt.Sprintf("%s is registered at hub %s, but is no child of %s", quote(who.Name()), set.Hub, set.DeviceID), quote(who.Name()), expected)
	}
	return refusal("EDGE-11/unknown", fmt.Sprintf("hub %s has no %s", set.Hub, quote(who.Name())), quote(who.Name()), expected)
}

// readToken parses what stands in the password's place.
func (g *gateway) readToken(c Credentials, who Identity) (azure.SAS, *rule.Refusal) {
	want := "SharedAccessSignature sr=" + azure.Escape(g.hubHost()+"/"+resource(who)) + "&sig=…&se=…"
	if !azure.IsSAS(c.Password) {
		return azure.SAS{}, refusal("EDGE-7/password", "the password is not a SAS token", fmt.Sprintf("text of %d bytes", len(c.Password)), want)
	}
	token, err := azure.ParseSAS(c.Password)
	if err != nil {
		return token, refusal("EDGE-7/malformed", err.Error(), quote(azure.MaskSAS(c.Password)), want)
	}
	return token, nil
}

func resource(id Identity) string {
	path := "devices/" + id.DeviceID
	if id.ModuleID != "" {
		path += "/modules/" + id.ModuleID
	}
	return path
}

// checkToken judges a token for target that signer's keys have to have signed.
func (g *gateway) checkToken(c Credentials, target, signer Identity, token azure.SAS) *rule.Refusal {
	if signer.AuthType != authSAS {
		return refusal("EDGE-16/type", fmt.Sprintf("%s authenticates by %s at the hub, the client sent a token", signer.Name(), signer.AuthType),
			"a SAS token", "what the hub's registry says")
	}
	if r := g.checkAudience(c, target, token); r != nil {
		return r
	}
	now := g.svc.clock.Wall()
	if !now.Before(token.Expiry) {
		return refusal("EDGE-7/expired", "the token has expired", "se="+token.ExpiryS+" ("+stamp(token.Expiry)+")", "an se after "+stamp(now))
	}
	for _, k := range signer.Keys {
		if b, err := base64.StdEncoding.DecodeString(k); err == nil && k != "" && token.SignedBy(b) {
			return nil
		}
	}
	return refusal("EDGE-7/signature", "the signature fits neither the primary nor the secondary key of "+signer.Name(), "sig=***",
		"HMAC-SHA256 over sr and se with the base64-decoded key of "+signer.Name())
}

// checkAudience compares the token's resource: the hub's or the gateway's name, and the identity's path,
// of exactly three or five parts.
func (g *gateway) checkAudience(c Credentials, target Identity, token azure.SAS) *rule.Refusal {
	text, err := url.PathUnescape(token.Resource)
	want := "sr=" + g.hubHost() + "/" + resource(target) + " (decoded)"
	if err != nil {
		return refusal("EDGE-7/malformed", "sr has a broken escape", quote("sr="+token.Resource), want)
	}
	seen := "sr=" + quote(text) + " (decoded)"
	host, path, _ := strings.Cut(text, "/")
	if !g.answersTo(host, c.Hosts) {
		return refusal("EDGE-7/host", fmt.Sprintf("the token is for host %s, neither the hub nor the gateway", quote(host)), seen,
			want+", or the gateway's name "+g.name+" in front")
	}
	own := strings.EqualFold(path, resource(target))
	device := target.ModuleID != "" && strings.EqualFold(path, "devices/"+target.DeviceID) // good for its modules
	if !own && !device {
		return refusal("EDGE-7/resource", "the token is for another identity than "+target.Name(), seen, want)
	}
	return nil
}

func (g *gateway) answersTo(host string, local []string) bool {
	g.mu.Lock()
	set := g.set
	g.mu.Unlock()
	same := func(n string) bool { return strings.EqualFold(n, host) }
	return slices.ContainsFunc(set.Names(), same) || slices.ContainsFunc(g.svc.upstream.Hosts(set.Hub), same) || slices.ContainsFunc(local, same)
}

func (g *gateway) hubHost() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.set.Hub
}

// onBehalf judges a child that comes through a gateway below, which signs as its $edgeHub.
func (g *gateway) onBehalf(c Credentials, who Identity, chain []string) (Admission, *rule.Refusal) {
	actor := chain[len(chain)-1]
	seen := "auth-chain=" + quote(c.AuthChain)
	if chain[0] != who.DeviceID && chain[0] != who.Name() {
		return Admission{}, refusal("EDGE-41/target", "the auth-chain does not begin with the child itself", seen, "auth-chain="+who.Name()+";…;{acting edge device}")
	}
	id, ok, why := g.lookup(c.DeviceID, c.ModuleID, false)
	if !ok {
		return Admission{}, g.stranger(who, why)
	}
	known := g.chain(id.DeviceID)
	if !slices.Contains(known, actor) || actor == id.DeviceID {
		return Admission{}, refusal("EDGE-41/actor", quote(actor)+", last in the auth-chain, is no parent of "+quote(id.DeviceID), seen,
			"auth-chain="+strings.Join(known, ";")+" up to the acting edge device")
	}
	hub, ok, why := g.lookup(actor, hubModule, false)
	if !ok {
		return Admission{}, g.stranger(Identity{DeviceID: actor, ModuleID: hubModule}, why)
	}
	token, r := g.readToken(c, hub)
	if r == nil {
		r = g.checkToken(c, hub, hub, token)
	}
	if r == nil {
		r = g.stillAllowed(id)
	}
	if r != nil {
		return Admission{}, r
	}
	return Admission{Gateway: g.name, Identity: id}, nil
}

// byCertificate judges a device's certificate: by its thumbprint, or by the gateway's trust bundle.
func (g *gateway) byCertificate(c Credentials, who Identity) (Admission, *rule.Refusal) {
	id, ok, why := g.lookup(c.DeviceID, "", false)
	if !ok {
		return Admission{}, g.stranger(who, why)
	}
	r := g.checkCertificate(c, id)
	if r != nil {
		if fresh, again, _ := g.lookup(c.DeviceID, "", true); again && !same(id, fresh) {
			id, r = fresh, g.checkCertificate(c, fresh)
		}
	}
	if r == nil {
		r = g.stillAllowed(id)
	}
	if r != nil {
		return Admission{}, r
	}
	return Admission{Gateway: g.name, Identity: id}, nil
}

func (g *gateway) checkCertificate(c Credentials, id Identity) *rule.Refusal {
	leaf := c.Certificates[0]
	switch id.AuthType {
	case authSelfSigned:
		sha1, sha256 := pki.Thumbprints(leaf)
		if !slices.ContainsFunc(id.Thumbprints, func(t string) bool { return strings.EqualFold(t, sha1) || strings.EqualFold(t, sha256) }) {
			return refusal("EDGE-12/thumbprint", fmt.Sprintf("the certificate %s is not the one registered for %s", subject(leaf), id.Name()),
				"SHA-1 "+sha1+", SHA-256 "+sha256, strings.Join(id.Thumbprints, " or "))
		}
		return g.inDate(leaf)
	case authCA:
		return g.checkChain(c, id)
	}
	return refusal("EDGE-16/type", fmt.Sprintf("%s authenticates by %s at the hub, the client sent a certificate only", id.Name(), id.AuthType),
		"a certificate of "+subject(leaf)+" and no password", "what the hub's registry says")
}

func (g *gateway) inDate(leaf *x509.Certificate) *rule.Refusal {
	now := g.svc.clock.Wall()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return refusal("EDGE-12/date", "the client certificate is not valid now",
			fmt.Sprintf("valid from %s to %s", stamp(leaf.NotBefore), stamp(leaf.NotAfter)), "a certificate valid at "+stamp(now))
	}
	return nil
}

// checkChain compares the common name and follows the chain to the trust bundle; the hub's own CA store
// does not count.
func (g *gateway) checkChain(c Credentials, id Identity) *rule.Refusal {
	leaf := c.Certificates[0]
	if leaf.Subject.CommonName != id.DeviceID {
		return refusal("EDGE-13/cn", "the certificate's common name is not the device id", "CN="+quote(leaf.Subject.CommonName), "CN="+quote(id.DeviceID))
	}
	g.mu.Lock()
	bundle := g.set.TrustBundle
	g.mu.Unlock()
	var anchors []*x509.Certificate
	var names []string
	for _, ca := range bundle {
		certs, err := pki.ParseCertificates([]byte(ca.Certificate))
		if err == nil {
			anchors, names = append(anchors, certs...), append(names, ca.Name)
		}
	}
	err := pki.VerifyChain(c.Certificates, anchors, g.svc.clock.Wall())
	if err == nil {
		return nil
	}
	expected := "a chain to the gateway's trust bundle: " + strings.Join(names, ", ")
	if len(names) == 0 {
		expected = "a chain to the gateway's trust bundle, which is empty"
	}
	r := refusal("EDGE-13/chain", err.Error(), "a certificate of "+subject(leaf), expected)
	var ce *pki.ChainError
	if errors.As(err, &ce) {
		r.Seen = ce.Seen
	}
	return r
}

func subject(c *x509.Certificate) string {
	return strings.ToValidUTF8(pki.Name(c.Subject), "\uFFFD")
}
