package iotda

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// errNoStrategy is the provisioning service's code for a strategy that it does not find (iot_03_0004).
const errNoStrategy = "100414"

func (s *Service) scopes(instance string) []Scope {
	i, _ := s.Instance(instance)
	return i.Scopes
}

func scopeIDs(scopes []Scope) []string {
	ids := make([]string, len(scopes))
	for i, s := range scopes {
		ids[i] = s.ID
	}
	return ids
}

// authenticateScope judges a device of an enrollment group at the provisioning service: by the group's key
// (DA-55), or by certificate.
func (s *Service) authenticateScope(c Credentials, id iotda.ClientID, scope Scope) (Identity, error) {
	who := Identity{Instance: c.Instance, DeviceID: id.DeviceID, Scope: scope.ID}
	if c.Username != id.DeviceID {
		return who, refusal("DA-9/username", codeCredential, "the username is not the device id of the client id",
			fmt.Sprintf("username %q, client id %q", clip(c.Username), clip(c.ClientID)), fmt.Sprintf("username %q", id.DeviceID))
	}
	if !c.Secure {
		return who, refusal("DA-55/plain", codeForbidden, "the provisioning service is reached by TLS only", "MQTT without TLS", "MQTT over TLS, port 8883")
	}
	if id.Stamp == "" {
		if len(c.Certificates) == 0 {
			return who, noCertificate(Device{DeviceID: id.DeviceID}, c)
		}
		_, r := s.checkChain(c.Instance, "", c.Certificates)
		return who, asError(r)
	}
	if id.Sign != iotda.SignUnchecked {
		if r := s.checkStamp(id, c); r != nil {
			return who, r
		}
	}
	secret, err := iotda.GroupSecret(id.DeviceID, scope.Secret)
	if err != nil {
		return who, refusal("DA-55/group", codeCredential, "the enrollment group's secret is not base64", "group "+scope.ID, "a group secret in base64")
	}
	if equal(c.Password, iotda.Password(id.Sign, id.Stamp, secret)) {
		return who, nil
	}
	if equal(c.Password, iotda.Password(id.Sign, id.Stamp, scope.Secret)) {
		return who, refusal("DA-55/derive", codeCredential, "the password was made of the group's own secret", "a password of the group secret",
			"one of the device's derived secret: hex(HMAC-SHA256(key = device id, message = base64-decoded group secret))")
	}
	return who, asError(s.wrongPassword(id.DeviceID, id, c.Password, []string{secret}))
}

// bootstrap answers a device that asks where to connect (DA-54).
func (c *Session) bootstrap(topic string, payload []byte) []Answer {
	s := c.svc
	var ask struct {
		Keyword string `json:"baseStrategyKeyword"`
	}
	if len(payload) > 0 {
		if err := iotda.Decode(payload, &ask); err != nil {
			c.explain(topic, notJSON(err, payload))
			return nil
		}
	}
	down := iotda.Topic{Kind: iotda.BootstrapDown, DeviceID: c.id.DeviceID}.Format()
	i, _ := s.Instance(c.id.Instance)
	d, err := s.Device(c.id.Instance, c.id.DeviceID)
	fail := func(cause, seen, expected string) []Answer {
		c.explain(topic, &rule.Refusal{Rule: rule.ID("DA-54/" + cause), Seen: seen, Expected: expected})
		return []Answer{{Topic: down, Payload: iotda.Encode(map[string]string{"errorCode": errNoStrategy, "errorMsg": "no provisioning strategy matches"})}}
	}
	switch {
	case err != nil:
		return fail("device", "device "+c.id.DeviceID, "a registered device")
	case ask.Keyword != "" && !slices.Contains(i.Strategies, ask.Keyword):
		return fail("strategy", fmt.Sprintf("baseStrategyKeyword %q", clip(ask.Keyword)), "none, or one of: "+listed(i.Strategies))
	}
	answer := map[string]string{"address": c.serverAddress(i), "initConfig": ""}
	if c.id.Scope != "" && d.Auth.Type == AuthSecret {
		answer["deviceSecret"] = d.Auth.Secret
	}
	return []Answer{{Topic: down, Payload: iotda.Encode(answer)}}
}

// serverAddress is where a device is to connect: what the instance says, else the instance's MQTT host on the port of every
// device; for one that dialled another name or address than that, what it dialled, with our port.
func (c *Session) serverAddress(i Instance) string {
	switch {
	case i.BootstrapAddress != "":
		return i.BootstrapAddress
	case c.door != "" && c.svc.mqttsPort != nil && c.svc.mqttsPort() != 0:
		return net.JoinHostPort(c.door, strconv.Itoa(c.svc.mqttsPort()))
	}
	return i.Hosts()[0] + ":8883"
}
