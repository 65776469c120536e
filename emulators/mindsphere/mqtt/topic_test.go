package mqtt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// nameless uploads a CA and issues a certificate with an organisation only.
func nameless(t *testing.T, s *server) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	make := func(name pkix.Name, parent *x509.Certificate) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, NotBefore: today.Add(-time.Hour), NotAfter: today.Add(time.Hour),
			IsCA: parent == nil, BasicConstraintsValid: true}
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert
	}
	ca := make(pkix.Name{CommonName: "own"}, nil)
	_, err = s.svc.PutCA("camexia", mindsphere.CA{Certificate: pemBlock(ca), Verified: true})
	require.NoError(t, err)
	return make(pkix.Name{Organization: []string{"o"}}, ca)
}

// MS-15, MS-16: what may be subscribed to.
func TestFilters(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "a")
		c.Send(brokertest.Subscribe(1, 1, "tc/camexia/camexia_a/i/cmd_v3/c", "tc/camexia/camexia_a/i/amo_v3/#", "tc/camexia/camexia_a/i/+/tr"))
		c.Expect(0x90, 5, 0, 1, 1, 1, 1)
		c.Send(brokertest.Subscribe(2, 0, "tc/camexia/camexia_a/i/amo_v3/sm"))
		c.Expect(0x90, 3, 0, 2, 0)
		require.Equal(t, "tc/camexia/camexia_a/i/amo_v3/ms", s.refusedAs(t, "MS-15/unserved").Expected)
		rule.Proves(t, "MS-15", "MS-15/unserved")
		for filter, f := range map[string]struct {
			rule     rule.ID
			expected string
		}{
			"tc/camexia/camexia_a/o/mc_v3/ts":         {"MS-16/output", "tc/camexia/camexia_a/i/"},
			"tc/camexia/camexia_b/i/amo_v3/ms":        {"MS-16/foreign", "tc/camexia/camexia_a/i/amo_v3/ms"},
			"#":                                       {"MS-16/wildcard", "tc/camexia/camexia_a/i/#"},
			"/tc/camexia/camexia_a/i/amo_v3/ip":       {"MS-16/form", "tc/camexia/camexia_a/i/amo_v3/ip"},
			"tc/camexia/camexia_a/i/1/2/3/4/5":        {"MS-16/length", ""},
			"tc/camexia/camexia_a/i/" + long(256, ""): {"MS-16/length", ""},
		} {
			c.Send(brokertest.Subscribe(3, 1, filter))
			c.Expect(0x90, 3, 0, 3, 0x80)
			e := s.refusedAs(t, f.rule)
			require.Equal(t, 0x80, *e.Code)
			require.Contains(t, e.Expected, f.expected)
			rule.Proves(t, f.rule, "MS-16")
		}
		c.Send(brokertest.Subscribe(4, 2, "tc/camexia/camexia_a/i/amo_v3/ms"))
		c.ExpectClosed()
		s.refusedAs(t, "MS-16/qos2")
		rule.Proves(t, "MS-16/qos2")
	})
}

// MS-16: eight filters in one SUBSCRIBE are granted; nine close the connection without SUBACK.
func TestFiltersOfOneSubscribe(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "a")
		var filters []string
		for _, ch := range []string{"amo_v3/ms", "amo_v3/ip", "amo_v4/mip", "amo_v4/m", "cmd_v3/c", "agm_v3/tr", "amo_v3/#", "amo_v4/#", "#"} {
			filters = append(filters, "tc/camexia/camexia_a/i/"+ch)
		}
		c.Send(brokertest.Subscribe(1, 1, filters[:8]...))
		c.Expect(0x90, 10, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1)
		c.Send(brokertest.Subscribe(2, 1, filters...))
		c.ExpectClosed()
		e := s.refusedAs(t, "MS-16/filters")
		require.Equal(t, [2]string{"9 filters", "at most 8"}, [2]string{e.Seen, e.Expected})
		rule.Proves(t, "MS-16/filters")
	})
}

func long(n int, s string) string { return s + strings.Repeat("x", n-len(s)) }

// MS-17, MS-29: what closes the connection, without a PUBACK.
func TestForbiddenPublishes(t *testing.T) {
	for _, c := range []struct {
		rule     rule.ID
		publish  brokertest.Publish
		expected string
	}{
		{"MS-17/input", brokertest.Publish{Topic: "tc/camexia/camexia_a/i/amo_v3/m"}, "tc/camexia/camexia_a/o/amo_v3/m"},
		{"MS-17/foreign", brokertest.Publish{Topic: "tc/camexia/camexia_b/o/mc_v3/ts"}, "tc/camexia/camexia_a/o/mc_v3/ts"},
		{"MS-17/foreign", brokertest.Publish{Topic: "tc/other/camexia_a/o/mc_v3/ts"}, "tc/camexia/camexia_a/o/mc_v3/ts"},
		{"MS-17/app", brokertest.Publish{Topic: "tc/camexia/camexia_a/o/mc_v4/ts"}, "tc/camexia/camexia_a/o/mc_v3/ts"},
		{"MS-17/form", brokertest.Publish{Topic: "tc/camexia_a/o/mc_v3/ts"}, "tc/camexia/camexia_a/o/mc_v3/ts"},
		{"MS-17/qos2", brokertest.Publish{Topic: "tc/camexia/camexia_a/o/mc_v3/ts", QoS: 2}, "QoS 0 or 1"},
		{"MS-29/size", brokertest.Publish{Topic: "tc/camexia/camexia_a/o/mc_v3/f", Payload: make([]byte, 128<<10+1)}, "131072"},
		{"MS-29/size", brokertest.Publish{Topic: "tc/camexia/camexia_a/o/mc_v3/f", Payload: make([]byte, 200<<10)}, ""},
	} {
		t.Run(strings.ReplaceAll(string(c.rule), "/", " "), func(t *testing.T) {
			onWire(t, func(t *testing.T, s *server) {
				conn := s.join(t, "a")
				if c.publish.QoS == 0 {
					c.publish.QoS = 1
				}
				c.publish.ID = 7
				go func() { _, _ = conn.Write(c.publish.Bytes()) }() // a pipe does not take what nobody reads
				conn.ExpectClosed()
				require.Contains(t, s.refusedAs(t, c.rule).Expected, c.expected)
				rule.Proves(t, c.rule, c.rule.Row())
			})
		})
	}
}

// A will to a foreign topic does nothing but is told of.
func TestWill(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.provision(t, "a")
		c := s.attempt(t, brokertest.Connect{ClientID: "camexia_a", Will: &brokertest.Publish{Topic: "tc/camexia/camexia_b/o/mc_v3/ts"}}, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		synctest.Wait()
		require.NoError(t, c.Close())
		s.refusedAs(t, "MS-17/foreign")
	})
}

func command(text string) mindsphere.Message {
	return mindsphere.Message{Channel: wire.Command, Payload: []byte(text)}
}

const commands = "tc/camexia/camexia_a/i/cmd_v3/c"

// MS-30: a kept session gets what came while the agent was away.
func TestKeptSession(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		s.clock.Freeze()
		i := s.provision(t, "a")
		keep := brokertest.Connect{ClientID: "camexia_a", Session: true}
		c := s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		c.Send(brokertest.Subscribe(1, 1, commands, "tc/camexia/camexia_a/i/agm_v3/tr"), brokertest.Unsubscribe(2, "tc/camexia/camexia_a/i/agm_v3/tr"))
		c.Expect(0x90, 4, 0, 1, 1, 1)
		c.Expect(0xb0, 2, 0, 2)
		sent := s.deliver(t, "online")
		require.Equal(t, mindsphere.Delivered, sent)
		first := c.NextPublish()
		require.Equal(t, "online", string(first.Payload))
		synctest.Wait()
		require.NoError(t, c.Close()) // without a PUBACK
		synctest.Wait()
		require.Equal(t, mindsphere.Waiting, s.deliver(t, "offline"))

		require.NoError(t, s.clock.Advance(time.Hour-time.Second))
		c = s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 1, 0)
		p := c.NextPublish()
		require.Equal(t, "online", string(p.Payload))
		require.True(t, p.Dup)
		c.Send(brokertest.Puback(p.ID))
		p = c.NextPublish()
		require.Equal(t, "offline", string(p.Payload))
		require.False(t, p.Dup)
		require.EqualValues(t, 1, p.QoS)
		c.Send(brokertest.Puback(p.ID), brokertest.Disconnect)
		c.ExpectClosed()
		synctest.Wait()

		require.NoError(t, s.clock.Advance(time.Hour))
		require.Equal(t, mindsphere.Lost, s.deliver(t, "too late"))
		c = s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		c.ExpectSilence(time.Second)
		rule.Proves(t, "MS-30")
	})
}

func (s *server) deliver(t *testing.T, text string) mindsphere.Delivery {
	t.Helper()
	d, err := s.svc.Deliver("camexia_a", command(text))
	require.NoError(t, err)
	return d
}

// A clean session keeps nothing, and drops what was kept; QoS 0 is not kept either.
func TestSessionsThatKeepNothing(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.provision(t, "a")
		keep, clean := brokertest.Connect{ClientID: "camexia_a", Session: true}, brokertest.Connect{ClientID: "camexia_a"}
		c := s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		require.Equal(t, mindsphere.Lost, s.deliver(t, "nobody listens"))
		c.Send(brokertest.Subscribe(1, 0, commands))
		c.Expect(0x90, 3, 0, 1, 0)
		require.Equal(t, mindsphere.Delivered, s.deliver(t, "zero"))
		require.EqualValues(t, 0, c.NextPublish().QoS)
		c.Send(brokertest.Disconnect)
		c.ExpectClosed()
		synctest.Wait()
		require.Equal(t, mindsphere.Lost, s.deliver(t, "not kept"))

		c = s.attempt(t, clean, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		c.Send(brokertest.Subscribe(1, 1, commands))
		c.Expect(0x90, 3, 0, 1, 1)
		require.Equal(t, mindsphere.Delivered, s.deliver(t, "one"))
		c.Send(brokertest.Puback(c.NextPublish().ID), brokertest.Disconnect)
		c.ExpectClosed()
		synctest.Wait()
		require.Equal(t, mindsphere.Lost, s.deliver(t, "gone"))
		c = s.attempt(t, keep, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		_, err := s.svc.Deliver("camexia_nobody", command(""))
		require.ErrorIs(t, err, mindsphere.ErrNotFound)
	})
}

// A kept session goes over to the connection that takes over, and has a limit.
func TestKeptSessionTakenOver(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.provision(t, "a")
		keep := brokertest.Connect{ClientID: "camexia_a", Session: true}
		first := s.attempt(t, keep, i.Leaf)
		first.Expect(0x20, 2, 0, 0)
		first.Send(brokertest.Subscribe(1, 1, commands))
		first.Expect(0x90, 3, 0, 1, 1)
		second := s.attempt(t, keep, i.Leaf)
		second.Expect(0x20, 2, 1, 0)
		first.ExpectClosed()
		synctest.Wait()
		require.NoError(t, s.clock.Advance(2*time.Hour)) // it does not age while connected
		require.Equal(t, mindsphere.Delivered, s.deliver(t, "x"))
		second.Send(brokertest.Puback(second.NextPublish().ID), brokertest.Disconnect)
		second.ExpectClosed()
		synctest.Wait()
		for range 1000 {
			require.Equal(t, mindsphere.Waiting, s.deliver(t, "y"))
		}
		require.Equal(t, mindsphere.Lost, s.deliver(t, "one too many"))
		third := s.attempt(t, keep, i.Leaf)
		third.Expect(0x20, 2, 1, 0)
		var ids []uint16
		for range 1000 {
			ids = append(ids, third.NextPublish().ID)
		}
		for _, id := range ids {
			third.Send(brokertest.Puback(id))
		}
		third.ExpectSilence(time.Second)
	})
}
