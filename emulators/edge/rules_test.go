package edge_test

import (
	"testing"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestCausesAreDeclaredAndCited(t *testing.T) {
	t.Parallel()
	rule.CheckCited(t, edge.Rules, "*.go", "*/*.go")
}
