package iotda_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/clock"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// hasty is a connection that moves the clock on as soon as a message reaches it, and never answers.
type hasty struct {
	nobody
	move func()
}

func (h hasty) Deliver(string, []byte, bool) bool {
	h.move()
	return true
}

// DA-24: a command's time runs before the device can have it, so moving the clock as soon as it does ends the wait.
func TestCommandTimeBeginsWithTheCommand(t *testing.T) {
	t.Parallel()
	lives(t, t.TempDir(), func(s *iotda.Service, c *clock.Control) {
		_, err := s.PutInstance(iotda.Instance{Name: instance})
		require.NoError(t, err)
		_, err = s.PutProduct(instance, iotda.Product{ProductID: "demo", Name: "demo"})
		require.NoError(t, err)
		register(t, s, "node1", "")
		connection := s.Open(iotda.Identity{Instance: instance, DeviceID: "demo_node1"}, iotda.Origin{},
			hasty{move: func() { require.NoError(t, c.Advance(20*time.Second)) }})
		defer connection.Close()
		c.Freeze()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // or a command that waits for more would wait for ever
		defer cancel()
		_, err = s.Command(ctx, instance, "demo_node1", wire.CommandCall{ServiceID: "Battery", CommandName: "reset"})
		var refused *iotda.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, iotda.CodeTimeout, refused.Code)
	})
}
