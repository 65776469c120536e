package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGatewayShowsRoutesByName(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	routes := map[string]string{}
	for _, name := range strings.Split("hgfedcba", "") {
		routes[name] = "FROM /* INTO $upstream"
	}
	(&app{out: &out}).printGateway(gatewayState{Name: "gw", Routes: routes})
	var shown string
	for line := range strings.Lines(out.String()) {
		if name, ok := strings.CutPrefix(line, "  route     "); ok {
			shown += name[:1]
		}
	}
	require.Equal(t, "abcdefgh", shown)
}
