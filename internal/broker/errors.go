package broker

import "errors"

// Causes of an ended connection, as Device.Gone sees them.
var (
	ErrDisconnect = errors.New("the client sent DISCONNECT")
	ErrTakenOver  = errors.New("another connection with the same client id took over")
	ErrKeepAlive  = errors.New("the client was silent for longer than its keep alive allows")
	ErrShutdown   = errors.New("fakecloud is shutting down")
	ErrStalled    = errors.New("the client does not read what is sent to it")
)
