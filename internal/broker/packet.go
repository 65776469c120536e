package broker

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// publish takes a PUBLISH.
func (c *conn) publish(pk *packets.Packet) {
	if fault := publishFault(pk); fault != "" {
		c.kick(c.event(journal.Refused), c.malformed(fault))
		return
	}
	e := c.received(journal.Publish)
	e.Topic, e.QoS, e.Payload = pk.TopicName, int(pk.FixedHeader.Qos), pk.Payload
	if pk.FixedHeader.Retain {
		e.Properties = retained
	}
	c.srv.cfg.Journal.Append(e)
	if pk.FixedHeader.Qos == 2 {
		if c.srv.cfg.JudgeQoS2 {
			c.judgeMessage(message(pk))
		}
		c.kick(c.about(pk), &rule.Refusal{Rule: c.srv.cfg.Rules.QoS2, Silent: true, Seen: "QoS 2", Expected: "QoS 0 or 1"})
		return
	}
	if c.late.waits() { // whoever overtakes is left alone
		c.judgePublish(pk, false)
		c.judgeLate()
		return
	}
	switch broken := c.fails(fault.Publish); {
	case broken.Drop || c.ctx.Err() != nil:
	case broken.HalfOpen:
		c.fallSilent(false)
	case broken.Reorder != nil:
		c.letWait(pk)
	default:
		c.judgePublish(pk, broken.Duplicate)
	}
}

// message is a PUBLISH as the platform sees it.
func message(pk *packets.Packet) Message {
	return Message{Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos,
		Retain: pk.FixedHeader.Retain, Dup: pk.FixedHeader.Dup}
}

// judgePublish lets the platform judge a PUBLISH, twice where it has come twice, acks it and answers it.
func (c *conn) judgePublish(pk *packets.Packet, twice bool) {
	m := message(pk)
	c.out.wait()
	v := c.judgeMessage(m)
	if twice && c.ctx.Err() == nil {
		m.Dup = m.QoS > 0
		c.judgeMessage(m)
	}
	c.conclude(pk, v)
}

// conclude does what the platform's verdict says.
func (c *conn) conclude(pk *packets.Packet, v Verdict) {
	defer c.proceed()
	c.pause(v.Pause)
	if c.ctx.Err() != nil {
		return
	}
	switch v.Action {
	case Close:
		c.kick(c.about(pk), refusal(&v))
		return
	case Drop:
		if v.Refusal != nil {
			c.refuse(c.about(pk), v.Refusal)
		}
		return
	case Refuse:
		c.refuse(c.about(pk), refusal(&v))
	case Accept:
	}
	if pk.FixedHeader.Qos == 1 && !c.ack(pk) {
		return
	}
	c.proceed()
	c.follow(v.After, v.Answers)
}

// ack queues the PUBACK of a message and reports whether the connection goes on.
func (c *conn) ack(pk *packets.Packet) bool {
	broken := c.fails(fault.Puback)
	if broken.HalfOpen {
		c.fallSilent(true)
	}
	if c.ctx.Err() != nil || broken.Drop || broken.HalfOpen {
		return c.ctx.Err() == nil
	}
	e := c.sent(journal.Puback)
	e.Topic = pk.TopicName
	c.srv.cfg.Journal.Append(e)
	if c.acks.add(packets.Puback<<4, 2, byte(pk.PacketID>>8), byte(pk.PacketID)) {
		c.writeAcks()
	}
	return true
}

// pause lets d of real time pass, at most until the connection ends.
func (c *conn) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

func (c *conn) judgeMessage(m Message) Verdict {
	defer c.watchAcks()()
	c.inside.Store(true)
	v := c.device.Publish(c.ctx, m)
	c.inside.Store(false) // not when it panics
	return v
}

// publishFault names the first breach of MQTT 3.1.1 section 3.3. We announce no topic aliases.
func publishFault(pk *packets.Packet) string {
	switch fault := topicFault(pk.TopicName); {
	case fault != "":
		return fmt.Sprintf("topic name %q: %s", pk.TopicName, fault)
	case pk.FixedHeader.Qos > 0 && pk.PacketID == 0:
		return "packet id 0"
	case pk.Properties.TopicAliasFlag:
		return "a topic alias"
	}
	return ""
}

var retained = map[string]string{"retain": "true"} // shared by all events, never changed

// refusal returns the reason of a verdict, which the platform owes us.
func refusal(v *Verdict) *rule.Refusal {
	if v.Refusal == nil {
		return &rule.Refusal{Silent: true, Detail: "the platform gave no reason"}
	}
	return v.Refusal
}

// follow does what comes after an ack.
func (c *conn) follow(after func(), answers []Outgoing) {
	if after == nil && len(answers) == 0 {
		return
	}
	c.writeAcks()
	if c.ctx.Err() != nil {
		return
	}
	if after != nil {
		c.inside.Store(true)
		after()
		c.inside.Store(false)
	}
	for i := range answers {
		c.deliver(answers[i], false)
	}
	c.flush()
}

// puback hears of a message of ours.
func (c *conn) puback(pk *packets.Packet) {
	e := c.received(journal.Puback)
	acked, topic := c.out.acknowledged(pk.PacketID)
	e.Topic = topic
	c.srv.cfg.Journal.Append(e)
	if acked != nil {
		c.inside.Store(true)
		acked()
		c.inside.Store(false)
	}
	c.flush()
}

// filterVerdict is what happened to one filter of a SUBSCRIBE.
type filterVerdict struct {
	Verdict
	code byte // as in the SUBACK
}

// failure is the SUBACK return code of MQTT 3.1.1.
const failure = 0x80

// subscribe judges the filters of a SUBSCRIBE one by one; nothing is written when one of them costs the
// connection.
func (c *conn) subscribe(pk *packets.Packet) {
	if pk.PacketID == 0 || len(pk.Filters) == 0 {
		c.kick(c.event(journal.Refused), c.malformed("SUBSCRIBE without packet id or without filters"))
		return
	}
	if c.cutForFilter(pk) {
		return
	}
	if most := c.maxFilters; most > 0 && len(pk.Filters) > most {
		c.kick(c.event(journal.Refused), &rule.Refusal{Rule: c.srv.cfg.Rules.Filters, Detail: "one SUBSCRIBE has too many filters",
			Seen: fmt.Sprintf("%d filters", len(pk.Filters)), Expected: fmt.Sprintf("at most %d", most)})
		return
	}
	broken := c.fails(fault.Subscribe)
	if broken.HalfOpen {
		c.fallSilent(false)
		return
	}
	if broken.Drop || c.ctx.Err() != nil {
		return
	}
	verdicts := make([]filterVerdict, len(pk.Filters))
	for i, f := range pk.Filters {
		e := c.received(journal.Subscribe)
		e.Topic, e.QoS = f.Filter, int(f.Qos)
		c.srv.cfg.Journal.Append(e)
		if broken.Code != nil {
			verdicts[i] = filterVerdict{Verdict{Action: Drop}, failure}
			continue
		}
		verdicts[i] = c.judgeFilter(f)
		if c.ctx.Err() != nil {
			return
		}
	}
	reply := []byte{packets.Suback << 4}
	body := 2 + len(verdicts)
	if c.level == 5 {
		body++
	}
	reply = appendLength(reply, body)
	reply = binary.BigEndian.AppendUint16(reply, pk.PacketID)
	if c.level == 5 {
		reply = append(reply, 0) // no properties
	}
	for i := range verdicts {
		reply = append(reply, verdicts[i].code)
		e := c.sent(journal.Suback)
		e.Topic = pk.Filters[i].Filter
		if verdicts[i].code < failure {
			e.QoS = int(verdicts[i].code)
		} else {
			e.Code = journal.Code(int(verdicts[i].code))
		}
		c.srv.cfg.Journal.Append(e)
	}
	if _, err := c.Write(reply); err != nil {
		return
	}
	for i := range verdicts {
		if v := &verdicts[i]; v.Action != Drop {
			c.follow(v.After, v.Answers)
		}
	}
}

// cutForFilter ends the connection for the first malformed filter, where the platform does that.
func (c *conn) cutForFilter(pk *packets.Packet) bool {
	if !c.srv.cfg.CutBadFilters {
		return false
	}
	for _, f := range pk.Filters {
		if r := c.filterRefusal(f.Filter); r != nil {
			where := c.received(journal.Refused)
			where.Topic = f.Filter
			c.kick(where, r)
			return true
		}
	}
	return false
}

// filterRefusal says what is wrong with a topic filter, nil for nothing.
func (c *conn) filterRefusal(filter string) *rule.Refusal {
	fault := filterFault(filter)
	if fault == "" {
		return nil
	}
	r := c.malformed(fmt.Sprintf("filter %q: %s", filter, fault))
	r.Expected = "a valid topic filter"
	return r
}

func (c *conn) judgeFilter(f packets.Subscription) filterVerdict {
	where := c.received(journal.Refused)
	where.Topic = f.Filter
	if r := c.filterRefusal(f.Filter); r != nil {
		r.Silent, r.Code = false, failure
		c.refuse(where, r)
		return filterVerdict{code: failure}
	}
	c.inside.Store(true)
	v := c.device.Subscribe(f.Filter, f.Qos)
	c.inside.Store(false)
	switch v.Action {
	case Close:
		c.kick(where, refusal(&v))
	case Accept:
		granted := min(v.Granted, f.Qos, 1)
		if c.out.subscribe(f.Filter, granted) {
			return filterVerdict{v, granted}
		}
		where.Kind, where.Detail = journal.Suback, fmt.Sprintf("more than %d subscriptions on one connection", maxSubscriptions)
		c.srv.cfg.Journal.Append(where)
		return filterVerdict{code: failure}
	case Refuse, Drop:
		r := *refusal(&v)
		r.Silent, r.Code = false, failure
		c.refuse(where, &r)
		v.Action = Refuse
	}
	return filterVerdict{v, failure}
}

func (c *conn) unsubscribe(pk *packets.Packet) {
	if pk.PacketID == 0 || len(pk.Filters) == 0 {
		c.kick(c.event(journal.Refused), c.malformed("UNSUBSCRIBE without packet id or without filters"))
		return
	}
	if c.cutForFilter(pk) {
		return
	}
	reply := []byte{packets.Unsuback << 4, 2}
	if c.level == 5 {
		reply = appendLength(reply[:1], 3+len(pk.Filters))
	}
	reply = binary.BigEndian.AppendUint16(reply, pk.PacketID)
	if c.level == 5 {
		reply = append(reply, 0)                                // no properties
		reply = append(reply, make([]byte, len(pk.Filters))...) // success for each filter
	}
	for _, f := range pk.Filters {
		e := c.received(journal.Unsubscribe)
		e.Topic = f.Filter
		c.srv.cfg.Journal.Append(e)
		c.out.unsubscribe(f.Filter)
		c.inside.Store(true)
		c.device.Unsubscribe(f.Filter)
		c.inside.Store(false)
	}
	_, _ = c.Write(reply) // a failed write ends the connection by itself
}
