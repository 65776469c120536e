package mindsphere

import (
	"crypto/rsa"
	"errors"
	"fmt"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// errToken marks a token that could not be made.
var errToken = errors.New("mindsphere: the agent's token cannot be signed")

// token makes the password of a private cloud's agent: a JWT signed with the agent's key, with its certificates
// in x5c.
func (c Config) token() (string, error) {
	key, ok := c.Certificate.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return "", errToken
	}
	now := c.Timing.Now()
	claims := wire.TokenClaims{
		Issuer: c.clientID(), Subject: c.clientID(), Audience: wire.Audience{wire.TokenAudience}, Schemas: []string{wire.TokenSchema},
		Tenant: c.Tenant, ID: randomID(), IssuedAt: wire.Seconds(now.Unix()), NotBefore: wire.Seconds(now.Unix()), Expires: wire.Seconds(now.Add(c.TokenLife).Unix()),
	}
	text, err := wire.SignToken(claims, c.Certificate.Certificate, key)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errToken, err)
	}
	return text, nil
}
