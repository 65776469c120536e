package iotda

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"
)

// MaxIdentity is how many characters a client id, a username or a password may have (iot_06_v5_3009).
const MaxIdentity = 256

// StampLayout is the form of a client id's time stamp: UTC, to the hour.
const StampLayout = "2006010215"

// IDDevice is the id type of a device id; the page says that the type is fixed at 0. Node ids (2, older
// platforms) and bridges (3) have other ones.
const IDDevice = '0'

// SignType is how a password is made and judged.
type SignType byte

// The sign types. Any digit can be parsed where another is seen, and is refused then.
const (
	SignUnchecked SignType = '0' // HMAC-SHA256, the time stamp is not judged
	SignChecked   SignType = '1' // HMAC-SHA256, the time stamp is judged first
	SignSM3       SignType = '2' // HMAC-SM3, the time stamp is judged first
)

// Errors of ParseClientID and ParseScopeID; they wrap a sentence that names the part.
var (
	ErrParts     = errors.New("the client id has not its four parts")
	ErrIDType    = errors.New("the id type is not 0")
	ErrSignType  = errors.New("the sign type is not 0, 1 or 2")
	ErrStamp     = errors.New("the time stamp is not YYYYMMDDHH")
	ErrTooLong   = errors.New("longer than 256 characters")
	ErrNoSuchDay = errors.New("the time stamp names no hour of the calendar")
)

// ClientID is {device_id}_0_{sign_type}_{timestamp}, or with a Scope one of the provisioning service:
// {device_id}_0_{scope_id}, or with a group key {device_id}_0_{scope_id}_{sign_type}_{timestamp}.
type ClientID struct {
	DeviceID string // may hold underscores itself
	Scope    string // provisioning service only
	Sign     SignType
	Stamp    string // YYYYMMDDHH in UTC; empty with a scope and X.509
}

// Format returns the client id's text.
func (c ClientID) Format() string {
	text := c.DeviceID + "_0"
	if c.Scope != "" {
		text += "_" + c.Scope
	}
	if c.Stamp == "" {
		return text
	}
	return text + "_" + string(rune(c.Sign)) + "_" + c.Stamp
}

// ParseClientID reads a device's client id from the right, since device ids hold underscores themselves.
// On an error what could be read is returned beside it.
func ParseClientID(text string) (ClientID, error) {
	var c ClientID
	if len(text) > MaxIdentity {
		return c, fmt.Errorf("%w: it has %d", ErrTooLong, len(text))
	}
	rest, stamp, ok := cutLast(text)
	rest, sign, ok2 := cutLast(rest)
	device, kind, ok3 := cutLast(rest)
	if !ok || !ok2 || !ok3 || device == "" || !digits(kind, 1) {
		c.DeviceID = guessDevice(text)
		return c, ErrParts
	}
	c.DeviceID, c.Stamp = device, stamp
	if len(sign) == 1 {
		c.Sign = SignType(sign[0])
	}
	switch {
	case kind != string(IDDevice):
		c.DeviceID = guessDevice(text)
		return c, fmt.Errorf("%w but %q", ErrIDType, kind)
	case sign != "0" && sign != "1" && sign != "2":
		return c, fmt.Errorf("%w but %q", ErrSignType, sign)
	case !digits(stamp, len(StampLayout)):
		return c, fmt.Errorf("%w but %q", ErrStamp, stamp)
	}
	if _, err := time.Parse(StampLayout, stamp); err != nil {
		return c, fmt.Errorf("%w: %q", ErrNoSuchDay, stamp)
	}
	return c, nil
}

// guessDevice drops what looks like type, sign type and time stamp from the right of a broken client id.
func guessDevice(text string) string {
	for range 3 {
		rest, last, ok := cutLast(text)
		if !ok || rest == "" || !digits(last, len(last)) || len(last) > 1 && len(last) < 8 {
			break
		}
		text = rest
	}
	return text
}

// ParseScopeID reads a client id of the provisioning service for a known scope.
func ParseScopeID(text, scope string) (ClientID, bool) {
	if scope == "" || len(text) > MaxIdentity {
		return ClientID{}, false
	}
	if device, ok := strings.CutSuffix(text, "_0_"+scope); ok && device != "" {
		return ClientID{DeviceID: device, Scope: scope}, true
	}
	rest, stamp, ok := cutLast(text)
	rest, sign, ok2 := cutLast(rest)
	device, ok3 := strings.CutSuffix(rest, "_0_"+scope)
	if !ok || !ok2 || !ok3 || device == "" || sign != "0" && sign != "1" || !digits(stamp, len(StampLayout)) {
		return ClientID{}, false
	}
	return ClientID{DeviceID: device, Scope: scope, Sign: SignType(sign[0]), Stamp: stamp}, true
}

func cutLast(text string) (before, last string, ok bool) {
	i := strings.LastIndexByte(text, '_')
	if i < 0 {
		return "", text, false
	}
	return text[:i], text[i+1:], true
}

func digits(text string, n int) bool {
	if len(text) != n || n == 0 {
		return false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// Stamp returns the time stamp of an instant.
func Stamp(t time.Time) string { return t.UTC().Format(StampLayout) }

// Password returns the password for a secret: lower-case hexadecimal HMAC whose key is the time stamp and
// whose message is the secret, not the other way round.
func Password(sign SignType, stamp, secret string) string {
	var h func() hash.Hash = sha256.New
	if sign == SignSM3 {
		h = NewSM3
	}
	return mac(h, []byte(stamp), []byte(secret))
}

// SwappedPassword is what a client sends that takes the secret as key and the time stamp as message.
func SwappedPassword(sign SignType, stamp, secret string) string {
	return Password(sign, secret, stamp)
}

// GroupSecret derives a device's secret from an enrollment group's, which is base64: hexadecimal
// HMAC-SHA256 with the device id as key and the decoded group secret as message.
func GroupSecret(deviceID, groupSecret string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(groupSecret)
	if err != nil {
		return "", fmt.Errorf("group secret: %w", err)
	}
	return mac(sha256.New, []byte(deviceID), raw), nil
}

func mac(h func() hash.Hash, key, message []byte) string {
	m := hmac.New(h, key)
	m.Write(message)
	return hex.EncodeToString(m.Sum(nil))
}

// Credentials returns what a device with a secret connects with. The secret may be anything for a device
// that authenticates by certificate; it leaves the password empty.
func Credentials(deviceID, secret string, sign SignType, at time.Time) (clientID, username, password string) {
	c := ClientID{DeviceID: deviceID, Sign: sign, Stamp: Stamp(at)}
	return c.Format(), deviceID, Password(sign, c.Stamp, secret)
}
