package azure

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// DefaultProvisioningHost is the global endpoint of DPS; China has global.azure-devices-provisioning.cn.
const DefaultProvisioningHost = "global.azure-devices-provisioning.net"

// Defaults and limits of Provision.
const (
	provisionAPIVersion = "2019-03-31"
	provisionTimeout    = 2 * time.Minute
	answerTimeout       = 30 * time.Second
	provisionKeepAlive  = 30 * time.Second
	provisionTokenLife  = time.Hour       // as the Python, Node and Java SDKs
	defaultRetryAfter   = 2 * time.Second // as the SDKs, when the service names none
	maxRetryAfter       = 5 * time.Minute
	maxProvisionPayload = 96 << 10 // Learn "DPS limits"
	answerFilter        = "$dps/registrations/res/#"
	registerTopic       = "$dps/registrations/PUT/iotdps-register/?$rid="
	pollTopic           = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid="
)

// ProvisionConfig says who registers where.
type ProvisionConfig struct {
	Host    string // default DefaultProvisioningHost
	Port    int    // default 8883, 443 with WebSocket
	IDScope string // e.g. 0ne00A1B2C3; on the instance's overview page
	// WebSocket is MQTT over WebSocket, for networks that let only HTTPS out.
	WebSocket bool
	// RegistrationID has up to 128 characters: letters, digits and - . _ :. With X.509 it must equal the
	// certificate's common name, which is taken when it is empty.
	RegistrationID string
	Credential     Credential
	Payload        json.RawMessage // JSON for a custom allocation; up to 96 KB with the rest; optional
	TLS            *tls.Config     // roots and the like; the client certificate and the name are added; optional
	Dial           DialFunc        // default net.Dialer
	APIVersion     string          // default 2019-03-31
	Timeout        time.Duration   // of the whole, beside the context; default 2 minutes
	Timing         Timing
	Trace          func(Packet) // sees each packet, from several goroutines; must not block; optional
	Log            *slog.Logger // optional
}

// Assignment is what DPS decided.
type Assignment struct {
	Hub            string // host name of the IoT Hub
	DeviceID       string
	RegistrationID string
	// Substatus is initialAssignment, deviceDataMigrated, deviceDataReset or
	// reprovisionedToInitialAssignment.
	Substatus   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ETag        string
	OperationID string
	Payload     json.RawMessage // from a custom allocation, else nil
}

var registrationIDForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]$`)

func (c ProvisionConfig) withDefaults() (ProvisionConfig, error) {
	if c.RegistrationID == "" {
		c.RegistrationID = c.Credential.commonName()
	}
	if c.Host == "" {
		c.Host = DefaultProvisioningHost
	}
	if c.APIVersion == "" {
		c.APIVersion = provisionAPIVersion
	}
	if c.Timeout == 0 {
		c.Timeout = provisionTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Timing = c.Timing.WithDefaults()
	switch {
	case session.BadHost(c.Host):
		return c, fmt.Errorf("azure: DPS host is %q, expected a name like %s", c.Host, DefaultProvisioningHost)
	case c.IDScope == "" || strings.ContainsAny(c.IDScope, "/ "):
		return c, fmt.Errorf("azure: ID scope is %q, expected a form like 0ne00A1B2C3", c.IDScope)
	case c.RegistrationID == "":
		return c, errors.New("azure: no registration ID")
	case !registrationIDForm.MatchString(c.RegistrationID):
		return c, fmt.Errorf("azure: registration ID %q: up to 128 letters, digits and - . _ :, "+
			"the last one a letter, a digit or -", c.RegistrationID)
	case c.Payload != nil && !json.Valid(c.Payload):
		return c, errors.New("azure: the payload is not JSON")
	case len(c.Payload) > maxProvisionPayload:
		return c, fmt.Errorf("azure: the payload has %d bytes, DPS takes %d", len(c.Payload), maxProvisionPayload)
	}
	return c, cmp.Or(session.CheckPort("azure", c.Port), c.Credential.check())
}

// Provision registers the device with DPS and returns the hub it was assigned to. It polls at the pace
// the service asks for (retry-after), and repeats after lost connections, CONNACK 3, 429 and 5xx with a
// growing, jittered delay until ctx or Timeout ends. Errors: *ProvisionError for an answer of the
// service, *ConnectError for a refused connection, *tls.CertificateVerificationError for a server that
// cannot be trusted, context.DeadlineExceeded with the last failure when the time is up.
func Provision(ctx context.Context, cfg ProvisionConfig) (Assignment, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Assignment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	p := &provisioning{cfg: cfg}
	defer p.running.Wait()
	for n := 1; ; n++ {
		a, err := p.attempt(ctx)
		switch {
		case err == nil:
			return a, nil
		case ctx.Err() != nil:
			return a, fmt.Errorf("azure: provisioning: %w", session.OutOfTime(ctx, p.failure(err)))
		case isFinal(err):
			return a, err
		}
		delay := cfg.Timing.Backoff(n)
		cfg.Log.Info("provisioning attempt failed", "cause", err, "retry_in", delay)
		if cfg.Timing.Wait(ctx, delay) != nil {
			return a, fmt.Errorf("azure: provisioning: %w", session.OutOfTime(ctx, p.failure(err)))
		}
	}
}

// provisioning is one registration, over as many connections as it takes.
type provisioning struct {
	cfg         ProvisionConfig
	operationID string // set once DPS has accepted the registration
	rid         int
	last        error // the last answer to be retried
	running     sync.WaitGroup
}

// failure prefers an answer of the service over the way the time ran out.
func (p *provisioning) failure(err error) error {
	if p.last != nil {
		return p.last
	}
	return err
}

// attempt runs the registration over one connection.
func (p *provisioning) attempt(ctx context.Context) (Assignment, error) {
	answers := make(chan answer, 16)
	l, err := session.Connect(ctx, p.linkConfig(answers))
	if err != nil {
		return Assignment{}, err
	}
	defer l.Close()
	if err := l.Subscribe(ctx, answerFilter); err != nil {
		return Assignment{}, err
	}
	for failed := 0; ; {
		a, err := p.request(ctx, l, answers)
		if err != nil {
			return Assignment{}, err
		}
		done, pause, err := p.judge(a)
		switch {
		case err == nil:
			failed, p.last = 0, nil
		case isFinal(err):
			return Assignment{}, err
		default:
			failed++
			p.last = err
			if pause == 0 {
				pause = p.cfg.Timing.Backoff(failed)
			}
			p.cfg.Log.Info("DPS asks to try again", "cause", err, "retry_in", pause)
		}
		if done != nil {
			return *done, nil
		}
		if err := p.cfg.Timing.Wait(ctx, pause); err != nil {
			return Assignment{}, err
		}
	}
}

func (p *provisioning) linkConfig(answers chan<- answer) session.LinkConfig {
	c := p.cfg
	resource := c.IDScope + "/registrations/" + c.RegistrationID
	return session.LinkConfig{
		Prefix: "azure", Address: hostPort(c.Host, c.Port, c.WebSocket), WebSocket: c.Credential.webSocket(c.WebSocket),
		TLS: c.Credential.tlsConfig(c.TLS, c.Host), Dial: c.Dial,
		Login: session.Login{
			ClientID: c.RegistrationID,
			Username: resource + "/api-version=" + c.APIVersion, // no ? here, unlike IoT Hub
			Password: c.Credential.password(resource, c.Timing.Now().Add(provisionTokenLife), "registration"),
		},
		Clean:     true,
		KeepAlive: provisionKeepAlive,
		Timing:    c.Timing,
		Refused:   func(code byte) error { return &ConnectError{Host: c.Host, ReturnCode: code} },
		Trace:     c.Trace,
		Running:   &p.running,
		OnPublish: func(in session.Arrival) {
			in.Ack() // Paho's own comes after the handler: a DISCONNECT could overtake it
			a, err := parseAnswer(in.Topic, in.Payload)
			if err != nil {
				c.Log.Warn("not an answer of DPS", "topic", in.Topic, "cause", err)
				return
			}
			select {
			case answers <- a:
			default:
				c.Log.Warn("more answers than requests", "topic", in.Topic)
			}
		},
	}
}

// request registers, or polls when the registration runs already, and waits for the answer.
func (p *provisioning) request(ctx context.Context, l *session.Link, answers <-chan answer) (answer, error) {
	p.rid++
	rid := strconv.Itoa(p.rid)
	topic, body := registerTopic+rid, []byte(nil)
	if p.operationID != "" {
		topic = pollTopic + rid + "&operationId=" + url.QueryEscape(p.operationID)
	} else {
		var err error
		if body, err = registerBody(p.cfg); err != nil {
			return answer{}, err
		}
	}
	if err := l.Publish(ctx, topic, body); err != nil {
		return answer{}, err
	}
	late := p.cfg.Timing.After(answerTimeout)
	for {
		select {
		case a := <-answers:
			if a.rid == rid {
				return a, nil
			}
		case <-l.Lost():
			return answer{}, fmt.Errorf("azure: waiting for the answer of DPS: %w: %w", session.ErrLost, l.Cause())
		case <-late:
			return answer{}, fmt.Errorf("azure: no answer of DPS within %s", answerTimeout)
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
}

func registerBody(c ProvisionConfig) ([]byte, error) {
	return json.Marshal(struct {
		RegistrationID string          `json:"registrationId"`
		Payload        json.RawMessage `json:"payload,omitempty"`
	}{c.RegistrationID, c.Payload})
}
