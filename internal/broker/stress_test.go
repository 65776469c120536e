package broker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
)

// listen serves srv on a free port and returns the address.
func listen(tb testing.TB, serve func(net.Conn)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(nc) })
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

func dialTCP(tb testing.TB, address string) *brokertest.Conn {
	nc, err := net.Dial("tcp", address)
	require.NoError(tb, err)
	tb.Cleanup(func() { nc.Close() })
	return brokertest.New(tb, nc)
}

// Connects, takeovers, messages both ways, kicks and the shutdown, all at once; every accepted connection
// is told of its end exactly once, and nothing is left.
func TestStress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var calls atomic.Int64
	f.publish = func(d *device, m Message) Verdict {
		calls.Add(1)
		d.c.Link.Send(Outgoing{Topic: "echo/" + m.Topic, Payload: m.Payload, QoS: 1})
		if len(m.Payload) == 7 {
			go d.c.Link.Close(net.ErrClosed)
		}
		return Verdict{Answers: []Outgoing{{Topic: "echo/x", QoS: 1, Acked: func() { calls.Add(1) }}}}
	}
	var number atomic.Uint64
	enough := make(chan struct{})
	address := listen(t, func(nc net.Conn) {
		n := number.Add(1)
		if n == 600 {
			close(enough)
		}
		_ = f.srv.Serve(nc, Peer{Conn: n, Endpoint: "ep"}) // every end is fine here
	})
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
					visit(address, string(rune('a'+i%6)), round)
				}
			}
		})
	}
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				f.srv.Disconnect("ep", "a", net.ErrClosed)
				f.srv.Connections()
			}
		}
	})
	<-enough
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, f.srv.Close(ctx))
	close(stop)
	clients.Wait()
	require.Zero(t, f.srv.Connections())
	require.Positive(t, calls.Load())
	require.Empty(t, f.srv.live)
	require.Empty(t, f.srv.judging)
	require.Empty(t, f.srv.mochi.Clients.GetAll())
	for _, d := range f.devices {
		require.Len(t, d.gone, 1)
	}
}

// visit is one connection of a client that may be thrown out at any moment.
func visit(address, id string, round int) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer nc.Close()
	hello := withWill(id, 10).Bytes()
	message := brokertest.Publish{Topic: "t", Payload: make([]byte, round%8), QoS: 1, ID: 1}.Bytes()
	for _, packet := range [][]byte{hello, brokertest.Subscribe(1, 1, "echo/#"), message, brokertest.Puback(1), message} {
		if _, err := nc.Write(packet); err != nil {
			return
		}
	}
	for range 3 + round%5 {
		if _, err := brokertest.ReadPacket(nc); err != nil {
			return
		}
	}
	if round%2 == 0 {
		_, _ = nc.Write(brokertest.Disconnect)
	}
}

// tlsConfig returns a server's configuration with a fresh P-256 certificate.
func tlsConfig(tb testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Over TLS the end is a close_notify, also for a kick in the middle of a stream.
func TestTLS(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := tlsConfig(t)
	address := listen(t, func(nc net.Conn) { _ = f.srv.Serve(tls.Server(nc, cfg), Peer{Endpoint: "ep"}) })
	nc, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer nc.Close()
	client := brokertest.New(t, nc)
	client.Send(brokertest.Connect{ClientID: "d"}.Bytes(), brokertest.Publish{Topic: "t", QoS: 1, ID: 1}.Bytes())
	client.Expect(0x20, 2, 0, 0, 0x40, 2, 0, 1)
	client.Send(brokertest.Publish{Topic: "t", QoS: 2, ID: 1}.Bytes())
	client.ExpectClosed()
	require.Equal(t, "T-7", string(f.refused()[0]))
	require.NoError(t, f.srv.Close(t.Context()))
}

// Whatever bytes come, the server stays up, and each accepted connection ends once.
func FuzzServe(f *testing.F) {
	f.Add([]byte("\x82\x06\x00\x01\x00\x00\x01a"), byte(5))
	f.Add([]byte("\x30\x04\x00\x01tx\xe0\x00"), byte(4))
	f.Add([]byte("\x10\xff\xff\xff\x7f"), byte(0))
	f.Fuzz(func(t *testing.T, stream []byte, level byte) {
		fix := newFixture(t, func(c *Config) { c.Levels = []byte{3, 4, 5} })
		client := fix.serve()
		go func() {
			for {
				if _, err := brokertest.ReadPacket(client); err != nil {
					return
				}
			}
		}()
		if level != 0 {
			_, _ = client.Write(brokertest.Connect{Level: level, ClientID: "d"}.Bytes())
		}
		_, _ = client.Write(stream) // the server may close first
		client.Close()
		fix.served.Wait()
		for _, d := range fix.devices {
			require.Len(t, d.gone, 1)
		}
	})
}
