package explain

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func refused(id rule.ID, code int) journal.Event {
	e := journal.Event{Seq: 1, Kind: journal.Refused, Rule: id, Platform: "iothub"}
	if code != 0 {
		e.Code = journal.Code(code)
	}
	return e
}

// TestSymptoms gives texts as the clients print them, and a refusal that each has to find and one that
// it must not.
func TestSymptoms(t *testing.T) {
	t.Parallel()
	five, four, silent := refused("HUB-16/cn", 5), refused("HUB-9/id", 4), refused("HUB-35/topic", 0)
	trust, plainTCP := refused("TLS-1/unknown-ca", 0), refused("TLS-4/mqtt", 0)
	none := journal.Event{}
	for _, tt := range []struct {
		text     string
		means    string
		fits     journal.Event
		fitsNot  journal.Event
		whatever string
	}{
		{text: "Connection Refused: not authorised.", means: "CONNACK 5", fits: five, fitsNot: four},
		{text: "Connection error: Connection Refused: not authorised.", means: "CONNACK 5", fits: five, fitsNot: silent},
		{text: "Connection refused: Not authorized", means: "CONNACK 5", fits: five, fitsNot: four},
		{text: "not Authorized", means: "CONNACK 5", fits: five, fitsNot: four},
		{text: "unauthorized", means: "CONNACK 5", fits: five, fitsNot: four},
		{text: "CONNACK 5", means: "CONNACK 5", fits: five, fitsNot: four},
		{text: "Connected with result code=5", means: "CONNACK 5", fits: five, fitsNot: four},
		{text: "on_connect rc=4", means: "CONNACK 4", fits: four, fitsNot: five},
		{text: "Connection Refused: bad user name or password.", means: "CONNACK 4", fits: four, fitsNot: five},
		{text: "Connection Refused: unacceptable protocol version.", means: "CONNACK 1", fits: refused("HUB-19/level", 1), fitsNot: five},
		{text: "Connection Refused: identifier rejected.", means: "CONNACK 2", fits: refused("DPS-4/id", 2), fitsNot: five},
		{text: "Connection refused: Server unavailable", means: "CONNACK 3", fits: refused("HUB-12/disabled", 3), fitsNot: five},
		{text: "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)", means: "does not trust", fits: trust, fitsNot: five},
		{text: "OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed", means: "did not accept the certificate", fits: trust, fitsNot: plainTCP},
		{text: "self-signed certificate in certificate chain", means: "does not trust", fits: trust, fitsNot: five},
		{text: "x509: certificate signed by unknown authority", means: "does not trust", fits: trust, fitsNot: five},
		{text: "PKIX path building failed: unable to find valid certification path to requested target", means: "does not trust", fits: trust, fitsNot: five},
		{text: "tlsv1 alert unknown ca", means: "does not trust", fits: trust, fitsNot: five},
		{text: "certificate verify failed: Hostname mismatch, certificate is not valid for 'x'.", means: "the name that the client dials", fits: refused("TLS-1/no-name", 0), fitsNot: five},
		{text: "Hostname/IP does not match certificate's altnames: ERR_TLS_CERT_ALTNAME_INVALID", means: "the name that the client dials", fits: refused("TLS-1/bad-certificate", 0), fitsNot: five},
		{text: "certificate has expired", means: "out of date", fits: refused("TLS-1/certificate-expired", 0), fitsNot: trust},
		{text: "error:0A00010B:SSL routines::wrong version number", means: "one side speaks TLS", fits: plainTCP, fitsNot: trust},
		{text: "Error: A TLS error occurred.", means: "TLS handshake failed", fits: trust, fitsNot: five},
		{text: "tlsv1 alert protocol version", means: "TLS handshake failed", fits: refused("TLS-2/version", 0), fitsNot: five},
		{text: "connect ECONNREFUSED 127.0.0.1:8883", means: "nothing listens", fits: none, fitsNot: five},
		{text: "Error: Connection refused", means: "nothing listens", fits: none, fitsNot: five},
		{text: "getaddrinfo ENOTFOUND global.azure-devices-provisioning.net", means: "could not be looked up", fits: none, fitsNot: five},
		{text: "EOF", means: "without a word", fits: silent, fitsNot: five},
		{text: "Error: The connection was lost.", means: "without a word", fits: silent, fitsNot: five},
		{text: "read ECONNRESET", means: "without a word", fits: silent, fitsNot: five},
		{text: "Client network socket disconnected: socket hang up", means: "without a word", fits: silent, fitsNot: four},
		{text: "operation timed out", means: "no answer came in time", fits: silent, fitsNot: five},
		{text: `{"errorCode":401002,"message":"Unauthorized"}`, means: "error code 401002", fits: refused("DPS-15/key", 401), fitsNot: five},
	} {
		s := symptomOf(tt.text)
		require.NotNil(t, s, tt.text)
		require.Contains(t, s.means, tt.means, tt.text)
		if tt.fits.Kind != "" {
			require.True(t, s.fits(&tt.fits), "%s: %s", tt.text, tt.fits.Rule)
		}
		require.False(t, s.fits(&tt.fitsNot), "%s: %s", tt.text, tt.fitsNot.Rule)
	}
	require.Nil(t, symptomOf("the cat sat on the keyboard"))
}

func TestGuess(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Query{
		"dev-01":                             {Device: "dev-01"},
		"dev-01/mod":                         {Device: "dev-01/mod"},
		"job42-*":                            {Device: "job42-*"},
		"my_sensor":                          {Device: "my_sensor"},
		"a:b":                                {Device: "a:b"},
		"127.0.0.1":                          {Address: "127.0.0.1"},
		"127.0.0.1:5000":                     {Address: "127.0.0.1:5000"},
		"::1":                                {Address: "::1"},
		"[::1]:5000":                         {Address: "[::1]:5000"},
		"EOF":                                {Error: "EOF"},
		"unauthorized":                       {Error: "unauthorized"},
		"ECONNREFUSED":                       {Error: "ECONNREFUSED"},
		"rc=5":                               {Error: "rc=5"},
		"Connection refused: not authorised": {Error: "Connection refused: not authorised"},
		"DEPTH_ZERO_SELF_SIGNED_CERT":        {Error: "DEPTH_ZERO_SELF_SIGNED_CERT"},
	} {
		require.Equal(t, want, Guess(text), text)
	}
}
