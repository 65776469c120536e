package door

import "github.com/fakecloud/fakecloud/internal/rule"

// Where the rules of the door come from: the protocols themselves, and for its own limits fakecloud.
const (
	rfcTLS     = "RFC 8446 (TLS 1.3), section 6.2"
	azureTLS   = "https://learn.microsoft.com/azure/iot-hub/iot-hub-tls-support"
	mqttSpec   = "MQTT 3.1.1 (OASIS), section 3.1"
	ourselves  = "fakecloud: ports and routing"
	trustFix   = "Give the client fakecloud's root certificate: `fakecloud trust --for …` prints the line for its language, the file is pki/root.pem in the data directory."
	namesFix   = "Use the vendor's host name (`fakecloud hosts` lists them), or a user name, client id or certificate that `fakecloud devices` knows."
	schemeFix  = "Turn TLS on in the client: mqtts:// or ssl:// instead of mqtt:// or tcp://, --cafile for mosquitto."
	certMaking = "Make the device certificate again; `fakecloud pki device` makes one that works."
)

// Rules are what the door refuses by itself.
var Rules = append(tlsRules, doorRules...)

var tlsRules = []rule.Rule{
	{ID: "TLS-1", Title: "The client ends the handshake with an alert", Source: rfcTLS, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "unknown-ca", Why: "The client does not trust the root certificate that fakecloud's certificate comes from.", Fix: trustFix},
		{ID: "bad-certificate", Why: "The client refused fakecloud's certificate: it does not trust its root (Go clients send this alert for it), or the name it dialled is not in the certificate.", Fix: trustFix + " If the root is trusted, dial the name that the client sends as server name."},
		{ID: "certificate-unknown", Why: "The client refused fakecloud's certificate for a reason that it does not tell: Java and .NET clients send this alert for an untrusted root.", Fix: trustFix},
		{ID: "no-name", Why: "The client refused the certificate and had sent no server name (SNI), so that the certificate was made for the address. A client that dialled a name then finds another one in it.", Fix: "Let the client send SNI, or dial the address; and see that it trusts the root: " + trustFix},
		{ID: "certificate-expired", Why: "For the client's clock fakecloud's certificate has expired, or is not valid yet.", Fix: "Set the clock of the device. Devices without a battery often start in 1970 or 2000."},
		{ID: "certificate-revoked", Why: "The client believes that fakecloud's certificate was revoked.", Fix: "Turn the revocation check off for this root: a local authority has no revocation list."},
		{ID: "unsupported-certificate", Why: "The client cannot use the kind of certificate that fakecloud presents.", Fix: "Start with `--server-key rsa` (or `ecdsa`), whichever the client can use."},
		{ID: "handshake-failure", Why: "The client found no version, suite or key exchange that it accepts.", Fix: "Compare the suites in the event with those of the client's build; `--server-key rsa` or `ecdsa` changes which ones fit."},
		{ID: "protocol-version", Why: "The client does not accept the TLS version that was chosen.", Fix: "Allow TLS 1.2 in the client."},
		{ID: "insufficient-security", Why: "The client asks for stronger suites than were agreed.", Fix: "Lower the client's security level to the one that the vendor's cloud needs (TLS 1.2 with ECDHE)."},
		{ID: "decrypt-error", Why: "The client could not verify fakecloud's signature in the handshake.", Fix: "Look for a device that mixes two connections, or a TLS library with a defect in this suite."},
		{ID: "access-denied", Why: "The client found the certificate valid and refused it all the same: it pins another one.", Fix: "Turn certificate pinning off in the client, or pin fakecloud's root."},
		{ID: "user-canceled", Why: "The client gave the handshake up.", Fix: "Look into the client's own log: nothing was wrong on the wire."},
		{ID: "other", Why: "The client ended the handshake with an alert that is seldom seen.", Fix: "The event names the alert; RFC 8446, section 6.2 explains it."},
	}},
	{ID: "TLS-2", Title: "No common TLS version: alert protocol_version", Source: azureTLS, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "version", Why: "The client offers only TLS versions that this platform does not accept.", Fix: "Allow TLS 1.2 in the client; its library may need an update."},
		{ID: "fallback", Why: "The client offers an older version than it can, after a first attempt that failed (TLS_FALLBACK_SCSV).", Fix: "Look for the first attempt of this client in the journal: that one shows the reason."},
	}},
	{ID: "TLS-3", Title: "No common cipher suite: alert handshake_failure", Source: azureTLS, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "suite", Why: "None of the client's cipher suites fits: they need forward secrecy (ECDHE) and the kind of the server's key.", Fix: "Turn on ECDHE-RSA-AES128-GCM-SHA256 in the client's build. With `--server-key ecdsa` it needs the ECDHE-ECDSA ones."},
		{ID: "curve", Why: "The client offers no elliptic curve that fits.", Fix: "Turn on the curve P-256 (secp256r1) in the client's build."},
		{ID: "signature", Why: "The client accepts no signature algorithm that the server's key can make.", Fix: "Turn on RSA-PSS or RSA-PKCS1 with SHA-256 in the client's build, or start with the other `--server-key`."},
	}},
	{ID: "TLS-4", Title: "Something else than TLS on a TLS port: closed", Source: "RFC 8446 (TLS 1.3), section 5.1", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "mqtt", Why: "The client speaks MQTT without TLS to a TLS port.", Fix: schemeFix},
		{ID: "http", Why: "The client speaks HTTP without TLS to a TLS port.", Fix: "Use https:// in the URL, and the https port."},
		{ID: "other", Why: "The first bytes are those of no protocol that is spoken here.", Fix: "See that the client dials the port that it means: `fakecloud health` and the start-up lines list them."},
	}},
	{ID: "TLS-5", Title: "No certificate for the server name: alert unrecognized_name", Source: "RFC 6066, section 3", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "name", Why: "The client asks for a name that fakecloud's root must not vouch for.", Fix: "Advertise the name with `--advertise NAME`, or use a vendor's name or an address."},
	}},
	{ID: "TLS-6", Title: "The handshake is not finished: closed", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "silent", Why: "The client connected and sent nothing.", Fix: "See that the client starts TLS at once; one that waits for the server to speak first is no MQTT client."},
		{ID: "timeout", Why: "The client began the handshake and did not end it in time.", Fix: "Look for a device that is too slow for the server's key (`--server-key ecdsa` is cheaper), or for lost packets."},
		{ID: "closed", Why: "The client closed the connection in the middle of the handshake and did not say why. Some do so when they do not trust the certificate.", Fix: trustFix},
	}},
	{ID: "TLS-7", Title: "The client certificate cannot be used: alert", Source: "https://pkg.go.dev/crypto/x509#ParseCertificate", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "parse", Why: "The certificate cannot be read, for example because its serial number is negative or its key is on a curve that is not known here (secp256k1, brainpool). A real cloud may be more lenient here.", Fix: certMaking},
		{ID: "key", Why: "The key in the certificate is of a kind or a size that TLS cannot use here.", Fix: "Use an RSA key of 2048 to 8192 bits, or ECDSA on P-256. " + certMaking},
		{ID: "algorithm", Why: "The client signs the handshake with an algorithm that is no longer accepted, such as SHA-1.", Fix: "Turn on SHA-256 signatures in the client's build."},
		{ID: "proof", Why: "The handshake is not signed by the private key of the certificate: certificate and key do not belong together.", Fix: "Give the client the key that the certificate was made for; `openssl x509 -pubkey` and `openssl pkey -pubout` must print the same."},
	}},
	{ID: "TLS-8", Title: "A message breaks the TLS protocol: alert", Source: rfcTLS, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "protocol", Why: "The client sent a TLS message that is malformed or out of turn.", Fix: "Look for a defect in the client's TLS library, or for something between client and server that changes bytes."},
	}},
	{ID: "TLS-9", Title: "TLS on the port without TLS: closed", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "plain", Why: "The client starts TLS on the port that speaks MQTT without it.", Fix: "Use port 8883 for TLS."},
	}},
}

var doorRules = []rule.Rule{
	{ID: "DOOR-1", Title: "A CONNECT that no platform takes: return code 5", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "nobody", Why: "Neither the host name nor user name, client id or certificate belong to something that is emulated here.", Fix: namesFix},
		{ID: "platform", Why: "The host name belongs to a platform that this version does not emulate.", Fix: "`fakecloud version` and the README list the platforms."},
		{ID: "port", Why: "The platform does not speak MQTT on this port.", Fix: schemeFix + " The port is 8883."},
	}},
	{ID: "DOOR-2", Title: "No CONNECT comes: closed", Source: "https://learn.microsoft.com/azure/iot-hub/iot-hub-mqtt-5-reference", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "timeout", Why: "The connection stood open without a whole CONNECT packet.", Fix: "Let the client send CONNECT as soon as it is connected. A CONNECT that claims to be longer than it is has the same effect."},
		{ID: "closed", Why: "The client closed the connection before it sent CONNECT. Clients that check the certificate after the handshake do so when they do not trust it.", Fix: trustFix},
		{ID: "websocket", Why: "The client ended the WebSocket, or broke its framing, before it sent CONNECT. A text frame, or one without a mask, does so.", Fix: "Send MQTT in binary frames, beginning with CONNECT; in libraries that ask for it, the message type is binary."},
	}},
	{ID: "DOOR-3", Title: "The first packet is not CONNECT: closed", Source: mqttSpec, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "packet", Why: "The client sent another MQTT packet before CONNECT.", Fix: "Send CONNECT first, on every new connection."},
		{ID: "http", Why: "The client sent an HTTP request to a port that speaks MQTT.", Fix: "Use the https port (443 or 8443) for HTTP and WebSocket."},
		{ID: "other", Why: "The first bytes are no MQTT packet.", Fix: "See that the client speaks MQTT on this port, and that its TLS library is not given the bytes twice."},
	}},
	{ID: "DOOR-4", Title: "A CONNECT that cannot be read: closed", Source: mqttSpec, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "malformed", Why: "The fields of the CONNECT do not fit into its length.", Fix: "Check remaining length, the flags for will and user name, and the two length bytes before each field."},
		{ID: "protocol", Why: "The CONNECT names a protocol that is not MQTT.", Fix: "Use protocol name MQTT with level 4 (3.1.1), or MQIsdp with level 3."},
		{ID: "size", Why: "The CONNECT is larger than any legal one.", Fix: "Shorten client id, will and password to less than 64 KiB together."},
	}},
	{ID: "DOOR-5", Title: "An HTTPS request that no platform takes: 404; MQTT without WebSocket and without its ALPN name: closed", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "host", Why: "Neither the host name nor the path belong to something that is emulated here.", Fix: "Use the vendor's host name (`fakecloud hosts` lists them)."},
		{ID: "platform", Why: "The platform of this host name is not emulated over HTTPS.", Fix: "Use MQTT on port 8883 for it."},
		{ID: "mqtt", Why: "The client speaks MQTT on the HTTPS port, where it must be asked for.", Fix: "Connect to port 8883, or over WebSocket; for MindSphere offer the ALPN name x-amzn-mqtt-ca (mosquitto: --tls-alpn x-amzn-mqtt-ca)."},
	}},
	{ID: "DOOR-6", Title: "The proxy port opens no such tunnel: 403, or SOCKS5 reply 2", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "name", Why: "The client asked for a host that is not emulated. The proxy reaches nothing else: no request leaves this machine.", Fix: "Set NO_PROXY for other hosts, or use one of the names in `fakecloud hosts`."},
		{ID: "address", Why: "The client looked the name up by itself and asked the proxy for an address.", Fix: "Use socks5h:// instead of socks5:// (curl: --socks5-hostname), so that the name reaches the proxy."},
		{ID: "port", Why: "The vendor has nothing that is emulated on this port.", Fix: "Use 8883 (MQTT over TLS), 443 (HTTPS) or 1883 (MQTT)."},
		{ID: "method", Why: "The client asked the proxy to fetch a page.", Fix: "Use https:// URLs: clients open a tunnel (CONNECT) for them."},
		{ID: "request", Why: "The request is neither HTTP CONNECT nor SOCKS5 without a password.", Fix: "Configure it as an HTTP proxy (http://host:8485) or as socks5h://host:8485, without user and password."},
	}},
	{ID: "DOOR-7", Title: "A WebSocket handshake that does not fit: 400 or 426", Source: "RFC 6455, sections 4.1 and 4.2", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "handshake", Why: "The request is no WebSocket handshake.", Fix: "Use a WebSocket client (wss://) for this path."},
		{ID: "subprotocol", Why: "The client offers no subprotocol that is spoken here.", Fix: "Offer the subprotocol mqtt in the client's WebSocket options."},
	}},
}
