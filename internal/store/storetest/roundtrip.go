package storetest

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/store"
)

// RoundTrip fills a value of every table and log of s, all fields set whether exported or not, and
// requires that it comes back equal. lost names fields, as Type.Field, that the owner makes anew at start.
func RoundTrip(t *testing.T, s *store.Store, lost ...string) {
	t.Helper()
	f := filler{t: t, lost: lost, certificate: certificate(t)}
	probes := s.Probes()
	require.NotEmpty(t, probes)
	for _, p := range probes {
		in := reflect.New(p.Type).Elem()
		f.fill(in, 0)
		out, err := p.Trip(in.Interface())
		require.NoError(t, err, p.Name)
		require.Equal(t, in.Interface(), out, "%s: what was written does not come back: its type needs a codec", p.Name)
	}
}

type filler struct {
	t           *testing.T
	lost        []string
	certificate *x509.Certificate
	n           int64
}

// depth bounds types that hold themselves.
const depth = 8

func (f *filler) fill(v reflect.Value, level int) {
	f.n++
	if !v.CanSet() { // an unexported field
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, int(f.n)*1000+1, time.UTC)))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"a":{"<b>":1.50}}`)))
		return
	case *x509.Certificate:
		v.Set(reflect.ValueOf(f.certificate))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text <&> \u2028 " + string(rune('a'+f.n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(f.n%100 + 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n%100 + 1))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"n": json.Number("1.50"), "l": []any{"x", nil, true}, "o": map[string]any{}}))
	default:
		f.compound(v, level)
	}
}

func (f *filler) compound(v reflect.Value, level int) {
	if level > depth {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), level+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Name() + "." + v.Type().Field(i).Name; !slices.Contains(f.lost, name) {
				f.fill(v.Field(i), level+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0), level+1)
		f.fill(v.Index(1), level+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(k, level+1)
		f.fill(e, level+1)
		v.SetMapIndex(k, e)
	default:
		f.t.Fatalf("storetest: no value for %s", strings.TrimSpace(v.Type().String()))
	}
}

func certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "round trip"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}
