package broker

import (
	"context"
	"crypto/x509"
	"net"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Head is a platform's MQTT face: it judges connections and packets and knows nothing of mochi or
// sockets. Its methods may be called concurrently for different connections.
type Head interface {
	// Connect judges a CONNECT. A *rule.Refusal as error says how to fail on the wire (its Code as
	// CONNACK return code, or Silent: close without CONNACK). It runs while no other CONNECT of the same
	// endpoint and client id is being judged.
	Connect(ctx context.Context, c *Connect) (Session, error)
}

// Device is one accepted connection, seen by its platform. The broker calls its methods one at a time,
// but for Gone, which may come while another is running.
type Device interface {
	// Established is called once, before the CONNACK is written; not at all where the client is gone before
	// it. What is sent meanwhile follows the CONNACK.
	Established()
	// Subscribe judges one filter of a SUBSCRIBE.
	Subscribe(filter string, qos byte) Verdict
	// Unsubscribe tells of one filter of an UNSUBSCRIBE.
	Unsubscribe(filter string)
	// Publish judges and commits one message; the PUBACK goes out after it has returned.
	Publish(ctx context.Context, m Message) Verdict
	// Will delivers the last will of a connection that ended without DISCONNECT.
	Will(ctx context.Context, m Message)
	// Gone is called exactly once, when the connection has ended; cause is ErrDisconnect, ErrTakenOver,
	// ErrKeepAlive, ErrShutdown, a *rule.Refusal, or the network's error. On a takeover it comes after the
	// new connection's Head.Connect and before the new device's Established.
	Gone(cause error)
}

// Expirer is a Device whose MQTT 5 clients may say in their DISCONNECT for how long the session shall be kept.
type Expirer interface {
	// Expire tells of these seconds, before Gone.
	Expire(seconds uint32)
}

// Connect is a CONNECT packet with what is known of its connection.
type Connect struct {
	Peer Peer
	// Level is the protocol level: 3 (MQTT 3.1), 4 (3.1.1) or 5.
	Level        byte
	ClientID     string
	HasUsername  bool
	Username     string
	HasPassword  bool
	Password     []byte
	CleanSession bool // in MQTT 5: clean start
	// SessionExpiry is for how many seconds an MQTT 5 client wants its session kept after the connection.
	SessionExpiry uint32
	KeepAlive     uint16 // seconds, 0 is none
	Will          *Message
	// Link reaches the device at any later time. Before Session is returned nothing may be sent on it.
	Link Link
}

// Peer is what door and TLS know of a connection.
type Peer struct {
	Conn         uint64 // connection number, as in the journal
	Endpoint     string // the platform's instance that the connection was routed to
	Local        net.Addr
	Remote       net.Addr
	SNI          string              // empty on plain TCP and for clients that send none
	Certificates []*x509.Certificate // as presented, leaf first; not verified
	TLSVersion   uint16              // 0 on plain TCP
	Transport    string              // mqtts, mqtt, wss
	Pace         fault.Pace          // of a connection that a fault has made slow already
	// Door is the host name to hand over to a client that did not come by a vendor's name (127.0.0.1,
	// the address or the container name it dialled); empty when it came by a vendor's name.
	Door string
	// Hosts are the names beside the endpoint's own that may stand in usernames and SAS resources on
	// this connection: loopback, advertised names, the address dialled.
	Hosts []string
}

// Session is a Head's answer to an accepted CONNECT.
type Session struct {
	Device  Device
	Present bool // CONNACK session-present; zero it for level 3
	// Name is the device's name in the journal; empty takes the client id.
	Name string
	// Silence is how long the client may be silent; zero takes 1.5 × its keep alive (0: no limit).
	Silence time.Duration
	// SessionExpiry is told to an MQTT 5 client whose session is kept for another time than it asked for, in
	// seconds; zero tells nothing.
	SessionExpiry uint32
	// MaxFilters is how many filters one SUBSCRIBE may have; more costs the connection. Zero is no limit.
	MaxFilters int
	// Subscriptions of a kept session; they are in force before the CONNACK.
	Subscriptions []Subscription
}

// Subscription is a filter with its granted QoS.
type Subscription struct {
	Filter string
	QoS    byte
}

// Message is a PUBLISH from the client, or its will.
type Message struct {
	Topic   string
	Payload []byte // may be kept, must not be changed
	QoS     byte
	Retain  bool
	Dup     bool
}

// Action is what happens to a packet and its connection.
type Action byte

// The actions.
const (
	Accept Action = iota // ack as the protocol says; a SUBSCRIBE grants Verdict.Granted
	Drop                 // PUBLISH: no ack, nothing happens; the connection stays
	Refuse               // SUBSCRIBE: 0x80 for this filter; PUBLISH: as Accept, but journalled as refused
	Close                // the connection is closed without a packet; a will is sent
)

// Verdict is a Device's answer to a packet.
type Verdict struct {
	Action  Action
	Granted byte // QoS of an accepted filter
	// Refusal says why; required for Refuse and Close. The broker journals it.
	Refusal *rule.Refusal
	// Answers are sent after the ack, in order.
	Answers []Outgoing
	// Pause is how long, in real time, the ack of a PUBLISH and the answers wait, for clients that miss what
	// comes sooner than any network brings it. The connection's later packets wait too.
	Pause time.Duration
	// After runs after the ack was written, before Answers are sent. It must not block.
	After func()
}

// Outgoing is a PUBLISH to the client.
type Outgoing struct {
	Topic   string
	Payload []byte
	Shown   []byte // what the journal has for a Payload that holds a secret; nil: the Payload
	QoS     byte   // at most 1; lowered to the granted QoS of the matching subscription
	Retain  bool
	Dup     bool
	// Unsubscribed sends even where no subscription matches (implicit subscriptions).
	Unsubscribed bool
	// Flight, where set, is what the sends of one message share: with QoS 1 those after the first are duplicates with
	// its packet id, and none goes out once it is acknowledged. Only the first one's Acked is called.
	Flight *Flight
	// Sent, where set, is called once the packet is written, with the packet's QoS.
	Sent func(qos byte)
	// Acked, where set, is called on the PUBACK of a QoS 1 packet, after Sent; neither is called after
	// Gone. Both run beside the methods of Device and must not block.
	Acked func()
}

// Link reaches one connection. Its methods may be called from anywhere and never block.
type Link interface {
	// Send queues o and reports whether it will be sent: false when no subscription matches, the queue
	// is full or the connection has ended. Order is kept.
	Send(o Outgoing) bool
	// Subscribed returns the highest QoS granted to a subscription that matches topic.
	Subscribed(topic string) (qos byte, ok bool)
	// Close ends the connection without a packet; the will is sent. A *rule.Refusal as cause is journalled.
	Close(cause error)
}
