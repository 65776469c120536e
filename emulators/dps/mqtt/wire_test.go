package mqtt_test

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is DPS behind the real broker, reached over a pipe.
type server struct {
	*broker.Server
	journal *journal.Journal
	service *dps.Service
	hubs    *hubs
	conns   atomic.Uint64
}

// today is the wall reading in the bubbles: V4 has expired, V3 has not.
var today = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// onWire runs test against a server, in a bubble with its own time.
func onWire(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		c.Skew(time.Until(today))
		s := &server{hubs: &hubs{}, journal: journal.New(c, rule.NewTable(dps.Rules), journal.Options{})}
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		s.service = dps.New(dps.Config{Clock: c, IDs: ids.New(1), Journal: s.journal, Store: store.New(), Allocator: s.hubs, Log: log})
		require.NoError(t, s.service.PutInstance(dps.Instance{Name: "fakecloud-dps", IDScope: "0ne00FAKE01", LinkedHubs: []string{"h.azure-devices.net"}}))
		_, err := s.service.PutGroup("fakecloud-dps", dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}}})
		require.NoError(t, err)
		s.Server, err = broker.New(broker.Config{Platform: dps.Platform, Head: mqtt.New(s.service), Journal: s.journal, Clock: c, Log: log,
			MaxPacket: mqtt.MaxPacket, Levels: mqtt.Levels, Rules: mqtt.BrokerRules, Mask: mqtt.Mask})
		require.NoError(t, err)
		test(t, s)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, s.Close(ctx))
	})
}

// dial connects a raw client without sending anything.
func (s *server) dial(t *testing.T, certs ...*x509.Certificate) *brokertest.Conn {
	t.Helper()
	near, far := net.Pipe()
	peer := broker.Peer{Conn: s.conns.Add(1), Endpoint: "fakecloud-dps", Remote: far.RemoteAddr(), Local: far.LocalAddr(), Certificates: certs, Transport: "mqtts"}
	go func() { _ = s.Serve(far, peer) }()
	t.Cleanup(func() { _ = near.Close() })
	return brokertest.New(t, near)
}

func connectPacket(id, password string) []byte {
	user := "0ne00FAKE01/registrations/" + id + "/api-version=2019-03-31"
	return brokertest.Connect{ClientID: id, Username: &user, Password: &password, Session: true, KeepAlive: 60}.Bytes()
}

// join connects and subscribes.
func (s *server) join(t *testing.T, id, password string) *brokertest.Conn {
	t.Helper()
	c := s.dial(t)
	c.Send(connectPacket(id, password))
	c.Expect(0x20, 2, 0, 0)
	c.Send(brokertest.Subscribe(1, 2, "$dps/registrations/res/#"))
	c.Expect(0x90, 3, 0, 1, 1)
	return c
}

// refusedAs returns the refused event of a rule.
func (s *server) refusedAs(t *testing.T, id rule.ID) journal.Event {
	t.Helper()
	e := s.told(t, id)
	require.Equal(t, journal.Refused, e.Kind)
	return e
}

// told returns the newest event that cites a rule.
func (s *server) told(t *testing.T, id rule.ID) journal.Event {
	t.Helper()
	synctest.Wait()
	events, _ := s.journal.Select(journal.Filter{Rule: id})
	require.NotEmpty(t, events, "%s is not in the journal", id)
	e := events[len(events)-1]
	require.NotEmpty(t, e.Fix)
	require.NotEmpty(t, e.Detail)
	require.NotEmpty(t, e.Source)
	return e
}

// DPS-1, DPS-6, DPS-8, DPS-9, DPS-12, DPS-13: the flow in bytes.
func TestFlowOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "device-001", token)
		c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", QoS: 1, ID: 9}.Bytes())
		c.Expect(0x40, 2, 0, 9) // the PUBACK comes first
		p := c.NextPublish()
		require.Equal(t, "$dps/registrations/res/202/?$rid=1&retry-after=3", p.Topic)
		require.False(t, p.Retain)
		require.False(t, p.Dup)
		require.EqualValues(t, 1, p.QoS)
		op := regexp.MustCompile(`^\{"operationId":"(4\.[0-9a-f]{16}\.[0-9a-f-]{36})","status":"assigning"\}$`).FindSubmatch(p.Payload)
		require.NotNil(t, op, "%s", p.Payload)
		c.Send(brokertest.Puback(p.ID))

		poll := "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=" + string(op[1])
		c.Send(brokertest.Publish{Topic: poll, Payload: []byte(" ")}.Bytes())
		p = c.NextPublish()
		require.Equal(t, "$dps/registrations/res/202/?$rid=2&retry-after=3", p.Topic)
		c.Send(brokertest.Puback(p.ID), brokertest.Publish{Topic: poll}.Bytes())
		p = c.NextPublish()
		require.Equal(t, "$dps/registrations/res/200/?$rid=2", p.Topic)
		require.Contains(t, string(p.Payload), `"status":"assigned","registrationState":{"symmetricKey":{"enrollmentGroupId":"g"},"registrationId":"device-001",`)
		c.Send(brokertest.Puback(p.ID), brokertest.Unsubscribe(5, "$dps/registrations/res/#"))
		c.Expect(0xb0, 2, 0, 5)
		c.Send(brokertest.Disconnect)
		c.ExpectClosed()

		synctest.Wait()
		events, _ := s.journal.Select(journal.Filter{})
		var kinds []string
		for _, e := range events {
			kinds = append(kinds, string(e.Kind))
			require.NotContains(t, e.Seen+e.Detail+e.Expected, "UMInG4dEKIdrF", "the signature must not be in the journal")
			for _, v := range e.Properties {
				require.NotContains(t, v, "UMInG4dEKIdrF")
			}
		}
		require.Contains(t, strings.Join(kinds, " "), "publish provisioned puback publish")
		require.NotContains(t, kinds, "refused")
		rule.Proves(t, "DPS-1", "DPS-6", "DPS-8", "DPS-9", "DPS-12", "DPS-13", "DPS-16")
	})
}

// DPS-15, DPS-3, DPS-4, DPS-1, DPS-7, DPS-9, DPS-8: refusals in bytes, with their reason in the journal.
func TestRefusalsOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "device-001", strings.Replace(token, "%2BU", "%2BA", 1))
		c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", QoS: 1, ID: 2}.Bytes())
		c.Expect(0x40, 2, 0, 2)
		p := c.NextPublish()
		require.Equal(t, "$dps/registrations/res/401/?$rid=1", p.Topic)
		require.Contains(t, string(p.Payload), `{"errorCode":401000,"trackingId":"`)
		e := s.refusedAs(t, "DPS-15/signature")
		require.Equal(t, "device-001", e.Device)
		require.Equal(t, 401, *e.Code)
		c.Send(brokertest.Subscribe(3, 1, "#"))
		c.Expect(0x90, 3, 0, 3, 0x80)
		s.refusedAs(t, "DPS-7/filter")
		c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?rid=1"}.Bytes())
		c.ExpectClosed()
		require.Equal(t, "$dps/registrations/PUT/iotdps-register/?$rid=1", s.refusedAs(t, "DPS-9/rid").Expected)

		bad := "0ne00FAKE01/registrations/device-001/?api-version=2019-03-31"
		for _, r := range []struct {
			packet []byte
			code   byte
			id     rule.ID
		}{
			{brokertest.Connect{ClientID: "device-001", Username: &bad, Password: brokertest.Text(token)}.Bytes(), 4, "DPS-3/question-mark"},
			{brokertest.Connect{ClientID: "other", Username: brokertest.Text(username), Password: brokertest.Text(token)}.Bytes(), 2, "DPS-4/client-id"},
			{brokertest.Connect{ClientID: "device-001", Username: brokertest.Text(username)}.Bytes(), 5, "DPS-1/credential"},
			{brokertest.Connect{Level: 3, ClientID: "device-001", Username: brokertest.Text(username), Password: brokertest.Text(token)}.Bytes(), 1, "DPS-1/level"},
		} {
			c := s.dial(t)
			c.Send(r.packet)
			c.Expect(0x20, 2, 0, r.code)
			c.ExpectClosed()
			s.refusedAs(t, r.id)
		}

		c = s.join(t, "device-001", token)
		c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", QoS: 2, ID: 2}.Bytes())
		c.ExpectClosed()
		s.refusedAs(t, "DPS-8/qos2")
		rule.Proves(t, "DPS-3", "DPS-3/question-mark", "DPS-4", "DPS-4/client-id", "DPS-1/credential", "DPS-1/level",
			"DPS-7", "DPS-7/filter", "DPS-9/rid", "DPS-8/qos2", "DPS-15", "DPS-15/signature", "DPS-45")
	})
}

// DPS-46, DPS-1: certificate and a password that is present and empty.
func TestEmptyPasswordOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.dial(t, &x509.Certificate{})
		c.Send(connectPacket("device-001", ""))
		c.Expect(0x20, 2, 0, 0)
	})
}

// DPS-33: answers do not cross, and a second connection with one id ends the first.
func TestTwoConnectionsOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		a, b := s.join(t, "device-001", token), s.join(t, "device-002", token)
		for _, c := range []*brokertest.Conn{a, b} {
			c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1"}.Bytes())
		}
		require.Equal(t, "$dps/registrations/res/202/?$rid=1&retry-after=3", a.NextPublish().Topic)
		require.Equal(t, "$dps/registrations/res/401/?$rid=1", b.NextPublish().Topic)
		a.ExpectSilence(time.Second)
		b.ExpectSilence(time.Second)

		second := s.join(t, "device-001", token)
		a.ExpectClosed()
		require.Equal(t, journal.Closed, s.told(t, "DPS-33/takeover").Kind)
		second.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=2"}.Bytes())
		require.Equal(t, "$dps/registrations/res/202/?$rid=2&retry-after=3", second.NextPublish().Topic)
		rule.Proves(t, "DPS-33", "DPS-33/takeover")
	})
}

// DPS-6/unsubscribed: nothing comes, the device is provisioned, and the journal says so.
func TestRegisterWithoutSubscriptionOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.dial(t)
		c.Send(connectPacket("device-001", token))
		c.Expect(0x20, 2, 0, 0)
		c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", QoS: 1, ID: 2}.Bytes())
		c.Expect(0x40, 2, 0, 2)
		c.ExpectSilence(time.Second)
		s.refusedAs(t, "DPS-6/unsubscribed")
		require.Len(t, s.service.Registrations("fakecloud-dps"), 1)
		rule.Proves(t, "DPS-6/unsubscribed")
	})
}

// DPS-1/keep-alive: without a keep alive the connection lives for ten silent minutes.
func TestNoKeepAliveOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.dial(t)
		c.Send(brokertest.Connect{ClientID: "device-001", Username: brokertest.Text(username), Password: brokertest.Text(token)}.Bytes())
		c.Expect(0x20, 2, 0, 0)
		c.ExpectSilence(9 * time.Minute)
		c.Timeout = 2 * time.Minute
		c.ExpectClosed()
		require.Equal(t, journal.Closed, s.told(t, "DPS-1/keep-alive").Kind)
		rule.Proves(t, "DPS-1/keep-alive")
	})
}

// DPS-11/size: 96 KB are DPS's own limit; the packet limit lies above.
func TestLargeBodyOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "device-001", token)
		c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", Payload: make([]byte, 96<<10+1)}.Bytes())
		require.Equal(t, "$dps/registrations/res/400/?$rid=1", c.NextPublish().Topic)
		s.refusedAs(t, "DPS-11/size")
		rule.Proves(t, "DPS-11/size")
	})
}
