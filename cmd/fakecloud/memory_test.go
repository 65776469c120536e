package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/control"
)

// The admin API of an instance in memory, in a bubble: a wait of an hour takes no time.
func TestAdminAPIInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := fakecloud.Start(t, fakecloud.WithInMemory())
		l, err := cloud.Listen("tcp", "127.0.0.1:8484")
		require.NoError(t, err)
		log := slog.New(slog.DiscardHandler)
		server := control.Serve(control.New(cloud.Plane(), control.Options{Log: log}), log, l)
		t.Cleanup(func() { require.NoError(t, server.Close(context.Background())) })
		transport := cloud.Transport()
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport}

		get := func(path string) (int, string) {
			answer, err := client.Get("http://127.0.0.1:8484" + path)
			require.NoError(t, err)
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			return answer.StatusCode, string(text)
		}
		code, text := get("/readyz")
		require.Equal(t, http.StatusOK, code, text)
		code, text = get("/api/v1/info")
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, text, `"mqtts":8883`)

		began := time.Now()
		go func() {
			time.Sleep(20 * time.Second)
			conn, err := cloud.DialContext(t.Context(), "tcp", "fakecloud-hub.azure-devices.net:443")
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil { // without TLS
				t.Error(err)
			}
			_ = conn.Close()
		}()
		code, text = get("/api/v1/events?wait=50s&count=1")
		require.Equal(t, http.StatusOK, code, text)
		require.Contains(t, text, "TLS")
		require.Equal(t, 20*time.Second, time.Since(began))

		answer, err := client.Post("http://127.0.0.1:8484/api/v1/clock/advance", "application/json", strings.NewReader(`{"by":"1h"}`))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.StatusCode, fmt.Sprint(answer))
		require.NoError(t, answer.Body.Close())
	})
}
