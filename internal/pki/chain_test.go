package pki

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fixture(t *testing.T, name string) []*x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "seeds", name))
	require.NoError(t, err)
	certs, err := ParseCertificates(data)
	require.NoError(t, err)
	return certs
}

func TestChainAcceptsWhatTheSeedsMake(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	mindsphere, iotda, flexy := fixture(t, "000-mindsphere-chain.pem"), fixture(t, "001-iotda-chain.pem"), fixture(t, "003-flexy-self.pem")
	require.Equal(t, []int{1, 1}, []int{mindsphere[0].Version, mindsphere[1].Version})
	for name, tc := range map[string]struct {
		presented, anchors []*x509.Certificate
		length             int
	}{
		"v1 leaf, v1 CA":         {mindsphere, mindsphere[1:], 2},
		"v1 leaf alone, v1 CA":   {mindsphere[:1], mindsphere[1:], 2},
		"v1 leaf, v3 root":       {iotda, iotda[1:], 2},
		"one of several anchors": {iotda[:1], []*x509.Certificate{flexy[0], mindsphere[1], iotda[1]}, 2},
		"self-signed, itself":    {flexy, flexy, 1},
		"CA presented as leaf":   {mindsphere[1:], mindsphere[1:], 1},
		"rubbish on top":         {[]*x509.Certificate{iotda[0], flexy[0], iotda[0], mindsphere[1], iotda[1]}, iotda[1:], 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := Chain(tc.presented, tc.anchors, at)
			require.NoError(t, err)
			require.Len(t, path, tc.length)
			require.Same(t, tc.presented[0], path[0])
			require.NoError(t, VerifyChain(tc.presented, tc.anchors, at))
		})
	}
}

// tree is a root with two intermediates below it and a device.
type tree struct {
	a       *Authority
	cas     []CA
	device  Issued
	leaf    *x509.Certificate
	present []*x509.Certificate
}

func grow(t *testing.T) tree {
	t.Helper()
	a := open(t, Options{})
	cas, err := a.CreateChain("plant", 3, ECDSA)
	require.NoError(t, err)
	device, err := a.IssueDevice(DeviceRequest{CommonName: "dev1", CA: "plant-2"})
	require.NoError(t, err)
	return tree{a, cas, device, device.Leaf, append([]*x509.Certificate{device.Leaf}, device.Issuers...)}
}

func TestChainClimbs(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	root, middle, low := tr.cas[0].Certificate, tr.cas[1].Certificate, tr.cas[2].Certificate
	now := time.Now()

	path, err := Chain(tr.present, []*x509.Certificate{root}, now)
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{tr.leaf, low, middle, root}, path)

	path, err = Chain([]*x509.Certificate{tr.leaf, middle, root, low}, []*x509.Certificate{root}, now)
	require.NoError(t, err)
	require.Len(t, path, 4, "the order does not matter")

	path, err = Chain(tr.present[:1], []*x509.Certificate{low}, now)
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{tr.leaf, low}, path, "a registered intermediate is enough")

	path, err = Chain(tr.present[:1], []*x509.Certificate{root, low, middle}, now)
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{tr.leaf, low, middle, root}, path, "on through further anchors")
}

func TestChainExplains(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	root, low := tr.cas[0].Certificate, tr.cas[2].Certificate
	now := time.Now()
	roots := []*x509.Certificate{root}
	broken := func(kind string) []*x509.Certificate {
		i, err := tr.a.Broken(kind, DeviceRequest{CommonName: "dev1", CA: "plant-2"})
		require.NoError(t, err)
		return append([]*x509.Certificate{i.Leaf}, i.Issuers...)
	}
	self, err := tr.a.IssueDevice(DeviceRequest{CommonName: "dev1", Self: true})
	require.NoError(t, err)
	bare, err := tr.a.CreateCA(CARequest{Name: "bare", Parent: "plant-root", X509v1: true})
	require.NoError(t, err)
	below, err := tr.a.IssueDevice(DeviceRequest{CommonName: "dev1", CA: "bare"})
	require.NoError(t, err)
	// A device that signs as if it were a CA.
	forged, err := blank{subject: tr.leaf.Subject, from: now.Add(-time.Hour), to: now.Add(time.Hour), public: tr.device.Key.Public()}.
		sign(tr.leaf, tr.device.Key)
	require.NoError(t, err)
	demo, err := tr.a.CA(DemoCA)
	require.NoError(t, err)

	for name, tc := range map[string]struct {
		presented, anchors []*x509.Certificate
		at                 time.Time
		kind               ChainKind
		index              int
		says               string
	}{
		"nothing":               {nil, roots, now, NoCertificate, 0, "no certificate was presented"},
		"expired":               {broken("expired"), roots, now, Expired, 0, "expired at"},
		"not yet valid":         {broken("not-yet-valid"), roots, now, NotYetValid, 0, "not valid before"},
		"expired CA":            {tr.present, roots, now.AddDate(0, 0, 1).AddDate(caYears, 0, 0), Expired, 0, "expired at"},
		"lookalike":             {broken("wrong-ca"), roots, now, BadSignature, 0, "was not signed by that CA's key"},
		"intermediates missing": {tr.present[:1], roots, now, MissingIssuer, 0, "CN=plant-2, is not registered"},
		"one missing":           {tr.present[:2], roots, now, MissingIssuer, 1, "CN=plant-1, is not registered"},
		"other root":            {tr.present, []*x509.Certificate{demo.Certificate}, now, MissingIssuer, 3, "CN=plant-root is self-signed and is not registered"},
		"no anchors":            {tr.present[:1], nil, now, MissingIssuer, 0, "is not registered"},
		"self-signed":           {[]*x509.Certificate{self.Leaf}, roots, now, MissingIssuer, 0, "is self-signed and is not registered"},
		"SHA-1":                 {broken("sha1"), roots, now, WeakSignature, 0, "too weak"},
		"SHA-1 of the seeds":    {fixture(t, "sha1-leaf.pem"), fixture(t, "000-mindsphere-chain.pem")[1:], now, WeakSignature, 0, "SHA1-RSA"},
		"v1 intermediate":       {[]*x509.Certificate{below.Leaf, bare.Certificate}, roots, now, NotCA, 0, "v1 certificate without basicConstraints"},
		"leaf as CA":            {[]*x509.Certificate{forged, tr.leaf, low, tr.cas[1].Certificate}, roots, now, NotCA, 0, "CA:FALSE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := Chain(tc.presented, tc.anchors, tc.at)
			var e *ChainError
			require.True(t, errors.As(err, &e), "%v", err)
			require.Nil(t, path)
			require.Equal(t, tc.kind, e.Kind, e.Detail)
			require.Equal(t, tc.index, e.Index)
			require.ErrorContains(t, err, tc.says)
			require.NotEmpty(t, e.Seen)
			require.NotEmpty(t, e.Expected)
		})
	}

	_, err = Chain([]*x509.Certificate{below.Leaf}, []*x509.Certificate{bare.Certificate}, now)
	require.NoError(t, err, "a v1 CA is good enough once it is registered")
}

func TestChainIsBounded(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	// Many CAs of one name, none of which has signed the leaf.
	var same []*x509.Certificate
	for range 2 * maxChecks {
		key, err := newKey(ECDSA)
		require.NoError(t, err)
		demo, err := a.CA(DemoCA)
		require.NoError(t, err)
		c, err := blank{subject: demo.Certificate.Subject, from: time.Unix(0, 0), to: time.Unix(1<<32, 0), ca: true, public: key.Public()}.sign(nil, key)
		require.NoError(t, err)
		same = append(same, c)
	}
	device, err := a.IssueDevice(DeviceRequest{CommonName: "dev1"})
	require.NoError(t, err)
	_, err = Chain([]*x509.Certificate{device.Leaf}, same, time.Now())
	require.Error(t, err)

	_, err = Chain(append([]*x509.Certificate{device.Leaf}, same...), nil, time.Now())
	require.Error(t, err)

	// A long chain ends at the limit.
	cas, err := a.CreateChain("deep", maxIssuer, ECDSA)
	require.NoError(t, err)
	_, err = a.CreateCA(CARequest{Name: "deeper", Parent: cas[len(cas)-1].Name})
	require.ErrorContains(t, err, "limit")
	leaf, err := a.IssueDevice(DeviceRequest{CommonName: "dev1", CA: cas[len(cas)-1].Name})
	require.NoError(t, err)
	path, err := Chain(append([]*x509.Certificate{leaf.Leaf}, leaf.Issuers...), []*x509.Certificate{cas[0].Certificate}, time.Now())
	require.NoError(t, err)
	require.Len(t, path, MaxChain)
}

func TestPathLength(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	signer := a.issuer.key // the server root allows no intermediates
	key, err := newKey(ECDSA)
	require.NoError(t, err)
	now := time.Now()
	middle, err := blank{subject: demoName("middle"), from: now.Add(-time.Hour), to: now.Add(time.Hour), ca: true, public: key.Public()}.sign(a.Root(), signer)
	require.NoError(t, err)
	leaf, err := blank{subject: demoName("dev1"), from: now.Add(-time.Hour), to: now.Add(time.Hour), public: key.Public()}.sign(middle, key)
	require.NoError(t, err)
	_, err = Chain([]*x509.Certificate{leaf, middle}, []*x509.Certificate{a.Root()}, now)
	var e *ChainError
	require.ErrorAs(t, err, &e)
	require.Equal(t, PathTooLong, e.Kind)
	require.Equal(t, "at most 0", e.Expected)
}
