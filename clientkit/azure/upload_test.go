package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// shelf is hub and storage account of an upload, answered by the test.
type shelf struct {
	mu     sync.Mutex
	seen   []string
	answer func(line string, times int) (status int, code string)
}

const (
	filesLine  = "POST contoso.azure-devices.net/devices/dev-01/files?api-version=2021-04-12"
	noticeLine = "POST contoso.azure-devices.net/devices/dev-01/files/notifications?api-version=2021-04-12"
	blobLine   = "PUT store.test/up/dev-01/a%20b/c%3F.txt?sv=1&sig=x%2By%3D"
)

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	line := r.Method + " " + r.Host + r.RequestURI
	text := line
	for _, name := range []string{"Authorization", "X-Ms-Blob-Type", "X-Ms-Blob-Content-Type"} {
		if v := r.Header.Get(name); v != "" {
			text += " " + v
		}
	}
	for _, cert := range r.TLS.PeerCertificates {
		text += " as " + cert.Subject.CommonName
	}
	s.mu.Lock()
	s.seen = append(s.seen, text+" "+string(body))
	times := 0
	for _, seen := range s.seen {
		if strings.HasPrefix(seen, line+" ") {
			times++
		}
	}
	s.mu.Unlock()
	if s.answer != nil {
		if status, code := s.answer(line, times); status != 0 {
			w.Header().Set("iothub-errorcode", code)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"Message":"ErrorCode:`+code+`;no"}`)
			return
		}
	}
	if line == filesLine {
		_, _ = io.WriteString(w, `{"correlationId":"c-1","hostName":"store.test","containerName":"up","blobName":"dev-01/a b/c?.txt","sasToken":"?sv=1&sig=x%2By%3D"}`)
		return
	}
	w.WriteHeader(map[string]int{"PUT": 201, "POST": 204}[r.Method])
}

// uploader is a connected hub whose HTTPS leads to s.
func uploader(t *testing.T, s *shelf, change func(*HubConfig)) *Hub {
	t.Helper()
	c := kittest.NewCloud(t, hubHost, "store.test")
	server := httptest.NewUnstartedServer(s)
	server.TLS = c.ServerTLS()
	server.StartTLS()
	t.Cleanup(server.Close)
	cfg := hubConfig(c)
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":443") {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		}
		return c.Dial(ctx, network, address)
	}
	cfg.Timing.Now = vectorNow
	cfg.Timing.After = func(time.Duration) <-chan time.Time {
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	cfg.Credential, cfg.TokenLife = X509(c.Cert), time.Hour
	if change != nil {
		change(&cfg)
	}
	h, _ := up(t, c, cfg)
	return h
}

func named(content io.Reader) File { return File{Name: "a b/c?.txt", Content: content} }

func TestUploadInOneRequest(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	h := uploader(t, s, nil)
	f := named(strings.NewReader("hello"))
	f.ContentType = "text/plain"
	got, err := h.Upload(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, Uploaded{CorrelationID: "c-1", Host: "store.test", Container: "up", Blob: "dev-01/a b/c?.txt", Size: 5}, got)
	require.Equal(t, []string{
		filesLine + ` as server {"blobName":"a b/c?.txt"}`,
		blobLine + " BlockBlob text/plain hello", // no certificate for the storage account
		noticeLine + ` as server {"correlationId":"c-1","isSuccess":true,"statusCode":200,"statusDescription":"done"}`,
	}, s.seen)
}

// Also a file that ends where a block ends, and what fails once on its way.
func TestUploadInBlocks(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"aaaabbbb", "aaaabbbbcc"} {
		s := &shelf{answer: func(line string, times int) (int, string) {
			if times == 1 && strings.Contains(line, "comp=") {
				return 503, "ServerBusy"
			}
			return 0, ""
		}}
		h := uploader(t, s, nil)
		f := named(strings.NewReader(content))
		f.BlockSize = 4
		got, err := h.Upload(t.Context(), f)
		require.NoError(t, err)
		require.EqualValues(t, len(content), got.Size)
		want := []string{filesLine + ` as server {"blobName":"a b/c?.txt"}`}
		list := ""
		for n, id := range []string{"YmxvY2stMDAwMDAw", "YmxvY2stMDAwMDAx", "YmxvY2stMDAwMDAy"} {
			if n*4 >= len(content) {
				break
			}
			put := blobLine + "&comp=block&blockid=" + id + " " + content[n*4:min(n*4+4, len(content))]
			want = append(want, put, put)
			list += "<Latest>" + id + "</Latest>"
		}
		commit := blobLine + `&comp=blocklist application/octet-stream <?xml version="1.0" encoding="utf-8"?><BlockList>` + list + "</BlockList>"
		want = append(want, commit, commit,
			noticeLine+` as server {"correlationId":"c-1","isSuccess":true,"statusCode":200,"statusDescription":"done"}`)
		require.Equal(t, want, s.seen)
	}
}

// The token is vector V1 of the sheet.
func TestUploadRefusedByHub(t *testing.T) {
	t.Parallel()
	s := &shelf{answer: func(string, int) (int, string) { return 403, "TooManyUploads" }}
	h := uploader(t, s, func(c *HubConfig) { c.Credential, _ = SymmetricKey(demoKey) })
	_, err := h.Upload(t.Context(), named(strings.NewReader("x")))
	var refused *UploadError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, UploadError{Step: UploadBegin, Status: 403, Code: "TooManyUploads", Message: "ErrorCode:TooManyUploads;no"}, *refused)
	require.Equal(t, []string{filesLine + " SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01" +
		"&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000" + ` {"blobName":"a b/c?.txt"}`}, s.seen)
}

// The hub learns of every upload that failed, and no error tells the SAS.
func TestUploadFails(t *testing.T) {
	t.Parallel()
	torn := errors.New("disk gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	for name, tc := range map[string]struct {
		answer func(line string, times int) (int, string)
		read   io.Reader
		want   error
		status int
		puts   int
	}{
		"storage refuses": {func(line string, _ int) (int, string) {
			return map[bool]int{true: 403}[strings.HasPrefix(line, "PUT")], "AuthenticationFailed"
		}, strings.NewReader("x"), &UploadError{Step: UploadWrite, Status: 403, Code: "AuthenticationFailed", Message: "ErrorCode:AuthenticationFailed;no"}, 403, 1},
		"storage stays busy": {func(line string, _ int) (int, string) {
			return map[bool]int{true: 503}[strings.HasPrefix(line, "PUT")], "ServerBusy"
		}, strings.NewReader("x"), &UploadError{Step: UploadWrite, Status: 503, Code: "ServerBusy", Message: "ErrorCode:ServerBusy;no"}, 503, 5},
		"content fails": {nil, io.MultiReader(strings.NewReader("x"), failing{torn}), torn, 500, 0},
		"context ends": {func(line string, _ int) (int, string) {
			if strings.HasPrefix(line, "PUT") {
				cancel(stopped)
				return 503, "ServerBusy"
			}
			return 0, ""
		}, strings.NewReader("x"), stopped, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &shelf{answer: tc.answer}
			h := uploader(t, s, nil)
			used := t.Context()
			if tc.want == stopped { //nolint:errorlint // the table's own
				used = ctx
			}
			_, err := h.Upload(used, named(tc.read))
			var refused *UploadError
			if errors.As(err, &refused) {
				require.Equal(t, tc.want, refused)
			} else {
				require.ErrorIs(t, err, tc.want)
			}
			require.NotContains(t, err.Error(), "sig")
			require.NoError(t, h.Close(t.Context())) // the hub has been told
			last := s.seen[len(s.seen)-1]
			require.Contains(t, last, noticeLine+` as server {"correlationId":"c-1","isSuccess":false,"statusCode":`)
			if tc.status != 0 {
				require.Contains(t, last, fmt.Sprintf(`"statusCode":%d,`, tc.status))
			}
			require.Len(t, s.seen, tc.puts+2)
		})
	}
}

// A hub that does not answer the notice of a failed upload holds nobody up whose context has ended; it is told all
// the same.
func TestUploadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan struct{})
	s := &shelf{answer: func(line string, _ int) (int, string) {
		if line == noticeLine {
			<-answered
			return 0, ""
		}
		if strings.HasPrefix(line, "PUT") {
			cancel()
			return 403, "AuthenticationFailed"
		}
		return 0, ""
	}}
	var log bytes.Buffer
	h := uploader(t, s, func(c *HubConfig) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	_, err := h.Upload(ctx, named(strings.NewReader("x")))
	require.ErrorIs(t, err, context.Canceled)
	close(answered)
	require.NoError(t, h.Close(t.Context()))
	require.Empty(t, log.String(), "the hub was told")
	require.Contains(t, s.seen[len(s.seen)-1], noticeLine)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// What is wrong with a call is said before anything is sent.
func TestUploadBadFile(t *testing.T) {
	t.Parallel()
	h := &Hub{cfg: HubConfig{DeviceID: "dev-01"}}
	for want, f := range map[string]File{
		"azure: the file's name has 0 characters, expected 1 to 1017":       {Content: http.NoBody},
		"azure: the file's name has 1018 characters, expected 1 to 1017":    {Content: http.NoBody, Name: strings.Repeat("ä", 1018)},
		"azure: the file has no Content":                                    {Name: "x"},
		"azure: the block size is -1 bytes, expected 1 to 104857600":        {Name: "x", Content: http.NoBody, BlockSize: -1},
		"azure: the block size is 104857601 bytes, expected 1 to 104857600": {Name: "x", Content: http.NoBody, BlockSize: 100<<20 + 1},
	} {
		_, err := h.Upload(t.Context(), f)
		require.EqualError(t, err, want)
	}
	h.cfg.ModuleID = "mod-a"
	_, err := h.Upload(t.Context(), File{Name: "x", Content: http.NoBody})
	require.EqualError(t, err, "azure: files are uploaded by devices, not by modules")
	for _, g := range []grant{{}, {"c", "h/x", "c", "b", "?sig=1"}, {"c", "u@h", "c", "b", "?sig=1"}, {"c", "h", "", "b", "?sig=1"}} {
		_, err := g.url("")
		require.ErrorIs(t, err, errProtocol)
		require.NotContains(t, err.Error(), "sig")
	}
	u, err := grant{"c", "127.0.0.1:8443", "c", "d/b", "?sig=1"}.url("&comp=block")
	require.NoError(t, err)
	require.Equal(t, &url.URL{Scheme: "https", Host: "127.0.0.1:8443", Path: "/c/d/b", RawQuery: "sig=1&comp=block"}, u)
}

// A hub that is closed uploads nothing.
func TestUploadAfterClose(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	h := uploader(t, s, nil)
	require.NoError(t, h.Close(t.Context()))
	_, err := h.Upload(t.Context(), named(strings.NewReader("x")))
	require.ErrorIs(t, err, ErrClosed)
	require.Empty(t, s.seen)
}
