package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/fakecloud/fakecloud/clientkit"
)

// printer writes the exchange; packets come from several goroutines.
type printer struct {
	mu     sync.Mutex
	out    io.Writer
	past   bool   // something has been printed
	secret string // what passwords are, such as "a SAS token"
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = true
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *printer) step(format string, args ...any) {
	if p.past {
		p.line("")
	}
	p.line(format, args...)
}

func (p *printer) packet(k clientkit.Packet) {
	way := "<-"
	if k.Sent {
		way = "->"
	}
	switch k.Name {
	case "CONNECT":
		secret := "no password, the certificate is the proof"
		if k.HasPassword {
			secret = "with " + p.secret + " as password"
		}
		name := "no user name"
		if k.Username != "" {
			name = "user name " + k.Username
		}
		p.line("  -> CONNECT    client id %s, %s, %s", k.ClientID, name, secret)
	case "CONNACK":
		p.line("  <- CONNACK    return code %d", k.ReturnCode)
	case "SUBSCRIBE":
		p.line("  -> SUBSCRIBE  %s", k.Topic)
	case "PUBLISH":
		p.line("  %s PUBLISH    %s", way, k.Topic)
		if len(k.Payload) > 0 {
			p.line("                %s", k.Payload)
		}
	case "DISCONNECT":
		p.line("  -> DISCONNECT")
	}
}

func (p *printer) state(s clientkit.State, err error) {
	if s == clientkit.Disconnected && err != nil {
		p.line("  disconnected: %v; trying again", err)
	}
}
