package pki

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCache(t *testing.T) {
	t.Parallel()
	certificate, _ := DemoPEM()
	var c Cache
	first := c.Certificate(string(certificate))
	require.NotNil(t, first)
	require.Same(t, first, c.Certificate(string(certificate)), "it is not parsed again")
	require.Nil(t, c.Certificate(""))
	require.Nil(t, c.Certificate("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"))
	for i := range maxCached {
		require.NotNil(t, c.Certificate(string(certificate)+strconv.Itoa(i)))
	}
	require.LessOrEqual(t, len(c.certs), maxCached)
	require.NotNil(t, c.Certificate(string(certificate)))
}
