package session

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/fakecloud/fakecloud/clientkit"
)

// subprotocol is MQTT's in the WebSocket handshake (MQTT 3.1.1, section 6).
const subprotocol = "mqtt"

// upgrade makes a WebSocket of an open connection, and returns the stream in its binary frames. It follows no
// redirect: another host has not been asked for. After an error it has closed the connection.
func upgrade(ctx context.Context, under net.Conn, cfg LinkConfig) (net.Conn, error) {
	given := func(context.Context, string, string) (net.Conn, error) { return under, nil }
	scheme, standard := "wss://", ":443"
	if cfg.TLS == nil {
		scheme, standard = "ws://", ":80"
	}
	transport := &http.Transport{DialContext: given, DialTLSContext: given, DisableKeepAlives: true, DisableCompression: true}
	ws, answer, err := websocket.Dial(ctx, scheme+strings.TrimSuffix(cfg.Address, standard)+cfg.WebSocket, &websocket.DialOptions{
		Subprotocols: []string{subprotocol},
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
	path, _, _ := strings.Cut(cfg.WebSocket, "?")
	refused := &clientkit.UpgradeError{Address: cfg.Address, Path: path, Cause: err}
	switch {
	case err != nil && answer == nil:
		_ = under.Close()
		return nil, err
	case err != nil:
		_ = under.Close()
		refused.Status = answer.StatusCode
		return nil, refused
	case !strings.EqualFold(ws.Subprotocol(), subprotocol):
		_ = ws.CloseNow()
		refused.Status = http.StatusSwitchingProtocols
		return nil, refused
	}
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
}
