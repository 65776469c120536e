package mindsphere

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Token is an agent's access token for MindSphere's REST APIs.
type Token struct {
	AccessToken string
	Type        string // Bearer
	Scope       []string
	ID          string
	Expires     time.Time
}

// Token asks for an access token, which is good for an hour. Region eu2 has none (ErrRegion).
func (a *Agent) Token(ctx context.Context) (Token, error) {
	if a.cfg.Region == EU2 {
		return Token{}, fmt.Errorf("%w: agent tokens are of region eu1", ErrRegion)
	}
	var t struct {
		AccessToken string   `json:"access_token"`
		TokenType   string   `json:"token_type"`
		ExpiresIn   int64    `json:"expires_in"`
		Scope       []string `json:"scope"`
		ID          string   `json:"jti"`
		Timestamp   int64    `json:"timestamp"`
	}
	err := a.ask(ctx, wire.TokenRequest, wire.TokenResponse, nil, func(text json.RawMessage) (bool, error) {
		err := json.Unmarshal(text, &t)
		if err == nil && t.AccessToken == "" {
			err = fmt.Errorf("mindsphere: the answer has no access token")
		}
		return true, err
	})
	if err != nil {
		return Token{}, err
	}
	return Token{t.AccessToken, t.TokenType, t.Scope, t.ID, time.Unix(t.Timestamp+t.ExpiresIn, 0).UTC()}, nil
}
