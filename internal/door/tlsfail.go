package door

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// handshakeFailed writes to the journal why there is no TLS connection.
func (d *Door) handshakeFailed(s *sock, err error) {
	if !s.received && !errors.Is(err, os.ErrDeadlineExceeded) {
		d.closed(s, "the client connected and closed without sending a byte, as port checks do")
		return
	}
	if s.offer != nil && s.offer.faulted {
		d.closed(s, errFault.Error())
		return
	}
	r := d.handshakeRefusal(s, err)
	if d.stopped() {
		return
	}
	e, fix := d.event(s), ""
	e.Properties = map[string]string{"port": s.port.String()}
	if s.offer != nil {
		if m := d.table.hosts.Lookup(wanted(s.offer.name, s.dialled)); m.Platform != "" {
			e.Platform, e.Endpoint = m.Platform, m.Endpoint
		}
		fix = d.distrustFix(s, wanted(s.offer.name, s.dialled), r)
		e.Properties["sni"] = shown(s.offer.name)
		e.Properties["versions"] = listed(s.offer.versions, tls.VersionName)
		e.Properties["suites"] = listed(s.offer.suites, tls.CipherSuiteName)
	}
	if alert, ok := s.alert(err); ok {
		e.Properties["alert"] = alertName(alert)
	}
	step := e
	step.Kind, step.Detail = journal.TLS, "handshake failed: "+r.Detail
	d.journal.Append(step)
	e.Fix = fix
	d.journal.Refuse(e, r)
}

// handshakeRefusal names the rule behind an error of crypto/tls. Its errors have no types but for two, so
// that their texts decide; TestHandshakeRefusals pins each against the library.
func (d *Door) handshakeRefusal(s *sock, err error) *rule.Refusal {
	r := &rule.Refusal{Silent: true, Detail: err.Error(), Seen: "a TLS handshake", Expected: "a complete TLS handshake"}
	if s.offer != nil {
		r.Seen = fmt.Sprintf("server name %q, versions %s", shown(s.offer.name), listed(s.offer.versions, tls.VersionName))
		if s.offer.refused != nil {
			r.Rule, r.Detail = "TLS-5/name", "no certificate can be made for this name: "+s.offer.refused.Error()
			if best := d.table.hosts.Nearest(s.offer.name); best != "" {
				r.Detail += fmt.Sprintf("; host name %q is close to %q", shown(s.offer.name), best)
			}
			r.Expected = "a vendor's host name, an advertised name, or an address"
			return r
		}
	}
	if alert, ok := s.alert(err); ok {
		name := ""
		if s.offer != nil {
			name = s.offer.name
		}
		s.alertRefusal(r, name, alert)
		return r
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil {
		notTLS(r, header.RecordHeader[:])
		d.answerHTTP(s, r.Rule)
		return r
	}
	if name := causeOf(err.Error()); name != "" {
		r.Rule = name
		s.expect(r)
		return r
	}
	var broken *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.Rule = "TLS-6/timeout"
		r.Detail = fmt.Sprintf("the handshake did not end within %s", d.timeouts.Handshake)
		if !s.received {
			r.Rule, r.Seen = "TLS-6/silent", "nothing"
			r.Detail = fmt.Sprintf("the client sent nothing within %s", d.timeouts.Handshake)
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken) && broken.Op != "local error":
		r.Rule, r.Detail = "TLS-6/closed", "the client closed the connection in the middle of the handshake, without an alert"
	default:
		r.Rule = "TLS-8/protocol"
	}
	return r
}

// causes of an error text of crypto/tls, by what it contains.
var causes = []struct {
	text string
	rule rule.ID
}{
	{"client offered only unsupported versions", "TLS-2/version"},
	{"inappropriate protocol fallback", "TLS-2/fallback"},
	{"no cipher suite supported by both", "TLS-3/suite"},
	{"no key exchanges supported by both", "TLS-3/curve"},
	{"incompatible point formats", "TLS-3/curve"},
	{"doesn't support any of the certificate's signature algorithms", "TLS-3/signature"},
	{"doesn't support the certificate", "TLS-3/signature"},
	{"failed to parse client certificate", "TLS-7/parse"},
	{"RSA key larger than", "TLS-7/key"},
	{"unsupported public key", "TLS-7/key"},
	{"client certificate used with invalid signature algorithm", "TLS-7/algorithm"},
	{"invalid signature by the client certificate", "TLS-7/proof"},
}

func causeOf(text string) rule.ID {
	for _, c := range causes {
		if strings.Contains(text, c.text) {
			return c.rule
		}
	}
	return ""
}

// expect says what the handshake would have needed.
func (s *sock) expect(r *rule.Refusal) {
	switch r.Rule.Row() {
	case "TLS-2":
		r.Expected = "TLS 1.2 or 1.3"
	case "TLS-3":
		r.Expected = "one of " + listed(suites, tls.CipherSuiteName)
		if s.offer != nil {
			r.Seen = "suites " + listed(s.offer.suites, tls.CipherSuiteName)
		}
	case "TLS-7":
		r.Expected = "an X.509 certificate that can be read, and a handshake signed with its private key"
	}
}

// clientAlert returns the alert that the client sent, if err tells of one. crypto/tls does not export its
// type, a uint8.
func clientAlert(err error) (byte, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return byte(v.Uint()), true
}

// alert returns the alert by which the client ended the handshake, encrypted or not.
func (s *sock) alert(err error) (byte, bool) {
	if alert, ok := clientAlert(err); ok {
		return alert, true
	}
	return s.plainAlert()
}

// alertNames are the alerts' names in RFC 8446, section 6; those that a client sends about our certificate
// or our offer are causes of TLS-1 under the same name with hyphens.
var alertNames = map[byte]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure",
	42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
	46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied",
	50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security",
	80: "internal_error", 90: "user_canceled", 112: "unrecognized_name", 120: "no_application_protocol",
}

func alertName(alert byte) string {
	if name, ok := alertNames[alert]; ok {
		return name
	}
	return fmt.Sprintf("alert %d", alert)
}

// alertRefusal explains an alert. Without a server name the certificate was made for the address: a client
// that checks the name it dialled then sees another one.
func (s *sock) alertRefusal(r *rule.Refusal, sni string, alert byte) {
	name := alertName(alert)
	r.Seen += ", then the alert " + name
	r.Detail = "the client refused the handshake with the alert " + name
	r.Expected = "a client that trusts fakecloud's root certificate and dials a name that the certificate holds"
	r.Rule = "TLS-1/other"
	switch cause := strings.ReplaceAll(name, "_", "-"); alert {
	case 42, 46:
		r.Rule = rule.ID("TLS-1/" + cause)
		if sni == "" {
			r.Rule = "TLS-1/no-name"
			r.Detail += fmt.Sprintf("; it sent no server name, so the certificate is for %s", addrOf(s.LocalAddr()))
		}
	case 40, 43, 44, 45, 48, 49, 51, 70, 71, 90:
		r.Rule = rule.ID("TLS-1/" + cause)
	}
}

// distrustFix is what a client may do that does not trust the certificate it was shown, where that has a root of its
// own; else empty.
func (d *Door) distrustFix(s *sock, name string, r *rule.Refusal) string {
	switch r.Rule {
	case "TLS-1/unknown-ca", "TLS-1/bad-certificate", "TLS-1/certificate-unknown", "TLS-1/no-name", "DOOR-2/closed":
		if p := d.behind(s, name); p != nil {
			return p.Distrusted
		}
	}
	return ""
}

// notTLS names what came instead of TLS.
func notTLS(r *rule.Refusal, first []byte) {
	r.Seen = firstBytes(first)
	r.Expected = "a TLS ClientHello (first bytes 16 03)"
	switch guess(first) {
	case "mqtt":
		r.Rule, r.Detail = "TLS-4/mqtt", "MQTT without TLS came on a TLS port"
	case "http":
		r.Rule, r.Detail = "TLS-4/http", "HTTP without TLS came on a TLS port"
	default:
		r.Rule, r.Detail = "TLS-4/other", "something that is not TLS came on a TLS port"
	}
}

// answerHTTP tells an HTTP client on the HTTPS port what it did, as web servers do.
func (d *Door) answerHTTP(s *sock, cause rule.ID) {
	if cause != "TLS-4/http" || s.port != HTTPS {
		return
	}
	_ = s.SetWriteDeadline(time.Now().Add(d.timeouts.Write))
	_, _ = io.WriteString(s, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\n\r\nThis port speaks HTTPS. Use https:// in the URL.\n")
}

func listed(ids []uint16, name func(uint16) string) string {
	const most = 40
	var names []string
	for i, id := range ids {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(ids)-most))
			break
		}
		names = append(names, name(id))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
