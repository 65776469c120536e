package clientkit

import (
	"context"
	"fmt"
	"net"
)

// DialFunc opens a network connection, as net.Dialer.DialContext does. TLS is laid over it by the kit.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// State is the state of a device's connection.
type State int

// The states. Disconnected is passing: the kit tries again after a delay. Closed is the end.
const (
	Connecting State = iota
	Connected
	Disconnected
	Closed
)

func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", int(s))
}
