package session

import (
	"errors"
	"net"
	"sync"
	"time"
)

// conn is the socket under Paho. It reads the CONNACK along, because Paho takes an unknown return code
// for success, it turns a closing by ourselves into an error that Paho reports, and after a failed write
// it closes the socket under TLS at once: a TLS alert would wait for a peer that takes nothing.
type conn struct {
	net.Conn
	socket net.Conn
	head   []byte // the first four bytes received
	mu     sync.Mutex
	failed error
}

const connackSize = 4

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if missing := connackSize - len(c.head); missing > 0 && n > 0 {
		c.head = append(c.head, p[:min(n, missing)]...)
		if len(c.head) == connackSize && c.head[3] > 5 {
			return 0, errors.New("unknown return code")
		}
	}
	if err != nil {
		err = c.fail(err)
	}
	return n, err
}

// fail keeps the first failure and returns it.
func (c *conn) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = err
	}
	return c.failed
}

// failure returns why the connection is of no use any more; nil while it is.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Write gives every packet its time limit. Paho sets one for PUBLISH only, so that a PINGREQ to a peer
// that takes nothing would hang, and with it the watch over the connection. The limit goes with its packet: the
// timer that a WebSocket keeps for it breaks off whatever is being written when it fires, also the next packet.
func (c *conn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.abort(err)
	}
	_ = c.Conn.SetWriteDeadline(time.Time{})
	return n, err
}

// SetWriteDeadline is Paho's, and left to Write.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// refusal returns the return code of a CONNACK other than 0.
func (c *conn) refusal() (byte, bool) {
	if len(c.head) == connackSize && c.head[0] == 0x20 && c.head[3] != 0 {
		return c.head[3], true
	}
	return 0, false
}

func (c *conn) abort(cause error) {
	_ = c.fail(cause)
	_ = c.socket.Close()
}
