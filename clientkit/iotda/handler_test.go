package iotda

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A handler that is missing is told at once, not by a panic with the first message, and the place stays free.
func TestNilHandlerIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p, _ := up(t)
		for name, set := range map[string]func() error{
			"message":  func() error { return d.OnMessage(t.Context(), nil) },
			"event":    func() error { return d.OnEvent("$log", nil) },
			"children": func() error { return d.OnChildren(nil) },
			"versions": func() error { return d.OnUpgrade(nil, func(context.Context, Upgrade) {}) },
			"install":  func() error { return d.OnUpgrade(func() Versions { return Versions{} }, nil) },
			"topic":    func() error { return d.Subscribe(t.Context(), "/a", nil) },
		} {
			require.EqualError(t, set(), "iotda: the handler is nil", name)
		}
		require.EqualError(t, d.Subscribe(t.Context(), "", nil), "iotda: no topic filter")
		synctest.Wait()
		require.Empty(t, p.Packets)
		require.NoError(t, d.OnEvent("$log", func(context.Context, Event) {}))
		require.NoError(t, d.OnChildren(func(context.Context, ChildrenChange) {}))
	})
}
