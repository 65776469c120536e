package iothub

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// UploadContainer is the container of every hub that devices upload to.
const UploadContainer = "device-uploads"

// Limits of uploads ("Understand file upload"; the time is the default of sasTtlAsIso8601).
const (
	maxUploads = 10
	uploadLife = time.Hour
)

// Error codes of uploads ("Troubleshoot IoT Hub error codes" and azure-iot-sdk-csharp ErrorCode.cs).
const (
	CodeUploadCorrelation   = 400015
	CodeUploadExpired       = 400016
	CodeTooManyUploads      = 403006
	maxNotices              = 10_000
	maxNoticeBytes          = 8 << 20
	blobPermissionsOfUpload = "rw"
)

// upload is an open upload of a device.
type upload struct {
	ID       string
	Hub      string
	DeviceID string
	BlobName string
	Expires  time.Time // wall
}

// UploadGrant is what a device needs to upload a file.
type UploadGrant struct {
	CorrelationID string
	Container     string
	BlobName      string // {device}/{name}
	SAS           string // query of the blob's address, with its question mark
}

// UploadResult is what a device says of its upload.
type UploadResult struct {
	CorrelationID string
	Success       bool
	StatusCode    int
	Description   string
}

// FileNotice tells the service side of a finished upload, with the names that the hub uses in JSON.
type FileNotice struct {
	Hub             string    `json:"hub"`
	Seq             uint64    `json:"seq"`
	DeviceID        string    `json:"deviceId"`
	BlobURI         string    `json:"blobUri"`
	BlobName        string    `json:"blobName"`
	LastUpdated     time.Time `json:"lastUpdatedTime"`
	BlobSize        int       `json:"blobSizeInBytes"`
	EnqueuedTimeUTC time.Time `json:"enqueuedTimeUtc"`
}

func (n *FileNotice) cost() int { return 256 + len(n.BlobURI) + len(n.BlobName) + len(n.DeviceID) }

func noticeLog() store.LogSpec[FileNotice] {
	return store.LogSpec[FileNotice]{Name: "iothub.filenotices", Count: maxNotices, Bytes: maxNoticeBytes,
		Cost: (*FileNotice).cost, Number: func(n *FileNotice, seq uint64) { n.Seq = seq }}
}

func uploadKey(hub, device, id string) string { return key(hub, device, id) }

// BeginUpload opens an upload of a device and returns where to put the file. Refusals: HUB-65/name (400004)
// and HUB-65/count (403006).
func (s *Service) BeginUpload(id Identity, name string) (UploadGrant, *rule.Refusal) {
	blob := id.DeviceID + "/" + name
	if !validBlobName(name) || len(blob) > maxBlobName {
		return UploadGrant{}, &rule.Refusal{Rule: "HUB-65/name", Code: CodeArgumentInvalid, Detail: "the blob name is missing or not legal",
			Seen: "blobName " + quote(name), Expected: `{"blobName":"…"} with 1 to 1024 characters, device id included, and no control characters`}
	}
	now := s.clock.Wall()
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	open := 0
	for _, u := range s.files.uploads.List(uploadKey(id.Hub, id.DeviceID, "")) {
		if u.Expires.After(now) {
			open++
			continue
		}
		s.files.uploads.Delete(uploadKey(id.Hub, id.DeviceID, u.ID))
	}
	if open >= maxUploads {
		return UploadGrant{}, &rule.Refusal{Rule: "HUB-65/count", Code: CodeTooManyUploads, Detail: "too many uploads of the device are open",
			Seen: strconv.Itoa(open) + " open uploads", Expected: fmt.Sprintf("at most %d; end each by POST …/files/notifications", maxUploads)}
	}
	u := upload{ID: s.ids.GUID(), Hub: id.Hub, DeviceID: id.DeviceID, BlobName: blob, Expires: now.Add(uploadLife).UTC()}
	s.files.uploads.Put(uploadKey(id.Hub, id.DeviceID, u.ID), u)
	sas, err := s.BlobSAS(id.Hub, UploadContainer, blob, blobPermissionsOfUpload, uploadLife)
	if err != nil {
		return UploadGrant{}, s.hostRefusal(id.Hub, nil)
	}
	e := s.blobEvent(id.Hub, UploadContainer, blob, "upload begun")
	e.Properties = map[string]string{"correlationId": u.ID}
	s.journal.Append(e)
	return UploadGrant{CorrelationID: u.ID, Container: UploadContainer, BlobName: blob, SAS: sas}, nil
}

// EndUpload closes an upload. After a success the service side is told. Refusals: HUB-65/correlation
// (400015) and HUB-65/late (400016).
func (s *Service) EndUpload(id Identity, r UploadResult) *rule.Refusal {
	k := uploadKey(id.Hub, id.DeviceID, r.CorrelationID)
	s.files.mu.Lock()
	u, ok := s.files.uploads.Get(k)
	if ok {
		s.files.uploads.Delete(k)
	}
	s.files.mu.Unlock()
	now := s.clock.Wall().UTC()
	switch {
	case !ok:
		return &rule.Refusal{Rule: "HUB-65/correlation", Code: CodeUploadCorrelation, Detail: "no upload of the device has this correlation id",
			Seen: "correlationId " + quote(r.CorrelationID), Expected: "the correlationId that POST …/files answered, once"}
	case now.After(u.Expires):
		return &rule.Refusal{Rule: "HUB-65/late", Code: CodeUploadExpired, Detail: "the upload's time is over",
			Seen: "an upload that ended at " + stamp(u.Expires), Expected: "the notification within " + uploadLife.String()}
	}
	e := s.blobEvent(id.Hub, UploadContainer, u.BlobName, "upload failed, as the device says")
	e.Properties = map[string]string{"correlationId": u.ID, "isSuccess": strconv.FormatBool(r.Success), "statusCode": strconv.Itoa(r.StatusCode)}
	if r.Description != "" {
		e.Properties["statusDescription"] = clip(r.Description)
	}
	if r.Success {
		e.Detail = "upload done"
		n := FileNotice{Hub: id.Hub, DeviceID: id.DeviceID, BlobName: u.BlobName, LastUpdated: now, EnqueuedTimeUTC: now,
			BlobURI: "https://" + id.Hub + "/" + UploadContainer + "/" + u.BlobName}
		if b, err := s.GetBlob(id.Hub, UploadContainer, u.BlobName); err == nil {
			n.BlobSize, n.LastUpdated = len(b.Body), b.Modified
		}
		s.files.notices.Append(n)
	}
	s.journal.Append(e)
	return nil
}

// FileNotices returns a hub's notices of finished uploads after the sequence number since, oldest first.
func (s *Service) FileNotices(hub string, since uint64) []FileNotice {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	all, _ := s.files.notices.Read(since, func(n *FileNotice) bool { return n.Hub == h.Host }, 0)
	return all
}

// Files returns what a device has uploaded, ordered by name.
func (s *Service) Files(hub, device string) []Blob { return s.Blobs(hub, UploadContainer, device+"/") }
