package mindsphere_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestSignedTokenIsReadBack(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dev"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	claims := mindsphere.TokenClaims{Issuer: "t_dev", Subject: "t_dev", Audience: mindsphere.Audience{"MQTTBroker"}, Schemas: []string{mindsphere.TokenSchema}, Tenant: "t", ID: "1", IssuedAt: 1, NotBefore: 1, Expires: 2}
	text, err := mindsphere.SignToken(claims, [][]byte{der}, key)
	require.NoError(t, err)
	header, err := base64.RawURLEncoding.DecodeString(text[:strings.IndexByte(text, '.')])
	require.NoError(t, err)
	require.Equal(t, `{"alg":"RS256","typ":"JWT","x5c":["`+base64.StdEncoding.EncodeToString(der)+`"]}`, string(header))
	got, err := mindsphere.ParseToken(text)
	require.NoError(t, err)
	require.Equal(t, claims, got.Claims)
	require.NoError(t, got.Verify())
	forged := strings.Replace(text, text[strings.IndexByte(text, '.')+1:strings.LastIndexByte(text, '.')], b64(`{"ten":"other"}`), 1)
	got, err = mindsphere.ParseToken(forged)
	require.NoError(t, err)
	require.ErrorIs(t, got.Verify(), mindsphere.ErrTokenSignature)
}

func TestParseTokenRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                                mindsphere.ErrToken,
		"a.b":                             mindsphere.ErrToken,
		"*.*.*":                           mindsphere.ErrToken,
		b64("x") + "." + b64("{}") + ".":  mindsphere.ErrToken,
		b64("{}") + "." + b64("x") + ".":  mindsphere.ErrToken,
		b64("{}") + "." + b64("{}") + ".": mindsphere.ErrTokenX5C,
		b64(`{"x5c":["*"]}`) + "." + b64("{}") + ".":       mindsphere.ErrTokenX5C,
		b64(`{"x5c":["aGk="]}`) + "." + b64("{}") + ".":    mindsphere.ErrTokenX5C,
		b64("{}") + "." + b64(`{"aud":5}`) + ".":           mindsphere.ErrToken,
		b64("{}") + "." + b64(`{"exp":"5"}`) + ".":         mindsphere.ErrToken,
		b64("{}") + "." + b64(`{"exp":1e300}`) + ".":       mindsphere.ErrToken,
		strings.Repeat("a", 70<<10) + "." + b64("x") + ".": mindsphere.ErrToken,
	} {
		got, err := mindsphere.ParseToken(text)
		require.ErrorIs(t, err, want, text[:min(len(text), 40)])
		require.Error(t, got.Verify())
	}
	got, err := mindsphere.ParseToken(b64(`{"alg":"RS256"}`) + "." + b64(`{"aud":"MQTTBroker"}`) + ".")
	require.ErrorIs(t, err, mindsphere.ErrTokenX5C)
	require.Equal(t, mindsphere.Audience{"MQTTBroker"}, got.Claims.Audience)
	got, err = mindsphere.ParseToken(b64("{}") + "." + b64(`{"iat":null,"nbf":1700000000.75,"exp":1.7e9}`) + ".")
	require.ErrorIs(t, err, mindsphere.ErrTokenX5C)
	require.Equal(t, [3]mindsphere.Seconds{0, 1700000000, 1700000000}, [3]mindsphere.Seconds{got.Claims.IssuedAt, got.Claims.NotBefore, got.Claims.Expires})
}

func FuzzParseToken(f *testing.F) {
	f.Add(b64(`{"alg":"RS256","x5c":["MIIB"]}`) + "." + b64(`{"aud":["MQTTBroker"],"exp":1}`) + "." + b64("x"))
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := mindsphere.ParseToken(text); err == nil {
			_ = got.Verify() // it must not panic
		}
	})
}
