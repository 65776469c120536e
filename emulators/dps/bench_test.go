package dps_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// BenchmarkRegister is the cost of one register without TLS and MQTT.
func BenchmarkRegister(b *testing.B) {
	c := clock.New()
	s := dps.New(dps.Config{Clock: c, IDs: ids.New(1), Journal: journal.New(c, rule.NewTable(dps.Rules), journal.Options{Events: 1000}), Store: store.New(),
		Allocator: quiet{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	_ = s.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hub}})
	_, _ = s.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}}})
	b.ReportAllocs()
	for b.Loop() {
		if a := s.Open(withToken("device-001", tokenV3)).Register(b.Context(), nil); a.Status != 202 {
			b.Fatal(string(a.Body))
		}
	}
}

// quiet is an Allocator that keeps nothing.
type quiet struct{}

func (quiet) Assign(context.Context, dps.Assignment) error { return nil }
func (quiet) Holds(string, string) bool                    { return true }
