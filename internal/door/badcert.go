package door

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/hosts"
)

// zoo is the domain of host names that always present a certificate that is wrong: KIND.badcert.localhost,
// with the kinds of Certificates.BrokenServer.
const zoo = ".badcert.localhost"

// errFault ends a handshake because a fault was set.
var errFault = errors.New("a fault that was set ended the handshake")

// spoil does what a fault at step tls asks for, and returns the configuration for a handshake that presents
// a wrong certificate; nil where nothing is to be done. Delays follow real time, as all of TLS does.
func (d *Door) spoil(s *sock, match hosts.Match, key policyKey) (*tls.Config, error) {
	name := wanted(s.offer.name, s.dialled)
	kind, _ := strings.CutSuffix(name, zoo)
	if kind == name {
		kind = ""
	}
	a, hit := d.faults.At(fault.Where{Step: fault.TLS, Platform: match.Platform, Endpoint: match.Endpoint, Host: name,
		Conn: s.number, Address: s.RemoteAddr().String()})
	if hit {
		if err := d.breakHandshake(s, a); err != nil {
			return nil, err
		}
		if a.ServerCert != "" {
			kind = a.ServerCert
		}
	}
	if kind == "" {
		return nil, nil
	}
	config := d.newPolicy(key)
	config.SessionTicketsDisabled = true
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		hello.ServerName = name
		cert, err := d.certificates.BrokenServer(kind, hello)
		if err != nil {
			s.offer.refused = err
		}
		return cert, nil
	}
	return config, nil
}

// breakHandshake waits, or ends the connection.
func (d *Door) breakHandshake(s *sock, a fault.Action) error {
	if a.Delay != nil {
		_ = s.SetDeadline(time.Now().Add(time.Duration(*a.Delay) + d.timeouts.Handshake))
		if !d.pause(time.Duration(*a.Delay)) {
			return errFault
		}
	}
	s.halfOpen = a.HalfOpen
	switch {
	case a.Slow != nil:
		s.slowDown(fault.Pace(*a.Slow))
		return nil
	case a.Reset:
		if tcp, ok := s.Conn.(interface{ SetLinger(seconds int) error }); ok {
			_ = tcp.SetLinger(0) // a socket that is closed already needs no more
		}
	case a.Drop: // the client hears nothing more until it gives up, or the handshake's time is over
		s.hearNothing()
	case !a.Close:
		return nil
	}
	s.offer.faulted = true
	_ = s.Close()
	return errFault
}
