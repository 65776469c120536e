package world

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// check is the form that a text must have: a pattern and a length, which the schema repeats, and what
// patterns cannot say.
type check struct {
	pattern *regexp.Regexp
	max     int // characters; 0 is no limit of its own
	says    string
	extra   func(text string) string // what is wrong, or ""
	hint    func(text string) string // added to says for a text that does not match
}

func (c check) verdict(f field, text string) string {
	switch {
	case c.max > 0 && len(text) > c.max:
		return fmt.Sprintf("has %s, at most %d are allowed", plural(len(text), "character"), c.max)
	case c.pattern != nil && !c.pattern.MatchString(text):
		why := "must be " + c.says + ", not " + shown(f, text)
		if c.hint != nil {
			why += c.hint(text)
		}
		return why
	case c.extra != nil:
		return c.extra(text)
	}
	return ""
}

var thumbprintPattern = regexp.MustCompile(`^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$`)

// checks by the name that tags use. Sources, all of Microsoft Learn: "DPS terminology" (registration ids), the quickstart
// and the resource naming rules (names of instances), "Understand the identity registry" (device ids).
var checks = map[string]check{
	"dpsName": {pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`), max: 64,
		says: "a name of letters, digits and hyphens (not at an end)", hint: hostHint(".azure-devices-provisioning.net")},
	"hubName": {pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`), max: 50,
		says: "a name of letters, digits and hyphens (not at an end)", hint: hostHint(".azure-devices.net")},
	"idScope": {pattern: regexp.MustCompile(`^0[A-Za-z]{2}[0-9A-Za-z]{8}$`),
		says: "an ID scope: 0ne and eight letters or digits, such as 0ne00FAKE01"},
	"registrationId": {pattern: regexp.MustCompile(`^[A-Za-z0-9._:-]*[A-Za-z0-9-]$`), max: 128,
		says: "made of letters, digits and - . _ : and end with a letter, a digit or -"},
	"deviceId": {pattern: regexp.MustCompile(`^[A-Za-z0-9.+%_#*?!(),:=@$';-]+$`), max: 128,
		says: "made of letters, digits and - . + % _ # * ? ! ( ) , : = @ $ ' ;"},
	"certificateName": {pattern: regexp.MustCompile(`^[A-Za-z0-9._-]+$`), max: 64,
		says: "a name of letters, digits and - . _"},
	"policyName": {pattern: regexp.MustCompile(`^[A-Za-z0-9._-]+$`), max: 64,
		says: "a name of letters, digits and - . _"},
	"host": {pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`), max: 253,
		says: "a host name without scheme, port and path, such as hub1.fakecloud.test"},
	"wholeSeconds": {extra: checkWholeSeconds},
	"key":          {extra: checkKey},
	"base64":       {extra: checkBase64},
	"thumbprint": {pattern: thumbprintPattern,
		says: "40 (SHA-1) or 64 (SHA-256) hexadecimal digits", hint: thumbprintHint},
	"hex32": {pattern: regexp.MustCompile(`^[0-9a-f]{32}$`), says: "32 hexadecimal digits in lower case"},
	"iotdaId": {pattern: regexp.MustCompile(`^[A-Za-z0-9_-]+$`), max: 128,
		says: "made of letters, digits, _ and -"},
	"iotdaNode": {pattern: regexp.MustCompile(`^[A-Za-z0-9_-]+$`), max: 64,
		says: "made of letters, digits, _ and -"},
	"iotdaSecret": {pattern: regexp.MustCompile(`^[A-Za-z0-9_-]{8,32}$`), says: "8 to 32 letters, digits, _ and -"},
	"dataType": {pattern: regexp.MustCompile(`^(int|long|decimal|string|DateTime|jsonObject|enum|boolean|string list)$`),
		says: "one of int, long, decimal, string, DateTime, jsonObject, enum, boolean and string list"},
	"decimal":      {pattern: regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`), max: 64, says: "a number"},
	"access":       {pattern: regexp.MustCompile(`^[RWE, ]+$`), max: 16, says: "R, W and E, such as RW"},
	"certificates": {extra: checkCertificates},
	"privateKey":   {extra: checkPrivateKey},
}

func hostHint(suffix string) func(string) string {
	return func(text string) string {
		if name, is := strings.CutSuffix(lower(text), suffix); is {
			return "; write the name alone: " + name
		}
		return ""
	}
}

func checkWholeSeconds(text string) string {
	if d, err := time.ParseDuration(text); err != nil || d%time.Second != 0 {
		return "must be whole seconds, as retry-after goes over the wire in seconds"
	}
	return ""
}

// Key lengths by Learn, "Symmetric key attestation".
const (
	minKey = 16
	maxKey = 64
)

// checkKey never quotes the text: it may be a real key.
func checkKey(text string) string {
	key, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil && strings.ContainsAny(text, "-_"):
		return "is base64url; keys use the standard alphabet with + and /"
	case err != nil:
		return fmt.Sprintf("is not base64; a key is base64 of %d to %d bytes", minKey, maxKey)
	case len(key) < minKey || len(key) > maxKey:
		return fmt.Sprintf("is base64 of %s; a key has %d to %d", plural(len(key), "byte"), minKey, maxKey)
	}
	return ""
}

// checkBase64 never quotes the text: it may be a real secret.
func checkBase64(text string) string {
	if _, err := base64.StdEncoding.DecodeString(text); err != nil {
		return "is not base64 in the standard alphabet"
	}
	return ""
}

// NormalizeThumbprint drops the colons, spaces and invisible marks that tools print within and before
// thumbprints, and a leading "sha1 Fingerprint=" of openssl. It returns upper-case digits, unchecked.
func NormalizeThumbprint(text string) string {
	if i := strings.LastIndexByte(text, '='); i >= 0 {
		text = text[i+1:]
	}
	return strings.ToUpper(strings.Map(func(r rune) rune {
		switch r {
		case ':', ' ', '-', '\t', '\n', '\r', '\u200e', '\u200f', '\ufeff', '\u00a0':
			return -1
		}
		return r
	}, text))
}

// CheckThumbprint says what is wrong with a thumbprint, or "".
func CheckThumbprint(text string) string { return checks["thumbprint"].verdict(field{}, text) }

// CheckKey says what is wrong with a symmetric key, or "".
func CheckKey(text string) string { return checkKey(text) }

func thumbprintHint(text string) string {
	clean := NormalizeThumbprint(text)
	if clean != strings.ToUpper(text) && thumbprintPattern.MatchString(clean) {
		return "; without colons and spaces it is " + clean
	}
	return fmt.Sprintf(" (%s)", plural(len(clean), "character"))
}

// ParseCertificates reads PEM text that holds nothing but certificates, or one DER certificate.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if cert, err := x509.ParseCertificate(data); err == nil {
		return []*x509.Certificate{cert}, nil
	}
	var certs []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case strings.Contains(block.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("holds a private key; give the certificate alone")
		case block.Type == "CERTIFICATE REQUEST" || block.Type == "NEW CERTIFICATE REQUEST":
			return nil, fmt.Errorf("is a signing request (CSR), not a certificate; sign it first")
		case !strings.HasSuffix(block.Type, "CERTIFICATE"):
			return nil, fmt.Errorf("holds a PEM block %q; only CERTIFICATE is expected", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("is no certificate; PEM begins with -----BEGIN CERTIFICATE-----")
	}
	return certs, nil
}

func checkCertificates(text string) string {
	if _, err := ParseCertificates([]byte(text)); err != nil {
		return err.Error()
	}
	return ""
}

func checkPrivateKey(text string) string {
	block := keyBlock([]byte(text))
	switch {
	case block == nil:
		return "is no private key; PEM begins with -----BEGIN PRIVATE KEY-----"
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return "is encrypted; give it without a password (openssl pkey -in KEY -out PLAIN)"
	case parsePrivateKey([]byte(text)) == nil:
		return "holds a private key that cannot be read; RSA, ECDSA and Ed25519 are"
	}
	return ""
}

// keyBlock returns the first private key in PEM text; EC PARAMETERS may stand before it.
func keyBlock(text []byte) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
		text = rest
	}
}

// parsePrivateKey returns nil for what is not a readable key.
func parsePrivateKey(text []byte) crypto.Signer {
	block := keyBlock(text)
	if block == nil {
		return nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		signer, _ := key.(crypto.Signer)
		return signer
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	return nil
}
