package door

import (
	"net"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
)

// slowdown makes a connection slow, below TLS (fault slow at step tls). It is for the handshake and for HTTPS;
// the platforms' MQTT servers keep the pace of their connections themselves. A nil one does nothing.
type slowdown struct {
	pace fault.Pace
	gone chan struct{} // closed with the connection
}

func (l *slowdown) piece(n int) int {
	if l == nil {
		return n
	}
	return l.pace.Piece(n)
}

func (l *slowdown) wait(n int) bool { return l == nil || l.pace.Wait(n, l.gone) }

// mostHandshake is more than both sides of any handshake of ours take, in bytes.
const mostHandshake = 16 << 10

// slowDown makes the connection slow from now on, and gives the handshake the time that it needs at this pace.
func (s *sock) slowDown(pace fault.Pace) {
	l := &slowdown{pace: pace, gone: make(chan struct{})}
	s.door.socks.Lock()
	if _, open := s.door.open[s]; !open {
		close(l.gone)
	}
	s.slow.Store(l)
	s.door.socks.Unlock()
	_ = s.SetDeadline(time.Now().Add(s.door.timeouts.Handshake + mostHandshake*time.Second/time.Duration(pace)))
}

// speedUp ends that, and returns the pace for who keeps it from here on.
func (s *sock) speedUp() fault.Pace {
	s.door.socks.Lock() // Close looks at it
	defer s.door.socks.Unlock()
	l := s.slow.Swap(nil)
	if l == nil {
		return 0
	}
	return l.pace
}

// Write implements net.Conn.
func (s *sock) Write(b []byte) (written int, err error) {
	l := s.slow.Load()
	if l == nil {
		return s.Conn.Write(b)
	}
	for written < len(b) {
		n, err := s.Conn.Write(b[written : written+l.piece(len(b)-written)])
		written += n
		if err != nil {
			return written, err
		}
		if !l.wait(n) {
			return written, net.ErrClosed
		}
	}
	return written, nil
}

// hearNothing reads until the client has gone or the connection's time is over. What comes does not count.
func (s *sock) hearNothing() {
	var b [512]byte
	for {
		if _, err := s.Conn.Read(b[:]); err != nil {
			return
		}
	}
}

// ignore leaves a connection half open that is through with its handshake: a server that waits for a first
// packet from somebody who has died closes when its time for it is over.
func (d *Door) ignore(s *sock) {
	_ = s.SetDeadline(time.Now().Add(d.timeouts.Connect))
	s.hearNothing()
	d.closed(s, "a fault that was set has left the connection half open")
	_ = s.Close()
}
