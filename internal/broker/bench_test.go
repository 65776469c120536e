package broker

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// allowAll is bare mochi's hook.
type allowAll struct{ mqtt.HookBase }

func (allowAll) ID() string                                              { return "allow all" }
func (allowAll) Provides(b byte) bool                                    { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }
func (allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (allowAll) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// bareMochi serves connections with mochi alone, as the floor of a comparison.
func bareMochi(tb testing.TB) func(net.Conn) {
	m := mqtt.New(&mqtt.Options{SysTopicResendInterval: math.MaxInt32, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(tb, m.AddHook(&allowAll{}, nil))
	return func(nc net.Conn) {
		_ = m.EstablishConnection("bench", nc) // the client's end
		nc.Close()
	}
}

// ours serves connections with a platform that accepts everything, journal on.
func ours(tb testing.TB) func(net.Conn) { return serveAll(newAccepting(tb)) }

// seasoned is ours with a journal as full as after hours: what its growth costs is the journal's to
// measure.
func seasoned(tb testing.TB) func(net.Conn) {
	srv := newAccepting(tb)
	for range 2 * journal.DefaultEvents {
		srv.cfg.Journal.Append(journal.Event{Kind: journal.Publish})
	}
	return serveAll(srv)
}

func serveAll(srv *Server) func(net.Conn) {
	return func(nc net.Conn) { _ = srv.Serve(nc, Peer{Endpoint: "ep"}) } // as above
}

// bareTLS answers CONNECT and nothing else, without any broker.
func bareTLS(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	for {
		packet, err := brokertest.ReadPacket(r)
		if err != nil {
			return
		}
		if packet[0] == 0x10 {
			if _, err := nc.Write([]byte{0x20, 2, 0, 0}); err != nil {
				return
			}
		}
	}
}

// cpu returns the time that the process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPublish sends QoS 1 messages of 256 bytes and waits for the acks, a window at a time. CPU is
// that of both sides.
func BenchmarkPublish(b *testing.B) {
	for _, shape := range []struct{ clients, window int }{{1, 1}, {10, 1}, {1, 16}, {10, 16}} {
		for name, floor := range map[string]func(testing.TB) func(net.Conn){"mochi": bareMochi, "fakecloud": seasoned} {
			b.Run(fmt.Sprintf("%d clients/window %d/%s", shape.clients, shape.window, name), func(b *testing.B) {
				address := listen(b, floor(b))
				burst := []byte{}
				for id := range shape.window {
					burst = append(burst, brokertest.Publish{Topic: "devices/d/messages/events/", Payload: make([]byte, 256), QoS: 1, ID: uint16(id + 1)}.Bytes()...)
				}
				clients := make([]*brokertest.Conn, shape.clients)
				for i := range clients {
					clients[i] = dialTCP(b, address)
					clients[i].Send(brokertest.Connect{ClientID: fmt.Sprint(i)}.Bytes())
					clients[i].Expect(0x20, 2, 0, 0)
					require.NoError(b, clients[i].SetReadDeadline(time.Time{}))
				}
				runtime.GC()
				b.ReportAllocs()
				b.ResetTimer()
				before := cpu(b)
				var sending sync.WaitGroup
				for _, client := range clients {
					sending.Go(func() {
						acks := make([]byte, 4*shape.window)
						for range max(1, b.N/shape.clients/shape.window) {
							if _, err := client.Conn.Write(burst); err != nil {
								b.Error(err)
								return
							}
							if _, err := io.ReadFull(client.Conn, acks); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				sending.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
				b.StopTimer()
				for _, client := range clients {
					client.Close()
				}
			})
		}
	}
}

// BenchmarkConnect makes a TLS connection up to the CONNACK.
func BenchmarkConnect(b *testing.B) {
	for name, floor := range map[string]func(testing.TB) func(net.Conn){
		"tls":       func(testing.TB) func(net.Conn) { return bareTLS },
		"mochi":     bareMochi,
		"fakecloud": ours,
	} {
		b.Run(name, func(b *testing.B) {
			cfg := tlsConfig(b)
			cfg.SessionTicketsDisabled = true
			serve := floor(b)
			address := listen(b, func(nc net.Conn) { serve(tls.Server(nc, cfg)) })
			hello := brokertest.Connect{ClientID: "d", Username: brokertest.Text("ep/d/?api-version=2021-04-12"), KeepAlive: 60}.Bytes()
			before := cpu(b)
			b.ResetTimer()
			for range b.N {
				nc, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
				require.NoError(b, err)
				client := brokertest.New(b, nc)
				client.Send(hello)
				client.Expect(0x20, 2, 0, 0)
				client.Send(brokertest.Disconnect)
				nc.Close()
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkIdle reports heap and stack of one connected client that does nothing. The client's side of
// the same process is counted, too; the floor shows how much that is.
func BenchmarkIdle(b *testing.B) {
	const clients = 500
	for name, floor := range map[string]func(testing.TB) func(net.Conn){
		"tls":       func(testing.TB) func(net.Conn) { return bareTLS },
		"mochi":     bareMochi,
		"fakecloud": ours,
	} {
		b.Run(name, func(b *testing.B) {
			cfg := tlsConfig(b)
			serve := floor(b)
			address := listen(b, func(nc net.Conn) { serve(tls.Server(nc, cfg)) })
			before := memory()
			for i := range clients {
				nc, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
				require.NoError(b, err)
				b.Cleanup(func() { nc.Close() })
				_, err = nc.Write(brokertest.Connect{ClientID: fmt.Sprint(i)}.Bytes())
				require.NoError(b, err)
				_, err = io.ReadFull(nc, make([]byte, 4))
				require.NoError(b, err)
			}
			b.ReportMetric(float64(memory()-before)/clients/1024, "KiB/client")
			for range b.N {
			}
		})
	}
}

func memory() uint64 {
	var m runtime.MemStats
	for range 4 { // stacks shrink a step at a time
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
