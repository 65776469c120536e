package dps_test

import (
	"testing"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestCausesAreDeclaredAndCited(t *testing.T) {
	t.Parallel()
	rule.CheckCited(t, dps.Rules, "*.go", "mqtt/*.go", "rest/*.go", "arm/*.go")
}
