package explain

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// symptom is what a client prints, and what it stands for.
type symptom struct {
	pattern *regexp.Regexp
	means   string
	check   string
	fits    func(*journal.Event) bool
	ends    bool // only what ended the connection fits
}

func words(alternatives ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + strings.Join(alternatives, "|"))
}

// refusedWith fits refusals that show this CONNACK return code.
func refusedWith(code int) func(*journal.Event) bool {
	return func(e *journal.Event) bool {
		return e.Kind == journal.Refused && e.Code != nil && *e.Code == code
	}
}

// atRules fits refusals by these rules or causes.
func atRules(ids ...rule.ID) func(*journal.Event) bool {
	return func(e *journal.Event) bool {
		return e.Kind == journal.Refused && (slices.Contains(ids, e.Rule) || slices.Contains(ids, e.Rule.Row()))
	}
}

// distrusted fits handshakes that the client ended because of fakecloud's certificate. Clients differ in
// the alert that they send for one cause, some send none, and OpenSSL sends its own in the clear within
// TLS 1.3, which reads as a broken message.
var distrusted = atRules("TLS-1/unknown-ca", "TLS-1/bad-certificate", "TLS-1/certificate-unknown", "TLS-1/no-name", "TLS-6/closed", "TLS-8/protocol", "DOOR-2/closed")

// atTLS fits every handshake that failed.
func atTLS(e *journal.Event) bool {
	return e.Kind == journal.Refused && strings.HasPrefix(string(e.Rule), "TLS-")
}

// withoutWord fits connections that ended without a packet that says so.
func withoutWord(e *journal.Event) bool { return e.Code == nil }

func never(*journal.Event) bool { return false }

// symptoms, the telling ones first. The texts are those of mosquitto, Paho (C, Python, Java, Go),
// MQTT.js, the Azure and Huawei SDKs, OpenSSL, mbedTLS, Go, Java and .NET.
var symptoms = []symptom{
	{
		pattern: words(`unable to get (local )?issuer cert`, `self[- ]signed certificate`, `unknown authority`, `unknown ca\b`, `unknown_ca`,
			`UNABLE_TO_VERIFY_LEAF`, `UNABLE_TO_GET_ISSUER`, `SELF_SIGNED_CERT`, `PKIX path`, `unable to find valid certification path`,
			`RemoteCertificateChainErrors`, `PartialChain`, `UntrustedRoot`, `not correctly signed by the trusted CA`, `X509_BADCERT_NOT_TRUSTED`),
		means: "the client does not trust the certificate that fakecloud presents",
		check: "give the client fakecloud's root: `fakecloud trust --for …` prints the line, GET /api/v1/ca.pem the file. A new data directory has a new root",
		fits:  distrusted,
	},
	{
		pattern: words(`hostname mismatch`, `ip address mismatch`, `ALTNAME_INVALID`, `doesn't match`, `does not match (the )?(host|target|server)`,
			`not valid for`, `cannot validate certificate for`, `no subject alternative`, `No name matching`, `RemoteCertificateNameMismatch`, `X509_BADCERT_CN_MISMATCH`, `host name verification`),
		means: "the certificate that fakecloud presents does not carry the name that the client dials",
		check: "dial one of the addresses of `fakecloud serve`'s ready lines, or start it with --advertise NAME",
		fits:  distrusted,
	},
	{
		pattern: words(`certificate (has )?expired`, `certificate is not yet valid`, `CERT_HAS_EXPIRED`, `CERT_NOT_YET_VALID`, `X509_BADCERT_(EXPIRED|FUTURE)`, `NotTimeValid`),
		means:   "the client thinks that a certificate is out of date",
		check:   "compare the device's clock with this machine's; a device that starts in 1970 needs its time set before TLS",
		fits:    atRules("TLS-1/certificate-expired", "TLS-1/bad-certificate"),
	},
	{
		pattern: words(`wrong version number`, `does not look like a TLS`, `unexpected message`, `SSL_ERROR_RX_RECORD_TOO_LONG`, `unknown protocol`, `invalid SSL record`, `packet length too long`),
		means:   "one side speaks TLS and the other does not",
		check:   "port 8883 is TLS, port 1883 is not; check the port, and that the client has TLS switched on",
		fits:    atRules("TLS-4", "TLS-6/silent"),
	},
	{
		pattern: words(`unacceptable protocol`, `unsupported protocol version`, `CONNACK:? 1\b`, `\b(rc|code|reason(Code)?)[ =:]*1\b`),
		means:   "CONNACK 1: the MQTT version is not spoken there",
		check:   "use MQTT 3.1.1 (protocol level 4)",
		fits:    refusedWith(1),
	},
	{
		pattern: words(`identifier rejected`, `client ?id(entifier)? (is )?(not valid|rejected|invalid)`, `CONNACK:? 2\b`, `\b(rc|code|reason(Code)?)[ =:]*2\b`),
		means:   "CONNACK 2: the client id was rejected",
		check:   "compare the client id with what the platform wants, character by character",
		fits:    refusedWith(2),
	},
	{
		pattern: words(`(server|broker) (is )?unavailable`, `CONNACK:? 3\b`, `\b(rc|code|reason(Code)?)[ =:]*3\b`),
		means:   "CONNACK 3: the platform says that it is not available, for IoT Hub also that the device is disabled",
		check:   "look whether the device is disabled",
		fits:    refusedWith(3),
	},
	{
		pattern: words(`bad user ?name or password`, `CONNACK:? 4\b`, `\b(rc|code|reason(Code)?)[ =:]*(4|134)\b`),
		means:   "CONNACK 4: username or password was not accepted",
		check:   "compare the username with the platform's form, and the password or token with the device's key",
		fits:    refusedWith(4),
	},
	{
		pattern: words(`not authori[sz]ed`, `unauthori[sz]ed`, `CONNACK:? 5\b`, `\b(rc|code|reason(Code)?|status)[ =:]*(5|135|401)\b`, `CredentialError`, `authentication failed`, `\b401\b`, `\b401\d{3}\b`),
		means:   "the platform did not accept who the device says it is (CONNACK 5, or status 401)",
		check:   "compare client id, username, token or certificate with what is registered",
		fits:    unauthorized,
	},
	{
		pattern: words(`certificate.verify.failed`),
		means:   "the client did not accept the certificate that fakecloud presents",
		check:   "give the client fakecloud's root (`fakecloud trust --for …`), and dial a name or address that the certificate carries",
		fits:    distrusted,
	},
	{
		pattern: words(`handshake fail`, `no shared cipher`, `protocol version`, `no common`, `unsupported protocol`, `alert (number )?40\b`, `alert (number )?70\b`, `certificate required`, `bad certificate`, `TLS error`, `\balert\b`),
		means:   "the TLS handshake failed",
		check:   "compare TLS versions and cipher suites; `fakecloud events --kind tls` shows what the client offered",
		fits:    atTLS,
	},
	{
		pattern: words(`(name or service|nodename nor servname) (not|provided)`, `getaddrinfo`, `ENOTFOUND`, `no such host`, `UnknownHost`, `could not resolve`, `lookup .* (failed|no such)`, `EAI_AGAIN`),
		means:   "the name could not be looked up, so fakecloud was never reached",
		check:   "`fakecloud hosts` prints the lines that point the vendors' names here; or dial an address, or use the proxy port",
		fits:    never,
	},
	{
		pattern: words(`connection refused`, `ECONNREFUSED`, `actively refused`),
		means:   "nothing listens on the host and port that the client dialled, so fakecloud was never reached",
		check:   "compare host and port with the ready lines of `fakecloud serve`; inside a container 127.0.0.1 is the container itself",
		fits:    never,
	},
	{
		pattern: words(`timed? ?out`, `ETIMEDOUT`, `no route to host`, `EHOSTUNREACH`, `network is unreachable`, `deadline exceeded`),
		means:   "no answer came in time: either the packets never reached fakecloud, or a platform kept silent as the real one does",
		check:   "compare host and port, and look for a firewall in between; `fakecloud events` shows whether a connection came",
		fits:    withoutWord,
	},
	{
		pattern: words(`\bEOF\b`, `connection (was )?(reset|lost|closed|aborted)`, `ECONNRESET`, `EPIPE`, `broken pipe`, `socket (was )?(closed|hang up)`, `unexpected(ly)? (disconnect|closed|eof)`, `server (has )?closed`, `lost connection`, `Connection dropped`, `\brc[ =:]*(7|16)\b`, `MQTT_ERR_CONN_LOST`, `forcibly closed`, `Unexpected disconnection`),
		means:   "the connection was closed without a word, which is how several platforms refuse",
		check:   "the newest silent refusals are the likely cause; where there is none, look at `fakecloud events` for the connection's end",
		fits:    withoutWord,
		ends:    true,
	},
}

// unauthorized fits CONNACK 5, status 401, and operation errors whose code begins with 401.
func unauthorized(e *journal.Event) bool {
	return e.Kind == journal.Refused && e.Code != nil && (*e.Code == 5 || *e.Code == 401 || *e.Code/1000 == 401)
}

var serviceCode = regexp.MustCompile(`\b4\d{5}\b`)

// symptomOf recognises a client's error text; nil when its words are not known. A service's six-digit
// error code is more telling than the words around it.
func symptomOf(text string) *symptom {
	if code := serviceCode.FindString(text); code != "" {
		return &symptom{means: "the service answered with error code " + code, check: "the answer's own message and tracking id are in `fakecloud events`",
			fits: func(e *journal.Event) bool { return hasCode(e, code) }}
	}
	for i := range symptoms {
		if symptoms[i].pattern.MatchString(text) {
			return &symptoms[i]
		}
	}
	return nil
}

// hasCode reports whether a refusal carries a service's error code, or at least its status.
func hasCode(e *journal.Event, code string) bool {
	if e.Kind != journal.Refused {
		return false
	}
	if e.Properties["errorCode"] == code || errorCode(e.Payload) == code {
		return true
	}
	status, err := strconv.Atoi(code[:3])
	if err != nil || e.Code == nil {
		return false
	}
	return *e.Code == status || strconv.Itoa(*e.Code) == code
}

var wordy = regexp.MustCompile(`[\s:;,!=]|^EOF$|^E[A-Z]{4,}$|_`)

// Guess reads what stands behind the explain command: an address, an error text, or a device.
func Guess(text string) Query {
	switch {
	case isAddress(text):
		return Query{Address: text}
	case strings.ContainsAny(text, " \t\n") || json.Valid([]byte(text)) && serviceCode.MatchString(text):
		return Query{Error: text}
	case wordy.MatchString(text) && symptomOf(text) != nil, bareWords[strings.ToLower(text)]:
		return Query{Error: text}
	}
	return Query{Device: text}
}

// bareWords are errors of one word that could be a device's name, but hardly are.
var bareWords = map[string]bool{"unauthorized": true, "unauthorised": true, "forbidden": true, "eof": true,
	"timeout": true, "timedout": true, "econnrefused": true, "econnreset": true, "etimedout": true, "enotfound": true}
