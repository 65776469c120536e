package pki

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/hosts"
)

// ServerKey is the kind of key that the listeners present (flag --server-key).
type ServerKey string

// The server keys. Every emulated platform presents an RSA certificate today, so vendor means RSA-2048.
const (
	ServerVendor ServerKey = "vendor"
	ServerRSA    ServerKey = "rsa"
	ServerECDSA  ServerKey = "ecdsa" // P-256: a handshake costs a third
)

// Options open an Authority. The zero value is an ephemeral one for private and vendor names.
type Options struct {
	// Dir is the data directory; files go to its folder pki. Empty keeps everything in memory.
	Dir string
	// Domains are names of the world that the root is to certify beside the vendors' domains and private
	// names, e.g. an Edge gateway's; "*." in front is dropped. They are fixed when the root is made.
	Domains []string
	// Advertise are the names and addresses that clients are told to dial (--advertise). One that the
	// root may not certify is an error. They stand in the certificate for clients that send no SNI.
	Advertise []string
	// Addresses of this machine, for that same certificate; those that the root may not certify are left out.
	Addresses []netip.Addr
	// ServerKey is the listeners' key; empty is ServerVendor.
	ServerKey ServerKey
	// RootUnconstrained makes a new root without name constraints.
	RootUnconstrained bool
	// ServerCA and ServerCAKey are PEM files of the tester's own issuer, instead of a root of our own.
	// ServerCA holds the issuer first, then the certificates above it, the root last.
	ServerCA, ServerCAKey string
	// Log takes warnings; nil drops them.
	Log *slog.Logger
	// Clock dates certificates; nil is time.Now. It should follow real time: devices judge the server's
	// certificate by their own clocks.
	Clock func() time.Time
}

// Authority issues the server's leaves and the devices' certificates of one data directory. Its methods
// may be called concurrently.
type Authority struct {
	*DeviceCAs

	opts   Options
	issuer issuer
	leaves leaves
	server serverKey
}

// issuer signs the server's leaves.
type issuer struct {
	cert  *x509.Certificate
	above []*x509.Certificate // sent after the leaf's issuer, without a self-signed root
	root  *x509.Certificate   // what clients are to trust
	key   crypto.Signer
	scope scope
	own   bool // the tester's own (ServerCA)
}

// DeviceCAs are the device CAs of one data directory, without the server's part. Its methods may be called
// concurrently, and by several processes on one directory.
type DeviceCAs struct {
	files  vault
	onDisk bool
	log    *slog.Logger
	now    func() time.Time
}

// Open loads the PKI of a data directory and makes what is missing: the server root and demo-ca. Files
// that are there are never overwritten: one that cannot be read or does not match its key is an error
// that names the file and the remedy.
func Open(o Options) (*Authority, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	cas, err := OpenDeviceCAs(o)
	if err != nil {
		return nil, err
	}
	a := &Authority{DeviceCAs: cas, opts: o}
	if err := a.openIssuer(); err != nil {
		return nil, err
	}
	if err := a.checkAdvertised(); err != nil {
		return nil, err
	}
	a.offerVendorRoots()
	a.leaves.init(a.fallbackNames())
	return a, nil
}

// OpenDeviceCAs opens the device CAs alone, by the options Dir, Log and Clock: it makes no server root,
// whose names the world decides.
func OpenDeviceCAs(o Options) (*DeviceCAs, error) {
	d := &DeviceCAs{log: o.Log, now: o.Clock, onDisk: o.Dir != ""}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.now == nil {
		d.now = time.Now
	}
	if d.onDisk {
		dir, err := openFolder(filepath.Join(o.Dir, "pki"))
		if err != nil {
			return nil, err
		}
		d.files = dir
	} else {
		d.files = &memory{files: map[string][]byte{}}
	}
	return d, d.openDemo()
}

func (o Options) check() error {
	switch o.ServerKey {
	case "", ServerVendor, ServerRSA, ServerECDSA:
	default:
		return badRequest("server key %q: it is %s, %s or %s", o.ServerKey, ServerVendor, ServerECDSA, ServerRSA)
	}
	if (o.ServerCA == "") != (o.ServerCAKey == "") {
		return badRequest("--server-ca and --server-ca-key belong together: give both or none")
	}
	for _, name := range slices.Concat(o.Advertise, o.Domains) {
		if !isAddress(name) {
			if err := checkName(hosts.Canonical(strings.TrimPrefix(name, "*."))); err != nil {
				return badRequest("--advertise or a hub's name: %w", err)
			}
		}
	}
	return nil
}

// Root returns the certificate that clients of the listeners are to trust.
func (a *Authority) Root() *x509.Certificate { return a.issuer.root }

// RootPEM returns Root as PEM.
func (a *Authority) RootPEM() []byte { return encodeCertificates(a.issuer.root) }

// RootPool returns a pool that holds Root only.
func (a *Authority) RootPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.issuer.root)
	return pool
}

// RootFile names the file that holds Root, empty for an ephemeral instance.
func (a *Authority) RootFile() string {
	switch {
	case a.issuer.own:
		return a.opts.ServerCA
	case !a.onDisk:
		return ""
	default:
		return a.files.where(rootFile)
	}
}

// Permits tells whether the root may certify a host name or address that clients dial; if not, the error
// is an ErrNotPermitted with the remedy.
func (a *Authority) Permits(host string) error {
	if a.issuer.scope.holds(host) {
		return nil
	}
	if a.issuer.own {
		return fmt.Errorf("%q is %w: %s restricts its names; use an issuer that permits it", host, ErrNotPermitted, a.opts.ServerCA)
	}
	remedy := "use a name below .test, .internal or .local, a private address, --root-unconstrained with a new data directory, or a root of your own (--server-ca, --server-ca-key)"
	if newScope(a.opts.Domains).holds(host) || a.opts.RootUnconstrained {
		remedy = fmt.Sprintf("the root was made before it was asked for: remove %s and %s, start again, and let clients trust the new root",
			a.files.where(rootFile), a.files.where(rootKeyFile))
	}
	return fmt.Errorf("%q is %w: %s", host, ErrNotPermitted, remedy)
}

func (a *Authority) checkAdvertised() error {
	for _, name := range a.opts.Advertise {
		if err := a.Permits(name); err != nil {
			return fmt.Errorf("--advertise %s: %w", name, err)
		}
	}
	for _, name := range a.opts.Domains {
		if err := a.Permits(strings.TrimPrefix(name, "*.")); err != nil {
			a.log.Warn("a name of the world cannot be certified", "cause", err)
		}
	}
	return nil
}

// Close waits for a server key that is still being made.
func (a *Authority) Close() error {
	a.server.wait()
	return nil
}

// warnOpenKey tells of a key file that others may read.
// Windows has no such modes and reports 0666.
func (d *DeviceCAs) warnOpenKey(name string) {
	if !d.onDisk || runtime.GOOS == "windows" {
		return
	}
	path := d.files.where(name)
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.log.Warn("a private key can be read by others: chmod 600 "+path, "mode", info.Mode().Perm().String())
	}
}
