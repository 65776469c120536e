package broker

import (
	"log/slog"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Config makes a Server for one platform.
type Config struct {
	Platform string // as in the journal: dps, iothub, …
	Head     Head
	Journal  *journal.Journal
	Clock    clock.Clock
	Log      *slog.Logger
	// MaxPacket is the largest packet in bytes; more costs the connection. Set it above the platform's
	// own limits, so that the platform's rule fires first. Default 1 MiB.
	MaxPacket uint32
	// Levels are the protocol levels spoken; another is refused with return code 1 under Rules.Level.
	Levels []byte
	// JudgeQoS2 has a PUBLISH with QoS 2 judged and committed like any other before the connection closes;
	// else it closes at once.
	JudgeQoS2 bool
	// SentKeepsAlive has what is sent to a client reset its silence, too.
	SentKeepsAlive bool
	// CutBadFilters ends the connection of a client that subscribes to what is no topic filter, or takes it back;
	// else the SUBACK says 0x80 for that filter.
	CutBadFilters bool
	// Pending is how many messages may wait for a slow client; Link.Send refuses more. Default 128.
	Pending int
	// WriteTimeout bounds one write to a client that does not read; then the connection ends with
	// ErrStalled. Default 10 s.
	WriteTimeout time.Duration
	// Rules are cited when the broker itself ends a connection.
	Rules Rules
	// Unavailable, where set, is asked before a CONNECT is judged: an error refuses it with return code 3.
	Unavailable func() error
	// Faults are asked at the steps connect, subscribe, publish, puback and deliver; nil has none.
	Faults *fault.Set
	// Mask returns what the journal may show of a username or password; nil shows the username and
	// hides the password.
	Mask func(username string, password []byte) (shownUsername, shownPassword string)
	// Device names the device of a CONNECT that is not accepted yet, for the journal and for faults; nil
	// takes the client id.
	Device func(clientID, username string) string
}

// Rules names a platform's rule for what the broker decides by itself. Empty ones are closed without a rule.
type Rules struct {
	Level     rule.ID // protocol level not spoken
	First     rule.ID // first packet is not CONNECT, or a second CONNECT comes
	TakeOver  rule.ID
	KeepAlive rule.ID
	Malformed rule.ID // a packet that breaks the protocol
	TooLarge  rule.ID
	QoS2      rule.ID // a PUBLISH with QoS 2
	Filters   rule.ID // a SUBSCRIBE with more filters than the session takes
}
