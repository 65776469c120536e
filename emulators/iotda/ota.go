package iotda

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The kinds of upgrade package.
const (
	SoftwarePackage = "softwarePackage"
	FirmwarePackage = "firmwarePackage"
)

// maxPackages bounds an instance's packages; our own.
const maxPackages = 1000

// Package is an upgrade package. Its file lies in the object store.
type Package struct {
	ID             string   `json:"package_id"`
	AppID          string   `json:"app_id"`
	Type           string   `json:"package_type"`
	ProductID      string   `json:"product_id"`
	Version        string   `json:"version"`
	SourceVersions []string `json:"support_source_versions,omitempty"`
	Description    string   `json:"description,omitempty"`
	CustomInfo     string   `json:"custom_info,omitempty"`
	Location       struct {
		OBS struct {
			Region     string `json:"region_name,omitempty"`
			Bucket     string `json:"bucket_name"`
			Key        string `json:"object_key"`
			SignMethod string `json:"sign_method,omitempty"`
			Sign       string `json:"sign,omitempty"`
		} `json:"obs_location"`
	} `json:"file_location"`
	Created time.Time `json:"-"`
}

// PutPackage adds an upgrade package; its object must be there.
func (s *Service) PutPackage(instance string, p Package) (Package, error) {
	product, err := s.Product(instance, p.ProductID)
	if err != nil {
		return p, err
	}
	if p.AppID == "" {
		p.AppID = product.AppID
	}
	switch {
	case p.AppID != product.AppID:
		return p, invalid("app_id %q: product %s belongs to resource space %s", clip(p.AppID), p.ProductID, product.AppID)
	case p.Type != SoftwarePackage && p.Type != FirmwarePackage:
		return p, invalid("package_type %q: %s or %s", clip(p.Type), SoftwarePackage, FirmwarePackage)
	case p.Version == "" || len(p.Version) > 256:
		return p, invalid("version: 1 to 256 characters")
	case len(p.CustomInfo) > 4096 || len(p.Description) > 1024:
		return p, invalid("custom_info has at most 4096, description at most 1024 characters")
	}
	at := p.Location.OBS
	if _, err := s.Object(instance, at.Bucket, at.Key); err != nil {
		return p, invalid("file_location.obs_location: bucket %q has no object %q; put it first: PUT %s%s/%s", clip(at.Bucket), clip(at.Key), ObjectPath, clip(at.Bucket), clip(at.Key))
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	for _, other := range s.Packages(instance) {
		if other.ProductID == p.ProductID && other.Type == p.Type && other.Version == p.Version {
			return p, conflict("product %s has a %s of version %s already", p.ProductID, p.Type, clip(p.Version))
		}
	}
	if len(s.packages.Keys(instance+keySeparator)) >= maxPackages {
		return p, conflict("there are %d packages already, which is the limit", maxPackages)
	}
	p.ID, p.Created = s.ids.Hex(24), s.clock.Wall().UTC()
	s.packages.Put(key(instance, p.ID), p)
	return p, nil
}

// Package returns one upgrade package.
func (s *Service) Package(instance, id string) (Package, error) {
	p, ok := s.packages.Get(key(instance, id))
	if !ok {
		return p, notFound("package", id)
	}
	return p, nil
}

// Packages returns the upgrade packages of an instance, ordered by id.
func (s *Service) Packages(instance string) []Package {
	return s.packages.List(instance + keySeparator)
}

// DeletePackage removes an upgrade package.
func (s *Service) DeletePackage(instance, id string) error {
	return notFoundIf(!s.packages.Delete(key(instance, id)), "package", id)
}

// firmware tells the two kinds of upgrade apart.
func (p Package) firmware() bool { return p.Type == FirmwarePackage }

// installed is the version that the device has told of.
func (p Package) installed(d Device) string {
	if p.firmware() {
		return d.FWVersion
	}
	return d.SWVersion
}

// otaEvents takes what a device tells of its versions and upgrades.
func (c *Session) otaEvents(from source, d Device, e iotda.Event) {
	switch e.EventType {
	case "version_report":
		c.versions(from, d, e)
		c.tell(from, d, e)
		c.svc.versionTold(c.id.Instance, d.DeviceID)
	case "upgrade_progress_report":
		c.progress(from, d, e)
		c.tell(from, d, e)
	default:
		c.unknownEvent(from, e, "version_report or upgrade_progress_report")
	}
}

// progress takes a report of how an upgrade goes: a result code other than 0 ends it, as does progress 100.
func (c *Session) progress(from source, d Device, e iotda.Event) {
	var told struct {
		Result      int             `json:"result_code"`
		Progress    int             `json:"progress"`
		Version     string          `json:"version"`
		Description json.RawMessage `json:"description"`
	}
	if !c.parasOf(from, e, &told) {
		return
	}
	s := c.svc
	s.eachTarget(c.id.Instance, d.DeviceID, func(t *Task, at *Target) {
		if at.Status != TaskProcessing || !t.upgrades() {
			return
		}
		switch {
		case told.Result != 0:
			at.Status, at.Output = TaskFail, upgradeResult(told.Result)
		case told.Progress >= 100:
			at.Status, at.Output = TaskSuccess, "the device reports version "+clip(told.Version)
		}
	})
	if told.Result == 0 && told.Progress >= 100 {
		s.query(c.id.Instance, d)
	}
}

// upgradeResult words a result code of upgrade_progress_report.
func upgradeResult(code int) string {
	text, ok := map[int]string{1: "the device is in use", 2: "poor signal", 3: "it has the latest version already", 4: "low battery", 5: "no space",
		6: "the download timed out", 7: "the package failed its check", 8: "the package type is not supported", 9: "no memory", 10: "the installation failed", 255: "internal error"}[code]
	if !ok {
		return "another result code"
	}
	return text
}

// query asks a device for its versions; the answer decides what an upgrade that waits does next.
func (s *Service) query(instance string, d Device) {
	s.sendEvent(instance, d, ota, "version_query", map[string]any{})
}

// sendEvent sends an event of the platform to a device, or to its gateway for it, and reports whether it is
// connected.
func (s *Service) sendEvent(instance string, d Device, service, kind string, paras any) bool {
	c := s.session(instance, d.Gateway())
	if c == nil {
		return false
	}
	e := c.reply(iotda.Event{}, service, kind, paras)
	return c.down.Deliver(iotda.Topic{Kind: iotda.EventsDown, DeviceID: c.id.DeviceID}.Format(),
		iotda.Encode(iotda.Events{ObjectDeviceID: d.DeviceID, Services: []iotda.Event{*e}}), true)
}

// versionTold goes on with the upgrades that wait for a device's version: one that has the version already
// is done, another gets the package.
func (s *Service) versionTold(instance, device string) {
	d, err := s.Device(instance, device)
	if err != nil {
		return
	}
	var due []Package
	s.eachTarget(instance, device, func(t *Task, at *Target) {
		p, err := s.Package(instance, t.packageID())
		if err != nil || !t.upgrades() || at.Status != TaskProcessing && at.Status != TaskWaiting {
			return
		}
		switch {
		case p.installed(d) == p.Version:
			at.Status, at.Output = TaskSuccess, "the device has version "+p.Version
		case len(p.SourceVersions) > 0 && !slices.Contains(p.SourceVersions, p.installed(d)):
			at.Status, at.Output = TaskFail, "the package does not upgrade version "+clip(p.installed(d))
		case at.Status == TaskWaiting:
			at.Status = TaskProcessing
			due = append(due, p)
		}
	})
	for _, p := range due {
		s.sendPackage(instance, d, p)
	}
}

// sendPackage tells a device where to get a package (page iot_06_v5_3030): by a signed address where it lies
// in the object store, by an address and an access token where the platform keeps it itself.
func (s *Service) sendPackage(instance string, d Device, p Package) {
	c := s.session(instance, d.Gateway())
	at := p.Location.OBS
	o, err := s.Object(instance, at.Bucket, at.Key)
	if c == nil || err != nil {
		return
	}
	kind := "software_upgrade"
	if p.firmware() {
		kind = "firmware_upgrade"
	}
	sum := sha256.Sum256(o.Body)
	paras := map[string]any{"version": p.Version, "file_size": len(o.Body), "file_name": path.Base(at.Key),
		"expires": int(urlLife.Seconds()), "sign": hex.EncodeToString(sum[:])}
	if at.Bucket == PackageBucket {
		paras["url"], paras["access_token"] = c.bareObjectURL(at.Bucket, at.Key), s.objectToken(instance, at.Bucket, at.Key)
	} else {
		kind += "_v2"
		paras["url"], paras["custom_info"] = c.objectURL("GET", at.Bucket, at.Key), p.CustomInfo
	}
	s.sendEvent(instance, d, ota, kind, paras)
}
