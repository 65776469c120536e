package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// unacceptableLevel is the CONNACK return code of MQTT 3.1.1 section 3.1.2.2.
const unacceptableLevel = 1

// serverUnavailable is what a client sees of an error that is ours.
const serverUnavailable = 3

// v5Codes gives the reason codes of MQTT 5 for the return codes of MQTT 3.1.1.
var v5Codes = map[int]byte{1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}

// connect judges a CONNECT and returns the one that mochi shall see: valid whatever the client sent,
// clean, without will and credentials, and under an id that no other client has. mochi's own takeover,
// which is not atomic and writes DISCONNECT, so never happens.
func (c *conn) connect(pk packets.Packet) packets.Packet {
	if c.level != 0 {
		c.kick(c.event(journal.Refused), &rule.Refusal{Rule: c.srv.cfg.Rules.First, Silent: true,
			Seen: "a second CONNECT on the connection", Expected: "one CONNECT per connection"})
		return handled
	}
	in := c.parse(&pk)
	c.journalConnect(in)
	name := string(pk.Connect.ProtocolName)
	if fault := connectFault(&pk); fault != "" {
		c.refuseConnect(c.malformed(fault))
		return handled
	}
	if (name == "MQIsdp") != (in.Level == 3) || !slices.Contains(c.srv.cfg.Levels, in.Level) {
		c.level = 4 // whoever speaks another level gets the answer of MQTT 3.1.1
		c.refuseConnect(&rule.Refusal{Rule: c.srv.cfg.Rules.Level, Code: unacceptableLevel,
			Seen:     fmt.Sprintf("protocol %q level %d", name, in.Level),
			Expected: spoken(c.srv.cfg.Levels)})
		return handled
	}
	if c.connectFails() {
		return handled
	}
	if c.srv.cfg.Unavailable != nil {
		if err := c.srv.cfg.Unavailable(); err != nil {
			c.refuseConnect(&rule.Refusal{Code: serverUnavailable, Detail: err.Error()})
			return handled
		}
	}
	done, err := c.srv.judge(c.ctx, c.session)
	if err != nil {
		return handled
	}
	defer done()
	c.inside.Store(true)
	answer, err := c.srv.cfg.Head.Connect(c.ctx, in)
	c.inside.Store(false)
	if err == nil && answer.Device == nil {
		err = errors.New("the platform accepted without a device")
	}
	if err != nil {
		c.refuseConnect(c.asRefusal(err))
		return handled
	}
	c.accept(in, &answer, &pk.Properties)
	if c.srv.enter(c) != nil {
		return handled
	}
	return c.forMochi(pk.ProtocolVersion, &pk)
}

// connectFails does what a fault at step connect says; the CONNECT is then not judged at all.
func (c *conn) connectFails() bool {
	a := c.judge(fault.Connect)
	if a.Code != nil {
		c.answerConnect(*a.Code)
		c.end(ErrFault)
	}
	if a.Drop && c.ctx.Err() == nil {
		c.awaitNothing()
	}
	c.falls = a.HalfOpen
	return c.ctx.Err() != nil
}

// parse copies what the platform may see; the packet's buffer is not kept alive by it.
func (c *conn) parse(pk *packets.Packet) *Connect {
	p := &pk.Connect
	c.level = pk.ProtocolVersion
	c.mochiID = fmt.Sprintf("%s#%d", c.peer.Endpoint, c.serial)
	in := &Connect{
		Peer:          c.peer,
		Level:         pk.ProtocolVersion,
		ClientID:      strings.Clone(p.ClientIdentifier),
		HasUsername:   p.UsernameFlag,
		Username:      string(p.Username),
		HasPassword:   p.PasswordFlag,
		Password:      slices.Clone(p.Password),
		CleanSession:  p.Clean,
		SessionExpiry: pk.Properties.SessionExpiryInterval,
		KeepAlive:     p.Keepalive,
		Link:          (*link)(c),
	}
	if p.WillFlag {
		in.Will = &Message{Topic: strings.Clone(p.WillTopic), Payload: slices.Clone(p.WillPayload), QoS: p.WillQos, Retain: p.WillRetain}
	}
	c.session = session{c.peer.Endpoint, in.ClientID}
	c.name = in.ClientID
	if c.srv.cfg.Device != nil {
		c.name = c.srv.cfg.Device(in.ClientID, in.Username)
	}
	return in
}

// connectFault names the first breach of MQTT 3.1.1 section 3.1 for which the connection is closed
// without a CONNACK.
func connectFault(pk *packets.Packet) string {
	p := &pk.Connect
	switch name := string(p.ProtocolName); {
	case name != "MQTT" && name != "MQIsdp":
		return fmt.Sprintf("protocol name %q", name)
	case pk.ReservedBit != 0:
		return "CONNECT with its reserved flag set"
	case p.WillQos == 3:
		return "a will with QoS 3"
	case !p.WillFlag && (p.WillQos != 0 || p.WillRetain):
		return "will QoS or will retain without a will"
	case p.WillFlag && topicFault(p.WillTopic) != "":
		return fmt.Sprintf("will topic %q: %s", p.WillTopic, topicFault(p.WillTopic))
	case !utf8.Valid(p.Username) || slices.Contains(p.Username, 0):
		return "a username that is not UTF-8"
	case p.PasswordFlag && !p.UsernameFlag && pk.ProtocolVersion < 5:
		return "a password without a username"
	}
	return ""
}

// spoken names protocols as a CONNECT has them: until level 3 MQTT had another name (MQTT 3.1.1 section 3.1.2).
func spoken(levels []byte) string {
	names := make([]string, len(levels))
	for i, level := range levels {
		name := "MQTT"
		if level == 3 {
			name = "MQIsdp"
		}
		names[i] = fmt.Sprintf("protocol %q level %d", name, level)
	}
	return strings.Join(names, " or ")
}

// asRefusal makes an error that is no refusal one with return code 3 and no rule.
func (c *conn) asRefusal(err error) *rule.Refusal {
	var r *rule.Refusal
	if errors.As(err, &r) {
		return r
	}
	c.srv.cfg.Log.Error("a platform failed to judge a CONNECT", "platform", c.srv.cfg.Platform,
		"conn", c.peer.Conn, "client_id", c.session.clientID, "cause", err)
	return &rule.Refusal{Code: serverUnavailable, Detail: "internal error: " + err.Error()}
}

// refuseConnect journals r, answers with its return code if it has one, and ends the connection.
func (c *conn) refuseConnect(r *rule.Refusal) {
	c.refuse(c.event(journal.Refused), r)
	if !r.Silent {
		c.answerConnect(r.Code)
	}
	c.end(r)
}

// answerConnect writes a CONNACK that refuses, if the protocol has one for code. A client that is gone has
// no use for it; the connection ends either way.
func (c *conn) answerConnect(code int) {
	reason, known := v5Codes[code]
	if !known {
		return
	}
	c.journalConnack(code)
	if c.level == 5 {
		_, _ = c.Write([]byte{packets.Connack << 4, 3, 0, reason, 0})
	} else {
		_, _ = c.Write([]byte{packets.Connack << 4, 2, 0, byte(code)})
	}
}

// accept takes over the platform's answer; the link holds what is sent on it until the CONNACK is out.
func (c *conn) accept(in *Connect, s *Session, limits *packets.Properties) {
	c.device = s.Device
	c.will = in.Will
	c.present = s.Present && in.Level > 3
	if s.Name != "" {
		c.name = s.Name
	}
	c.silence = s.Silence
	if c.silence == 0 {
		c.silence = time.Duration(in.KeepAlive) * 3 * time.Second / 2 // MQTT 3.1.1 section 3.1.2.10
	}
	c.maxFilters, c.expiry = s.MaxFilters, s.SessionExpiry
	c.out.hold(s.Subscriptions, limits)
}

// forMochi is the CONNECT that mochi accepts without a thought. Keep alive 0 takes its clock out of the
// game: its arithmetic overflows from 43,691 seconds on.
func (c *conn) forMochi(level byte, pk *packets.Packet) packets.Packet {
	return packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connect},
		ProtocolVersion: level,
		Connect: packets.ConnectParams{
			ProtocolName:     pk.Connect.ProtocolName,
			ClientIdentifier: c.mochiID,
			Clean:            true,
		},
		Properties: packets.Properties{
			ReceiveMaximum:         pk.Properties.ReceiveMaximum,
			RequestProblemInfo:     pk.Properties.RequestProblemInfo,
			RequestProblemInfoFlag: pk.Properties.RequestProblemInfoFlag,
		},
	}
}
