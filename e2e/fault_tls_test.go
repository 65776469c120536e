package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// handshakeOf tries a handshake as a careful client.
func handshakeOf(t *testing.T, cloud *fakecloud.Cloud, name string) error {
	t.Helper()
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	defer raw.Close()
	config := cloud.TLSConfig()
	config.ServerName = name
	conn := tls.Client(raw, config)
	require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
	return conn.Handshake()
}

// What Go says of each kind of wrong server certificate.
var serverCerts = map[string]func(err error) bool{
	"expired": func(err error) bool {
		var invalid x509.CertificateInvalidError
		return errors.As(err, &invalid) && invalid.Reason == x509.Expired
	},
	"not-yet-valid": func(err error) bool {
		var invalid x509.CertificateInvalidError
		return errors.As(err, &invalid) && invalid.Reason == x509.Expired
	},
	"wrong-name":           func(err error) bool { var name x509.HostnameError; return errors.As(err, &name) },
	"unknown-ca":           func(err error) bool { var ca x509.UnknownAuthorityError; return errors.As(err, &ca) },
	"missing-intermediate": func(err error) bool { var ca x509.UnknownAuthorityError; return errors.As(err, &ca) },
}

func TestFaultsOfTheServersCertificate(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for kind, isIt := range serverCerts {
		inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "tls", Host: "*.azure-devices.net"},
			Action: fakecloud.FaultAction{ServerCert: kind}, Count: 1})
		require.NoError(t, handshakeOf(t, cloud, globalDPS), "another name")
		err := handshakeOf(t, cloud, contosoHost)
		require.True(t, isIt(err), "%s: %v", kind, err)
		require.NoError(t, handshakeOf(t, cloud, contosoHost), "once")
	}
	require.Len(t, cloud.Events(fakecloud.Filter{Kind: "fault"}), len(serverCerts))

	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "tls", Endpoint: contosoHost}, Action: fakecloud.FaultAction{Close: true}, Count: 1},
		fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "tls"}, Action: fakecloud.FaultAction{Reset: true}, Count: 1})
	require.Error(t, handshakeOf(t, cloud, contosoHost))
	require.Error(t, handshakeOf(t, cloud, contosoHost))
	require.NoError(t, handshakeOf(t, cloud, contosoHost))
	delay := fakecloud.FaultDuration(30 * time.Millisecond)
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "tls"}, Action: fakecloud.FaultAction{Delay: &delay}, Count: 1})
	began := time.Now()
	require.NoError(t, handshakeOf(t, cloud, contosoHost))
	require.GreaterOrEqual(t, time.Since(began), time.Duration(delay))
}

// A session of before is not resumed while the certificate is wrong: the client would never look at it.
func TestFaultOfTheCertificateMeetsResumption(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	config := cloud.TLSConfig()
	config.ServerName, config.ClientSessionCache = contosoHost, tls.NewLRUClientSessionCache(4)
	once := func() (*tls.Conn, error) {
		raw, err := net.Dial("tcp", cloud.MQTTSAddr())
		require.NoError(t, err)
		t.Cleanup(func() { raw.Close() })
		conn := tls.Client(raw, config)
		require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
		return conn, conn.Handshake()
	}
	conn, err := once()
	require.NoError(t, err)
	c := rawmqtt.New(conn)
	send(t, c, dev01().Bytes())
	wantConnack(t, c, 0) // the ticket comes before it
	conn, err = once()
	require.NoError(t, err)
	require.True(t, conn.ConnectionState().DidResume)
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "tls"}, Action: fakecloud.FaultAction{ServerCert: "unknown-ca"}})
	_, err = once()
	require.True(t, serverCerts["unknown-ca"](err), "%v", err)
}

// Half open: the client hears nothing, until it goes.
func TestFaultHalfOpenHandshake(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "tls"}, Action: fakecloud.FaultAction{Drop: true}, Count: 1})
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	config := cloud.TLSConfig()
	config.ServerName = contosoHost
	conn := tls.Client(raw, config)
	require.NoError(t, conn.SetDeadline(time.Now().Add(100*time.Millisecond)))
	var timeout net.Error
	require.ErrorAs(t, conn.Handshake(), &timeout)
	require.True(t, timeout.Timeout())
	require.NoError(t, raw.Close())
	_, err = cloud.Await(t.Context(), fakecloud.Filter{Kind: "closed"}, 1)
	require.NoError(t, err)
}

// Each host name of the zoo presents a certificate that is wrong in its own way, without any set-up.
func TestCertificateZoo(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for kind, isIt := range serverCerts {
		err := handshakeOf(t, cloud, kind+".badcert.localhost")
		require.True(t, isIt(err), "%s: %v", kind, err)
	}
	require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "fault"}))
	require.Error(t, handshakeOf(t, cloud, "rusty.badcert.localhost"), "no such animal")
}
