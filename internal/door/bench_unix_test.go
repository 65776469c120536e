//go:build unix

package door

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker"
)

// answering is a platform that answers every CONNECT and waits for the end, as the floor does.
type answering struct{}

func (answering) Serve(conn net.Conn, _ broker.Peer) error {
	defer conn.Close()
	return answer(conn)
}

func answer(conn net.Conn) error {
	b := make([]byte, 512)
	if _, err := conn.Read(b); err != nil {
		return err
	}
	if _, err := conn.Write(connack); err != nil {
		return err
	}
	_, err := conn.Read(b)
	return err
}

// always is one certificate for every name.
type always struct{ cert *tls.Certificate }

func (a always) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.cert, nil }

func (a always) BrokenServer(string, *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.cert, nil
}

// bareLoop is the least that a server can do: accept, handshake, read, four bytes.
func bareLoop(b *testing.B, cert *tls.Certificate) string {
	b.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert})
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = answer(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func connectOnce(b *testing.B, address string, config *tls.Config, connect []byte) {
	raw, err := net.Dial("tcp", address)
	require.NoError(b, err)
	conn := tls.Client(raw, config)
	_, err = conn.Write(connect)
	require.NoError(b, err)
	_, err = io.ReadFull(conn, make([]byte, len(connack)))
	require.NoError(b, err)
	require.NoError(b, conn.Close())
}

// BenchmarkConnect is a mutual-TLS CONNECT through the door beside the bare loop, in turns of one run. The
// ratio is of the CPU time of the process, which holds the same client on both sides; "door-floor-us" is
// what the door adds, in microseconds of CPU per connection.
func BenchmarkConnect(b *testing.B) {
	ecdsaCert, err := newAuthority().issue(hubName, nil)
	require.NoError(b, err)
	for name, cert := range map[string]*tls.Certificate{"ecdsa": ecdsaCert, "rsa": rsaServer(b)} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, func(c *Config) {
				c.Platforms[1].MQTT = answering{}
				c.Certificates = always{cert}
			})
			floor, door := bareLoop(b, cert), r.address(r.Ports().MQTTS)
			device, err := newAuthority().issue("dev-01", nil)
			require.NoError(b, err)
			config := &tls.Config{RootCAs: newAuthority().pool, ServerName: hubName, Certificates: []tls.Certificate{*device}}
			connect := connectPacket("dev-01", hubUser)
			const turn = 20
			var used [2]time.Duration
			for b.Loop() {
				for i, address := range []string{floor, door} {
					before := cpu(b)
					for range turn {
						connectOnce(b, address, config, connect)
					}
					used[i] += cpu(b) - before
				}
			}
			b.ReportMetric(float64(used[1])/float64(used[0]), "ratio")
			b.ReportMetric(float64(used[0].Microseconds())/float64(b.N*turn), "floor-us")
			b.ReportMetric(float64((used[1]-used[0]).Microseconds())/float64(b.N*turn), "door-floor-us")
		})
	}
}

// BenchmarkIdle holds connections open and reports what each costs in heap and stack, both ends together;
// "door-floor-KiB" is what the door adds to the bare loop.
func BenchmarkIdle(b *testing.B) {
	cert, err := newAuthority().issue(hubName, nil)
	require.NoError(b, err)
	r := newRig(b, func(c *Config) { c.Platforms[1].MQTT = answering{} })
	device, err := newAuthority().issue("dev-01", nil)
	require.NoError(b, err)
	config := &tls.Config{RootCAs: newAuthority().pool, ServerName: hubName, Certificates: []tls.Certificate{*device}}
	connect := connectPacket("dev-01", hubUser)
	const held = 500
	each := func(address string) float64 {
		before := memory()
		conns := make([]net.Conn, held)
		for i := range conns {
			conn, err := tls.Dial("tcp", address, config)
			require.NoError(b, err)
			_, err = conn.Write(connect)
			require.NoError(b, err)
			_, err = io.ReadFull(conn, make([]byte, len(connack)))
			require.NoError(b, err)
			conns[i] = conn
		}
		used := memory() - before
		for _, conn := range conns {
			_ = conn.Close()
		}
		return float64(used) / held / 1024
	}
	floor := bareLoop(b, cert)
	for b.Loop() {
		bare, door := each(floor), each(r.address(r.Ports().MQTTS))
		b.ReportMetric(bare, "floor-KiB")
		b.ReportMetric(door-bare, "door-floor-KiB")
	}
}

func memory() uint64 {
	for range 4 { // stacks shrink by half at each collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// cpu is the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func rsaServer(b *testing.B) *tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	root := newAuthority()
	template := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: hubName}, DNSNames: []string{hubName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, root.cert, key.Public(), root.key)
	require.NoError(b, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// BenchmarkPeek reads a CONNECT as long as those of the SDKs.
func BenchmarkPeek(b *testing.B) {
	raw := connectPacket("dev-01", hubUser+"&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0")
	r := &repeated{b: raw}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readConnect(r); err != nil {
			b.Fatal(err)
		}
	}
}

type repeated struct{ b []byte }

func (r *repeated) Read(b []byte) (int, error) { return copy(b, r.b), nil }
