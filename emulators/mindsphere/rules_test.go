package mindsphere_test

import (
	"testing"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestCausesAreDeclaredAndCited(t *testing.T) {
	t.Parallel()
	rule.CheckCited(t, mindsphere.Rules, "*.go", "mqtt/*.go", "rest/*.go")
}
