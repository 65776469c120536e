package door

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/broker"
)

// sock is an accepted TCP connection with what the door learns of it. It stays below TLS, WebSocket and
// the platform's server for as long as the connection lives.
type sock struct {
	net.Conn
	door    *Door
	number  uint64
	port    Port   // of the listener; on the proxy port later that of the tunnel's target
	dialled string // the vendor's name that the client asked of the proxy
	prefix  []byte // bytes read ahead on the proxy port

	received   bool        // whether the client has sent anything
	shaking    bool        // the TLS handshake is going on
	tail       [7]byte     // the last bytes that came during it
	offer      *offer      // what its ClientHello offered; dropped after the handshake
	peer       broker.Peer // complete once TLS is, but for Endpoint
	handedOver atomic.Bool // a platform serves it
	halfOpen   bool        // a fault: nothing counts any more once the handshake is done
	slow       atomic.Pointer[slowdown]
	closed     sync.Once
}

// offer is what a ClientHello said, for the journal.
type offer struct {
	name     string
	versions []uint16
	suites   []uint16
	refused  error // why there is no certificate for name
	faulted  bool  // a fault has ended the handshake
}

// NetConn returns the connection below, as tls.Conn does.
func (s *sock) NetConn() net.Conn { return s.Conn }

// Read implements net.Conn.
func (s *sock) Read(b []byte) (int, error) {
	if len(s.prefix) > 0 {
		n := copy(b, s.prefix)
		s.prefix = s.prefix[n:]
		if len(s.prefix) == 0 {
			s.prefix = nil
		}
		return n, nil
	}
	slow := s.slow.Load()
	n, err := s.Conn.Read(b[:slow.piece(len(b))])
	slow.wait(n)
	if n > 0 {
		s.received = true
		if s.shaking {
			kept := copy(s.tail[:], s.tail[min(n, len(s.tail)):])
			copy(s.tail[kept:], b[max(n-len(s.tail), 0):n])
		}
	}
	return n, err
}

// plainAlert returns the alert that ended the handshake in the clear. In TLS 1.3 an OpenSSL client sends
// what it thinks of our certificate before it turns its own encryption on, which crypto/tls takes for a
// record that does not decrypt.
func (s *sock) plainAlert() (byte, bool) {
	const alertRecord, major, length = 21, 3, 2
	t := s.tail
	return t[6], t[0] == alertRecord && t[1] == major && t[3] == 0 && t[4] == length
}

// Close implements net.Conn; the door forgets the connection.
func (s *sock) Close() error {
	err := net.ErrClosed
	s.closed.Do(func() {
		s.door.socks.Lock()
		delete(s.door.open, s)
		if slow := s.slow.Load(); slow != nil {
			close(slow.gone)
		}
		s.door.socks.Unlock()
		err = s.Conn.Close()
	})
	return err
}

// mostLingered is how many bytes a refused client may send before it has read its answer.
const mostLingered = 64 << 10

// linger closes a refused connection in a way that lets the client read the last bytes written: a close
// with unread input would reset the connection and lose them.
func (d *Door) linger(s *sock) {
	defer s.Close()
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok || !s.received || half.CloseWrite() != nil {
		return
	}
	_ = s.SetDeadline(time.Now().Add(d.timeouts.Linger))
	_, _ = io.CopyN(io.Discard, s, mostLingered)
}

// addrOf returns the IP address of a, without zone and mapping; the zero Addr where it has none.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// replayed is a connection whose first bytes were read ahead.
type replayed struct {
	net.Conn
	ahead []byte
}

// NetConn returns the connection below, as tls.Conn does.
func (r *replayed) NetConn() net.Conn { return r.Conn }

// Read implements net.Conn.
func (r *replayed) Read(b []byte) (int, error) {
	if r.ahead == nil {
		return r.Conn.Read(b)
	}
	n := copy(b, r.ahead)
	r.ahead = r.ahead[n:]
	if len(r.ahead) == 0 {
		r.ahead = nil // the buffer is free while the device is idle
	}
	return n, nil
}

// queue is a net.Listener of connections that are ready for HTTP.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

func (q *queue) put(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.done:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
