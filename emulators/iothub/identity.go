package iothub

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Status says whether a device may connect.
type Status string

// The states of a device.
const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// AuthType is how an identity proves itself.
type AuthType string

// The ways of authentication.
const (
	AuthSAS        AuthType = "sas"
	AuthSelfSigned AuthType = "selfSigned"
	AuthCA         AuthType = "certificateAuthority"
	AuthNone       AuthType = "none"
)

// The values of ConnectionState.
const (
	Connected    = "Connected"
	Disconnected = "Disconnected"
)

// SymmetricKey holds a SAS identity's keys in base64 of 16 to 64 bytes.
type SymmetricKey struct {
	PrimaryKey   string `json:"primaryKey"`
	SecondaryKey string `json:"secondaryKey"`
}

// Thumbprints hold a selfSigned identity's certificate hashes: 40 (SHA-1) or 64 (SHA-256) hex digits.
type Thumbprints struct {
	Primary   string `json:"primaryThumbprint"`
	Secondary string `json:"secondaryThumbprint"`
}

// Authentication is what an identity must show.
type Authentication struct {
	Type         AuthType     `json:"type"`
	SymmetricKey SymmetricKey `json:"symmetricKey"`
	Thumbprint   Thumbprints  `json:"x509Thumbprint"`
}

// Capabilities of a device.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// Device is a device identity, with the names that the registry uses in JSON. Times are zero for never.
type Device struct {
	DeviceID                   string         `json:"deviceId"`
	GenerationID               string         `json:"generationId"` // made by the registry
	ETag                       string         `json:"etag"`         // made by the registry
	Status                     Status         `json:"status"`       // empty is enabled
	StatusReason               string         `json:"statusReason,omitempty"`
	StatusUpdatedTime          time.Time      `json:"statusUpdatedTime"`
	ConnectionState            string         `json:"connectionState"`
	ConnectionStateUpdatedTime time.Time      `json:"connectionStateUpdatedTime"`
	LastActivityTime           time.Time      `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int            `json:"cloudToDeviceMessageCount"`
	Authentication             Authentication `json:"authentication"`
	Capabilities               Capabilities   `json:"capabilities"`
	DeviceScope                string         `json:"deviceScope,omitempty"`
	ParentScopes               []string       `json:"parentScopes,omitempty"`
	// InitialTwin is what DPS gave the device: {"tags":{…},"properties":{"desired":{…}}}, or nil.
	InitialTwin json.RawMessage `json:"-"`
}

// Module is a module identity. It has no status of its own.
type Module struct {
	DeviceID                   string         `json:"deviceId"`
	ModuleID                   string         `json:"moduleId"`
	ManagedBy                  string         `json:"managedBy,omitempty"`
	GenerationID               string         `json:"generationId"`
	ETag                       string         `json:"etag"`
	ConnectionState            string         `json:"connectionState"`
	ConnectionStateUpdatedTime time.Time      `json:"connectionStateUpdatedTime"`
	LastActivityTime           time.Time      `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int            `json:"cloudToDeviceMessageCount"`
	Authentication             Authentication `json:"authentication"`
}

func (d Device) clone() Device {
	d.ParentScopes = slices.Clone(d.ParentScopes)
	d.InitialTwin = slices.Clone(d.InitialTwin)
	return d
}

func (m Module) clone() Module { return m }

// Masked returns d without its keys, for eyes other than the tester's own.
func (d Device) Masked() Device {
	d = d.clone()
	d.Authentication = d.Authentication.masked()
	return d
}

// Masked returns m without its keys.
func (m Module) Masked() Module {
	m.Authentication = m.Authentication.masked()
	return m
}

func (a Authentication) masked() Authentication {
	for _, k := range []*string{&a.SymmetricKey.PrimaryKey, &a.SymmetricKey.SecondaryKey} {
		if *k != "" {
			*k = "***"
		}
	}
	return a
}

// idAlphabet is the registry's ("Understand the identity registry"); colon and semicolon stand in the
// Event Grid schema's text only and are accepted too.
var idAlphabet = regexp.MustCompile(`^[A-Za-z0-9\-.+%_#*?!(),=@$':;]{1,128}$`)

func validateID(what, id string) error {
	if idAlphabet.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%w: %s %s: 1 to 128 of A-Z a-z 0-9 and - . + %% _ # * ? ! ( ) , = @ $ ' : ; are allowed",
		ErrInvalid, what, quote(id))
}

// complete validates a and makes the keys that are missing.
func (a *Authentication) complete() error {
	switch a.Type {
	case "":
		a.Type = AuthSAS
		if a.Thumbprint != (Thumbprints{}) {
			a.Type = AuthSelfSigned
		}
		return a.complete()
	case AuthSAS:
		return a.completeSAS()
	case AuthSelfSigned:
		return a.completeThumbprints()
	case AuthCA, AuthNone:
		if a.SymmetricKey != (SymmetricKey{}) || a.Thumbprint != (Thumbprints{}) {
			return fmt.Errorf("%w: authentication type %s takes neither keys nor thumbprints", ErrInvalid, a.Type)
		}
		return nil
	default:
		return fmt.Errorf("%w: authentication type %s; known are sas, selfSigned, certificateAuthority, none", ErrInvalid, quote(string(a.Type)))
	}
}

func (a *Authentication) completeSAS() error {
	if a.Thumbprint != (Thumbprints{}) {
		return fmt.Errorf("%w: authentication type sas takes no thumbprint", ErrInvalid)
	}
	for _, k := range []*string{&a.SymmetricKey.PrimaryKey, &a.SymmetricKey.SecondaryKey} {
		if *k == "" {
			*k = newKey()
		} else if _, err := decodeKey(*k); err != nil {
			return err
		}
	}
	return nil
}

func (a *Authentication) completeThumbprints() error {
	if a.SymmetricKey != (SymmetricKey{}) {
		return fmt.Errorf("%w: authentication type selfSigned takes no keys", ErrInvalid)
	}
	if a.Thumbprint == (Thumbprints{}) {
		return fmt.Errorf("%w: authentication type selfSigned needs a thumbprint", ErrInvalid)
	}
	for _, t := range []*string{&a.Thumbprint.Primary, &a.Thumbprint.Secondary} {
		if *t == "" {
			continue
		}
		if err := validateThumbprint(*t); err != nil {
			return err
		}
		*t = strings.ToUpper(*t)
	}
	return nil
}

func validateThumbprint(text string) error {
	plain := NormalizeThumbprint(text)
	_, err := hex.DecodeString(plain)
	good := err == nil && (len(plain) == 40 || len(plain) == 64)
	switch {
	case good && plain == strings.ToUpper(text):
		return nil
	case good:
		return fmt.Errorf("%w: thumbprint %s: remove the spaces and colons, the registry takes hex digits only", ErrInvalid, quote(text))
	default:
		return fmt.Errorf("%w: thumbprint %s: 40 (SHA-1) or 64 (SHA-256) hex digits are needed, it has %d characters", ErrInvalid, quote(text), len(text))
	}
}

// NormalizeThumbprint removes what certificate viewers put between the digits (spaces, colons, the
// invisible mark that Windows puts in front) and returns upper case.
func NormalizeThumbprint(text string) string {
	text = strings.Map(func(r rune) rune {
		switch r {
		case ' ', ':', '\t', '\u200e', '\u00a0':
			return -1
		}
		return r
	}, text)
	return strings.ToUpper(text)
}

// quote shows a client's or user's text in an error, cut to a sane length.
func quote(text string) string {
	const most = 140
	if len(text) > most {
		return fmt.Sprintf("%q… (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}
