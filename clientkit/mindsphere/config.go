package mindsphere

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Types that the kit's device clients share.
type (
	// DialFunc opens a network connection, as net.Dialer.DialContext does.
	DialFunc = clientkit.DialFunc
	// Timing is where the kit takes time and chance from.
	Timing = clientkit.Timing
	// Packet is one MQTT packet as [Config.Trace] sees it.
	Packet = clientkit.Packet
	// State is the state of an agent's connection.
	State = clientkit.State
)

// The states. Disconnected is passing: the kit tries again after a delay. Closed is the end.
const (
	Connecting   = clientkit.Connecting
	Connected    = clientkit.Connected
	Disconnected = clientkit.Disconnected
	Closed       = clientkit.Closed
)

// Region is where a tenant lives.
type Region string

// The regions.
const (
	EU1          Region = "eu1"
	EU2          Region = "eu2"
	PrivateCloud Region = "private"
)

// DefaultHostEU1 is the broker of region eu1; the host of eu2 is [azure.DefaultProvisioningHost].
const DefaultHostEU1 = "mindconnectmqtt.eu1.mindsphere.io"

// Limits of the service ("MindConnect Async API", "MindConnect MQTT Commanding").
const (
	MaxPayload     = 128 << 10 // bytes of a message
	MaxCommandData = 4 << 10   // bytes of a command's answer
)

// Defaults and limits of a connection.
const (
	defaultKeepAlive  = time.Minute // as the vendor's sample
	minKeepAlive      = 30 * time.Second
	maxKeepAlive      = 20 * time.Minute
	defaultOnboarding = time.Minute
	defaultTokenLife  = time.Hour
	minTokenLife      = time.Minute
	answerTimeout     = time.Minute // between a request and its first answer, and between two answers
	hubAPIVersion     = "2018-06-30"
	alpn              = "x-amzn-mqtt-ca" // MQTT on the HTTPS port of AWS IoT Core
	alpnPort          = 443
)

// Config says which agent connects where. Region, Tenant and Certificate are required; IDScope too in eu2, and
// Host in a private cloud.
type Config struct {
	Region Region
	Tenant string
	// Certificate has the chain as it is to be sent: the agent's, then the tenant's CA. Its common name is the
	// device in eu1 and private clouds, {tenant}_{device} in eu2. In a private cloud its key is RSA.
	Certificate tls.Certificate
	Host        string // the broker; in eu2 DPS; default DefaultHostEU1 or azure.DefaultProvisioningHost
	Port        int    // default 8883
	// ALPN asks for MQTT by the protocol name x-amzn-mqtt-ca, as port 443 of eu1 wants; set when Port is 443.
	ALPN    bool
	IDScope string // eu2: on the page "Own Certificates" of Asset Manager, as ScopeId
	Hub     string // eu2: connect to this hub without asking DPS; optional
	// Onboarding is how long after Dial began a connection that eu1 closes without a word is taken for an
	// agent being provisioned; default 1 minute. A nanosecond makes one attempt.
	Onboarding time.Duration
	// TokenLife is how long the token of a private cloud's agent holds; default 1 hour. The connection is
	// renewed with a fresh one when 80 to 85 percent of it have passed.
	TokenLife time.Duration
	KeepAlive time.Duration // in whole seconds, 30 s to 20 min; default 1 minute
	// CleanSession drops what the broker keeps while the agent is away; the vendor's sample leaves it false.
	CleanSession bool
	TLS          *tls.Config // roots and the like; the client certificate and the name are added; optional
	Dial         DialFunc    // default net.Dialer
	Timing       Timing
	// OnState sees each change of state, one after the other. It must not block and must not call Close.
	OnState func(State, error)
	Trace   func(Packet) // sees each packet, from several goroutines; must not block; optional
	Log     *slog.Logger // optional

	id string // the client id
}

func (c Config) withDefaults() (Config, error) {
	if c.Host == "" {
		c.Host = map[Region]string{EU1: DefaultHostEU1, EU2: azure.DefaultProvisioningHost}[c.Region]
	}
	c.Onboarding = orDefault(c.Onboarding, defaultOnboarding)
	c.TokenLife = orDefault(c.TokenLife, defaultTokenLife)
	c.KeepAlive = orDefault(c.KeepAlive, defaultKeepAlive)
	c.ALPN = c.ALPN || c.Port == alpnPort
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.OnState == nil {
		c.OnState = func(State, error) {}
	}
	c.Timing = c.Timing.WithDefaults()
	if err := c.check(); err != nil {
		return c, err
	}
	cn, err := commonName(c.Certificate)
	if err != nil {
		return c, err
	}
	c.id = cn
	if c.Region != EU2 {
		c.id = wire.ClientID(c.Tenant, cn)
	}
	return c, c.checkIdentity(cn)
}

func orDefault(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return d
}

func (c Config) check() error {
	switch {
	case c.Region != EU1 && c.Region != EU2 && c.Region != PrivateCloud:
		return fmt.Errorf("mindsphere: region is %q, expected eu1, eu2 or private", c.Region)
	case !wire.ValidTenant(c.Tenant):
		return fmt.Errorf("mindsphere: tenant is %q, expected letters, digits and inner hyphens", c.Tenant)
	case session.BadHost(c.Host):
		return fmt.Errorf("mindsphere: host is %q, expected the broker's name", c.Host)
	case c.Region == EU2 && c.IDScope == "" && c.Hub == "":
		return errors.New("mindsphere: region eu2 needs the ID scope of DPS (ScopeId in Asset Manager), or a hub")
	case c.Region != EU2 && (c.IDScope != "" || c.Hub != ""):
		return errors.New("mindsphere: ID scope and hub are of region eu2")
	case c.Region != EU1 && c.ALPN:
		return errors.New("mindsphere: port 443 with ALPN is of region eu1")
	case c.KeepAlive < minKeepAlive || c.KeepAlive > maxKeepAlive:
		return fmt.Errorf("mindsphere: keep alive is %s, expected %s to %s", c.KeepAlive, minKeepAlive, maxKeepAlive)
	case c.TokenLife < minTokenLife || c.Onboarding < 0:
		return fmt.Errorf("mindsphere: token life is %s, expected at least %s; onboarding must not be negative", c.TokenLife, minTokenLife)
	case len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil:
		return errors.New("mindsphere: the agent needs a certificate and its private key")
	}
	return session.CheckPort("mindsphere", c.Port)
}

func (c Config) checkIdentity(cn string) error {
	switch _, isRSA := c.Certificate.PrivateKey.(*rsa.PrivateKey); {
	case cn == "":
		return errors.New("mindsphere: the certificate has no common name")
	case c.Region == EU2 && !strings.HasPrefix(cn, c.Tenant+"_"):
		return fmt.Errorf("mindsphere: the certificate's common name is %q; in region eu2 it begins with the tenant: %s", cn, wire.ClientID(c.Tenant, cn))
	case len(c.id) > wire.MaxClientID || strings.ContainsAny(c.id, "/+#\x00"):
		return fmt.Errorf("mindsphere: client id %q: up to %d bytes without / + #", c.id, wire.MaxClientID)
	case c.Region == PrivateCloud && !isRSA:
		return errors.New("mindsphere: an agent of a private cloud signs RS256: its key must be RSA")
	}
	return nil
}

func commonName(cert tls.Certificate) (string, error) {
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return "", fmt.Errorf("mindsphere: the agent's certificate: %w", err)
		}
	}
	return leaf.Subject.CommonName, nil
}

// clientID is {tenant}_{common name}, or in eu2 the common name.
func (c Config) clientID() string { return c.id }
