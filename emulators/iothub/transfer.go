package iothub

import (
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// TransferType is what a transfer does.
type TransferType string

// The types of transfers ("Import and export IoT Hub device identities in bulk").
const (
	Import TransferType = "import"
	Export TransferType = "export"
)

// The blobs of a transfer that names none.
const (
	TransferBlob    = "devices.txt"
	TransferErrors  = "importErrors.log" // beside an import's output container
	maxTransfers    = 100                // kept of one hub, the oldest goes first
	maxTransferRows = 10_000             // lines of an import
)

// Transfer is an import or export job. It is done when it exists: Status is completed or failed.
type Transfer struct {
	ID          string
	Type        TransferType
	Input       string // container addresses, without their signatures
	Output      string
	InputBlob   string
	OutputBlob  string
	ExcludeKeys bool
	Status      JobStatus
	Failure     string
	Start, End  time.Time
	Order       uint64
}

// Container is a container of the hub's own blob store that a signature has opened.
type Container struct{ Hub, Name string }

// OpenContainer opens the container that an address with a shared access signature names; need is the
// permission that it takes, one of rwcdl. The refusals are SVC-27/container.
func (s *Service) OpenContainer(hub, address, need string) (Container, *rule.Refusal) {
	refuse := func(seen, expected string) (Container, *rule.Refusal) {
		return Container{}, &rule.Refusal{Rule: "SVC-27/container", Code: azure.BlobContainerInvalid, Seen: seen, Expected: expected}
	}
	const form = "https://{hub}/{container}?{signature of a container}, as fakecloud hands it out for this hub"
	h, err := s.GetHub(hub)
	if err != nil {
		return refuse("hub "+clip(hub), form)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return refuse("no address of a container", form)
	}
	name := strings.Trim(u.Path, "/")
	own := slices.ContainsFunc(h.Names(), func(n string) bool { return strings.EqualFold(n, u.Hostname()) })
	switch {
	case !own:
		return refuse("host "+quote(clip(u.Hostname()))+": only this hub's own blob store is emulated", form)
	case !validBlobName(name) || strings.Contains(name, "/"):
		return refuse("container "+quote(clip(name)), form)
	}
	sas, err := azure.ParseBlobSAS(u.Query())
	if err != nil {
		return refuse("container "+quote(clip(name))+", "+err.Error(), form)
	}
	if sas.Resource != "c" {
		return refuse("a signature of a blob (sr=b)", "a signature of the container (sr=c)")
	}
	if r := s.AuthorizeBlob(h.Host, sas, name, "", need); r != nil {
		return refuse(r.Detail+": "+r.Seen, r.Expected)
	}
	return Container{h.Host, name}, nil
}

// WriteTo puts a blob of text into a container.
func (s *Service) WriteTo(c Container, name string, body []byte) *rule.Refusal {
	_, r := s.PutBlob(Blob{Hub: c.Hub, Container: c.Name, Name: name, ContentType: "application/octet-stream", Body: body}, false, "")
	return r
}

// ReadFrom returns a blob of a container.
func (s *Service) ReadFrom(c Container, name string) ([]byte, error) {
	b, err := s.GetBlob(c.Hub, c.Name, name)
	return b.Body, err
}

// RecordTransfer keeps a transfer that is done.
func (s *Service) RecordTransfer(hub string, t Transfer) (Transfer, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return t, err
	}
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	all := s.Transfers(h.Host)
	for i := 0; len(all)-i >= maxTransfers; i++ {
		s.side.transfers.Delete(key(h.Host, all[i].ID))
	}
	s.side.order++
	t.Order = s.side.order
	s.side.transfers.Put(key(h.Host, t.ID), t)
	return t, nil
}

// Transfers returns a hub's transfers, oldest first.
func (s *Service) Transfers(hub string) []Transfer {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	all := s.side.transfers.List(h.Host + keySeparator)
	sort.Slice(all, func(i, j int) bool { return all[i].Order < all[j].Order })
	return all
}

// GetTransfer returns one transfer. The error is ErrNotFound.
func (s *Service) GetTransfer(hub, id string) (Transfer, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Transfer{}, err
	}
	t, ok := s.side.transfers.Get(key(h.Host, id))
	if !ok {
		return Transfer{}, fmt.Errorf("job %s: %w", quote(id), ErrNotFound)
	}
	return t, nil
}

// NewTransfer names a transfer and says when it began.
func (s *Service) NewTransfer(t Transfer) Transfer {
	t.ID, t.Start = s.ids.GUID(), s.clock.Wall().UTC()
	return t
}

// EndTransfer says how a transfer went; failure is empty for well.
func (s *Service) EndTransfer(t Transfer, failure string) Transfer {
	t.Status, t.Failure, t.End = JobCompleted, failure, s.clock.Wall().UTC()
	if failure != "" {
		t.Status = JobFailed
	}
	return t
}

// TooManyRows reports whether an import has more identities than it may.
func TooManyRows(n int) bool { return n > maxTransferRows }
