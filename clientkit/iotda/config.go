package iotda

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// Types that the kit's device clients share.
type (
	// DialFunc opens a network connection, as net.Dialer.DialContext does.
	DialFunc = clientkit.DialFunc
	// Timing is where the kit takes time and chance from.
	Timing = clientkit.Timing
	// Packet is one MQTT packet as [Config.Trace] sees it.
	Packet = clientkit.Packet
	// State is the state of a device's connection.
	State = clientkit.State
)

// The states. Disconnected is passing: the kit tries again after a delay. Closed is the end.
const (
	Connecting   = clientkit.Connecting
	Connected    = clientkit.Connected
	Disconnected = clientkit.Disconnected
	Closed       = clientkit.Closed
)

// Ports and keep alive ("Limitations", "Device Connection Authentication").
const (
	plainPort        = 1883
	defaultKeepAlive = 2 * time.Minute
	minKeepAlive     = 30 * time.Second
	maxKeepAlive     = 1200 * time.Second
)

// Config says which device connects where. Host, DeviceID and Credential are required.
type Config struct {
	Host       string // on the page "Access Details": {instance}.iot-mqtts.{region}.myhuaweicloud.com
	Port       int    // default 8883, or 1883 with Plain
	DeviceID   string // as the platform shows it, normally {product ID}_{node ID}
	Credential Credential
	Sign       SignType // default SignUnchecked, as Huawei's generator
	// Plain is MQTT without TLS, where the platform lets the device; the password is a mere HMAC then.
	Plain     bool
	Gzip      bool          // reports are compressed
	KeepAlive time.Duration // in whole seconds, 30 s to 20 min; default 2 minutes
	TLS       *tls.Config   // roots and the like; the client certificate and the name are added; optional
	Dial      DialFunc      // default net.Dialer
	Timing    Timing
	// OnState sees each change of state, one after the other. It must not block and must not call Close.
	OnState func(State, error)
	Trace   func(Packet) // sees each packet, from several goroutines; must not block; optional
	Log     *slog.Logger // optional
	// OnCommand, OnSet and OnGet serve the application from the first moment: the platform sends what it has kept
	// for a device right after CONNECT. The methods of the same names set others later.
	OnCommand CommandHandler
	OnSet     SetHandler
	OnGet     GetHandler
}

func (c Config) withDefaults() (Config, error) {
	if c.Sign == 0 {
		c.Sign = SignUnchecked
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = defaultKeepAlive
	}
	if c.Port == 0 {
		c.Port = session.DefaultMQTTS
		if c.Plain {
			c.Port = plainPort
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.OnState == nil {
		c.OnState = func(State, error) {}
	}
	c.Timing = c.Timing.WithDefaults()
	switch {
	case session.BadHost(c.Host):
		return c, fmt.Errorf("iotda: host is %q, expected a name like x.iot-mqtts.cn-north-4.myhuaweicloud.com", c.Host)
	case c.KeepAlive < minKeepAlive || c.KeepAlive > maxKeepAlive:
		return c, fmt.Errorf("iotda: keep alive is %s, expected %s to %s", c.KeepAlive, minKeepAlive, maxKeepAlive)
	case c.Plain && c.Credential.cert != nil:
		return c, errors.New("iotda: a certificate needs TLS: leave Plain out")
	case c.Credential.group != "":
		return c, errors.New("iotda: a group secret is for Provision; the device's own server knows its Secret")
	}
	if _, err := GenerateLogin(c.DeviceID, "", c.Sign, time.Time{}); err != nil {
		return c, err
	}
	return c, cmp.Or(session.CheckPort("iotda", c.Port), c.Credential.check())
}

// login is that of a connection made now.
func (c Config) login() (session.Login, error) {
	secret := ""
	if c.Credential.secret != nil {
		secret = *c.Credential.secret
	}
	l, err := GenerateLogin(c.DeviceID, secret, c.Sign, c.Timing.Now())
	if c.Credential.secret == nil {
		l.Password = ""
	}
	return session.Login(l), err
}

func (c Config) session(onPublish func(session.Arrival)) session.Config {
	s := session.Config{
		Prefix: "iotda", Name: c.Host, Device: c.DeviceID, Closed: ErrClosed,
		Address: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), Dial: c.Dial, Login: c.login, Clean: true, KeepAlive: c.KeepAlive,
		Timing: c.Timing, OnState: c.OnState, Trace: c.Trace, Log: c.Log,
		Refused: func(code byte) error { return &ConnectError{Host: c.Host, ReturnCode: code} },
		Final:   isFinal, Ended: ended, OnPublish: onPublish,
	}
	if !c.Plain {
		s.TLS = c.Credential.tlsConfig(c.TLS, c.Host)
	}
	return s
}
