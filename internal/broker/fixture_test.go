package broker

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testRules = Rules{Level: "T-1", First: "T-2", TakeOver: "T-3", KeepAlive: "T-4", Malformed: "T-5", TooLarge: "T-6", QoS2: "T-7", Filters: "T-8"}

// platform is a Head and the Device of all its connections; nil functions accept.
type platform struct {
	connect    func(c *Connect) (Session, error)
	subscribe  func(d *device, filter string, qos byte) Verdict
	publish    func(d *device, m Message) Verdict
	establish  func(d *device)
	leave      func(d *device)
	mu         sync.Mutex
	devices    []*device
	log        []string // what happened, in order, over all connections
	judging    int
	lastClient *Connect
}

type device struct {
	p     *platform
	c     *Connect
	wills []Message
	gone  []error
}

func (p *platform) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, s)
}

func (p *platform) notes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.log...)
}

func (p *platform) device(i int) *device {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.devices[i]
}

func (p *platform) Connect(_ context.Context, c *Connect) (Session, error) {
	p.note("connect " + c.ClientID)
	p.mu.Lock()
	p.lastClient = c
	p.mu.Unlock()
	var s Session
	if p.connect != nil {
		var err error
		if s, err = p.connect(c); err != nil {
			return s, err
		}
	}
	d := &device{p: p, c: c}
	p.mu.Lock()
	p.devices = append(p.devices, d)
	p.mu.Unlock()
	s.Device = d
	return s, nil
}

func (d *device) Established() {
	d.p.note("established")
	if d.p.establish != nil {
		d.p.establish(d)
	}
}

func (d *device) Subscribe(filter string, qos byte) Verdict {
	if d.p.subscribe != nil {
		return d.p.subscribe(d, filter, qos)
	}
	return Verdict{Granted: qos}
}

func (d *device) Unsubscribe(filter string) { d.p.note("unsubscribe " + filter) }

func (d *device) Publish(_ context.Context, m Message) Verdict {
	if d.p.publish != nil {
		return d.p.publish(d, m)
	}
	d.p.note("publish " + m.Topic)
	return Verdict{}
}

func (d *device) Will(_ context.Context, m Message) {
	d.p.note("will " + m.Topic)
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.wills = append(d.wills, m)
}

func (d *device) Gone(cause error) {
	d.p.note("gone")
	if d.p.leave != nil {
		d.p.leave(d)
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.gone = append(d.gone, cause)
}

type fixture struct {
	*testing.T
	platform
	srv     *Server
	journal *journal.Journal
	served  sync.WaitGroup
	conns   uint64
	result  error // of the last Serve that ended
}

func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	f := &fixture{T: t}
	c := clock.New()
	f.journal = journal.New(c, rule.NewTable(), journal.Options{})
	cfg := Config{Platform: "test", Head: &f.platform, Journal: f.journal, Clock: c, MaxPacket: 64 << 10, Levels: []byte{4}, Rules: testRules}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	f.srv, err = New(cfg)
	require.NoError(t, err)
	return f
}

// bubble runs a test in fake time, so that "nothing happens" can be seen for certain.
func bubble(t *testing.T, test func(t *testing.T, f *fixture), change ...func(*Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, change...)
		test(t, f)
		require.NoError(t, f.srv.Close(t.Context()))
		f.served.Wait()
	})
}

// serve runs the server's side of a pipe and returns the client's.
func (f *fixture) serve() net.Conn {
	client, server := net.Pipe()
	f.conns++
	peer := Peer{Conn: f.conns, Endpoint: "ep"}
	f.served.Go(func() {
		err := f.srv.Serve(server, peer)
		f.mu.Lock()
		f.result = err
		f.mu.Unlock()
	})
	f.Cleanup(func() { client.Close() })
	return client
}

func (f *fixture) dial() *brokertest.Conn { return brokertest.New(f.T, f.serve()) }

// online connects with a CONNECT and expects to be accepted.
func (f *fixture) online(c brokertest.Connect) *brokertest.Conn {
	f.Helper()
	client := f.dial()
	client.Send(c.Bytes())
	client.Expect(0x20, 2, 0, 0)
	synctest.Wait()
	return client
}

func (f *fixture) events(k journal.Kind) []journal.Event {
	events, _ := f.journal.Select(journal.Filter{Kind: k})
	return events
}

// refused returns the rules of all refusals so far.
func (f *fixture) refused() []rule.ID {
	var ids []rule.ID
	for _, e := range f.events(journal.Refused) {
		ids = append(ids, e.Rule)
	}
	return ids
}

// goneOnce waits until the connection of the i-th device is over and returns the cause.
func (f *fixture) goneOnce(i int) error {
	f.Helper()
	synctest.Wait()
	d := f.device(i)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Len(f, d.gone, 1)
	return d.gone[0]
}

func kick(id rule.ID) Verdict {
	return Verdict{Action: Close, Refusal: &rule.Refusal{Rule: id, Silent: true}}
}

const second = time.Second

// accepting is a platform that accepts everything and keeps nothing.
type accepting struct{}

func (accepting) Connect(context.Context, *Connect) (Session, error) {
	return Session{Device: accepting{}}, nil
}
func (accepting) Established()                             {}
func (accepting) Subscribe(_ string, qos byte) Verdict     { return Verdict{Granted: qos} }
func (accepting) Unsubscribe(string)                       {}
func (accepting) Publish(context.Context, Message) Verdict { return Verdict{} }
func (accepting) Will(context.Context, Message)            {}
func (accepting) Gone(error)                               {}

func newAccepting(tb testing.TB) *Server {
	c := clock.New()
	srv, err := New(Config{Platform: "test", Head: accepting{}, Clock: c, Levels: []byte{4},
		Journal: journal.New(c, rule.NewTable(), journal.Options{})})
	require.NoError(tb, err)
	return srv
}
