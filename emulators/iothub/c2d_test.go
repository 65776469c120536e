package iothub

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// device returns dev-01's identity, as a polling client has it.
func (w *world) device(t testing.TB) Identity {
	t.Helper()
	id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, DeviceID: "dev-01", Password: tokenV1})
	require.NoError(t, err)
	return id
}

func (w *world) send(t testing.TB, m C2D) C2DMessage {
	t.Helper()
	sent, err := w.SendC2D(contoso, "dev-01", "", m)
	require.NoError(t, err)
	return sent
}

func (w *world) outcomes() (all []string) {
	for _, f := range w.Feedback(contoso, 0) {
		all = append(all, f.OriginalMessageID+" "+string(f.StatusCode))
	}
	return all
}

func TestC2DLocksAndOutcomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.Freeze()
	id := w.device(t)
	_, ok := w.ReceiveC2D(id, 0)
	require.False(t, ok)
	for _, m := range []string{"a", "b", "c"} {
		w.send(t, C2D{MessageID: m, Ack: AckFull, Body: []byte(m)})
	}
	d, err := w.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	require.Equal(t, 3, d.CloudToDeviceMessageCount)

	a, ok := w.ReceiveC2D(id, 0)
	require.True(t, ok)
	require.Equal(t, "a", a.MessageID)
	b, _ := w.ReceiveC2D(id, 0)
	require.Equal(t, "b", b.MessageID, "a is locked")
	require.NoError(t, w.clock.Advance(61*time.Second))
	require.ErrorIs(t, w.SettleC2D(id, a.Lock, Completed), ErrPrecondition, "the lock ran out")
	again, _ := w.ReceiveC2D(id, 0)
	require.Equal(t, "a", again.MessageID)
	require.Zero(t, again.DeliveryCount, "a lock that runs out does not count")
	require.NoError(t, w.SettleC2D(id, again.Lock, Completed))
	require.ErrorIs(t, w.SettleC2D(id, again.Lock, Completed), ErrPrecondition)
	b, _ = w.ReceiveC2D(id, 0)
	require.NoError(t, w.SettleC2D(id, b.Lock, Rejected))
	for i := range 10 {
		c, ok := w.ReceiveC2D(id, 0)
		require.True(t, ok, i)
		require.Equal(t, i, c.DeliveryCount)
		require.NoError(t, w.SettleC2D(id, c.Lock, Abandoned))
	}
	_, ok = w.ReceiveC2D(id, 0)
	require.False(t, ok)
	require.Equal(t, []string{"a Success", "b Rejected", "c DeliveryCountExceeded"}, w.outcomes())
	require.Len(t, w.Feedback(contoso, 2), 1)
	require.Equal(t, d.GenerationID, w.Feedback(contoso, 0)[0].DeviceGenerationID)
}

func TestC2DExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.Freeze()
	w.send(t, C2D{MessageID: "short", Ack: AckNegative, Expiry: w.clock.Wall().Add(time.Minute)})
	w.send(t, C2D{MessageID: "hour", Ack: AckPositive})
	w.send(t, C2D{MessageID: "silent"})
	require.NoError(t, w.clock.Advance(2*time.Minute))
	require.Equal(t, []string{"short Expired"}, w.outcomes())
	m, _ := w.ReceiveC2D(w.device(t), 0)
	require.Equal(t, "hour", m.MessageID)
	require.NoError(t, w.clock.Advance(time.Hour))
	_, ok := w.ReceiveC2D(w.device(t), 0)
	require.False(t, ok)
	require.Len(t, w.outcomes(), 1, "each asked for other outcomes")
}

func TestC2DLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 50 {
		w.send(t, C2D{MessageID: "m", Ack: AckFull})
	}
	_, err := w.SendC2D(contoso, "dev-01", "", C2D{})
	r := refusalOf(t, err)
	require.EqualValues(t, "HUB-43/full", r.Rule)
	require.Equal(t, CodeQueueFull, r.Code)
	_, err = w.SendC2D(contoso, "dev-01", "mod-a", C2D{Body: make([]byte, 64<<10)})
	require.NoError(t, err, "a module has a queue of its own")
	_, err = w.SendC2D(contoso, "dev-01", "mod-a", C2D{Body: make([]byte, 64<<10), MessageID: "x"})
	require.EqualValues(t, "HUB-43/size", refusalOf(t, err).Rule)
	for _, bad := range []C2D{{MessageID: strings.Repeat("x", 129)}, {Ack: "maybe"}, {Expiry: time.Unix(1, 0)}, {Expiry: time.Now().Add(49 * time.Hour)}} {
		_, err = w.SendC2D(contoso, "dev-01", "mod-a", bad)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err = w.SendC2D(contoso, "nobody", "", C2D{})
	require.ErrorIs(t, err, ErrNotFound)
	n, err := w.PurgeC2D(contoso, "dev-01", "")
	require.NoError(t, err)
	require.Equal(t, 50, n)
	require.Equal(t, "m Purged", w.outcomes()[0])
	w.send(t, C2D{})
	require.NoError(t, w.DeleteDevice(contoso, "dev-01", ""))
	w.put(t, Device{DeviceID: "dev-01", Authentication: sasKeys()})
	_, ok := w.ReceiveC2D(w.device(t), 0)
	require.False(t, ok, "a device made again has an empty queue")
}

// taker is a line whose client has each message at once.
type taker struct {
	*line
	completing *sync.WaitGroup
}

func (t taker) Message(_ C2DMessage, complete func()) bool {
	t.completing.Go(complete) // as a PUBACK does: not from within
	return true
}

// What a client has completed is not remembered for as long as its connection lasts.
func TestC2DLeavesNothingInTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := taker{newLine(), &sync.WaitGroup{}}
	s := w.Open(w.device(t), Origin{}, client)
	for range 20 {
		w.send(t, C2D{Ack: AckFull})
	}
	client.completing.Wait()
	require.Len(t, w.outcomes(), 20)
	require.Empty(t, s.sent)
}

// recorder is a line whose client takes each message and completes none.
type recorder struct {
	*line
	got *[]string // written under the service's c2dMu, which Advance and the calls below have left
}

func (r recorder) Message(m C2DMessage, _ func()) bool {
	*r.got = append(*r.got, m.MessageID)
	return true
}

// A message that somebody has polled and not settled goes to the connected client when the lock ends by the clock,
// after the usual time or the one that was asked for.
func TestC2DGoesOnWhenItsLockEnds(t *testing.T) {
	t.Parallel()
	for asked, lasts := range map[time.Duration]time.Duration{0: time.Minute, 5 * time.Second: 5 * time.Second, 300 * time.Second: 300 * time.Second} {
		w := newWorld(t)
		w.clock.Freeze()
		id := w.device(t)
		w.send(t, C2D{MessageID: "kept"})
		w.send(t, C2D{MessageID: "settled"})
		kept, _ := w.ReceiveC2D(id, asked)
		settled, _ := w.ReceiveC2D(id, asked)
		require.NoError(t, w.SettleC2D(id, settled.Lock, Completed))
		client := recorder{newLine(), new([]string)}
		w.Open(id, Origin{}, client).C2DReady()
		require.NoError(t, w.clock.Advance(lasts-time.Second))
		require.Empty(t, *client.got)
		require.NoError(t, w.clock.Advance(time.Second))
		require.Equal(t, []string{"kept"}, *client.got)
		require.ErrorIs(t, w.SettleC2D(id, kept.Lock, Completed), ErrPrecondition)
	}
}
