package kittest

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 names it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// Upgraded is the answer that opens a WebSocket; ACCEPT becomes what RFC 6455 makes of the client's key.
const Upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

// frames is the server's end of a WebSocket.
type frames struct {
	in   io.Reader
	out  io.Writer
	left int
	mask [4]byte
	at   int
}

// upgrade reads the handshake, keeps it with KEY in place of the key, and writes the answer.
func (p *Peer) upgrade(answer string) error {
	in := bufio.NewReader(p.Conn)
	var head strings.Builder
	var key string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if value, found := strings.CutPrefix(line, "Sec-Websocket-Key: "); found {
			key = strings.TrimSpace(value)
			line = "Sec-Websocket-Key: KEY\r\n"
		}
		head.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	p.Upgrade = head.String()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 names it
	p.frames = &frames{in: in, out: p.Conn}
	_, err := io.WriteString(p.Conn, strings.Replace(answer, "ACCEPT", base64.StdEncoding.EncodeToString(sum[:]), 1))
	return err
}

// Read takes what masked binary frames carry.
func (f *frames) Read(b []byte) (int, error) {
	for f.left == 0 {
		var head [2]byte
		if _, err := io.ReadFull(f.in, head[:]); err != nil {
			return 0, err
		}
		if head[0] == 0x88 {
			return 0, io.EOF
		}
		if head[0] != 0x82 || head[1]&0x80 == 0 {
			return 0, errors.New("not a whole, masked binary frame")
		}
		f.left, f.at = int(head[1]&0x7f), 0
		if size := map[int]int{126: 2, 127: 8}[f.left]; size > 0 { // the length follows
			var long [8]byte
			if _, err := io.ReadFull(f.in, long[8-size:]); err != nil {
				return 0, err
			}
			f.left = int(binary.BigEndian.Uint64(long[:])) //nolint:gosec // a test's own frame
		}
		if _, err := io.ReadFull(f.in, f.mask[:]); err != nil {
			return 0, err
		}
	}
	n, err := f.in.Read(b[:min(len(b), f.left)])
	for i := range b[:n] {
		b[i] ^= f.mask[f.at%4]
		f.at++
	}
	f.left -= n
	return n, err
}

// Write sends one binary frame of up to 125 bytes.
func (f *frames) Write(b []byte) (int, error) {
	if len(b) > 125 {
		return 0, errors.New("longer than a short frame")
	}
	_, err := f.out.Write(append([]byte{0x82, byte(len(b))}, b...))
	return len(b), err
}
