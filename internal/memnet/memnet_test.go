package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// connected is a connection over a network of its own.
func connected(t *testing.T) (client, server *Conn) {
	t.Helper()
	var n Network
	l, err := n.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	c, err := n.DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	client, server = c.(*Conn), (<-accepted).(*Conn)
	require.Equal(t, client.LocalAddr(), server.RemoteAddr())
	require.Equal(t, client.RemoteAddr(), server.LocalAddr())
	require.Equal(t, l.Addr().String(), server.LocalAddr().String())
	return client, server
}

func TestBothEndsWriteBeforeEitherReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := connected(t)
		for _, end := range []*Conn{a, b} {
			n, err := end.Write([]byte("hello"))
			require.NoError(t, err)
			require.Equal(t, 5, n)
		}
		for _, end := range []*Conn{b, a} {
			got := make([]byte, 9)
			n, err := end.Read(got)
			require.NoError(t, err)
			require.Equal(t, "hello", string(got[:n]))
		}
	})
}

func TestWriteWaitsForRoomAndWritesDoNotMix(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := connected(t)
		const size = 3 * room
		for _, mark := range []byte{'x', 'y'} {
			go func() {
				if n, err := a.Write(bytes.Repeat([]byte{mark}, size)); err != nil || n != size {
					t.Errorf("%d bytes written: %v", n, err)
				}
			}()
		}
		synctest.Wait()
		got := make([]byte, 2*size)
		_, err := io.ReadFull(b, got)
		require.NoError(t, err)
		require.Equal(t, 1, len(bytes.Split(got, []byte("xy")))+len(bytes.Split(got, []byte("yx")))-2)
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := connected(t)
		began := time.Now()
		require.NoError(t, a.SetReadDeadline(began.Add(time.Minute)))
		_, err := a.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.Equal(t, time.Minute, time.Since(began))

		require.NoError(t, a.SetReadDeadline(time.Time{}), "a connection whose time was over reads again")
		_, err = b.Write([]byte("late"))
		require.NoError(t, err)
		_, err = a.Read(make([]byte, 4))
		require.NoError(t, err)

		require.NoError(t, a.SetDeadline(time.Now().Add(time.Second)))
		n, err := a.Write(make([]byte, 2*room))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, room, n)

		go func() {
			time.Sleep(time.Hour)
			if err := b.SetReadDeadline(time.Unix(1, 0)); err != nil { // as a server does to end a read
				t.Error(err)
			}
		}()
		_, err = io.Copy(io.Discard, b)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestCloseLetsTheRestArrive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := connected(t)
		_, err := a.Write([]byte("bye"))
		require.NoError(t, err)
		require.NoError(t, a.CloseWrite())
		_, err = a.Write([]byte("more"))
		require.ErrorIs(t, err, syscall.EPIPE)
		_, err = b.Write([]byte("answer"))
		require.NoError(t, err)
		answer := make([]byte, 6)
		_, err = io.ReadFull(a, answer)
		require.NoError(t, err)
		require.NoError(t, a.Close())
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, "bye", string(got))
		_, err = b.Write([]byte("too late"))
		require.ErrorIs(t, err, syscall.EPIPE)

		for what, f := range map[string]func() error{
			"read":     func() error { _, err := a.Read(answer); return err },
			"write":    func() error { _, err := a.Write(answer); return err },
			"close":    a.Close,
			"deadline": func() error { return a.SetDeadline(time.Now()) },
		} {
			require.ErrorIs(t, f(), net.ErrClosed, what)
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := connected(t)
		ended := make(chan error, 3)
		go func() { _, err := a.Read(make([]byte, 1)); ended <- err }()
		for range 2 {
			go func() { _, err := a.Write(make([]byte, 2*room)); ended <- err }()
		}
		synctest.Wait()
		require.NoError(t, a.Close())
		for range 3 {
			require.ErrorIs(t, <-ended, net.ErrClosed)
		}
		_, err := io.Copy(io.Discard, b)
		require.NoError(t, err)
	})
}

func TestResetLosesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := connected(t)
		_, err := a.Write([]byte("lost"))
		require.NoError(t, err)
		require.NoError(t, a.SetLinger(0))
		require.NoError(t, a.Close())
		_, err = b.Read(make([]byte, 4))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestListeners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n Network
		one, err := n.Listen("tcp", "127.0.0.1:8883")
		require.NoError(t, err)
		_, err = n.Listen("tcp", "localhost:8883")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		every, err := n.Listen("tcp", "0.0.0.0:443")
		require.NoError(t, err)
		free, err := n.Listen("tcp", ":0")
		require.NoError(t, err)
		require.NotZero(t, free.Addr().(*net.TCPAddr).Port)

		for _, address := range []string{"127.0.0.1:443", "[::1]:443", "192.0.2.7:443"} {
			go func() { _, _ = every.Accept() }()
			c, err := n.DialContext(t.Context(), "tcp", address)
			require.NoError(t, err)
			require.Equal(t, address, c.RemoteAddr().String())
		}
		for _, address := range []string{"[::1]:8883", "127.0.0.1:1"} {
			_, err = n.DialContext(t.Context(), "tcp", address)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
		for _, address := range []string{"example.com:443", "127.0.0.1", "127.0.0.1:70000"} {
			_, err = n.DialContext(t.Context(), "tcp", address)
			require.Error(t, err)
			_, err = n.Listen("tcp", address)
			require.Error(t, err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.DialContext(ctx, "tcp", "127.0.0.1:8883") // nobody accepts
		require.ErrorIs(t, err, context.DeadlineExceeded)

		go func() {
			if _, err := one.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}()
		synctest.Wait()
		require.NoError(t, one.Close())
		require.NoError(t, one.Close())
		again, err := n.Listen("tcp", "127.0.0.1:8883")
		require.NoError(t, err)
		require.NoError(t, again.Close())
	})
}
