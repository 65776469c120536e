package azure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

func TestPoisonousMessageIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		sent := sending(t.Context(), h, text("poison"))
		start := time.Now()
		for range 5 {
			p.Packet()
			p.Drop()
			p, _ = c.Accept(kittest.Accepted)
		}
		require.ErrorContains(t, <-sent, "connection lost 5 times")
		require.Equal(t, 15500*time.Millisecond, time.Since(start), "0.5, 1, 2, 4, 8 s: short connections do not reset the delay")
		sent = sending(t.Context(), h, text("good"))
		p.Puback(p.Packet())
		require.NoError(t, <-sent)
	})
}

func TestSendContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, h.Send(ctx, text("never acknowledged")), context.DeadlineExceeded)
		p.Packet()
		ended, stop := context.WithCancel(t.Context())
		stop()
		require.ErrorIs(t, h.Close(ended), context.Canceled)
		require.ErrorIs(t, h.Close(t.Context()), nil)
	})
}

func TestCloseWaitsForPuback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		sent := sending(t.Context(), h, text("last"))
		publish := p.Packet()
		closed := make(chan error, 1)
		go func() { closed <- h.Close(t.Context()) }()
		synctest.Wait()
		require.Empty(t, closed)
		p.Puback(publish)
		require.NoError(t, <-sent)
		p.Expect(kittest.Disconnect)
		require.NoError(t, <-closed)
	})
}

func TestCloseCutShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		sent := sending(t.Context(), h, text("last"))
		p.Packet()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, h.Close(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, <-sent, ErrClosed, "never silently lost")
	})
}

func TestMessagesOfTheHubStayUnacknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		p.Send(answerQoS1("devices/dev-01/messages/devicebound/", "c2d"))
		require.NoError(t, h.Close(t.Context()))
		p.Expect(kittest.Disconnect)
	})
}

func TestStalledServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		close(p.Stalled)
		start := time.Now()
		first := sending(t.Context(), h, Message{Body: make([]byte, 200_000)})
		second := sending(t.Context(), h, Message{Body: make([]byte, 200_000)})
		p, _ = c.Accept(kittest.Accepted)
		require.Equal(t, 10500*time.Millisecond, time.Since(start), "write time-out and first delay")
		p.Puback(p.Packet())
		p.Puback(p.Packet())
		require.NoError(t, <-first)
		require.NoError(t, <-second)
	})
}

// Fifty messages from ten goroutines through connections that die after every few packets: each one is
// acknowledged to its sender only when the server acknowledged it.
func TestManySendsOverBadConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		var acknowledged sync.Map
		serving := make(chan struct{})
		go func() {
			defer close(serving)
			for n := 0; ; n++ {
				packet, ok := <-p.Packets
				switch {
				case ok && packet == kittest.Disconnect:
					return
				case ok && n%7 == 6:
					p.Drop()
				case ok:
					body := packet[strings.LastIndex(packet, "message "):]
					acknowledged.Store(body, true)
					if _, err := p.Conn.Write([]byte("\x40\x02" + kittest.PacketID(packet))); err != nil {
						acknowledged.Delete(body)
					}
				default:
					p = <-c.Peers
					<-p.Packets
					if _, err := p.Conn.Write([]byte(kittest.Accepted)); err != nil {
						return
					}
				}
			}
		}()
		var senders sync.WaitGroup
		failures := make(chan error, 50)
		for sender := range 10 {
			senders.Go(func() {
				for n := range 5 {
					body := fmt.Sprintf("message %d of %d", n, sender)
					err := h.Send(t.Context(), text(body))
					for err != nil && strings.Contains(err.Error(), "5 times") {
						err = h.Send(t.Context(), text(body))
					}
					if _, ok := acknowledged.Load(body); !ok && err == nil {
						err = errors.New("not acknowledged: " + body)
					}
					failures <- err
				}
			})
		}
		senders.Wait()
		for range 50 {
			require.NoError(t, <-failures)
		}
		require.NoError(t, h.Close(t.Context()))
		<-serving
	})
}
