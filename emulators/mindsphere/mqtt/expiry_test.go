package mqtt_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// visitor is an MQTT 5 agent that comes and goes.
type visitor struct {
	*server
	agent pki.Issued
}

// come connects with a session expiry interval, nil for none, and returns the CONNACK, too.
func (v visitor) come(t *testing.T, cleanStart bool, expiry *uint32) (c *brokertest.Conn, connack []byte) {
	t.Helper()
	c = v.attempt(t, brokertest.Connect{Level: 5, ClientID: "camexia_a", Session: !cleanStart, Expiry: expiry}, v.agent.Leaf)
	connack = c.Next()
	require.Equal(t, byte(0x20), connack[0])
	require.Equal(t, byte(0), connack[3])
	return c, connack
}

// subscribe asks for commands with QoS 1.
func (v visitor) subscribe(c *brokertest.Conn) {
	filter := []byte{0x82, byte(6 + len(commands)), 0, 1, 0, 0, byte(len(commands))}
	c.Send(append(append(filter, commands...), 1))
	c.Expect(0x90, 4, 0, 1, 0, 1)
}

// leave sends a DISCONNECT, with the bytes that follow its type.
func (v visitor) leave(c *brokertest.Conn, disconnect ...byte) {
	c.Send(append([]byte{0xe0}, disconnect...))
	c.ExpectClosed()
	synctest.Wait()
}

func seconds(n uint32) *uint32 { return &n }

var plain = []byte{0} // a DISCONNECT without reason and properties

// MS-30: an MQTT 5 session is kept for its session expiry interval, at most an hour, and without one not at all.
func TestSessionExpiry(t *testing.T) {
	const hour = 3600
	for name, c := range map[string]struct {
		cleanStart bool
		expiry     *uint32
		disconnect []byte
		kept       time.Duration // 0: not at all
		told       bool          // of the hour, in the CONNACK
	}{
		"none":                   {false, nil, plain, 0, false},
		"zero":                   {false, seconds(0), plain, 0, false},
		"a minute":               {false, seconds(60), plain, time.Minute, false},
		"a minute, clean start":  {true, seconds(60), plain, time.Minute, false},
		"an hour":                {false, seconds(hour), plain, time.Hour, false},
		"a second too long":      {false, seconds(hour + 1), plain, time.Hour, true},
		"for ever":               {false, seconds(1<<32 - 1), plain, time.Hour, true},
		"ended by DISCONNECT":    {false, seconds(60), []byte{7, 0, 5, 0x11, 0, 0, 0, 0}, 0, false},
		"shortened":              {false, seconds(60), []byte{7, 0, 5, 0x11, 0, 0, 0, 30}, 30 * time.Second, false},
		"lengthened too far":     {false, seconds(60), []byte{7, 0, 5, 0x11, 0, 1, 0, 0}, time.Hour, false},
		"wanted in the end only": {false, nil, []byte{7, 0, 5, 0x11, 0, 0, 0, 60}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			onWire(t, func(t *testing.T, s *server) {
				v := visitor{s, s.provision(t, "a")}
				conn, connack := v.come(t, c.cleanStart, c.expiry)
				require.Equal(t, byte(0), connack[2])
				require.Equal(t, c.told, bytes.Contains(connack, []byte{0x11, 0, 0, 0x0e, 0x10}))
				require.Equal(t, c.told, bytes.Contains(connack[5:], []byte{0x11}))
				v.subscribe(conn)
				v.leave(conn, c.disconnect...)
				if c.kept == 0 {
					require.Equal(t, mindsphere.Lost, s.deliver(t, "x"))
					conn, connack = v.come(t, false, nil)
					require.Equal(t, byte(0), connack[2])
					conn.ExpectSilence(time.Second)
					return
				}
				require.NoError(t, s.clock.Advance(c.kept-time.Second))
				require.Equal(t, mindsphere.Waiting, s.deliver(t, "x"))
				require.NoError(t, s.clock.Advance(time.Second))
				require.Equal(t, mindsphere.Lost, s.deliver(t, "y"))
				_, connack = v.come(t, false, c.expiry)
				require.Equal(t, byte(0), connack[2])
			})
		})
	}
	rule.Proves(t, "MS-30")
}

// MS-30: who resumes a session without an expiry interval gets what waits, and ends the session with the connection.
func TestSessionResumedForTheLastTime(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		v := visitor{s, s.provision(t, "a")}
		conn, _ := v.come(t, false, seconds(60))
		v.subscribe(conn)
		v.leave(conn, plain...)
		require.Equal(t, mindsphere.Waiting, s.deliver(t, "waits"))
		conn, connack := v.come(t, false, nil)
		require.Equal(t, byte(1), connack[2])
		p := conn.NextPublish()
		require.Equal(t, "\x00waits", string(p.Payload)) // no properties
		conn.Send(brokertest.Puback(p.ID))
		require.Equal(t, mindsphere.Delivered, s.deliver(t, "now"))
		conn.Send(brokertest.Puback(conn.NextPublish().ID))
		v.leave(conn, plain...)
		require.Equal(t, mindsphere.Lost, s.deliver(t, "too late"))
		_, connack = v.come(t, false, nil)
		require.Equal(t, byte(0), connack[2])
	})
}
