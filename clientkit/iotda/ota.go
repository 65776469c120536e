package iotda

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"

	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Versions are those of a device's software and firmware.
type Versions struct {
	Software string `json:"sw_version"`
	Firmware string `json:"fw_version"`
}

// Upgrade is an order to install a package.
type Upgrade struct {
	Firmware    bool // otherwise software
	Version     string
	URL         string
	AccessToken string // for the download, where the URL does not hold all
	FileName    string
	FileSize    int64
	Sign        string // SHA-256 of the package, hexadecimal
	Expires     int64  // seconds that URL and token are good for
}

// Progress tells how far an upgrade is.
type Progress struct {
	Result      ResultCode `json:"result_code"`
	Percent     int        `json:"progress"` // 0 to 100
	Version     string     `json:"version"`
	Description string     `json:"description,omitempty"`
}

// ResultCode is what became of an upgrade.
type ResultCode int

// The result codes.
const (
	UpgradeOK           ResultCode = 0
	UpgradeInUse        ResultCode = 1
	UpgradePoorSignal   ResultCode = 2
	UpgradeLatest       ResultCode = 3 // installed already
	UpgradeLowBattery   ResultCode = 4
	UpgradeNoSpace      ResultCode = 5
	UpgradeTimeout      ResultCode = 6 // of the download
	UpgradeCheckFailed  ResultCode = 7
	UpgradeUnsupported  ResultCode = 8
	UpgradeNoMemory     ResultCode = 9
	UpgradeInstallation ResultCode = 10
	UpgradeInternal     ResultCode = 255
)

// OnUpgrade has install called with each order to upgrade, one after the other, and answers the platform's
// questions about versions with what versions returns. install reports with ReportProgress; its end, without an
// error, is not taken for success. ctx of install ends with Close, which waits for it; it must not call Close.
func (d *Device) OnUpgrade(versions func() Versions, install func(context.Context, Upgrade)) error {
	if versions == nil || install == nil {
		return errNilHandler
	}
	return d.OnEvent(otaService, func(ctx context.Context, e Event) {
		switch e.Type {
		case "version_query":
			if err := d.ReportVersions(ctx, versions()); err != nil {
				d.cfg.Log.Warn("versions not reported", "device", d.cfg.DeviceID, "cause", err)
			}
		case "firmware_upgrade", "firmware_upgrade_v2", "software_upgrade", "software_upgrade_v2":
			u, err := readUpgrade(e)
			if err != nil {
				d.cfg.Log.Warn("upgrade cannot be read", "device", d.cfg.DeviceID, "cause", err)
				return
			}
			install(ctx, u)
		}
	})
}

func readUpgrade(e Event) (Upgrade, error) {
	var p struct {
		Version     string      `json:"version"`
		URL         string      `json:"url"`
		FileSize    json.Number `json:"file_size"`
		FileName    string      `json:"file_name"`
		AccessToken string      `json:"access_token"`
		Expires     json.Number `json:"expires"`
		Sign        string      `json:"sign"`
	}
	if err := wire.Decode(e.Paras, &p); err != nil {
		return Upgrade{}, err
	}
	size, _ := p.FileSize.Int64() // optional
	expires, _ := p.Expires.Int64()
	return Upgrade{strings.HasPrefix(e.Type, "firmware"), p.Version, p.URL, p.AccessToken, p.FileName, size, p.Sign, expires}, nil
}

// ReportVersions tells the platform which software and firmware the device has. Errors as of Report.
func (d *Device) ReportVersions(ctx context.Context, v Versions) error {
	return d.SendEvent(ctx, Event{ServiceID: otaService, Type: "version_report", Paras: wire.Encode(v)})
}

// ReportProgress tells how far an upgrade is. Errors as of Report.
func (d *Device) ReportProgress(ctx context.Context, p Progress) error {
	if p.Percent < 0 || p.Percent > 100 {
		return fmt.Errorf("iotda: progress is %d, expected 0 to 100", p.Percent)
	}
	return d.SendEvent(ctx, Event{ServiceID: otaService, Type: "upgrade_progress_report", Paras: wire.Encode(p)})
}

// ErrPackage is wrapped by Download's errors for a package that is not the one that was ordered.
var ErrPackage = errors.New("iotda: the package is damaged")

// Download writes the package to w and checks its size and sign. client is one that trusts the server; nil is
// http.DefaultClient. Its errors never hold the URL, whose query may be a signature that opens the package.
func (u Upgrade) Download(ctx context.Context, client *http.Client, w io.Writer) error {
	if client == nil {
		client = http.DefaultClient
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL, nil)
	if err != nil {
		return fmt.Errorf("iotda: package: %w", withoutURL(err))
	}
	if u.AccessToken != "" {
		request.Header.Set("Authorization", "Bearer "+u.AccessToken)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("iotda: package: %w", withoutURL(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("iotda: package: the server answers %s", answer.Status)
	}
	sum := sha256.New()
	limit := u.FileSize
	body := io.Reader(answer.Body)
	if limit > 0 {
		body = io.LimitReader(body, limit+1)
	}
	n, err := io.Copy(io.MultiWriter(w, sum), body)
	if err != nil {
		return fmt.Errorf("iotda: package: %w", err)
	}
	return u.verify(n, sum)
}

// withoutURL takes the address off an error of net/http or net/url.
func withoutURL(err error) error {
	var withAddress *url.Error
	if errors.As(err, &withAddress) {
		return withAddress.Err
	}
	return err
}

func (u Upgrade) verify(size int64, sum hash.Hash) error {
	got := hex.EncodeToString(sum.Sum(nil))
	switch {
	case u.FileSize > 0 && size != u.FileSize:
		return fmt.Errorf("%w: %d bytes instead of %d", ErrPackage, size, u.FileSize)
	case u.Sign != "" && !strings.EqualFold(u.Sign, got):
		return fmt.Errorf("%w: its SHA-256 is %s instead of %s", ErrPackage, got, u.Sign)
	}
	return nil
}
