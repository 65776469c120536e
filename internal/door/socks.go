package door

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The parts of SOCKS5 that are spoken here (RFC 1928): CONNECT without a password.
const (
	socksVersion = 5

	socksNoAuth       = 0x00
	socksNoneFits     = 0xff
	socksConnect      = 0x01
	socksIPv4         = 0x01
	socksName         = 0x03
	socksIPv6         = 0x04
	socksGranted      = 0x00
	socksNotAllowed   = 0x02
	socksBadCommand   = 0x07
	socksBadAddress   = 0x08
	socksGeneralError = 0x01
)

// socks5 reads greeting and request and answers them.
func (d *Door) socks5(s *sock, in *bufio.Reader) *rule.Refusal {
	refusal := greetSOCKS(s, in)
	if refusal != nil {
		return refusal
	}
	host, port, reply, refusal := readSOCKS(in)
	if refusal == nil {
		if refusal = d.tunnel(s, host, port); refusal != nil {
			reply = socksNotAllowed
		}
	}
	// The bound address of the answer has no meaning for a tunnel within one process.
	_, _ = s.Write([]byte{socksVersion, reply, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return refusal
}

func greetSOCKS(s *sock, in *bufio.Reader) *rule.Refusal {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return badRequest("a part of a SOCKS5 greeting", "the greeting is not complete")
	}
	offered := make([]byte, head[1])
	if _, err := io.ReadFull(in, offered); err != nil {
		return badRequest("a part of a SOCKS5 greeting", "the greeting is not complete")
	}
	if !bytes.Contains(offered, []byte{socksNoAuth}) {
		_, _ = s.Write([]byte{socksVersion, socksNoneFits})
		return badRequest(fmt.Sprintf("SOCKS5 with the methods % x", offered), "the client insists on a password")
	}
	_, _ = s.Write([]byte{socksVersion, socksNoAuth})
	return nil
}

// readSOCKS returns the target, or what to reply and why.
func readSOCKS(in *bufio.Reader) (host string, port uint16, reply byte, refusal *rule.Refusal) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", 0, socksGeneralError, badRequest("a part of a SOCKS5 request", "the request is not complete")
	}
	if head[0] != socksVersion || head[1] != socksConnect {
		return "", 0, socksBadCommand, badRequest(fmt.Sprintf("SOCKS5 command %d", head[1]), "only the command CONNECT is known")
	}
	length := 0
	switch head[3] {
	case socksIPv4:
		length = net.IPv4len
	case socksIPv6:
		length = net.IPv6len
	case socksName:
		n, err := in.ReadByte()
		if err != nil || n == 0 {
			return "", 0, socksGeneralError, badRequest("a part of a SOCKS5 request", "the host name is missing")
		}
		length = int(n)
	default:
		return "", 0, socksBadAddress, badRequest(fmt.Sprintf("SOCKS5 address type %d", head[3]), "the address type is unknown")
	}
	rest := make([]byte, length+2)
	if _, err := io.ReadFull(in, rest); err != nil {
		return "", 0, socksGeneralError, badRequest("a part of a SOCKS5 request", "the request is not complete")
	}
	host = string(rest[:length])
	if head[3] != socksName {
		host = net.IP(rest[:length]).String()
	}
	return host, binary.BigEndian.Uint16(rest[length:]), socksGranted, nil
}
