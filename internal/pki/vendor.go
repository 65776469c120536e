package pki

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// VendorRoots are the file names under which vendors' pages and samples want the root that devices trust:
// "Onboarding MindConnect MQTT Agent", and github.com/mindsphere/mindconnect-mqtt. Commands copied from there
// find the server root under these names in the folder VendorDir.
var VendorRoots = []string{"AmazonRootCA1.pem", "MindSphereRootCA1.pem"}

// VendorDir is the folder of VendorRoots within the data directory.
const VendorDir = "pki/vendor"

// IsVendorRoot reports whether a file name is one of VendorRoots.
func IsVendorRoot(file string) bool { return slices.Contains(VendorRoots, file) }

// offerVendorRoots writes the root under its vendors' names. They are copies: a root made anew replaces them,
// and a directory that cannot be written goes without.
func (a *Authority) offerVendorRoots() {
	if !a.onDisk {
		return
	}
	dir := filepath.Join(a.opts.Dir, filepath.FromSlash(VendorDir))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		a.log.Debug("no copies of the root under vendors' names", "cause", err)
		return
	}
	for _, name := range VendorRoots {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, a.RootPEM()) {
			continue
		}
		err := os.Remove(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = folder(dir).create(name, a.RootPEM(), false)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			a.log.Debug("no copy of the root under a vendor's name", "file", path, "cause", err)
		}
	}
}
