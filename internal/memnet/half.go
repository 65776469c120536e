package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// room is how many bytes may be on their way in one direction, as in a socket's buffers.
const room = 64 << 10

// half is one direction of a connection.
type half struct {
	mu     sync.Mutex
	change sync.Cond // anything below has changed, or a deadline has passed

	data   []byte // written and not read
	silent error  // what a Write is told once its end has closed; nil while it is open
	deaf   bool   // the reading end has closed
	reset  bool   // the writing end's Close loses data, and is an error to the other end in both directions
	cut    bool   // such a Close has happened

	readBy, writeBy deadline
	writing         bool // one Write at a time is in the buffer, so that two do not mix
}

func newHalf() *half {
	h := &half{}
	h.change.L = &h.mu
	return h
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.deaf:
			return 0, net.ErrClosed
		case h.readBy.over():
			return 0, os.ErrDeadlineExceeded
		case h.cut:
			return 0, syscall.ECONNRESET
		case len(b) == 0:
			return 0, nil
		case len(h.data) > 0:
			n := copy(b, h.data)
			if h.data = h.data[n:]; len(h.data) == 0 {
				h.data = nil // an idle connection holds no memory
			}
			h.change.Broadcast()
			return n, nil
		case h.silent != nil:
			return 0, io.EOF
		}
		h.change.Wait()
	}
}

func (h *half) write(b []byte) (done int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.writing {
		if err := h.writable(); err != nil {
			return 0, err
		}
		h.change.Wait()
	}
	h.writing = true
	defer func() {
		h.writing = false
		h.change.Broadcast()
	}()
	for {
		if err := h.writable(); err != nil {
			return done, err
		}
		if n := min(room-len(h.data), len(b)-done); n > 0 {
			h.data = append(h.data, b[done:done+n]...)
			done += n
			h.change.Broadcast()
		}
		if done == len(b) {
			return done, nil
		}
		h.change.Wait()
	}
}

// writable returns why nothing more can be written. The caller holds mu.
func (h *half) writable() error {
	switch {
	case h.silent != nil:
		return h.silent
	case h.writeBy.over():
		return os.ErrDeadlineExceeded
	case h.cut:
		return syscall.ECONNRESET
	case h.deaf:
		return syscall.EPIPE
	}
	return nil
}

// stopReading is the reading end's close; it reports whether that has happened before.
func (h *half) stopReading() (already bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	already = h.deaf
	h.deaf, h.data = true, nil
	h.readBy.stop()
	h.change.Broadcast()
	return already
}

// stopWriting is the writing end's close; later Writes fail with err. It reports whether that has happened
// before.
func (h *half) stopWriting(err error) (already bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	already = h.silent != nil
	h.silent = err
	if h.reset && err == net.ErrClosed {
		h.cut, h.data = true, nil
	}
	h.writeBy.stop()
	h.change.Broadcast()
	return already
}
