package mindsphere_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

// A token ends at its exp, whoever has made it; what has none is not judged by it.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text, err := f.TenantToken("camexia")
	require.NoError(t, err)
	var own struct {
		Token string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal(text, &own))
	end := f.clock.Wall().Add(time.Hour).Unix()
	foreign := func(exp string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"ten":"camexia"`+exp+`}`)) + ".c2ln"
	}
	tokens := map[string]string{"own": own.Token, "whole": foreign(fmt.Sprintf(`,"exp":%d`, end)), "fraction": foreign(fmt.Sprintf(`,"exp":%d.5`, end))}
	for name, token := range tokens {
		tenant, err := f.Authorize(token)
		require.NoError(t, err, name)
		require.Equal(t, "camexia", tenant, name)
	}
	f.clock.Skew(time.Hour + time.Second)
	for name, token := range tokens {
		_, err := f.Authorize(token)
		require.ErrorIs(t, err, mindsphere.ErrUnauthorized, name)
		require.ErrorContains(t, err, "expired", name)
	}
	for _, token := range []string{"camexia", foreign(""), foreign(`,"exp":null`)} {
		_, err := f.Authorize(token)
		require.NoError(t, err, token)
	}
	_, err = f.Authorize(foreign(`,"exp":0`))
	require.ErrorContains(t, err, "expired")
	f.clock.Skew(0)
	require.True(t, f.DeleteTenant("camexia"))
	_, err = f.Authorize(own.Token)
	require.ErrorContains(t, err, "no tenant that exists; there is none")
}
