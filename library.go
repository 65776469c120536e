package fakecloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/iothub"
)

// Run runs an instance until ctx ends, for programs. ready, where not nil, is called once it accepts.
func Run(ctx context.Context, config Config, ready func(*Cloud)) error {
	c, err := Open(ctx, config)
	if err != nil {
		return err
	}
	if ready != nil {
		ready(c)
	}
	<-ctx.Done()
	return c.Close()
}

// TLSConfig returns what a client needs to trust the instance, and to be one of devices where a certificate
// is given. Each call returns a configuration of its own.
func (c *Cloud) TLSConfig(devices ...DeviceCertificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.RootsPEM())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	for _, d := range devices {
		config.Certificates = append(config.Certificates, d.TLS())
	}
	return config
}

// Env returns the environment of this process with what a child process needs to find and trust the
// instance: FAKECLOUD_CA_FILE, SSL_CERT_FILE and NODE_EXTRA_CA_CERTS name a file with the root, which lies
// in dir; FAKECLOUD_MQTTS and, where they are open, FAKECLOUD_HTTPS, FAKECLOUD_MQTT and FAKECLOUD_PROXY are
// addresses. Where the proxy port is open, HTTPS_PROXY and https_proxy are set to it: clients that honour them reach the
// instance by the vendors' names. An instance in memory cannot be found by other processes: that is an error.
func (c *Cloud) Env(dir string) ([]string, error) {
	if c.config.memory != nil {
		return nil, errors.New("fakecloud: an instance in memory cannot be found by another process")
	}
	root, err := filepath.Abs(filepath.Join(dir, "fakecloud-root.pem")) // the child may run elsewhere
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(root, c.RootsPEM(), 0o600); err != nil {
		return nil, err
	}
	env := os.Environ()
	set := func(name, value string) { env = append(env, name+"="+value) }
	for _, name := range []string{"FAKECLOUD_CA_FILE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"} {
		set(name, root)
	}
	ports := c.Ports()
	address := func(name string, port int) {
		if port > 0 {
			set(name, net.JoinHostPort(c.dialHost(), strconv.Itoa(port)))
		}
	}
	address("FAKECLOUD_MQTTS", ports.MQTTS)
	address("FAKECLOUD_MQTT", ports.MQTT)
	address("FAKECLOUD_PROXY", ports.Proxy)
	if len(ports.HTTPS) > 0 {
		address("FAKECLOUD_HTTPS", ports.HTTPS[0])
	}
	if ports.Proxy > 0 {
		proxy := "http://" + net.JoinHostPort(c.dialHost(), strconv.Itoa(ports.Proxy))
		set("HTTPS_PROXY", proxy)
		set("https_proxy", proxy) // a proxy of this machine's own may stand there, and curl and Python prefer it
	}
	return env, nil
}

// In what follows hub is the host name of a hub, instance the name of a DPS instance; the default world has
// fakecloud-hub.azure-devices.net and fakecloud-dps.

// AddDevice registers a device with a symmetric key, which it returns in base64, or gives one that exists a
// new key.
func (c *Cloud) AddDevice(hub, id string) (key string, err error) {
	d, err := c.gen().cores.hub.PutDevice(hub, iothub.Device{DeviceID: id, Authentication: iothub.Authentication{Type: iothub.AuthSAS}})
	return d.Authentication.SymmetricKey.PrimaryKey, err
}

// AddCertificateDevice registers a device that signs in with a certificate, by its thumbprint.
func (c *Cloud) AddCertificateDevice(hub, id string, certificate DeviceCertificate) error {
	_, print := certificate.Thumbprints()
	_, err := c.gen().cores.hub.PutDevice(hub, iothub.Device{DeviceID: id, Authentication: iothub.Authentication{
		Type: iothub.AuthSelfSigned, Thumbprint: iothub.Thumbprints{Primary: print, Secondary: print}}})
	return err
}

// Enroll makes an individual enrollment with a symmetric key, which it returns in base64.
func (c *Cloud) Enroll(instance, registrationID string) (key string, err error) {
	e, err := c.gen().cores.dps.PutEnrollment(instance, dps.Enrollment{RegistrationID: registrationID,
		Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{}}})
	if err != nil {
		return "", err
	}
	return e.Attestation.SymmetricKey.Primary, nil
}

// EnrollCertificate makes an individual enrollment with a certificate, whose common name is the
// registration id.
func (c *Cloud) EnrollCertificate(instance, registrationID string, certificate DeviceCertificate) error {
	_, err := c.gen().cores.dps.PutEnrollment(instance, dps.Enrollment{RegistrationID: registrationID,
		Attestation: dps.Attestation{X509: &dps.X509{Primary: string(certificate.CertPEM())}}})
	return err
}

// AwaitConnected returns as soon as a device has an accepted connection on platform (dps, iothub,
// mindsphere, iotda, edge) at endpoint, at once where it has one. When ctx ends first the error says what
// the device was last refused for, if it was.
func (c *Cloud) AwaitConnected(ctx context.Context, platform, endpoint, id string) error {
	for {
		since := c.journal.Last()
		if d, err := c.Device(platform, endpoint, id); err == nil && d.Connected {
			return nil
		}
		f := Filter{Platform: platform, Device: id, Since: since}
		if _, err := c.Await(ctx, f, 1); err != nil {
			return c.missed(fmt.Errorf("%s %s has not connected: %w", platform, id, err), id)
		}
	}
}

// AwaitTelemetry returns the first messages of a device that hold, at least count of them; device may be a
// glob, holds nil takes every one. It looks at what has come already, too.
func (c *Cloud) AwaitTelemetry(ctx context.Context, device string, count int, holds func(payload []byte) bool) ([]Event, error) {
	f := Filter{Kind: "telemetry", Device: device}
	if holds != nil {
		f.Match = func(e *Event) bool { return holds(e.Payload) }
	}
	events, err := c.Await(ctx, f, count)
	if err != nil {
		return events, c.missed(fmt.Errorf("%d of %d messages of %s have come: %w", len(events), count, device, err), device)
	}
	return events, nil
}

// missed adds to an error what a device was last refused for.
func (c *Cloud) missed(err error, device string) error {
	refused := c.Events(Filter{Kind: "refused", Device: device})
	if len(refused) == 0 {
		return err
	}
	last := refused[len(refused)-1]
	said := []string{string(last.Rule), last.Detail}
	if last.Fix != "" {
		said = append(said, last.Fix)
	}
	return fmt.Errorf("%w; it was refused: %s", err, strings.Join(said, ": "))
}
