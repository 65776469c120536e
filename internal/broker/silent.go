package broker

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
)

// A half-open connection (fault halfopen): the socket stands and the other side is gone, as after a NAT has
// forgotten the connection or a device has lost its power. We do not answer, and behave as the cloud does that
// waits for a device which no longer exists: what is sent counts as sent, and keep alive ends the session.

// fallSilent makes the connection half open. What was sent before arrives. heard says that the packet at hand
// has been received, so that keep alive counts from it.
func (c *conn) fallSilent(heard bool) {
	c.writeAcks()
	if heard {
		_ = c.SetDeadline(time.Time{}) // a connection that refuses deadlines is broken, and reads fail
	}
	c.silent.Store(true)
}

// connectWait is how long a server waits for a CONNECT (as internal/door does; IoT Hub documents it for MQTT 5).
const connectWait = 30 * time.Second

// awaitNothing is what follows a CONNECT that was lost: the server waits for it, and the client for its answer,
// until either has had enough.
func (c *conn) awaitNothing() {
	if c.listenFor(connectWait) != nil {
		return
	}
	var b [512]byte
	for {
		if _, err := c.Conn.Read(b[:]); err != nil {
			c.end(err)
			return
		}
	}
}

// hearNothing reads a half-open connection until keep alive is over, and returns what a read would have said
// then. That the client has closed its end is not seen: nothing of it arrives any more. Without keep alive
// there is nothing to wait for after that.
func (c *conn) hearNothing(b []byte, err error) error {
	for err == nil {
		_, err = c.Conn.Read(b)
	}
	var timeout net.Error
	c.ending.Lock()
	until := c.until
	c.ending.Unlock()
	if until.IsZero() || errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return os.ErrDeadlineExceeded
	case <-c.ctx.Done():
		return net.ErrClosed
	}
}

// put writes one piece of the wire, at the connection's pace. A slow one gets the time of a write for each
// part: it is we who take the time.
func (c *conn) put(b []byte) error {
	pace := fault.Pace(c.pace.Load())
	for {
		n := pace.Piece(len(b))
		if _, err := c.Conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		if !pace.Wait(n, c.ctx.Done()) || len(b) > 0 && !c.allow() {
			return net.ErrClosed
		}
		if len(b) == 0 {
			return nil
		}
	}
}
