package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/hosts"
)

// The names and files of the test chain of IoT Edge gateways (Azure/iotedge, tools/CACertificates/certGen.sh).
const (
	edgeRootName         = "Azure_IoT_Hub_CA_Cert_Test_Only"
	edgeIntermediateName = "Azure_IoT_Hub_Intermediate_Cert_Test_Only"

	// EdgeRootFile is the root that a gateway's clients are to trust, in the folder pki of a data directory.
	EdgeRootFile         = "azure-iot-test-only.root.ca.cert.pem"
	edgeRootKey          = "azure-iot-test-only.root.ca.key.pem"
	edgeIntermediateFile = "azure-iot-test-only.intermediate.cert.pem"
	edgeIntermediateKey  = "azure-iot-test-only.intermediate.key.pem"
	edgeDevicePrefix     = "iot-edge-device-ca-"
)

// edgeServerDays is a gateway's certificate's life (Azure/iotedge, Constants.CertificateValidityDays).
const edgeServerDays = 90

// edgeHubName stands in every gateway's certificate beside its host name.
const edgeHubName = "edgeHub"

// Edge makes the certificates of IoT Edge gateways: a root of their own, an intermediate, a CA for each
// edge device, and a certificate that the gateway presents. Everything is made on first use and kept in
// the data directory. Its methods may be called concurrently.
type Edge struct {
	authority *Authority
	key       KeyType

	mu   sync.Mutex
	cas  map[string]CA // by file prefix
	leaf map[string]*tls.Certificate
}

// EdgeGateway says for whom a certificate is made.
type EdgeGateway struct {
	Name  string   // of the edge CA: the edge device's id
	Host  string   // common name: the gateway's host name
	Hosts []string // further names
	// CA is an edge CA of the tester's own, PEM of its certificate and those above it, with its key. Empty
	// takes one of the test chain.
	CA, CAKey []byte
}

// Edge returns the gateways' part of the authority.
func (a *Authority) Edge() *Edge {
	e := &Edge{authority: a, key: RSA2048, cas: map[string]CA{}, leaf: map[string]*tls.Certificate{}}
	if a.opts.ServerKey == ServerECDSA {
		e.key = ECDSA
	}
	return e
}

// Edge returns the part of the CAs alone: it makes no gateway's certificate.
func (d *DeviceCAs) Edge(key KeyType) *Edge {
	return &Edge{authority: &Authority{DeviceCAs: d}, key: key, cas: map[string]CA{}, leaf: map[string]*tls.Certificate{}}
}

// EdgeFile is a file of the chain under the name that certGen.sh gives it, below certs or private.
type EdgeFile struct {
	Name   string
	Data   []byte
	Secret bool
}

// Files returns the chain of an edge device, which is made where it is missing: root, intermediate and edge
// CA, each with its key, and the full chains.
func (e *Edge) Files(device string) ([]EdgeFile, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	root, err := e.root()
	if err != nil {
		return nil, err
	}
	middle, err := e.intermediate()
	if err != nil {
		return nil, err
	}
	ca, err := e.deviceCA(device)
	if err != nil {
		return nil, err
	}
	own := edgeDevicePrefix + fileName(device)
	files := []EdgeFile{
		{Name: "certs/" + EdgeRootFile, Data: encodeCertificates(root.Certificate)},
		{Name: "certs/" + edgeIntermediateFile, Data: encodeCertificates(middle.Certificate)},
		{Name: "certs/azure-iot-test-only.intermediate-full-chain.cert.pem", Data: encodeCertificates(middle.Chain()...)},
		{Name: "certs/" + own + ".cert.pem", Data: encodeCertificates(ca.Certificate)},
		{Name: "certs/" + own + "-full-chain.cert.pem", Data: encodeCertificates(ca.Chain()...)},
	}
	for name, c := range map[string]CA{edgeRootKey: root, edgeIntermediateKey: middle, own + ".key.pem": ca} {
		data, err := encodeKey(c.key)
		if err != nil {
			return nil, err
		}
		files = append(files, EdgeFile{Name: "private/" + name, Data: data, Secret: true})
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Name < files[j].Name })
	return files, nil
}

// Root returns the test root in PEM; it is made if there is none.
func (e *Edge) Root() ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	root, err := e.root()
	if err != nil {
		return nil, err
	}
	return encodeCertificates(root.Certificate), nil
}

// RootFile names the root's file, empty for an ephemeral instance.
func (e *Edge) RootFile() string {
	if !e.authority.onDisk {
		return ""
	}
	return e.authority.files.where(EdgeRootFile)
}

// Certificate returns what a gateway presents to a client that dialled name or an address: its own
// certificate and the chain above it without the root. The names are the gateway's and edgeHub; what was
// dialled is added where it is none of them and own says so.
func (e *Edge) Certificate(g EdgeGateway, sni string, local netip.Addr, own bool) (*tls.Certificate, error) {
	s := subjects{common: g.Host, names: append([]string{edgeHubName}, g.Hosts...)}
	if addr, ok := parseAddr(g.Host); ok {
		s.addrs = []netip.Addr{addr}
	} else {
		s.names = append([]string{g.Host}, s.names...)
	}
	if own {
		s = e.dialled(s, sni, local)
	}
	k := strings.Join(append([]string{g.Name, string(g.CA)}, s.names...), "\x00") + fmt.Sprint(s.addrs)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.authority.now()
	if c := e.leaf[k]; c != nil && now.Before(c.Leaf.NotAfter.Add(-renewBefore)) {
		return c, nil
	}
	issuer, err := e.issuerOf(g)
	if err != nil {
		return nil, err
	}
	key, err := e.authority.server.get(e.authority)
	if err != nil {
		return nil, err
	}
	cert, err := e.mint(issuer, s, key, now)
	if err != nil {
		return nil, err
	}
	if len(e.leaf) >= maxLeaves {
		clear(e.leaf) // names come from clients
	}
	e.leaf[k] = cert
	return cert, nil
}

// dialled adds the name or address that a client without the gateway's name has dialled, where the server
// root might certify it too: no name of anybody else's.
func (e *Edge) dialled(s subjects, sni string, local netip.Addr) subjects {
	a := e.authority
	if addr, ok := parseAddr(sni); ok {
		sni, local = "", addr
	}
	name := hosts.Canonical(sni)
	if name != "" && !slices.Contains(s.names, name) && checkName(name) == nil && a.issuer.scope.holds(name) {
		s.names = append(s.names, name)
	}
	if sni == "" {
		s.names = append(s.names, "localhost")
		for _, addr := range []netip.Addr{plainAddr(local), netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			if addr.IsValid() && !addr.IsUnspecified() && !slices.Contains(s.addrs, addr) && a.issuer.scope.holdsAddr(addr) {
				s.addrs = append(s.addrs, addr)
			}
		}
	}
	return s
}

func (e *Edge) mint(issuer CA, s subjects, key crypto.Signer, now time.Time) (*tls.Certificate, error) {
	signer := &Authority{DeviceCAs: e.authority.DeviceCAs}
	signer.issuer.cert, signer.issuer.key = issuer.Certificate, issuer.key
	cert, err := signer.mintFor(s, key, now, edgeServerDays, pkix.Name{CommonName: s.common})
	if err != nil {
		return nil, err
	}
	for _, c := range issuer.Chain() {
		if c.CheckSignatureFrom(c) != nil { // clients have the root
			cert.Certificate = append(cert.Certificate, c.Raw)
		}
	}
	return cert, nil
}

// issuerOf returns the CA that signs a gateway's certificate. The caller holds mu.
func (e *Edge) issuerOf(g EdgeGateway) (CA, error) {
	if len(g.CA) > 0 {
		return ownEdgeCA(g)
	}
	return e.deviceCA(g.Name)
}

// ownEdgeCA reads the tester's own edge CA, of which the chain has to hang together.
func ownEdgeCA(g EdgeGateway) (CA, error) {
	certs, err := ParseCertificates(g.CA)
	if err != nil {
		return CA{}, err
	}
	key, err := ParseKey(g.CAKey)
	if err != nil {
		return CA{}, err
	}
	if err := CheckEdgeCA(certs, key); err != nil {
		return CA{}, err
	}
	return CA{Name: g.Name, Certificate: certs[0], Issuers: certs[1:], key: key}, nil
}

// CheckEdgeCA says what is wrong with an edge CA and the certificates above it.
func CheckEdgeCA(certs []*x509.Certificate, key crypto.Signer) error {
	if why := notCA(certs[0], true); why != "" {
		return badRequest("%s is no CA: %s", Name(certs[0].Subject), why)
	}
	if key != nil && !belongs(key, certs[0]) {
		return badRequest("the key does not belong to the certificate %s, which stands first", Name(certs[0].Subject))
	}
	for i := 1; i < len(certs); i++ {
		if certs[i-1].CheckSignatureFrom(certs[i]) != nil {
			return badRequest("%s was not issued by %s, which stands after it: put the edge CA first, then each issuer in turn, none left out",
				Name(certs[i-1].Subject), Name(certs[i].Subject))
		}
	}
	return nil
}

func (e *Edge) root() (CA, error) {
	return e.made(EdgeRootFile, edgeRootKey, edgeRootName, nil)
}

func (e *Edge) intermediate() (CA, error) {
	root, err := e.root()
	if err != nil {
		return CA{}, err
	}
	return e.made(edgeIntermediateFile, edgeIntermediateKey, edgeIntermediateName, &root)
}

// deviceCA is "{name}.ca": its name never equals the gateway's host name, which some TLS stacks stumble over.
func (e *Edge) deviceCA(name string) (CA, error) {
	parent, err := e.intermediate()
	if err != nil {
		return CA{}, err
	}
	file := edgeDevicePrefix + fileName(name)
	return e.made(file+".cert.pem", file+".key.pem", name+".ca", &parent)
}

// fileName makes a device id a part of a file's name.
func fileName(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, id)
}

// made loads a CA of the chain or makes it. The caller holds mu.
func (e *Edge) made(file, keyFile, common string, parent *CA) (CA, error) {
	if ca, ok := e.cas[file]; ok {
		return ca, nil
	}
	ca, err := e.load(file, keyFile, common, parent)
	if errors.Is(err, fs.ErrNotExist) {
		ca, err = e.make(file, keyFile, common, parent)
	}
	if err == nil {
		e.cas[file] = ca
	}
	return ca, err
}

func (e *Edge) load(file, keyFile, common string, parent *CA) (CA, error) {
	files := e.authority.files
	remedy := fmt.Sprintf("put the right file back, or remove %s and %s to get new ones", files.where(file), files.where(keyFile))
	certs, err := readCerts(files, file, remedy)
	if err != nil {
		return CA{}, err
	}
	key, err := readKey(files, keyFile, remedy)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return CA{}, fmt.Errorf("%s has no key %s beside it: %s", files.where(file), files.where(keyFile), remedy)
	case err != nil:
		return CA{}, err
	case !belongs(key, certs[0]):
		return CA{}, fmt.Errorf("%s does not belong to %s: %s", files.where(keyFile), files.where(file), remedy)
	}
	ca := CA{Name: common, Certificate: certs[0], File: files.where(file), key: key}
	if parent != nil {
		if certs[0].CheckSignatureFrom(parent.Certificate) != nil {
			return CA{}, fmt.Errorf("%s was not issued by %s: %s", files.where(file), parent.File, remedy)
		}
		ca.Issuers = parent.Chain()
	}
	return ca, nil
}

func (e *Edge) make(file, keyFile, common string, parent *CA) (CA, error) {
	a := e.authority
	if err := checkCommonName(common); err != nil {
		return CA{}, err
	}
	key, err := e.keyFor(keyFile)
	if err != nil {
		return CA{}, err
	}
	now := a.now()
	b := blank{subject: pkix.Name{CommonName: common}, from: now.Add(-backDate), to: now.AddDate(caYears, 0, 0), ca: true, public: key.Public()}
	ca := CA{Name: common, File: a.files.where(file), key: key}
	if parent == nil {
		ca.Certificate, err = b.sign(nil, key)
	} else {
		ca.Issuers = parent.Chain()
		ca.Certificate, err = b.sign(parent.Certificate, parent.key)
	}
	if err != nil {
		return CA{}, err
	}
	return ca, a.files.create(file, encodeCertificates(ca.Certificate), false)
}

// keyFor makes and writes a CA's key, the key first: a start that was cut off between the two files finds
// it and makes the certificate.
func (e *Edge) keyFor(file string) (crypto.Signer, error) {
	files := e.authority.files
	remedy := fmt.Sprintf("remove %s to get a new one", files.where(file))
	key, err := readKey(files, file, remedy)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = newKey(e.key); err != nil {
		return nil, err
	}
	data, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, files.create(file, data, true)
}

// Warm makes a gateway's certificate in the background.
func (e *Edge) Warm(g EdgeGateway, log *slog.Logger) {
	a := e.authority
	a.server.background.Go(func() {
		if _, err := e.Certificate(g, g.Host, netip.Addr{}, false); err != nil {
			log.Error("no certificate for the gateway: every TLS handshake with it will fail", "endpoint", g.Host, "cause", err)
		}
	})
}
