package e2e

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// sufferer is a device of a platform that speaks MQTT: how it comes, what it subscribes to, and a request that is
// acknowledged and answered.
type sufferer struct {
	platform string
	begin    func(t *testing.T) (*fakecloud.Cloud, *tls.Certificate)
	dial     func(t *testing.T, cloud *fakecloud.Cloud, cert *tls.Certificate) *rawmqtt.Conn
	connect  rawmqtt.Connect
	filter   string
	request  func(rid string) (topic, body string)
}

func sufferers() []sufferer {
	byName := func(name string) func(*testing.T, *fakecloud.Cloud, *tls.Certificate) *rawmqtt.Conn {
		return func(t *testing.T, cloud *fakecloud.Cloud, cert *tls.Certificate) *rawmqtt.Conn {
			return dial(t, cloud, via{name: name, cert: cert})
		}
	}
	plain := func(t *testing.T) (*fakecloud.Cloud, *tls.Certificate) { return fakecloud.Start(t), nil }
	certified := func(t *testing.T) (*fakecloud.Cloud, *tls.Certificate) {
		cloud := fakecloud.Start(t)
		return cloud, device(t, cloud, "dev-9")
	}
	onboarded := func(t *testing.T) (*fakecloud.Cloud, *tls.Certificate) {
		cloud := fakecloud.Start(t)
		cert := device(t, cloud, "pump-7")
		onboard(t, cloud, "demo_pump-7", cert)
		return cloud, cert
	}
	twin := func(rid string) (string, string) { return "$iothub/twin/GET/?$rid=" + rid, "" }
	return []sufferer{
		{"dps", certified, byName(globalDPS), enrollee{id: "dev-9"}.connect(), answers,
			func(rid string) (string, string) { return "$dps/registrations/PUT/iotdps-register/?$rid=" + rid, "" }},
		{"iothub", func(t *testing.T) (*fakecloud.Cloud, *tls.Certificate) { return startContoso(t), nil },
			byName(contosoHost), dev01(), "$iothub/twin/res/#", twin},
		{"mindsphere", onboarded, byName(mindConnect), rawmqtt.Connect{ClientID: "demo_pump-7"}, pumpIn + "#",
			func(rid string) (string, string) { return pumpOut + "agm_v3/t", `{"id":"` + rid + `"}` }},
		{"iotda", plain, byName(iotdaMQTT), huawei(node1ID, node1, passwordV1), node1Sys + "shadow/get/response/#",
			func(rid string) (string, string) { return node1Sys + "shadow/get/request_id=" + rid, "{}" }},
		{"edge", plain, func(t *testing.T, cloud *fakecloud.Cloud, _ *tls.Certificate) *rawmqtt.Conn {
			return dialEdge(t, cloud)
		},
			leaf(), "$iothub/twin/res/#", twin},
	}
}

// trial is one fault at one step of one device.
type trial struct {
	*testing.T
	sufferer
	cloud *fakecloud.Cloud
	cert  *tls.Certificate
	step  string
	rid   string
	since uint64
	began time.Time
	conn  *rawmqtt.Conn
}

// The packet identifiers of a trial.
const (
	subscribeID, requestID, secondID = 3, 5, 6
	secondRID                        = "-second"
)

// prepare goes as far as the step, sets the fault and provokes it.
func (r *trial) prepare(a fakecloud.FaultAction) {
	r.Helper()
	r.conn = r.dial(r.T, r.cloud, r.cert)
	set := func() {
		if events := r.cloud.Events(fakecloud.Filter{}); len(events) > 0 {
			r.since = events[len(events)-1].Seq
		}
		r.began = time.Now()
		inject(r.T, r.cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: r.fault(), Platform: r.platform}, Action: a, Count: 1})
	}
	if r.step == "connect" {
		set()
		send(r.T, r.conn, r.connect.Bytes())
		return
	}
	send(r.T, r.conn, r.connect.Bytes())
	wantConnack(r.T, r.conn, 0)
	if r.step == "subscribe" {
		set()
		send(r.T, r.conn, rawmqtt.Subscribe(subscribeID, 1, r.filter))
		return
	}
	send(r.T, r.conn, rawmqtt.Subscribe(subscribeID, 1, r.filter))
	r.await(func(p rawmqtt.Packet) bool { return p.Type() == rawmqtt.SUBACK })
	set()
	r.ask(r.rid, requestID)
}

func (r *trial) fault() fakecloud.FaultStep { return fakecloud.FaultStep(r.step) }

func (r *trial) ask(rid string, id uint16) {
	r.Helper()
	topic, body := r.request(rid)
	send(r.T, r.conn, rawmqtt.Publish(topic, body, 1, id, false))
}

// isReply says whether a packet is what the step brings when all is well.
func (r *trial) isReply(p rawmqtt.Packet) bool {
	switch r.step {
	case "connect":
		return p.Type() == rawmqtt.CONNACK
	case "subscribe":
		return p.Type() == rawmqtt.SUBACK
	case "deliver":
		return r.answers(p, r.rid)
	}
	return p.Type() == rawmqtt.PUBACK && p.Body[1] == requestID
}

// answers says whether a packet is the answer to a request.
func (r *trial) answers(p rawmqtt.Packet, rid string) bool {
	if p.Type() != rawmqtt.PUBLISH {
		return false
	}
	text := p.Topic() + " " + p.Payload() + " "
	return strings.Contains(text, rid) && !strings.Contains(text, rid+secondRID)
}

// next reads a packet and acknowledges it.
func (r *trial) next() rawmqtt.Packet {
	r.Helper()
	p := receive(r.T, r.conn)
	if p.Type() == rawmqtt.PUBLISH && p.QoS() == 1 {
		send(r.T, r.conn, []byte{0x40, 2, byte(p.ID() >> 8), byte(p.ID())})
	}
	return p
}

// await reads until a packet is the one.
func (r *trial) await(isIt func(rawmqtt.Packet) bool) rawmqtt.Packet {
	r.Helper()
	for {
		if p := r.next(); isIt(p) {
			return p
		}
	}
}

// fired waits until the fault has happened, once.
func (r *trial) fired() {
	r.Helper()
	events, err := r.cloud.Await(r.Context(), fakecloud.Filter{Kind: "fault", Since: r.since}, 1)
	require.NoError(r, err)
	require.Len(r, events, 1)
	require.Equal(r, r.platform, events[0].Platform)
	require.Contains(r, events[0].Detail, " at "+r.step+": ")
	require.Empty(r, r.cloud.Faults())
}

// closes reads to the end of the connection, without the reply before.
func (r *trial) closes() {
	r.Helper()
	for {
		p, err := r.conn.Read()
		if err != nil {
			require.ErrorContains(r, err, "EOF")
			return
		}
		require.False(r, r.isReply(p), "%x", p.Bytes())
	}
}

// silent proves that nothing more comes.
func (r *trial) silent() {
	r.Helper()
	require.NoError(r, r.conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := r.conn.Conn.Read(make([]byte, 1))
	require.ErrorContains(r, err, "timeout")
}

// effects are the actions of the steps that every platform has: where they work, and what a device sees.
var effects = map[string]struct {
	steps  string
	action fakecloud.FaultAction
	seen   func(r *trial)
}{
	"code": {"connect subscribe", fakecloud.FaultAction{}, func(r *trial) {
		if r.step == "connect" {
			wantConnack(r.T, r.conn, 3)
			wantClosed(r.T, r.conn)
			return
		}
		wantBytes(r.T, r.conn, 0x90, 3, 0, subscribeID, 0x80)
		wantAlive(r.T, r.conn)
	}},
	"close": {"connect subscribe publish puback deliver", fakecloud.FaultAction{Close: true}, (*trial).closes},
	"reset": {"connect subscribe publish puback deliver", fakecloud.FaultAction{Reset: true}, (*trial).closes},
	"drop": {"connect subscribe publish puback deliver", fakecloud.FaultAction{Drop: true}, func(r *trial) {
		r.fired()
		if r.step == "connect" {
			r.silent()
			return
		}
		send(r.T, r.conn, []byte{0xc0, 0})
		for p := r.next(); p.Type() != rawmqtt.PINGRESP; p = r.next() {
			require.False(r, r.isReply(p), "%x", p.Bytes())
		}
	}},
	"duplicate": {"publish deliver", fakecloud.FaultAction{Duplicate: true}, func(r *trial) {
		r.await(r.isReply)
		if r.step == "deliver" {
			r.await(r.isReply)
		}
	}},
	"halfopen": {"connect subscribe publish puback deliver", fakecloud.FaultAction{HalfOpen: true}, func(r *trial) {
		if r.step == "connect" {
			wantConnack(r.T, r.conn, 0)
		}
		r.fired()
		if r.step == "deliver" {
			r.await(func(p rawmqtt.Packet) bool { return p.Type() == rawmqtt.PUBACK && p.Body[1] == requestID })
		}
		send(r.T, r.conn, []byte{0xc0, 0})
		r.silent()
	}},
	"slow": {"connect subscribe publish puback deliver", fakecloud.FaultAction{}, func(r *trial) {
		p := r.await(r.isReply)
		pieces := time.Duration((len(p.Bytes()) - 1) / (slowPace(r.step) / 10)) // but for the first, a tenth of a second each
		require.GreaterOrEqual(r, time.Since(r.began), pieces*100*time.Millisecond, "%d bytes", len(p.Bytes()))
	}},
	"reorder": {"publish deliver", fakecloud.FaultAction{Reorder: span(10 * time.Minute)}, func(r *trial) {
		r.fired()
		r.ask(r.rid+secondRID, secondID)
		if r.step == "publish" {
			r.await(func(p rawmqtt.Packet) bool { return p.Type() == rawmqtt.PUBACK && p.Body[1] == secondID })
		} else {
			r.await(func(p rawmqtt.Packet) bool {
				require.False(r, r.isReply(p))
				return r.answers(p, r.rid+secondRID)
			})
		}
		r.await(r.isReply)
	}},
	"delay": {"connect subscribe publish puback deliver", fakecloud.FaultAction{Delay: span(50 * time.Millisecond)}, func(r *trial) {
		r.await(r.isReply)
		require.GreaterOrEqual(r, time.Since(r.began), 50*time.Millisecond)
	}},
}

func span(d time.Duration) *fakecloud.FaultDuration { return ptrTo(fakecloud.FaultDuration(d)) }

func ptrTo[T any](v T) *T { return &v }

// slowPace lets a CONNACK take long enough to be seen, and a long answer not too long.
func slowPace(step string) int {
	if step == "deliver" {
		return 400
	}
	return 10
}

// act completes what depends on the step.
func act(kind, step string, a fakecloud.FaultAction) fakecloud.FaultAction {
	switch {
	case kind == "code" && step == "connect":
		a.Code = ptrInt(3)
	case kind == "code":
		a.Code = ptrInt(128)
	case kind == "slow":
		a.Slow = ptrInt(slowPace(step))
	}
	return a
}

// Every action at every step of a connection, on every platform: it happens, once, as it should.
func TestEveryFaultOfAConnection(t *testing.T) {
	t.Parallel()
	for _, v := range sufferers() {
		t.Run(v.platform, func(t *testing.T) {
			t.Parallel()
			cloud, cert := v.begin(t)
			n := 0
			for _, step := range []string{"connect", "subscribe", "publish", "puback", "deliver"} {
				for kind, e := range effects {
					if !slices.Contains(strings.Fields(e.steps), step) {
						continue
					}
					n++
					rid := "rid" + strings.Repeat("x", n) + "y"
					t.Run(step+" "+kind, func(t *testing.T) {
						r := &trial{T: t, sufferer: v, cloud: cloud, cert: cert, step: step, rid: rid}
						r.prepare(act(kind, step, e.action))
						e.seen(r)
						r.fired()
						_ = r.conn.Conn.Close() // the server may have done so
					})
				}
			}
			require.Equal(t, 36, n)
		})
	}
}
