package iotda

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// provisionTimeout is the default limit for Provision.
const provisionTimeout = 2 * time.Minute

// ProvisionConfig says which device asks the provisioning service where to connect. Host, DeviceID and
// Credential are required.
type ProvisionConfig struct {
	Host       string // iot-bs.{region}.myhuaweicloud.com
	Port       int    // default 8883
	DeviceID   string
	ScopeID    string // of the enrollment group, for GroupSecret or a certificate; optional
	Credential Credential
	Sign       SignType      // default SignUnchecked
	Keyword    string        // baseStrategyKeyword; optional
	Timeout    time.Duration // of the whole, beside the context; default 2 minutes
	TLS        *tls.Config   // roots and the like; optional
	Dial       DialFunc      // default net.Dialer
	Timing     Timing
	Trace      func(Packet) // optional
	Log        *slog.Logger // optional
}

// Assignment is the provisioning service's answer.
type Assignment struct {
	Host         string
	Port         int
	InitConfig   string
	DeviceSecret string // where the service issues one
}

// ProvisionError is an answer that is not an assignment, such as code 100414: no strategy.
type ProvisionError struct{ Code, Text string }

func (e *ProvisionError) Error() string {
	return fmt.Sprintf("iotda: provisioning failed: error code %s: %s", e.Code, e.Text)
}

// Provision asks the provisioning service where the device is to connect. Connections that fail in passing are
// repeated with growing, jittered delays until ctx or Timeout ends. Errors: *ProvisionError, and those of Dial.
func Provision(ctx context.Context, cfg ProvisionConfig) (Assignment, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return Assignment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for n := 1; ; n++ {
		a, err := c.attempt(ctx)
		switch {
		case err == nil:
			return a, nil
		case ctx.Err() != nil:
			return a, fmt.Errorf("iotda: provisioning: %w", session.OutOfTime(ctx, err))
		case isFinal(err):
			return a, err
		}
		c.Log.Info("provisioning attempt failed", "cause", err)
		if c.Timing.Wait(ctx, c.Timing.Backoff(n)) != nil {
			return a, fmt.Errorf("iotda: provisioning: %w", session.OutOfTime(ctx, err))
		}
	}
}

func (c ProvisionConfig) withDefaults() (ProvisionConfig, error) {
	if c.Sign == 0 {
		c.Sign = SignUnchecked
	}
	if c.Port == 0 {
		c.Port = session.DefaultMQTTS
	}
	if c.Timeout == 0 {
		c.Timeout = provisionTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Timing = c.Timing.WithDefaults()
	switch {
	case c.Host == "":
		return c, errors.New("iotda: no host of the provisioning service")
	case session.BadHost(c.Host):
		return c, fmt.Errorf("iotda: host is %q, expected a name like iot-bs.cn-north-4.myhuaweicloud.com", c.Host)
	case c.Credential.group != "" && c.ScopeID == "":
		return c, errors.New("iotda: a group secret needs the group's scope ID")
	case c.Credential.secret != nil && c.ScopeID != "":
		return c, errors.New("iotda: with a scope ID the credential is a GroupSecret or a certificate")
	}
	if _, err := GenerateLogin(c.DeviceID, "", c.Sign, time.Time{}); err != nil {
		return c, err
	}
	return c, cmp.Or(session.CheckPort("iotda", c.Port), c.Credential.check())
}

// login is that of a registered device, or with a scope that of an enrollment group.
func (c ProvisionConfig) login() (session.Login, error) {
	id := wire.ClientID{DeviceID: c.DeviceID, Scope: c.ScopeID, Sign: wire.SignType(c.Sign), Stamp: wire.Stamp(c.Timing.Now())}
	l := session.Login{Username: c.DeviceID}
	switch {
	case c.Credential.group != "":
		secret, err := wire.GroupSecret(c.DeviceID, c.Credential.group)
		if err != nil {
			return l, err
		}
		l.Password = wire.Password(id.Sign, id.Stamp, secret)
	case c.Credential.secret != nil:
		l.Password = wire.Password(id.Sign, id.Stamp, *c.Credential.secret)
	case c.ScopeID != "":
		id.Stamp = ""
	}
	l.ClientID = id.Format()
	return l, nil
}

// attempt asks over one connection.
func (c ProvisionConfig) attempt(ctx context.Context) (Assignment, error) {
	login, err := c.login()
	if err != nil {
		return Assignment{}, err
	}
	var running sync.WaitGroup
	defer running.Wait()
	down := wire.Topic{Kind: wire.BootstrapDown, DeviceID: c.DeviceID}.Format()
	answers := make(chan []byte, 1)
	l, err := session.Connect(ctx, session.LinkConfig{
		Prefix: "iotda", Address: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), TLS: c.Credential.tlsConfig(c.TLS, c.Host), Dial: c.Dial,
		Login: login, Clean: true, KeepAlive: defaultKeepAlive, Timing: c.Timing, Trace: c.Trace, Running: &running,
		Refused: func(code byte) error { return &ConnectError{Host: c.Host, ReturnCode: code} },
		OnPublish: func(in session.Arrival) {
			in.Ack()
			if in.Topic == down {
				select {
				case answers <- in.Payload:
				default: // the first one counts
				}
			}
		},
	})
	if err != nil {
		return Assignment{}, err
	}
	defer l.Close()
	if err := l.Subscribe(ctx, down); err != nil {
		return Assignment{}, fmt.Errorf("iotda: %w", err)
	}
	var body []byte
	if c.Keyword != "" {
		body = wire.Encode(map[string]string{"baseStrategyKeyword": c.Keyword})
	}
	if err := l.Publish(ctx, wire.Topic{Kind: wire.BootstrapUp, DeviceID: c.DeviceID}.Format(), body); err != nil {
		return Assignment{}, fmt.Errorf("iotda: %w", err)
	}
	select {
	case body := <-answers:
		return readAssignment(body)
	case <-l.Lost():
		return Assignment{}, fmt.Errorf("iotda: waiting for the provisioning service: %w: %w", session.ErrLost, l.Cause())
	case <-ctx.Done():
		return Assignment{}, ctx.Err()
	case <-c.Timing.After(session.DefaultTimeout):
		return Assignment{}, fmt.Errorf("%w of the provisioning service within %s", ErrNoAnswer, session.DefaultTimeout)
	}
}

func readAssignment(body []byte) (Assignment, error) {
	var answer struct {
		Address      string `json:"address"`
		InitConfig   string `json:"initConfig"`
		DeviceSecret string `json:"deviceSecret"`
		Code         string `json:"errorCode"`
		Text         string `json:"errorMsg"`
	}
	if err := wire.Decode(body, &answer); err != nil {
		return Assignment{}, &ProvisionError{Text: err.Error()}
	}
	if answer.Address == "" {
		return Assignment{}, &ProvisionError{Code: answer.Code, Text: answer.Text}
	}
	host, text, err := net.SplitHostPort(answer.Address)
	port, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil || host == "" {
		return Assignment{}, &ProvisionError{Text: fmt.Sprintf("the address %q is not host:port", answer.Address)}
	}
	return Assignment{host, int(port), answer.InitConfig, answer.DeviceSecret}, nil
}
