package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/world"
)

// stage is an instance's admin API as far as these commands use it, holding a world.
type stage struct {
	t     *testing.T
	mu    sync.Mutex
	world *world.World
	data  string
	url   string
	port  int
}

const stageRoot = "-----BEGIN CERTIFICATE-----\nstage\n-----END CERTIFICATE-----\n"

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, world: world.Default(), data: t.TempDir(), port: 8883}
	require.NoError(t, os.MkdirAll(filepath.Join(s.data, "pki"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.data, "pki", "root.pem"), []byte(stageRoot), 0o600))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/info", s.info)
	mux.HandleFunc("GET /api/v1/ca.pem", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, stageRoot) })
	mux.HandleFunc("GET /api/v1/world", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _ = w.Write(world.Format(s.world))
	})
	mux.HandleFunc("PATCH /api/v1/world", s.patch)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *stage) info(w http.ResponseWriter, _ *http.Request) {
	var info instanceInfo
	info.Data = s.data
	info.Ports.MQTTS, info.Ports.Proxy = s.port, 8485
	data, err := json.Marshal(info)
	require.NoError(s.t, err)
	var full map[string]any
	require.NoError(s.t, json.Unmarshal(data, &full))
	full["endpoints"] = []map[string]any{
		{"platform": "dps", "name": "fakecloud-dps", "hosts": []string{globalDPSHost, "fakecloud-dps.azure-devices-provisioning.net"}},
		{"platform": "iothub", "name": "fakecloud-hub.azure-devices.net", "hosts": []string{"fakecloud-hub.azure-devices.net"}},
	}
	_ = json.NewEncoder(w).Encode(full)
}

func (s *stage) patch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := io.ReadAll(r.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, "application/yaml", r.Header.Get("Content-Type"))
	patch, err := world.Parse("patch", text)
	if err == nil {
		merged := world.Merge(s.world, patch)
		if err = world.Validate(merged); err == nil {
			s.world = merged
			return
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": "Unprocessable Entity", "status": 422, "detail": err.Error()})
}

// hub returns a hub of the staged world.
func (s *stage) hub(name string) world.Hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	hub, ok := s.world.Hub(name)
	require.True(s.t, ok, name)
	return hub
}

// command runs one command line against the stage.
func (s *stage) command(args ...string) (stdout, stderr string, code int) {
	return command(s.t, "", append([]string{"--admin", s.url}, args...)...)
}

func command(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	empty := t.TempDir() // no instance's data directory
	a := &app{in: bytes.NewBufferString(stdin), out: &out, err: &err, env: func(name string) string {
		if name == "FAKECLOUD_DATA" {
			return empty
		}
		return ""
	}}
	code = a.run(context.Background(), args)
	return out.String(), err.String(), code
}

// certFiles writes a certificate made for a test and returns its file.
func testCert(t *testing.T, cn string, isCA bool, notAfter time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter, BasicConstraintsValid: true, IsCA: isCA}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "my "+cn+".pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return name
}
