package azure

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
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
	// Packet is one MQTT packet as [ProvisionConfig.Trace] and [HubConfig.Trace] see it.
	Packet = clientkit.Packet
)

// Defaults and limits of a hub connection.
const (
	hubAPIVersion    = "2021-04-12"
	defaultKeepAlive = 4 * time.Minute
	maxKeepAlive     = 1177 * time.Second // Learn "Communicate with an IoT hub using the MQTT protocol"
	defaultTokenLife = time.Hour
	minTokenLife     = 10 * time.Second
)

// HubConfig says which device connects to which hub. Host, DeviceID and Credential are required.
type HubConfig struct {
	Host        string // the hub's own name, e.g. contoso.azure-devices.net, also behind a gateway
	GatewayHost string // connect here instead: an Edge gateway's name, or an emulator's; optional
	Port        int    // default 8883, 443 with WebSocket
	WebSocket   bool   // MQTT over WebSocket, for networks that let only HTTPS out
	DeviceID    string // case-sensitive, up to 128 characters
	ModuleID    string // for a module identity; optional
	Credential  Credential
	ModelID     string // Plug and Play model, dtmi:…; optional
	Product     string // names the client in the username (DeviceClientType); optional
	APIVersion  string // default 2021-04-12
	// KeepAlive is sent in whole seconds; default 4 minutes, 1177 s at most.
	KeepAlive time.Duration
	// CleanSession drops what the hub remembers of earlier subscriptions; Microsoft's SDKs leave it false.
	CleanSession bool
	// TokenLife is how long a SAS token made from a SymmetricKey holds; default 1 hour. The connection is
	// renewed with a fresh token when 80 to 85 percent of it have passed.
	TokenLife time.Duration
	TLS       *tls.Config // roots and the like; the client certificate and the name are added; optional
	Dial      DialFunc    // default net.Dialer
	Timing    Timing
	// OnState sees each change of state, one after the other. It must not block and must not call Close.
	OnState func(State, error)
	Trace   func(Packet) // sees each packet, from several goroutines; must not block; optional
	Log     *slog.Logger // optional
}

// identityForm is Learn's list of characters for device and module IDs.
var identityForm = regexp.MustCompile(`^[A-Za-z0-9.+%_#*?!(),:=@$'-]{1,128}$`)

func (c HubConfig) withDefaults() (HubConfig, error) {
	if c.APIVersion == "" {
		c.APIVersion = hubAPIVersion
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = defaultKeepAlive
	}
	if c.TokenLife == 0 {
		c.TokenLife = defaultTokenLife
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
		return c, fmt.Errorf("azure: hub host is %q, expected a name like contoso.azure-devices.net", c.Host)
	case c.GatewayHost != "" && session.BadHost(c.GatewayHost):
		return c, fmt.Errorf("azure: gateway host is %q, expected a name like mygateway.contoso.com", c.GatewayHost)
	case c.DeviceID == "":
		return c, errors.New("azure: no device ID")
	case !identityForm.MatchString(c.DeviceID):
		return c, badIdentity("device", c.DeviceID)
	case c.ModuleID != "" && !identityForm.MatchString(c.ModuleID):
		return c, badIdentity("module", c.ModuleID)
	case c.KeepAlive < time.Second || c.KeepAlive > maxKeepAlive:
		return c, fmt.Errorf("azure: keep alive is %s, expected 1s to %s", c.KeepAlive, maxKeepAlive)
	case c.TokenLife < minTokenLife:
		return c, fmt.Errorf("azure: token life is %s, expected at least %s", c.TokenLife, minTokenLife)
	}
	return c, cmp.Or(session.CheckPort("azure", c.Port), c.Credential.check())
}

func badIdentity(kind, id string) error {
	return fmt.Errorf("azure: %s ID %q: up to 128 ASCII letters, digits and - . + %% _ # * ? ! ( ) , : = @ $ '", kind, id)
}

// clientID is the device's, or device/module.
func (c HubConfig) clientID() string {
	if c.ModuleID == "" {
		return c.DeviceID
	}
	return c.DeviceID + "/" + c.ModuleID
}

// username is {hub}/{client ID}/?api-version=…; host and IDs stand as they are, the query is escaped.
func (c HubConfig) username() string {
	name := c.Host + "/" + c.clientID() + "/?api-version=" + escape(c.APIVersion)
	if c.Product != "" {
		name += "&DeviceClientType=" + escape(c.Product)
	}
	if c.ModelID != "" {
		name += "&model-id=" + escape(c.ModelID)
	}
	return name
}

// resource is what the SAS token is for.
func (c HubConfig) resource() string {
	resource := c.Host + "/devices/" + c.DeviceID
	if c.ModuleID != "" {
		resource += "/modules/" + c.ModuleID
	}
	return resource
}

// renewAfter is how long a connection with a token made now may stay.
func (c HubConfig) renewAfter() time.Duration {
	return c.TokenLife*85/100 - time.Duration(c.Timing.Jitter()*float64(c.TokenLife*5/100))
}

func (c HubConfig) session(onPublish func(session.Arrival), onLink func(*session.Link)) session.Config {
	host := c.Host
	if c.GatewayHost != "" {
		host = c.GatewayHost
	}
	cfg := session.Config{
		Prefix: "azure", Name: c.Host, Device: c.clientID(), Closed: ErrClosed,
		Address: hostPort(host, c.Port, c.WebSocket), WebSocket: c.Credential.webSocket(c.WebSocket), TLS: c.Credential.tlsConfig(c.TLS, host), Dial: c.Dial,
		Login: func() (session.Login, error) {
			password := c.Credential.password(c.resource(), c.Timing.Now().Add(c.TokenLife), "")
			return session.Login{ClientID: c.clientID(), Username: c.username(), Password: password}, nil
		},
		Clean: c.CleanSession, KeepAlive: c.KeepAlive, Timing: c.Timing, OnState: c.OnState, Trace: c.Trace, Log: c.Log,
		Refused: func(code byte) error { return &ConnectError{Host: host, ReturnCode: code} },
		Final:   isFinal, Ended: refused,
		OnPublish: onPublish, OnLink: onLink,
	}
	if c.Credential.renewable() {
		cfg.RenewAfter = c.renewAfter
	}
	return cfg
}

// escape percent-encodes all but RFC 3986's unreserved characters.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func hostPort(host string, port int, webSocket bool) string {
	switch {
	case port == 0 && webSocket:
		port = session.DefaultHTTPS
	case port == 0:
		port = session.DefaultMQTTS
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
