package door

import (
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAFreePortIsTheSameOnBothLoopbacks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	bound := r.Ports()
	for _, port := range []int{bound.MQTTS, bound.MQTT, bound.HTTPS[0], bound.Edge, bound.Proxy} {
		require.NotZero(t, port)
		for _, l := range r.listeners {
			require.True(t, l.Addr().(*net.TCPAddr).IP.IsLoopback())
		}
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}

// machine is a network with some addresses and some ports taken.
type machine struct {
	addresses []string
	taken     map[string]bool
	next      int
	open      map[string]bool
}

type fakeListener struct {
	net.Listener
	m    *machine
	addr *net.TCPAddr
}

func (l *fakeListener) Addr() net.Addr { return l.addr }
func (l *fakeListener) Close() error   { delete(l.m.open, l.addr.String()); return nil }

func (m *machine) listen(_, address string) (net.Listener, error) {
	host, port, _ := net.SplitHostPort(address)
	fail := func(cause error) error {
		return &net.OpError{Op: "listen", Net: "tcp", Err: cause}
	}
	if !strings.Contains(" "+strings.Join(m.addresses, " ")+" ", " "+host+" ") {
		return nil, fail(syscall.EADDRNOTAVAIL)
	}
	number, _ := strconv.Atoi(port)
	if number == 0 {
		m.next++
		number = 40000 + m.next
	}
	addr := &net.TCPAddr{IP: net.ParseIP(host), Port: number}
	if m.taken[addr.String()] {
		return nil, fail(syscall.EADDRINUSE)
	}
	m.open[addr.String()] = true
	return &fakeListener{m: m, addr: addr}, nil
}

func TestBind(t *testing.T) {
	t.Parallel()
	both, four := []string{"127.0.0.1", "::1"}, []string{"127.0.0.1"}
	for name, row := range map[string]struct {
		machine   []string
		addresses []address
		taken     []string
		port      int
		want      []string
		err       error
	}{
		"both loopbacks":             {both, loopbacks, nil, 8883, []string{"127.0.0.1:8883", "[::1]:8883"}, nil},
		"no IPv6":                    {four, loopbacks, nil, 8883, []string{"127.0.0.1:8883"}, nil},
		"no IPv6, free port":         {four, loopbacks, nil, 0, []string{"127.0.0.1:40001"}, nil},
		"IPv6 asked for and missing": {four, []address{{host: "::1"}}, nil, 8883, nil, syscall.EADDRNOTAVAIL},
		"free on one address only":   {both, loopbacks, []string{"[::1]:40001", "[::1]:40002"}, 0, []string{"127.0.0.1:40003", "[::1]:40003"}, nil},
		"taken on one address":       {both, loopbacks, []string{"[::1]:8883"}, 8883, nil, syscall.EADDRINUSE},
		"nowhere":                    {nil, []address{{"::1", true}}, nil, 8883, nil, syscall.EADDRNOTAVAIL},
	} {
		m := &machine{addresses: row.machine, taken: map[string]bool{}, open: map[string]bool{}}
		for _, a := range row.taken {
			m.taken[a] = true
		}
		got, err := bind(row.addresses, row.port, m.listen)
		require.ErrorIs(t, err, row.err, name)
		var addresses []string
		for _, l := range got {
			addresses = append(addresses, l.Addr().String())
		}
		require.Equal(t, row.want, addresses, name)
		require.Len(t, m.open, len(row.want), "%s: a listener was left open", name)
	}
}

func TestAddressesOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, loopbacks, addressesOf(nil))
	require.Equal(t, []address{{host: "127.0.0.7"}, {host: "10.0.0.1"}}, addressesOf([]string{"127.0.0.7", "10.0.0.1"}))
	for _, all := range [][]string{{""}, {"0.0.0.0"}, {"::"}, {"0.0.0.0", "::"}, {"127.0.0.1", "0.0.0.0"}} {
		require.Equal(t, []address{{}}, addressesOf(all), "%q", all)
	}
	r := newRig(t, func(c *Config) { c.Bind = []string{"0.0.0.0", "::"} })
	require.NoError(t, r.tcp(r.Ports().MQTTS).Close())
}

func TestATakenPortNamesItsFlag(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for flag, ports := range map[string]Ports{
		"--mqtts-port": {MQTTS: port},
		"--https-port": {HTTPS: []int{0, port}},
		"--proxy-port": {Proxy: port},
	} {
		cfg, _ := testConfig(t, func(c *Config) { c.Ports = ports })
		_, err := Open(cfg)
		require.ErrorContains(t, err, flag+" "+strconv.Itoa(port)+" is taken: ")
		require.ErrorContains(t, err, "; choose another or 0")
	}
	// Nothing stays bound, so that a second attempt meets only the taken port.
	cfg, _ := testConfig(t, func(c *Config) { c.Ports = Ports{MQTTS: Off, MQTT: Off, Edge: Off, Proxy: 70000} })
	_, err = Open(cfg)
	require.ErrorContains(t, err, "--proxy-port 70000: a port is a number from 0")
	require.ErrorContains(t, flagError(HTTPS, 443, syscall.EACCES), "--https-port 443 is not permitted: permission denied; choose one above 1023 or 0")
	require.ErrorContains(t, flagError(Edge, 1, syscall.EADDRNOTAVAIL), "--bind must be an IP address of this machine")
}

func TestOffAndOptionalPorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	r := newRig(t, func(c *Config) {
		c.Bind = []string{"127.0.0.1"}
		c.Ports = Ports{MQTTS: Off, MQTT: Off, Edge: Off, Proxy: Off, HTTPS: []int{0},
			HTTPSWherePermitted: []int{taken.Addr().(*net.TCPAddr).Port, 0}}
	})
	require.Zero(t, r.Ports().MQTTS)
	require.Len(t, r.Ports().HTTPS, 2)
	require.Len(t, r.listeners, 2)
}

// tired fails to accept for a while, as a machine out of file descriptors does.
type tired struct {
	mu     sync.Mutex
	errors int
	conns  chan net.Conn
	closed chan struct{}
}

func (l *tired) Accept() (net.Conn, error) {
	l.mu.Lock()
	l.errors--
	failing := l.errors >= 0
	l.mu.Unlock()
	if failing {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *tired) Close() error   { close(l.closed); return nil }
func (l *tired) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptSurvivesErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Log = slog.New(slog.DiscardHandler) })
	l := &tired{errors: 3, conns: make(chan net.Conn), closed: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		r.accept(&listener{Listener: l, port: MQTT})
		close(done)
	}()
	client, served := net.Pipe()
	l.conns <- served
	_, err := client.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	r.refused("DOOR-3/http")
	_ = client.Close()
	_ = l.Close()
	<-done
}

func TestAcceptEndsWithTheDoorWhileWaiting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := &tired{errors: 1 << 30, closed: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		r.accept(&listener{Listener: l, port: MQTT})
		close(done)
	}()
	r.Stop()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal(errors.New("accept went on after Stop"))
	}
}
