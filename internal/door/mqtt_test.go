package door

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestDoorsOneCameThrough(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Advertise = []string{"build.test"} })
	for name, row := range map[string]struct {
		sni, user string
		to        *cloud
		door      string
		hosts     []string
	}{
		"vendor's name":    {dpsName, "0ne1/registrations/d/", r.dps, "", []string{"localhost", "127.0.0.1", "::1", "build.test"}},
		"localhost":        {"localhost", "0ne1/registrations/d/", r.dps, "127.0.0.1", nil},
		"no name":          {"", "127.0.0.1/dev-01/?api-version=2021-04-12", r.hub, "127.0.0.1", nil},
		"a container name": {"fakecloud", hubUser, r.hub, "127.0.0.1", []string{"localhost", "127.0.0.1", "::1", "build.test", "fakecloud"}},
	} {
		conn := r.mustTLS(r.Ports().MQTTS, row.sni, nil)
		peer := requireServed(t, conn, row.to, connectPacket("dev-01", row.user))
		require.Equal(t, row.door, peer.Door, name)
		if row.hosts != nil {
			require.Equal(t, row.hosts, peer.Hosts, name)
		}
	}
}

func TestNobodyClaims(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	conn := r.mustTLS(r.Ports().MQTTS, "", nil)
	// The device does not wait for the CONNACK, and still gets it.
	_, err := conn.Write(append(connectPacket("lost-device", "other.azure-devices.net/dev-01/"), 0xc0, 0x00))
	require.NoError(t, err)
	require.Equal(t, []byte{0x20, 0x02, 0x00, 0x05}, requireClosed(t, conn))
	e := r.refused("DOOR-1/nobody")
	require.Equal(t, "lost-device", e.Device)
	require.Equal(t, 5, *e.Code)
	require.Contains(t, e.Detail, "iothub: no hub other.azure-devices.net; there is "+hubName)
	require.Contains(t, e.Seen, "other.azure-devices.net/dev-01/")
	rule.Proves(t, "DOOR-1/nobody")

	conn = r.mustTLS(r.Ports().MQTTS, "", nil)
	_, err = conn.Write(packet(0x10, join([]byte{0, 4}, "MQTT", []byte{5, 2, 0, 60, 0, 0, 1}, "v")))
	require.NoError(t, err)
	require.Equal(t, []byte{0x20, 0x03, 0x00, 0x87, 0x00}, requireClosed(t, conn), "MQTT 5 has reason codes")

	conn = r.mustTLS(r.Ports().MQTTS, "management.azure.com", nil)
	_, err = conn.Write(connectPacket("x", ""))
	require.NoError(t, err)
	require.Equal(t, []byte{0x20, 0x02, 0x00, 0x05}, requireClosed(t, conn))
	r.refused("DOOR-1/platform")
	rule.Proves(t, "DOOR-1/platform")
}

func TestPlainPort(t *testing.T) {
	t.Parallel()
	iotda := newCloud()
	r := newRig(t, func(c *Config) {
		c.Platforms = append(c.Platforms, Platform{Name: hosts.IoTDA, MQTT: iotda, Plain: true,
			Claim: func(h *Hello) Claim { return Claim{Endpoint: "iotda", OK: strings.HasPrefix(h.ClientID, "demo_")} }})
	})
	peer := requireServed(t, r.tcp(r.Ports().MQTT), iotda, connectPacket("demo_node1_0_0_2026010100", "demo_node1"))
	require.Equal(t, "mqtt", peer.Transport)
	require.Zero(t, peer.TLSVersion)
	require.Equal(t, "127.0.0.1", peer.Door)

	conn := r.tcp(r.Ports().MQTT)
	_, err := conn.Write(connectPacket("dev-01", hubUser))
	require.NoError(t, err)
	require.Equal(t, []byte{0x20, 0x02, 0x00, 0x05}, requireClosed(t, conn))
	require.Contains(t, r.refused("DOOR-1/port").Expected, "8883")
	rule.Proves(t, "DOOR-1/port")

	client := tls.Client(r.tcp(r.Ports().MQTT), &tls.Config{InsecureSkipVerify: true})
	require.Error(t, client.Handshake())
	r.refused("TLS-9/plain")
	rule.Proves(t, "TLS-9/plain")
}

func TestFirstPacketsThatAreNoConnect(t *testing.T) {
	t.Parallel()
	good := connectPacket("dev-01", hubUser)
	for name, row := range map[string]struct {
		bytes []byte
		rule  rule.ID
	}{
		"PUBLISH first":      {packet(0x30, append(lengthed("t"), "x"...)), "DOOR-3/packet"},
		"PINGREQ first":      {[]byte{0xc0, 0x00}, "DOOR-3/packet"},
		"HTTP in TLS":        {[]byte("GET /devices HTTP/1.1\r\n\r\n"), "DOOR-3/http"},
		"garbage in TLS":     {bytes.Repeat([]byte{0xff}, 100), "DOOR-3/other"},
		"TLS in TLS":         {[]byte{0x16, 0x03, 0x01, 0x00, 0x05, 0x01}, "DOOR-3/other"},
		"256 MiB":            {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0x00}, "DOOR-4/size"},
		"cut fields":         {append([]byte{0x10, 0x0c}, good[2:14]...), "DOOR-4/malformed"},
		"another protocol":   {bytes.Replace(good, []byte("MQTT"), []byte("XMPP"), 1), "DOOR-4/protocol"},
		"TLS closed at once": {nil, "DOOR-2/closed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			conn := r.mustTLS(r.Ports().MQTTS, hubName, nil)
			if row.bytes == nil {
				require.NoError(t, conn.Close())
			} else {
				_, err := conn.Write(row.bytes)
				require.NoError(t, err)
				require.Empty(t, requireClosed(t, conn), "closed without a word")
			}
			e := r.refused(row.rule)
			require.Equal(t, hubName, e.Endpoint)
			rule.Proves(t, row.rule)
			// The next device is served.
			requireServed(t, r.mustTLS(r.Ports().MQTTS, hubName, nil), r.hub, good)
		})
	}
}

// A platform may have a limit of its own for those that name it.
func TestAConnectThatNeverComesAtAPlatformThatWaitsLonger(t *testing.T) {
	newAuthority() // all tests share it, and it has to be valid outside the bubble
	synctest.Test(t, func(t *testing.T) {
		cfg, r := testConfig(t, func(c *Config) {
			c.Platforms = append(c.Platforms, Platform{Name: hosts.Edge, MQTT: newCloud(), ConnectTimeout: time.Minute})
		})
		r.Door = newDoor(cfg)
		near, served := net.Pipe()
		r.take(served, Edge)
		client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, client.Handshake())
		start := time.Now()
		require.Empty(t, requireClosed(t, client))
		require.Equal(t, time.Minute, time.Since(start))
		require.Contains(t, r.refused("DOOR-2/timeout").Detail, "1m0s")
		_ = near.Close()
		require.NoError(t, r.Close(t.Context()))
	})
}

func TestAConnectThatNeverComes(t *testing.T) {
	good := connectPacket("dev-01", "user")
	for name, send := range map[string]func(conn net.Conn){
		"silent": func(net.Conn) {},
		"slowly, byte by byte": func(conn net.Conn) {
			for _, b := range good {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(5 * time.Second) // the bubble's clock
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, r := testConfig(t)
				r.Door = newDoor(cfg)
				client, served := net.Pipe()
				r.take(served, MQTT)
				start := time.Now()
				sent := make(chan struct{})
				go func() { send(client); close(sent) }()
				require.Empty(t, requireClosed(t, client))
				require.Equal(t, 30*time.Second, time.Since(start))
				r.refused("DOOR-2/timeout")
				rule.Proves(t, "DOOR-2/timeout")
				_ = client.Close()
				<-sent
				require.NoError(t, r.Close(t.Context()))
			})
		})
	}
}

// The deadlines of the door end where the platform begins.
func TestNoDeadlineIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, r := testConfig(t, func(c *Config) { c.Platforms[1].Plain = true })
		r.Door = newDoor(cfg)
		client, served := net.Pipe()
		r.take(served, MQTT)
		requireServed(t, client, r.hub, connectPacket("dev-01", hubUser))
		time.Sleep(time.Hour)
		_, err := client.Write([]byte{0xc0, 0x00})
		require.NoError(t, err)
		require.NoError(t, client.Close())
		require.NoError(t, r.Close(t.Context()))
	})
}

func TestAPanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	r := newRig(t, func(c *Config) { c.Log = logTo(&log) })
	other := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	requireServed(t, other, r.hub, connectPacket("dev-01", hubUser))

	conn := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	_, err := conn.Write(connectPacket("dev-02", "panics"))
	require.NoError(t, err)
	requireClosed(t, conn)
	require.Contains(t, r.event(journal.Closed, "").Detail, "an error inside fakecloud")
	require.Contains(t, log.String(), "a platform with a defect")

	_, err = other.Write([]byte{0xc0, 0x00})
	require.NoError(t, err)
	requireServed(t, r.mustTLS(r.Ports().MQTTS, hubName, nil), r.hub, connectPacket("dev-01", hubUser))
}

func TestSilentSocketsDoNotMatter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 1000 {
		conn, err := net.Dial("tcp", r.address(r.Ports().MQTTS))
		require.NoError(t, err)
		defer conn.Close()
	}
	conn := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	requireServed(t, conn, r.hub, connectPacket("dev-01", hubUser))
}

func TestAlpnOnTheHTTPSPort(t *testing.T) {
	t.Parallel()
	mindsphere := newCloud()
	r := newRig(t, func(c *Config) {
		require.NoError(t, c.Hosts.Put(hosts.MindSphere, "demo", "mindconnectmqtt.eu1.mindsphere.io"))
		c.Platforms = append(c.Platforms, Platform{Name: hosts.MindSphere, MQTT: mindsphere})
	})
	for _, name := range []string{"mindconnectmqtt.eu1.mindsphere.io", "localhost", ""} {
		conn := r.mustTLS(r.Ports().HTTPS[0], name, func(c *tls.Config) { c.NextProtos = []string{amznALPN} })
		require.Equal(t, amznALPN, conn.ConnectionState().NegotiatedProtocol)
		requireServed(t, conn, mindsphere, connectPacket("demo_agent", ""))
	}
	// On 8883 nobody looks at ALPN, and a list of unknown ones is no reason to fail.
	for _, port := range []int{r.Ports().MQTTS, r.Ports().HTTPS[0]} {
		conn := r.mustTLS(port, hubName, func(c *tls.Config) { c.NextProtos = []string{"mqtt", amznALPN} })
		require.Empty(t, conn.ConnectionState().NegotiatedProtocol)
	}
}

// stuck is a platform with a defect: its connections never end.
type stuck struct{ entered, released chan struct{} }

func (s stuck) Serve(net.Conn, broker.Peer) error {
	s.entered <- struct{}{}
	<-s.released
	return nil
}

func TestCloseWaitsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	platform := stuck{make(chan struct{}), make(chan struct{})}
	cfg, r := testConfig(t, func(c *Config) { c.Platforms[1].MQTT = platform })
	d, err := Open(cfg)
	require.NoError(t, err)
	r.Door = d
	conn := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	_, err = conn.Write(connectPacket("dev-01", hubUser))
	require.NoError(t, err)
	<-platform.entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, d.Close(ctx), context.DeadlineExceeded)
	close(platform.released)
	require.NoError(t, d.Close(t.Context()), "closing twice is fine")
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	served := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	requireServed(t, served, r.hub, connectPacket("dev-01", hubUser))
	before := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	half := r.tcp(r.Ports().MQTTS)
	_, err := half.Write([]byte{0x16, 0x03})
	require.NoError(t, err)
	idle := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)

	r.Stop()
	for _, conn := range []net.Conn{before, half, idle} {
		requireClosed(t, conn)
	}
	_, err = net.Dial("tcp", r.address(r.Ports().MQTTS))
	require.Error(t, err)
	_, err = served.Write([]byte{0xc0, 0x00})
	require.NoError(t, err, "a platform's connection is the platform's to close")

	require.NoError(t, r.Close(t.Context()))
	requireClosed(t, served)
	late, conn := net.Pipe()
	r.take(conn, MQTTS)
	_, err = late.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	refusals, _ := r.journal.Select(journal.Filter{Kind: journal.Refused})
	require.Empty(t, refusals, "nobody is at fault when the door closes")
}
