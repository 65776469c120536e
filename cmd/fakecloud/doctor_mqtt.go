package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// doctorID is the client id of a CONNECT that only asks whether there is a broker.
const doctorID = "fakecloud-doctor"

// mqtt sends CONNECT and reads what the server makes of it.
func (d *doctor) mqtt(ctx context.Context, conn net.Conn, target, port string) error {
	switch {
	case d.connection != "":
		return d.azure(ctx, target)
	case !d.plain && (port == "443" || port == "8443" || d.isHTTPS(ctx, port)):
		d.report.note("CONNECT: not tried, this is the port of HTTPS and WebSocket", "")
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(d.timeout)) // an error shows in the next call
	id := d.clientID
	if id == "" {
		id = doctorID
	}
	_, err := conn.Write(connectPacket(id, d.username, d.password))
	var answer [4]byte
	if err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	if err == nil && answer[0] != 0x20 {
		err = fmt.Errorf("the answer % x is no CONNACK", answer)
	}
	if err != nil {
		d.judgeSilence(err)
		return nil
	}
	d.judgeConnack(answer[3])
	return nil
}

// isHTTPS reports whether that is the running instance's HTTPS port.
func (d *doctor) isHTTPS(ctx context.Context, port string) bool {
	probe := d.probe()
	return d.env.local && probe.connectInstance(ctx) == nil && fmt.Sprint(probe.env.info.Ports.HTTPS) == port
}

// credentials reports whether the CONNECT was a device's.
func (d *doctor) credentials() bool { return d.clientID != "" || d.username != "" || d.cert != "" }

// why is where the reason of a refusal stands.
func (d *doctor) why() string {
	if d.env.local {
		return "why: fakecloud explain --last"
	}
	return ""
}

func (d *doctor) judgeConnack(code byte) {
	switch {
	case code == 0:
		d.report.ok("CONNECT: accepted")
	case !d.credentials():
		d.report.ok("CONNECT: there is an MQTT broker; a client that nobody knows gets return code %d", code)
		d.report.note("no device was tried", "--client-id, --username and --password, --cert, or --connection-string make it a device")
	default:
		d.report.fail(fmt.Sprintf("CONNECT: return code %d (%s)", code, connackText(code)), d.why())
	}
}

func connackText(code byte) string {
	text, known := map[byte]string{1: "protocol version not supported", 2: "client id rejected", 3: "server unavailable",
		4: "bad user name or password", 5: "not authorized"}[code]
	if !known {
		return "not a return code of MQTT 3.1.1"
	}
	return text
}

// judgeSilence names an end without a CONNACK.
func (d *doctor) judgeSilence(err error) {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.report.fail("CONNECT: no answer", "is it an MQTT port?")
	case errors.As(err, &op) && op.Op == "remote error":
		d.report.fail("CONNECT: the server ends TLS with the alert: "+strings.TrimPrefix(op.Err.Error(), "tls: "), d.why())
	case !d.credentials():
		d.report.note("CONNECT: the server closes the connection of a client that nobody knows",
			"--client-id, --username and --password, --cert, or --connection-string make it a device")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "reset"):
		mend := "MindSphere eu1 does so while it provisions a new agent (try again in a few seconds), and for every refusal"
		d.report.fail("CONNECT: the server closes the connection without a CONNACK", strings.TrimSpace(mend+"\n"+d.why()))
	default:
		d.report.fail("CONNECT: "+err.Error(), d.why())
	}
}

// readConnection reads --connection-string.
func (d *doctor) readConnection() (azure.HubConfig, error) {
	s, err := azure.ParseConnectionString(d.connection)
	if err != nil {
		return azure.HubConfig{}, usagef("--connection-string: %w", err)
	}
	cfg, err := s.HubConfig()
	switch {
	case err != nil:
		return cfg, usagef("--connection-string: %w", err)
	case s.X509 && d.client == nil:
		return cfg, usagef("the connection string has x509=true: give the certificate with --cert and --key-file")
	case s.X509:
		cfg.Credential = azure.X509(*d.client)
	}
	return cfg, nil
}

// azure connects as the device of a connection string.
func (d *doctor) azure(ctx context.Context, target string) error {
	cfg := d.hub
	cfg.Dial, cfg.TLS = redirect(target), insecure() // the chain was judged before
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	hub, err := azure.Dial(ctx, cfg)
	if err != nil {
		d.report.fail("CONNECT: "+strings.TrimPrefix(err.Error(), "azure: "), d.why())
		return nil
	}
	d.report.ok("CONNECT: %s accepts %s", cfg.Host, cfg.DeviceID)
	return hub.Close(ctx)
}

// connectPacket is a CONNECT of MQTT 3.1.1 with a clean session and a keep alive of a minute.
func connectPacket(id, username, password string) []byte {
	text := func(b []byte, s string) []byte { return append(append(b, byte(len(s)>>8), byte(len(s))), s...) }
	flags := byte(0x02)
	if username != "" {
		flags |= 0x80
	}
	if password != "" {
		flags |= 0x40
	}
	rest := append(text(nil, "MQTT"), 4, flags, 0, 60)
	rest = text(rest, id)
	if username != "" {
		rest = text(rest, username)
	}
	if password != "" {
		rest = text(rest, password)
	}
	packet := []byte{0x10}
	for n := len(rest); ; n >>= 7 {
		if n < 0x80 {
			return append(append(packet, byte(n)), rest...)
		}
		packet = append(packet, byte(n&0x7f)|0x80)
	}
}
