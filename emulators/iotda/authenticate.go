package iotda

import (
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Return codes of a CONNECT ("Device Connection Authentication", iot_06_v5_3009).
const (
	codeClientID   = 2
	codeCredential = 4
	codeForbidden  = 5
)

// Credentials are what a device signs in with.
type Credentials struct {
	Instance     string
	ClientID     string
	Username     string
	Password     string
	Certificates []*x509.Certificate // as presented, leaf first; not verified
	Secure       bool                // over TLS
	SNI          string
	Conn         uint64
	Address      string
}

// Identity is a device that has signed in.
type Identity struct {
	Instance string
	DeviceID string
	Scope    string // of the provisioning service; empty for device access
}

// Authenticate judges a sign-in. The error is a *rule.Refusal with the return code of the CONNACK.
func (s *Service) Authenticate(c Credentials) (Identity, error) {
	for _, scope := range s.scopes(c.Instance) {
		if id, ok := iotda.ParseScopeID(c.ClientID, scope.ID); ok {
			return s.authenticateScope(c, id, scope)
		}
	}
	id, err := iotda.ParseClientID(c.ClientID)
	if err != nil {
		return Identity{}, s.badClientID(c, id, err)
	}
	if c.Username != id.DeviceID {
		return Identity{}, refusal("DA-9/username", codeCredential, "the username is not the device id of the client id",
			fmt.Sprintf("username %q, client id %q", clip(c.Username), clip(c.ClientID)), fmt.Sprintf("username %q", id.DeviceID))
	}
	who := Identity{Instance: c.Instance, DeviceID: id.DeviceID}
	d, err := s.Device(c.Instance, id.DeviceID)
	if err != nil {
		fresh, ok := s.scenarioDevice(c, id.DeviceID)
		if !ok {
			return who, asError(s.selfRegister(c, id.DeviceID))
		}
		var r *rule.Refusal
		if d, r = s.welcome(fresh, id, c); r != nil {
			return who, r
		}
	}
	if d.Auth.Type == AuthCertificates {
		err = asError(s.byCertificate(d, c))
	} else {
		err = asError(s.byPassword(d, id, c))
	}
	if err != nil {
		return who, err
	}
	return who, asError(admit(d, c))
}

// asError keeps a nil *rule.Refusal from becoming an error.
func asError(r *rule.Refusal) error {
	if r == nil {
		return nil
	}
	return r
}

func refusal(id rule.ID, code int, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Code: code, Detail: detail, Seen: seen, Expected: expected}
}

// admit judges a device whose credentials are right.
func admit(d Device, c Credentials) *rule.Refusal {
	switch {
	case d.Frozen:
		return refusal("DA-11/frozen", codeForbidden, "device "+d.DeviceID+" is frozen", "status FROZEN", "a device that is not frozen")
	case d.Auth.SecureAccess && !c.Secure:
		return refusal("DA-11/plain", codeForbidden, "device "+d.DeviceID+" may connect by TLS only (secure_access)",
			"MQTT without TLS", "MQTT over TLS, port 8883")
	case d.GatewayID != "":
		return refusal("DA-9/child", codeCredential, "device "+d.DeviceID+" is a child and does not connect itself",
			"a connection of a child", "its gateway "+d.GatewayID+" reports for it")
	}
	return nil
}

// badClientID refuses a client id of another form and names the legal one that is closest (DA-7).
func (s *Service) badClientID(c Credentials, id iotda.ClientID, err error) *rule.Refusal {
	cause := map[error]rule.ID{iotda.ErrParts: "DA-7/parts", iotda.ErrIDType: "DA-7/type", iotda.ErrSignType: "DA-7/sign",
		iotda.ErrStamp: "DA-7/stamp", iotda.ErrNoSuchDay: "DA-7/stamp", iotda.ErrTooLong: "DA-7/length"}
	r := refusal("DA-7/parts", codeClientID, err.Error(), fmt.Sprintf("client id %q", clip(c.ClientID)), "")
	for target, rule := range cause {
		if errors.Is(err, target) {
			r.Rule = rule
		}
	}
	device := id.DeviceID
	if c.Username != "" && strings.HasPrefix(c.ClientID, c.Username) {
		device = c.Username
	}
	if device == "" || len(device) > maxDeviceID {
		device = "{device_id}"
	}
	near := iotda.ClientID{DeviceID: device, Sign: iotda.SignUnchecked, Stamp: iotda.Stamp(s.clock.Wall())}
	r.Expected = near.Format() + " ({device_id}_0_{sign type}_{UTC time YYYYMMDDHH})"
	if scopes := s.scopes(c.Instance); len(scopes) > 0 && r.Rule == "DA-7/parts" {
		r.Expected += ", or for the provisioning service {device_id}_0_{scope} with a scope of " + listed(scopeIDs(scopes))
	}
	return r
}

// unknownDevice refuses a device that nobody has registered (DA-9).
func (s *Service) unknownDevice(c Credentials, device string) *rule.Refusal {
	r := refusal("DA-9/unknown", codeCredential, "no such device in instance "+c.Instance, fmt.Sprintf("device id %q", clip(device)), "a registered device")
	if near := s.nearestDevice(c.Instance, device); near != "" {
		r.Expected += "; the nearest is " + near
	}
	if fault.ScenarioName(device) != "" {
		r.Detail += "; it is a scenario device, which an instance with the world key scenarios: true registers by itself, in a product that it has"
	}
	return r
}

// byPassword judges the time stamp where the sign type asks for it, then the password, as the page says.
func (s *Service) byPassword(d Device, id iotda.ClientID, c Credentials) *rule.Refusal {
	if c.Password == "" && len(c.Certificates) > 0 {
		return refusal("DA-17/no-password", codeCredential, "device "+d.DeviceID+" authenticates by secret and sent a certificate instead of a password",
			"a client certificate and no password", "a password, or a device registered with auth_type CERTIFICATES")
	}
	if id.Sign != iotda.SignUnchecked {
		if r := s.checkStamp(id, c); r != nil {
			return r
		}
	}
	secrets := []string{d.Auth.Secret, d.Auth.SecondarySecret}
	for _, secret := range secrets {
		if secret != "" && equal(c.Password, iotda.Password(id.Sign, id.Stamp, secret)) {
			return nil
		}
	}
	return s.wrongPassword(d.DeviceID, id, c.Password, secrets)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// The zones east and west of UTC that a device's local time may be in.
const (
	mostEast = 14
	mostWest = -12
)

// checkStamp compares a time stamp with the platform's clock (DA-5).
func (s *Service) checkStamp(id iotda.ClientID, c Credentials) *rule.Refusal {
	stamp, err := time.Parse(iotda.StampLayout, id.Stamp)
	if err != nil {
		return refusal("DA-7/stamp", codeClientID, err.Error(), id.Stamp, iotda.StampLayout)
	}
	now := s.clock.Wall().UTC().Truncate(time.Hour)
	off := stamp.Sub(now)
	i, _ := s.Instance(c.Instance)
	if off.Abs() <= i.tolerance() {
		return nil
	}
	hours := int(off / time.Hour)
	r := refusal("DA-5/stamp", codeCredential, fmt.Sprintf("sign type %c has the time stamp judged, and it lies %d hours from the platform's time", id.Sign, hours),
		"time stamp "+id.Stamp, fmt.Sprintf("%s (UTC), within %s; or sign type 0", iotda.Stamp(now), i.tolerance()))
	if hours >= mostWest && hours <= mostEast {
		r.Rule = "DA-5/local"
		r.Detail += fmt.Sprintf("; it would be right as local time of UTC%+d", hours)
	}
	return r
}

// wrongPassword refuses a password and looks for the mistake that made it.
func (s *Service) wrongPassword(device string, id iotda.ClientID, password string, secrets []string) *rule.Refusal {
	want := fmt.Sprintf("the lower-case hexadecimal HMAC-%s of the device secret as message, with the time stamp %s as key", algorithm(id.Sign), id.Stamp)
	r := refusal("DA-2/password", codeCredential, "the password is not the one of device "+device, fmt.Sprintf("a password of %d characters", len(password)), want)
	if password == "" {
		r.Rule, r.Detail, r.Seen = "DA-2/empty", "the device sent no password and no certificate", "no password"
		return r
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		if cause, detail := s.mistake(id, password, secret); cause != "" {
			r.Rule, r.Detail = cause, detail
			return r
		}
	}
	return r
}

func algorithm(sign iotda.SignType) string {
	if sign == iotda.SignSM3 {
		return "SM3"
	}
	return "SHA256"
}

// mistake returns the known mistake that makes this password of a right secret.
func (s *Service) mistake(id iotda.ClientID, password, secret string) (cause rule.ID, detail string) {
	right := iotda.Password(id.Sign, id.Stamp, secret)
	other, name := iotda.SignSM3, "SM3"
	if id.Sign == iotda.SignSM3 {
		other, name = iotda.SignUnchecked, "SHA256"
	}
	switch {
	case equal(password, iotda.SwappedPassword(id.Sign, id.Stamp, secret)):
		return "DA-2/swapped", "the password was made with key and message swapped: the device secret was taken as key, the time stamp as message"
	case strings.EqualFold(password, right):
		return "DA-2/case", "the password is right but for its upper-case letters"
	case equal(password, secret):
		return "DA-2/plain", "the device secret itself was sent as password"
	case equal(password, iotda.Password(other, id.Stamp, secret)):
		return "DA-2/algorithm", fmt.Sprintf("the password was made with HMAC-%s, which does not go with sign type %c", name, id.Sign)
	}
	around := []time.Time{s.clock.Wall()}
	if t, err := time.Parse(iotda.StampLayout, id.Stamp); err == nil {
		around = append(around, t)
	}
	for _, t := range around {
		for hours := -24; hours <= 24; hours++ {
			stamp := iotda.Stamp(t.Add(time.Duration(hours) * time.Hour))
			if equal(password, iotda.Password(id.Sign, stamp, secret)) {
				return "DA-6/stamp", fmt.Sprintf("the password was keyed with time stamp %s, the client id says %s", stamp, id.Stamp)
			}
		}
	}
	return "", ""
}
