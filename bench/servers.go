package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/fakecloud/fakecloud"
)

// dataRole is fakecloud with a data directory.
const (
	keepSuffix = "-data"
	dataRole   = "fakecloud" + keepSuffix
)

// devices is how many identities the load is spread over.
const devices = 8

const hubHost = "bench.azure-devices.net"

// serveRole is a child process: it starts one server, says where it is, does what its standard input
// says and ends with it.
func serveRole(name string) {
	role, key, _ := strings.Cut(name, "/")
	options := []fakecloud.Option{fakecloud.WithServerKey(key)}
	if strings.HasSuffix(role, keepSuffix) {
		dir, err := os.MkdirTemp("", "bench-data")
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		defer os.RemoveAll(dir)
		role, options = strings.TrimSuffix(role, keepSuffix), append(options, fakecloud.WithDataDir(dir))
	}
	cloud, t, err := startServer(role, options...)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(t)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	for words := bufio.NewScanner(os.Stdin); words.Scan(); {
		fmt.Println(obey(cloud, words.Text()))
	}
}

// startServer starts fakecloud for its certificates in any case; the floors serve beside it with the same
// ones, and an idle fakecloud uses no CPU.
func startServer(role string, options ...fakecloud.Option) (*fakecloud.Cloud, target, error) {
	device, err := issue()
	if err != nil {
		return nil, target{}, err
	}
	_, thumbprint := device.Thumbprints()
	registered := devices
	if role == fleetRole || role == resetRole {
		registered = hubFleet
	}
	if role == resetRole {
		options = append(options, fakecloud.WithWorld(hubWorld(thumbprint, registered)))
	}
	cloud, err := fakecloud.New(context.Background(), options...)
	if err != nil {
		return nil, target{}, err
	}
	if role == fleetRole || role == resetRole {
		role = "fakecloud"
	}
	for _, document := range []string{hubWorld(thumbprint, registered), mindWorld, iotdaWorld(), edgeWorld(thumbprint)} {
		if err := cloud.PatchWorld(context.Background(), document); err != nil {
			return nil, target{}, err
		}
	}
	edgeCA, err := cloud.EdgeRootPEM()
	if err != nil {
		return nil, target{}, err
	}
	ca, caKey := cloud.DemoCA()
	t := target{Address: cloud.MQTTSAddr(), CA: string(cloud.RootsPEM()), Cert: string(device.CertPEM()),
		Key: string(device.KeyPEM()), Hub: hubHost, Devices: registered, EdgeCA: string(edgeCA), DeviceCA: string(ca), DeviceCAKey: string(caKey)}
	if ports := cloud.Ports().HTTPS; len(ports) > 0 {
		t.API = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	config, err := serverConfig(cloud)
	if err != nil {
		return cloud, t, err
	}
	if t.ServerCert, t.ServerKey, err = pemPair(config.Certificates[0]); err != nil || role == "fakecloud" {
		return cloud, t, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return cloud, t, err
	}
	t.Address = l.Addr().String()
	switch role {
	case "tls":
		go bareTLS(l)
	case "mochi":
		err = bareMochi(l)
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	return cloud, t, err
}

// issue returns a device certificate; the hub knows it by its thumbprint.
func issue() (fakecloud.DeviceCertificate, error) {
	cloud, err := fakecloud.New(context.Background(), fakecloud.WithServerKey("ecdsa"), fakecloud.WithInMemory())
	if err != nil {
		return fakecloud.DeviceCertificate{}, err
	}
	device, err := cloud.IssueDevice("bench")
	return device, errors.Join(err, cloud.Close())
}

// hubWorld is a hub whose devices have the bench's certificate.
func hubWorld(thumbprint string, count int) string {
	var world strings.Builder
	world.WriteString("azure: {hubs: [{name: bench, " + hubPolicies + ", devices: [")
	for i := range count {
		fmt.Fprintf(&world, "{deviceId: bench-%d, authentication: {x509Thumbprint: {primaryThumbprint: %s}}},", i, thumbprint)
	}
	return world.String() + "]}]}"
}

// serverConfig takes the certificate that fakecloud presents.
func serverConfig(cloud *fakecloud.Cloud) (*tls.Config, error) {
	certificate, err := cloud.Plane().PKI.Certificate(hubHost, netip.Addr{})
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{*certificate}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true}, nil
}

func pemPair(c tls.Certificate) (certificate, key string, err error) {
	for _, der := range c.Certificate {
		certificate += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// bareTLS answers a CONNECT with CONNACK 0 and every PUBLISH with its PUBACK, by position, checking nothing.
func bareTLS(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buffer := make([]byte, 4096)
			if _, err := c.Read(buffer); err != nil {
				return
			}
			if _, err := c.Write([]byte{0x20, 0x02, 0, 0}); err != nil {
				return
			}
			for {
				if _, err := c.Read(buffer); err != nil {
					return
				}
			}
		}()
	}
}

func bareMochi(l net.Listener) error {
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumClientWritesPending = 128
	server := mqtt.New(&mqtt.Options{Capabilities: capabilities, SysTopicResendInterval: math.MaxInt32, Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return err
	}
	if err := server.AddListener(listeners.NewNet("bench", l)); err != nil {
		return err
	}
	return server.Serve()
}

// clientConfig is the client's side of mutual TLS.
func (t target) clientConfig() (*tls.Config, error) {
	cert, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.CA))
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, ServerName: hubHost}, nil
}
