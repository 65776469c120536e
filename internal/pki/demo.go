package pki

import (
	_ "embed" // demo-ca
	"errors"
	"fmt"
	"io/fs"
)

// DemoCA is the name of the device CA with the published key.
const DemoCA = "demo-ca"

// demoCert and demoKey are public on purpose and for tests only: who knows this key can be any device,
// of an emulator. It never authenticates a server. Made once with
//
//	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/O=fakecloud (tests only)/CN=fakecloud demo-ca"
//
//go:embed testca/demo-ca.pem
var demoCert []byte

//go:embed testca/demo-ca.key
var demoKey []byte

// openDemo writes demo-ca to the data directory and refuses another CA of that name there: devices that
// carry its certificates would be turned away without a visible reason.
func (d *DeviceCAs) openDemo() error {
	for _, f := range []struct {
		name   string
		data   []byte
		secret bool
	}{{DemoCA + keySuffix, demoKey, true}, {DemoCA + certSuffix, demoCert, false}} {
		err := d.files.create(f.name, f.data, f.secret)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	want, err := ParseCertificates(demoCert)
	if err != nil {
		return fmt.Errorf("embedded demo-ca: %w", err)
	}
	ca, err := d.CA(DemoCA)
	if err != nil {
		return err
	}
	if !ca.Certificate.Equal(want[0]) {
		return fmt.Errorf("%s is not fakecloud's demo-ca: remove it and %s (they are written again), and import your own CA under another name",
			d.files.where(DemoCA+certSuffix), d.files.where(DemoCA+keySuffix))
	}
	return nil
}

// DemoPEM returns demo-ca's certificate and key.
func DemoPEM() (certificate, key []byte) {
	return append([]byte(nil), demoCert...), append([]byte(nil), demoKey...)
}
