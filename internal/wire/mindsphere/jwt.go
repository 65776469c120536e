package mindsphere

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// What agents of a private cloud send ("Connecting to OPC UA PubSub Service via MQTT"; mindconnect-mqtt;
// mindconnect-nodejs, mqtt-createjwt).
const (
	BearerUsername = "_CertificateBearer"
	TokenAudience  = "MQTTBroker"
	TokenSchema    = "urn:siemens:mindsphere:v1"
	TokenAlgorithm = "RS256"
)

// Limits of a token.
const (
	maxToken = 64 << 10 // bytes
	maxX5C   = 10       // certificates
)

// Seconds is a time of a token: seconds since 1970, 0 where absent. It is read from any number, of which the whole
// seconds count (RFC 7519 section 2, NumericDate).
type Seconds int64

// UnmarshalJSON reads a number.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.Abs(f) > 1<<53 {
		return fmt.Errorf("%.40q is no time in seconds", b)
	}
	*s = Seconds(f)
	return nil
}

// TokenClaims are the claims of an agent's token.
type TokenClaims struct {
	Issuer    string   `json:"iss"` // the client id, as Subject
	Subject   string   `json:"sub"`
	Audience  Audience `json:"aud"`
	Schemas   []string `json:"schemas"`
	Tenant    string   `json:"ten"`
	ID        string   `json:"jti"`
	IssuedAt  Seconds  `json:"iat"`
	NotBefore Seconds  `json:"nbf,omitempty"`
	Expires   Seconds  `json:"exp"`
}

// Audience is one name or a list of them (RFC 7519 section 4.1.3).
type Audience []string

// UnmarshalJSON reads both forms.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Token is an agent's token taken apart; nothing of it is verified.
type Token struct {
	Algorithm    string
	Certificates []*x509.Certificate // x5c, leaf first
	Claims       TokenClaims
	signed       string
	signature    []byte
}

type tokenHeader struct {
	Algorithm string   `json:"alg"`
	Type      string   `json:"typ"`
	X5C       []string `json:"x5c"`
}

// Errors of ParseToken and Verify. They are wrapped with what is wrong.
var (
	ErrToken          = errors.New("a token is {header}.{claims}.{signature} in base64url")
	ErrTokenX5C       = errors.New("x5c is a list of certificates, base64 of DER without line breaks, the leaf first")
	ErrTokenSignature = errors.New("the signature does not fit the first certificate of x5c")
)

// ParseToken takes a token apart. An error that wraps ErrTokenX5C leaves all but Certificates readable.
func ParseToken(text string) (Token, error) {
	if len(text) > maxToken {
		return Token{}, fmt.Errorf("%w; this one has %d bytes", ErrToken, len(text))
	}
	part := strings.Split(text, ".")
	if len(part) != 3 {
		return Token{}, fmt.Errorf("%w; this one has %d parts", ErrToken, len(part))
	}
	var raw [3][]byte
	for i, p := range part {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(strings.TrimRight(p, "=")); err != nil {
			return Token{}, fmt.Errorf("%w; part %d: %v", ErrToken, i+1, err)
		}
	}
	t := Token{signed: part[0] + "." + part[1], signature: raw[2]}
	var h tokenHeader
	if err := json.Unmarshal(raw[0], &h); err != nil {
		return Token{}, fmt.Errorf("%w; the header: %v", ErrToken, err)
	}
	if err := json.Unmarshal(raw[1], &t.Claims); err != nil {
		return Token{}, fmt.Errorf("%w; the claims: %v", ErrToken, err)
	}
	t.Algorithm = h.Algorithm
	return t, t.readCertificates(h.X5C)
}

func (t *Token) readCertificates(x5c []string) error {
	if len(x5c) == 0 || len(x5c) > maxX5C {
		return fmt.Errorf("%w; this one has %d", ErrTokenX5C, len(x5c))
	}
	for i, text := range x5c {
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("%w; number %d: %v", ErrTokenX5C, i+1, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%w; number %d: %v", ErrTokenX5C, i+1, err)
		}
		t.Certificates = append(t.Certificates, cert)
	}
	return nil
}

// Verify checks an RS256 signature with the key of the first certificate.
func (t Token) Verify() error {
	if len(t.Certificates) == 0 {
		return ErrTokenX5C
	}
	key, ok := t.Certificates[0].PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("%w: its key is not RSA", ErrTokenSignature)
	}
	sum := sha256.Sum256([]byte(t.signed))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.signature) != nil {
		return ErrTokenSignature
	}
	return nil
}

// SignToken makes a token with the agent's key. chain is DER, the leaf first.
func SignToken(c TokenClaims, chain [][]byte, key *rsa.PrivateKey) (string, error) {
	h := tokenHeader{Algorithm: TokenAlgorithm, Type: "JWT"}
	for _, der := range chain {
		h.X5C = append(h.X5C, base64.StdEncoding.EncodeToString(der))
	}
	var signed string
	for i, v := range []any{h, c} {
		text, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		signed += []string{"", "."}[i] + base64.RawURLEncoding.EncodeToString(text)
	}
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
