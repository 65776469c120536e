package mqtt

import (
	"time"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// The vendor's sample publishes its request right after the CONNECT and subscribes to the answers at the CONNACK.
// It gets them from the real service, whose jobs take seconds. Here jobs are done at once, so answers wait a
// little for their subscription.
const (
	heldFor = 10 * time.Second
	maxHeld = 64 // answers of one connection
)

// heldAnswer is an answer whose topic the agent has not subscribed to yet.
type heldAnswer struct {
	message mindsphere.Message
	at      time.Time // timers reading
}

// inbox is the topic of a message to an agent.
func inbox(to mindsphere.Identity, m mindsphere.Message) string {
	return wire.Branch(to.Tenant, to.ClientID, wire.Inbound) + m.Channel.String()
}

// answer sends an answer, or holds it.
func (d *device) answer(m mindsphere.Message) {
	if d.head.Deliver(d.id, m) != mindsphere.Lost || len(d.held) >= maxHeld {
		return
	}
	if _, subscribed := d.link.Subscribed(inbox(d.id, m)); !subscribed {
		d.held = append(d.held, heldAnswer{m, d.head.svc.Clock().Now()})
	}
}

// release sends the held answers that a new subscription asks for; those that are too old are lost.
func (d *device) release(filter string) {
	now, held := d.head.svc.Clock().Now(), d.held
	d.held = nil
	for _, h := range held {
		switch {
		case now.Sub(h.at) > heldFor:
		case wire.Matches(filter, inbox(d.id, h.message)):
			d.head.Deliver(d.id, h.message)
		default:
			d.held = append(d.held, h)
		}
	}
}
