package azure

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a file upload (Learn "Put Block", "Put Block List" and "Naming containers, blobs").
const (
	defaultBlock = 4 << 20
	maxBlock     = 100 << 20
	maxBlocks    = 50_000
	maxBlobName  = 1024 // characters, with the device ID before it
	noticeTime   = 10 * time.Second
)

// File is what [Hub.Upload] uploads.
type File struct {
	Name        string    // with slashes, e.g. logs/today.txt; the hub puts the device ID before it
	Content     io.Reader // read once, up to its end
	ContentType string    // default application/octet-stream
	// BlockSize is how many bytes are held in memory and sent at a time: default 4 MiB, 100 MiB at most. A
	// file that is shorter goes in one request.
	BlockSize int
}

// Uploaded says where a file is.
type Uploaded struct {
	CorrelationID string
	Host          string // of the storage account
	Container     string
	Blob          string // {device ID}/{name}
	Size          int64
}

// ErrManyBlocks means that a file has more than 50,000 blocks; a larger File.BlockSize helps.
var ErrManyBlocks = errors.New("azure: the file has more than 50000 blocks")

// Upload asks the hub for a place in its storage account, writes the file there block by block, and tells the
// hub how it ended (Learn "Upload files with IoT Hub"). It goes by HTTPS to Host, port 443, also behind a
// gateway, which does not pass files on. What may pass (408, 429, 5xx, and of writes a lost connection) is
// tried again with growing, jittered delays, four times at most. A failed upload is reported to the hub too, so
// that it does not count against the ten that may be open; Upload does not wait for that once ctx has ended.
//
// Errors: *UploadError for an answer of hub or storage; what Content returned; ErrManyBlocks; ErrClosed; the
// end of ctx.
func (h *Hub) Upload(ctx context.Context, f File) (Uploaded, error) {
	f, err := h.checkFile(f)
	if err != nil {
		return Uploaded{}, err
	}
	if err := h.Err(); err != nil {
		return Uploaded{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.session.Context(), func() { cancel(ErrClosed) })()
	u := newUpload(h.cfg)
	defer u.close()
	g, err := u.begin(ctx, f.Name)
	if err != nil {
		return Uploaded{}, uploadEnd(ctx, err)
	}
	size, err := u.write(ctx, g, f)
	if err != nil {
		h.uploadFailed(ctx, u, g, f.Name, err)
		return Uploaded{}, uploadEnd(ctx, err)
	}
	if err := u.notify(ctx, g, nil); err != nil {
		return Uploaded{}, uploadEnd(ctx, err)
	}
	return Uploaded{CorrelationID: g.CorrelationID, Host: g.HostName, Container: g.ContainerName, Blob: g.BlobName, Size: size}, nil
}

// uploadFailed tells the hub of a failed upload, and waits for its answer as long as ctx lasts. The notice itself
// outlives ctx; Close waits for it.
func (h *Hub) uploadFailed(ctx context.Context, u *upload, g grant, name string, failure error) {
	tell := func(parent context.Context) {
		limited, done := context.WithTimeout(parent, noticeTime)
		defer done()
		if lost := u.notify(limited, g, failure); lost != nil {
			h.cfg.Log.Warn("the hub was not told of a failed upload", "file", name, "cause", lost)
		}
	}
	told := make(chan struct{})
	if !h.session.Spawn(func() { defer close(told); tell(h.session.Hard()) }) { // Close has begun
		tell(context.WithoutCancel(ctx))
		return
	}
	select {
	case <-told:
	case <-ctx.Done():
	}
}

func (h *Hub) checkFile(f File) (File, error) {
	if f.ContentType == "" {
		f.ContentType = "application/octet-stream"
	}
	if f.BlockSize == 0 {
		f.BlockSize = defaultBlock
	}
	length := utf8.RuneCountInString(h.cfg.DeviceID + "/" + f.Name)
	switch {
	case h.cfg.ModuleID != "":
		return f, errors.New("azure: files are uploaded by devices, not by modules")
	case f.Name == "" || length > maxBlobName:
		return f, fmt.Errorf("azure: the file's name has %d characters, expected 1 to %d",
			utf8.RuneCountInString(f.Name), maxBlobName-1-utf8.RuneCountInString(h.cfg.DeviceID))
	case f.Content == nil:
		return f, errors.New("azure: the file has no Content")
	case f.BlockSize < 1 || f.BlockSize > maxBlock:
		return f, fmt.Errorf("azure: the block size is %d bytes, expected 1 to %d", f.BlockSize, maxBlock)
	}
	return f, nil
}

// uploadEnd puts the reason of a cut upload in place of what it led to.
func uploadEnd(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("azure: upload: %w", cause)
	}
	return err
}

// grant is the hub's answer to POST files.
type grant struct {
	CorrelationID, HostName, ContainerName, BlobName, SASToken string
}

// url returns the blob's address with its SAS, and more of the query.
func (g grant) url(more string) (*url.URL, error) {
	segments := strings.Split(g.BlobName, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	u, err := url.Parse("https://" + g.HostName + "/" + url.PathEscape(g.ContainerName) + "/" + strings.Join(segments, "/"))
	if err != nil || g.HostName == "" || u.Host != g.HostName || g.ContainerName == "" || g.BlobName == "" || g.CorrelationID == "" {
		return nil, fmt.Errorf("%w: the hub names no place for the file", errProtocol) // without the SAS
	}
	u.RawQuery = strings.TrimPrefix(g.SASToken, "?") + more
	return u, nil
}

// begin asks the hub for a place.
func (u *upload) begin(ctx context.Context, name string) (grant, error) {
	body, err := json.Marshal(map[string]string{"blobName": name})
	if err != nil {
		return grant{}, err
	}
	answer, err := u.hubCall(ctx, UploadBegin, "", body)
	if err != nil {
		return grant{}, err
	}
	var g grant
	if json.Unmarshal(answer, &g) != nil {
		return grant{}, fmt.Errorf("%w: the hub's answer to POST files is not JSON", errProtocol)
	}
	_, err = g.url("")
	return g, err
}

// write reads the file and puts it in place, with one block in memory.
func (u *upload) write(ctx context.Context, g grant, f File) (size int64, err error) {
	block := make([]byte, f.BlockSize)
	var list bytes.Buffer
	list.WriteString(`<?xml version="1.0" encoding="utf-8"?><BlockList>`)
	for n := 0; ; n++ {
		read, err := io.ReadFull(f.Content, block)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		size += int64(read)
		switch {
		case err != nil && !last:
			return size, fmt.Errorf("azure: reading %s: %w", f.Name, err)
		case last && n == 0:
			return size, u.blobCall(ctx, UploadWrite, g, "", block[:read],
				http.Header{"x-ms-blob-type": {"BlockBlob"}, "x-ms-blob-content-type": {f.ContentType}})
		case n == maxBlocks && read > 0:
			return size, ErrManyBlocks
		}
		if read > 0 {
			id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block-%06d", n)) // all of one length
			if err := u.blobCall(ctx, UploadWrite, g, "&comp=block&blockid="+url.QueryEscape(id), block[:read], nil); err != nil {
				return size, err
			}
			list.WriteString("<Latest>" + id + "</Latest>")
		}
		if last {
			list.WriteString("</BlockList>")
			return size, u.blobCall(ctx, UploadCommit, g, "&comp=blocklist", list.Bytes(), http.Header{"x-ms-blob-content-type": {f.ContentType}})
		}
	}
}

// notify tells the hub how the upload ended; failure is nil after a success.
func (u *upload) notify(ctx context.Context, g grant, failure error) error {
	notice := struct {
		CorrelationID     string `json:"correlationId"`
		IsSuccess         bool   `json:"isSuccess"`
		StatusCode        int    `json:"statusCode"`
		StatusDescription string `json:"statusDescription"`
	}{g.CorrelationID, failure == nil, http.StatusOK, "done"}
	if failure != nil {
		notice.StatusCode, notice.StatusDescription = http.StatusInternalServerError, "the file could not be read or sent"
		var answer *UploadError
		if errors.As(failure, &answer) {
			notice.StatusCode, notice.StatusDescription = answer.Status, "storage: "+answer.Code
		}
	}
	body, err := json.Marshal(notice)
	if err != nil {
		return err
	}
	_, err = u.hubCall(ctx, UploadNotify, "/notifications", body)
	return err
}
