package pki

import (
	"crypto/x509"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/near"
)

// BrokenKind names a certificate that is wrong on purpose.
type BrokenKind struct {
	Name  string
	About string // what is wrong, and who minds
}

// The kinds, in the order of BrokenKinds.
const (
	brokenExpired  = "expired"
	brokenEarly    = "not-yet-valid"
	brokenCN       = "wrong-cn"
	brokenCA       = "wrong-ca"
	brokenV1       = "v1"
	brokenNoEKU    = "no-eku"
	brokenServer   = "server-eku"
	brokenSHA1     = "sha1"
	brokenNegative = "negative-serial"
)

// BrokenKinds lists what Broken makes.
func BrokenKinds() []BrokenKind {
	return []BrokenKind{
		{brokenExpired, "ended a month ago; every platform refuses it"},
		{brokenEarly, "begins in a month; every platform refuses it"},
		{brokenCN, "another common name than the device's; refused where the name counts"},
		{brokenCA, "signed by a lookalike: the CA's name, another key; refused wherever a chain is checked"},
		{brokenV1, "X.509 v1, as openssl x509 -req makes without -extfile; the platforms accept it, some TLS stacks do not"},
		{brokenNoEKU, "no extended key usage; the platforms accept it"},
		{brokenServer, "extended key usage serverAuth only; TLS stacks that check it refuse it for a client"},
		{brokenSHA1, "signed with SHA-1, which current stacks no longer verify"},
		{brokenNegative, "a negative serial number, which RFC 5280 forbids; Go's parser refuses it"},
	}
}

// monthOff is how far the dates of expired and early certificates lie from now.
const monthOff = 30 * 24 * time.Hour

// Broken issues a certificate for a device like IssueDevice, with one thing wrong. Leaf is nil for
// negative-serial.
func (d *DeviceCAs) Broken(kind string, r DeviceRequest) (Issued, error) {
	b := blank{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	now := d.now()
	switch kind {
	case brokenExpired:
		r.NotBefore, r.NotAfter = now.AddDate(-1, 0, 0), now.Add(-monthOff)
	case brokenEarly:
		r.NotBefore, r.NotAfter = now.Add(monthOff), now.AddDate(1, 0, 0)
	case brokenCN:
		r.CommonName = otherName(r.CommonName)
	case brokenCA:
		return d.lookalike(r, b)
	case brokenV1:
		r.X509v1 = true
	case brokenNoEKU:
		b.usages = nil
	case brokenServer:
		b.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case brokenSHA1:
		b.sha1 = true
	case brokenNegative:
		b.negative = true
	default:
		var names []string
		for _, k := range BrokenKinds() {
			names = append(names, k.Name)
		}
		if name := near.Name(kind, names, len(kind)/3+2); name != "" {
			return Issued{}, badRequest("unknown kind %q; did you mean %s? It is one of %s", kind, name, strings.Join(names, ", "))
		}
		return Issued{}, badRequest("unknown kind %q; it is one of %s", kind, strings.Join(names, ", "))
	}
	return d.issue(r, b)
}

// otherName changes the end of a name without passing the limit.
func otherName(name string) string {
	const tail = "-other"
	runes := []rune(name)
	return string(runes[:min(len(runes), maxCommonName-len(tail))]) + tail
}

// lookalike issues with a new key under the CA's name and key identifier, and presents the true CA.
func (d *DeviceCAs) lookalike(r DeviceRequest, b blank) (Issued, error) {
	if r.Self {
		return Issued{}, badRequest("%s needs a CA to imitate, not a self-signed certificate", brokenCA)
	}
	if r.CA == "" {
		r.CA = DemoCA
	}
	ca, err := d.CA(r.CA)
	if err != nil {
		return Issued{}, err
	}
	forger, err := newKey(ECDSA)
	if err != nil {
		return Issued{}, err
	}
	ca.key = forger
	return d.issueBy(r, b, ca)
}
