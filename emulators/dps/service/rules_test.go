package service_test

import (
	"testing"

	"github.com/fakecloud/fakecloud/emulators/dps/service"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestCausesAreDeclaredAndCited(t *testing.T) {
	t.Parallel()
	rule.CheckCited(t, service.Rules, "*.go")
}
