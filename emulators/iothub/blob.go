package iothub

import (
	"crypto/md5"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Limits of the blob store. Azure's own are in terabytes; this one is for a test's files.
const (
	MaxBlob       = 64 << 20  // bytes of one blob, and of one request
	maxStored     = 256 << 20 // bytes of all blobs and waiting blocks
	maxStoredRows = 20_000    // blobs and waiting blocks
	maxBlobName   = 1024      // characters, as in Azure Blob Storage
	maxMetadata   = 8 << 10   // bytes of names and values, as in Azure Blob Storage
)

// Status and name of the storage errors that the core decides; the first is what Refusal.Code holds.
const (
	BlobForbidden  = 403 // AuthenticationFailed, AuthorizationPermissionMismatch
	BlobMissing    = 404 // BlobNotFound
	BlobExists     = 409 // BlobAlreadyExists
	BlobConditions = 412 // ConditionNotMet
	BlobTooLarge   = 413 // RequestBodyTooLarge
	BlobRange      = 416 // InvalidRange
	BlobBadRequest = 400 // InvalidBlockList, InvalidUri
)

// Blob is a block blob of a hub.
type Blob struct {
	Hub, Container, Name string
	ContentType          string
	ContentEncoding      string
	ContentLanguage      string
	ContentDisposition   string
	CacheControl         string
	Metadata             map[string]string
	ETag                 string // without quotes
	MD5                  []byte
	Created, Modified    time.Time
	Blocks               []BlobBlock // of a blob that was made of blocks, in order
	Body                 []byte      // shared; must not be changed
}

// BlobBlock is one committed block.
type BlobBlock struct {
	ID   string
	Size int
}

func (b Blob) clone() Blob {
	b.Metadata = maps.Clone(b.Metadata)
	b.Blocks = slices.Clone(b.Blocks)
	return b
}

// files is the hub's blob store with its uploads.
type files struct {
	mu      sync.Mutex // held over a change of a blob with its blocks
	used    int        // bytes that are stored at most; counted again when it reaches the limit
	blobs   *store.Table[Blob]
	blocks  *store.Table[[]byte] // by hub, container, blob and block id: not yet committed
	keys    *store.Table[string] // hub → storage key
	uploads *store.Table[upload]
	notices *store.Log[FileNotice]
}

func newFiles(s *store.Store) files {
	raw := store.NewCodec(
		func(dst []byte, v []byte) []byte { return append(dst, v...) },
		func(b []byte) ([]byte, error) { return append([]byte{}, b...), nil })
	return files{
		blobs:   store.NewTable(s, "iothub.blobs", Blob.clone),
		blocks:  store.NewTable(s, "iothub.blocks", nil, raw),
		keys:    store.NewTable[string](s, "iothub.storage", nil),
		uploads: store.NewTable[upload](s, "iothub.uploads", nil),
		notices: store.NewLog(s, noticeLog()),
	}
}

// storageKey returns the key that signs a hub's shared access signatures.
func (s *Service) storageKey(hub string) []byte {
	if _, ok := s.files.keys.Get(hub); !ok {
		_ = s.files.keys.Create(hub, rand.Text()) // another may have been first
	}
	k, _ := s.files.keys.Get(hub)
	return []byte(k)
}

func blobResource(hub, container, name string) string {
	account, _, _ := strings.Cut(hub, ".")
	path := "/blob/" + account + "/" + container
	if name != "" {
		path += "/" + name
	}
	return path
}

// BlobSAS returns the query that opens a blob, or with an empty name a whole container, for ttl.
// permissions are of r (read), c and w (write), d (delete), l (list).
func (s *Service) BlobSAS(hub, container, name, permissions string, ttl time.Duration) (string, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return "", err
	}
	sas := azure.BlobSAS{Permissions: permissions, Resource: "b", Expiry: s.clock.Wall().Add(ttl)}
	if name == "" {
		sas.Resource = "c"
	}
	return azure.FormatBlobSAS(sas, s.storageKey(h.Host), blobResource(h.Host, container, name)), nil
}

// AuthorizeBlob judges a request's signature. need is the permission that it takes; any of them will do.
func (s *Service) AuthorizeBlob(hub string, sas azure.BlobSAS, container, name, need string) *rule.Refusal {
	refuse := func(cause rule.ID, detail, seen, expected string) *rule.Refusal {
		return &rule.Refusal{Rule: cause, Code: BlobForbidden, Detail: detail, Seen: seen, Expected: expected}
	}
	h, err := s.GetHub(hub)
	if err != nil {
		return s.hostRefusal(hub, nil)
	}
	resource := blobResource(h.Host, container, name)
	if sas.Resource == "c" {
		resource = blobResource(h.Host, container, "")
	}
	now := s.clock.Wall()
	switch {
	case !sas.SignedBy(s.storageKey(h.Host), resource):
		return refuse("HUB-65/sas", "the signature does not fit the blob", "sig=*** for "+clip(container+"/"+name),
			"container, blob name and sasToken exactly as the answer to POST …/files gave them")
	case now.After(sas.Expiry):
		return refuse("HUB-65/expired", fmt.Sprintf("the signature expired %s ago", now.Sub(sas.Expiry).Round(time.Second)),
			"se="+stamp(sas.Expiry), "a new POST …/files; a signature holds for "+uploadLife.String())
	case !strings.ContainsAny(sas.Permissions, need):
		return refuse("HUB-65/permission", "the signature does not allow this operation", "sp="+clip(sas.Permissions), "one of the permissions "+need)
	}
	return nil
}

func blobKey(hub, container, name string) string { return key(hub, container, name) }

// validBlobName judges a container or blob name.
func validBlobName(name string) bool {
	return name != "" && len(name) <= maxBlobName && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// PutBlob stores a whole blob. With create, one that exists stays as it is (409); match, where set, is the
// ETag that the blob must have (412).
func (s *Service) PutBlob(b Blob, create bool, match string) (Blob, *rule.Refusal) {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	if r := s.room(len(b.Body)); r != nil {
		return Blob{}, r
	}
	return s.writeBlob(b, create, match)
}

// writeBlob stamps and stores a blob; waiting blocks of it are gone then. The caller holds files.mu.
func (s *Service) writeBlob(b Blob, create bool, match string) (Blob, *rule.Refusal) {
	k := blobKey(b.Hub, b.Container, b.Name)
	old, exists := s.files.blobs.Get(k)
	size := 0
	for name, value := range b.Metadata {
		size += len(name) + len(value)
	}
	refuse := func(code int, detail, seen, expected string) (Blob, *rule.Refusal) {
		return Blob{}, &rule.Refusal{Rule: "HUB-65/blob", Code: code, Detail: detail, Seen: seen, Expected: expected}
	}
	switch {
	case !validBlobName(b.Container) || !validBlobName(b.Name):
		return refuse(BlobBadRequest, "the blob's name is not legal", quote(b.Container+"/"+b.Name), "1 to 1024 characters, no control characters")
	case size > maxMetadata:
		return refuse(BlobBadRequest, "the blob's metadata is too large", fmt.Sprintf("%d bytes", size), fmt.Sprintf("at most %d bytes", maxMetadata))
	case create && exists:
		return refuse(BlobExists, "the blob exists already", "If-None-Match: *", "another blob name, or no If-None-Match header to write over it")
	case match != "" && match != "*" && match != old.ETag, match == "*" && !exists:
		return refuse(BlobConditions, "the blob has not the ETag that If-Match names", "If-Match: "+quote(match), quote(old.ETag))
	}
	now := s.clock.Wall().UTC()
	sum := md5.Sum(b.Body)
	b.ETag, b.MD5, b.Created, b.Modified = "0x"+strings.ToUpper(s.ids.Hex(15)), sum[:], now, now
	if exists {
		b.Created = old.Created
	}
	s.files.blobs.Put(k, b)
	s.dropBlocks(k)
	s.journal.Append(s.blobEvent(b.Hub, b.Container, b.Name, fmt.Sprintf("blob of %d bytes written", len(b.Body))))
	return b, nil
}

func (s *Service) dropBlocks(k string) {
	for _, block := range s.files.blocks.Keys(k + keySeparator) {
		s.files.blocks.Delete(block)
	}
}

func (s *Service) blobEvent(hub, container, name, detail string) journal.Event {
	e := journal.Event{Platform: Platform, Endpoint: hub, Kind: journal.File, Dir: journal.In, Topic: "/" + container + "/" + name, Detail: detail}
	if container == UploadContainer {
		e.Device, _, _ = strings.Cut(name, "/")
	}
	return e
}

// room judges whether size more bytes may be stored, and counts them. The caller holds files.mu.
func (s *Service) room(size int) *rule.Refusal {
	rows := s.files.blobs.Len() + s.files.blocks.Len()
	if s.files.used+size > maxStored {
		s.files.used = 0
		for _, b := range s.files.blobs.List("") {
			s.files.used += len(b.Body)
		}
		for _, b := range s.files.blocks.List("") {
			s.files.used += len(b)
		}
	}
	if s.files.used+size > maxStored || rows >= maxStoredRows || size > MaxBlob {
		return &rule.Refusal{Rule: "HUB-65/storage", Code: BlobTooLarge, Detail: "the blob store has no room for this",
			Seen:     fmt.Sprintf("%d bytes, beside %d in %d blobs and blocks", size, s.files.used, rows),
			Expected: fmt.Sprintf("at most %d bytes a blob and %d in all", MaxBlob, maxStored)}
	}
	s.files.used += size
	return nil
}

// PutBlock keeps a block until CommitBlocks names it.
func (s *Service) PutBlock(hub, container, name, id string, body []byte) *rule.Refusal {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	if r := s.room(len(body)); r != nil {
		return r
	}
	s.files.blocks.Put(blobKey(hub, container, name)+keySeparator+id, body)
	return nil
}

// CommitBlocks makes a blob of blocks, waiting or committed ones, in the order of ids.
func (s *Service) CommitBlocks(b Blob, ids []string, create bool, match string) (Blob, *rule.Refusal) {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	k := blobKey(b.Hub, b.Container, b.Name)
	committed := map[string][]byte{}
	if old, ok := s.files.blobs.Get(k); ok {
		rest := old.Body
		for _, block := range old.Blocks {
			committed[block.ID], rest = rest[:block.Size], rest[block.Size:]
		}
	}
	size := 0
	parts := make([][]byte, len(ids))
	for i, id := range ids {
		part, ok := s.files.blocks.Get(k + keySeparator + id)
		if !ok {
			part, ok = committed[id]
		}
		if !ok {
			return Blob{}, &rule.Refusal{Rule: "HUB-65/block", Code: BlobBadRequest, Detail: "the list names a block that was not put",
				Seen: "block " + strconv.Itoa(i+1) + ", id " + quote(id), Expected: "ids of Put Block requests to this blob"}
		}
		parts[i] = part
		if size += len(part); size > MaxBlob {
			return Blob{}, s.room(size)
		}
		b.Blocks = append(b.Blocks, BlobBlock{ID: id, Size: len(part)})
	}
	if r := s.room(size); r != nil {
		return Blob{}, r
	}
	b.Body = slices.Concat(parts...)
	return s.writeBlob(b, create, match)
}

// GetBlob returns a blob. The error is ErrNotFound.
func (s *Service) GetBlob(hub, container, name string) (Blob, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Blob{}, err
	}
	b, ok := s.files.blobs.Get(blobKey(h.Host, container, name))
	if !ok {
		return Blob{}, fmt.Errorf("blob %s: %w", quote(container+"/"+name), ErrNotFound)
	}
	return b, nil
}

// Blobs returns the blobs of a hub's container whose name begins with prefix, ordered by name.
func (s *Service) Blobs(hub, container, prefix string) []Blob {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	return s.files.blobs.List(blobKey(h.Host, container, prefix))
}

// DeleteBlob removes a blob with its waiting blocks and reports whether there was one.
func (s *Service) DeleteBlob(hub, container, name string) bool {
	h, err := s.GetHub(hub)
	if err != nil {
		return false
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	k := blobKey(h.Host, container, name)
	s.dropBlocks(k)
	return s.files.blobs.Delete(k)
}
