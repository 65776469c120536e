package pki

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// serverKey is the private key of all server leaves. RSA keys take up to a second to make: it is made in
// a goroutine, so that start-up does not wait, and kept in the data directory.
type serverKey struct {
	mu   sync.Mutex
	done chan struct{} // nil before the first need; closed when key or err is set
	key  crypto.Signer
	err  error

	background sync.WaitGroup // what else is made on the side
}

// Warm begins to make the server key in the background; call it once the listeners are ready.
func (a *Authority) Warm() { a.server.start(a) }

// get waits for the key.
func (s *serverKey) get(a *Authority) (crypto.Signer, error) {
	<-s.start(a)
	return s.key, s.err
}

func (s *serverKey) start(a *Authority) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		go func() {
			defer close(s.done)
			if s.key, s.err = a.loadOrMakeServerKey(); s.err != nil {
				a.log.Error("no server key: every TLS handshake will fail", "cause", s.err)
			}
		}()
	}
	return s.done
}

func (s *serverKey) wait() {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	if done != nil {
		<-done
	}
	s.background.Wait()
}

// loadOrMakeServerKey returns the key of the data directory. ECDSA keys are made anew at every start:
// clients trust the root, not the leaf's key.
func (a *Authority) loadOrMakeServerKey() (crypto.Signer, error) {
	if a.opts.ServerKey == ServerECDSA {
		return newKey(ECDSA)
	}
	remedy := fmt.Sprintf("remove %s to get a new one", a.files.where(serverKeyFile))
	key, err := readKey(a.files, serverKeyFile, remedy)
	if err == nil {
		a.warnOpenKey(serverKeyFile)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = newKey(RSA2048); err != nil {
		return nil, err
	}
	data, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	err = a.files.create(serverKeyFile, data, true)
	switch {
	case errors.Is(err, fs.ErrExist):
		return readKey(a.files, serverKeyFile, remedy)
	case err != nil:
		a.log.Warn("the server key was not kept and will be made again at the next start", "cause", err)
	}
	return key, nil
}
