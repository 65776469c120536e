package broker

import (
	"errors"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// event begins an event of this connection.
func (c *conn) event(k journal.Kind) journal.Event {
	return journal.Event{
		Platform: c.srv.cfg.Platform, Endpoint: c.peer.Endpoint, Conn: c.peer.Conn,
		Address: c.address, Device: c.name, Kind: k,
	}
}

func (c *conn) received(k journal.Kind) journal.Event {
	e := c.event(k)
	e.Dir = journal.In
	return e
}

func (c *conn) sent(k journal.Kind) journal.Event {
	e := c.event(k)
	e.Dir = journal.Out
	return e
}

// about begins the refused event of a PUBLISH.
func (c *conn) about(pk *packets.Packet) journal.Event {
	e := c.received(journal.Refused)
	e.Topic = pk.TopicName
	return e
}

// refuse journals r. A refused event always has a rule; where the platform names none for what the
// broker decides, the end of the connection is all there is to tell.
func (c *conn) refuse(where journal.Event, r *rule.Refusal) {
	if r.Rule != "" {
		c.srv.cfg.Journal.Refuse(where, r)
		return
	}
	where.Kind, where.Detail, where.Seen, where.Expected = journal.Closed, r.Detail, r.Seen, r.Expected
	c.srv.cfg.Journal.Append(where)
}

func (c *conn) journalConnect(in *Connect) {
	e := c.received(journal.Connect)
	e.Properties = map[string]string{
		"clientId":     in.ClientID,
		"level":        strconv.Itoa(int(in.Level)),
		"cleanSession": strconv.FormatBool(in.CleanSession),
		"keepAlive":    strconv.Itoa(int(in.KeepAlive)),
	}
	username, password := c.srv.cfg.Mask(in.Username, in.Password)
	if in.HasUsername {
		e.Properties["username"] = username
	}
	if in.HasPassword {
		e.Properties["password"] = password
	}
	if in.Will != nil {
		e.Properties["willTopic"] = in.Will.Topic
	}
	c.srv.cfg.Journal.Append(e)
}

func (c *conn) journalConnack(code int) {
	e := c.sent(journal.Connack)
	e.Code = journal.Code(code)
	if c.present {
		e.Properties = map[string]string{"sessionPresent": "true"}
	}
	c.srv.cfg.Journal.Append(e)
}

// journalEnd tells of the end of an accepted connection, unless the client has told of it.
func (c *conn) journalEnd(cause error) {
	if errors.Is(cause, ErrDisconnect) {
		return
	}
	e := c.event(journal.Closed)
	switch {
	case errors.Is(cause, ErrTakenOver):
		e.Rule = c.srv.cfg.Rules.TakeOver
	case errors.Is(cause, ErrKeepAlive):
		e.Rule, e.Seen = c.srv.cfg.Rules.KeepAlive, "nothing for "+c.silence.String()
		e.Expected = "a packet, such as PINGREQ, within " + c.silence.String()
	}
	e.Detail = cause.Error()
	c.srv.cfg.Journal.Append(e)
}
