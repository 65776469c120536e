package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

func TestRulesDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	got, err := os.ReadFile("../../../docs/rules.md")
	require.NoError(t, err)
	if string(got) != render(fakecloud.Rules()) {
		t.Error("docs/rules.md is stale: run `go run ./internal/rule/rulesdoc` in the repository's root")
	}
}
