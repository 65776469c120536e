package fakecloud

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Close waits for what ends by itself, for ten seconds, and then hurries it up: a generation that a reset has succeeded and
// whose connections do not end stands for everything that could hang.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ takes, want time.Duration }{
		"ends by itself": {takes: 3 * time.Second, want: 3 * time.Second},
		"never ends":     {takes: time.Hour, want: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud, err := New(t.Context(), WithInMemory(), WithServerKey("ecdsa"))
				require.NoError(t, err)
				cloud.retiring.Go(func() {
					select {
					case <-cloud.hurry.Done():
					case <-time.After(tt.takes):
					}
				})
				begin := time.Now()
				require.NoError(t, cloud.Close())
				require.Equal(t, tt.want, time.Since(begin))
				require.NoError(t, cloud.Close(), "closed already")
				require.Equal(t, tt.want, time.Since(begin))
			})
		})
	}
}
