package broker

import (
	"log/slog"
	"math"
	"strconv"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const listenerID = "door"

// startMochi makes the mochi server. Its own Serve is never called: the event loop would only copy the
// client map every second, and what it looks after (sessions, retained messages, $SYS) is not in use.
func (s *Server) startMochi() error {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumPacketSize = s.cfg.MaxPacket
	limits.MaximumClientWritesPending = 1 // its queue is not in use, and allocated per client
	limits.MaximumSessionExpiryInterval = 0
	limits.MaximumMessageExpiryInterval = 0
	limits.MaximumQos = 1
	limits.TopicAliasMaximum = 0
	s.mochi = mqtt.New(&mqtt.Options{
		Capabilities:           limits,
		SysTopicResendInterval: math.MaxInt32,
		Logger:                 slog.New(slog.DiscardHandler), // it would print whole packets
	})
	return s.mochi.AddHook(&hook{}, nil)
}

// hook sees every packet before mochi judges it. It does the work of all packets after the CONNECT
// itself and hands mochi only what has no effect there, so mochi's sessions, topic tree and in-flight
// maps stay empty.
type hook struct{ mqtt.HookBase }

// ID implements mqtt.Hook.
func (*hook) ID() string { return "fakecloud" }

// Provides implements mqtt.Hook.
func (*hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished:
		return true
	}
	return false
}

// handled is what mochi gets in place of a packet that we have dealt with: the PUBACK of a message that
// it never sent, which it ignores.
var handled = packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}

// OnPacketRead implements mqtt.Hook. packets.ErrRejectPacket makes mochi stop without a packet.
func (*hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := cl.Net.Conn.(*conn)
	if cause := c.srv.dead(); cause != nil {
		c.end(cause)
	}
	c.late.take()
	defer func() { c.late.give() }() // of one that is made meanwhile, too
	if c.ctx.Err() != nil {
		return pk, packets.ErrRejectPacket
	}
	if c.silent.Load() {
		return handled, nil
	}
	if size := packetSize(pk.FixedHeader.Remaining); size > int64(c.srv.cfg.MaxPacket) {
		c.kick(c.event(journal.Refused), c.tooLarge())
		return pk, packets.ErrRejectPacket
	}
	next := handled
	switch pk.FixedHeader.Type {
	case packets.Connect:
		next = c.connect(pk)
	case packets.Publish:
		c.publish(&pk)
	case packets.Puback:
		c.puback(&pk)
	case packets.Subscribe:
		c.subscribe(&pk)
	case packets.Unsubscribe:
		c.unsubscribe(&pk)
	case packets.Pingreq:
		next = pk
	case packets.Disconnect:
		c.disconnect(&pk)
	default:
		c.kick(c.event(journal.Refused), c.malformed("a packet of type "+strconv.Itoa(int(pk.FixedHeader.Type))))
	}
	if c.ctx.Err() != nil {
		return pk, packets.ErrRejectPacket
	}
	return next, nil
}

// OnConnectAuthenticate implements mqtt.Hook; the Head has judged already.
func (*hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnPacketEncode implements mqtt.Hook.
func (*hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*conn)
	switch pk.FixedHeader.Type {
	case packets.Connack:
		pk.SessionPresent = c.present
		if c.level == 5 && c.session.clientID == "" {
			pk.Properties.AssignedClientID = c.mochiID
		}
		if c.level == 5 && c.expiry > 0 {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = c.expiry, true
		}
		c.journalConnack(int(pk.ReasonCode))
	case packets.Disconnect: // a 3.1.1 client must never see one; an unknown type is not written
		if c.level < 5 {
			pk.FixedHeader.Type = packets.Reserved
		}
	}
	return pk
}

// OnSessionEstablish implements mqtt.Hook; the CONNACK is written next. The platform knows of the device
// before the device can know that it is accepted: whoever acts on the CONNACK finds it connected.
func (*hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	if c.ctx.Err() != nil {
		return
	}
	c.inside.Store(true)
	c.device.Established()
	c.inside.Store(false)
}

// OnSessionEstablished implements mqtt.Hook; the CONNACK is written.
func (*hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	if c.ctx.Err() != nil {
		return
	}
	if c.falls {
		c.fallSilent(true)
	}
	c.open()
}

func (c *conn) disconnect(pk *packets.Packet) {
	c.writeAcks()
	if pk.ReasonCode != packets.CodeDisconnectWillMessage.Code { // a v5 client may ask for its will
		c.will = nil
	}
	if e, expires := c.device.(Expirer); expires && pk.Properties.SessionExpiryIntervalFlag {
		c.inside.Store(true)
		e.Expire(pk.Properties.SessionExpiryInterval)
		c.inside.Store(false)
	}
	if c.end(ErrDisconnect) {
		c.srv.cfg.Journal.Append(c.received(journal.Disconnect))
	}
}

// kick journals a refusal and ends the connection without a packet.
func (c *conn) kick(where journal.Event, r *rule.Refusal) {
	silent := *r
	silent.Silent = true
	c.writeAcks() // of the packets before it
	c.refuse(where, &silent)
	c.end(r)
}
