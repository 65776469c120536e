package azure

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// ekSample is the endorsement key that Microsoft's DPS samples and documents show
// ("How to manage device enrollments", ProvisioningDeviceClientTpm).
const ekSample = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAxsj2gUScTk1UjuioeTlfGYZrrimExB+bScH75adUMRIi2UOMxG1kw4y+9RW/IVoMl4e620VxZad0ARX2gUqVjYO7KPVt3dyKhZS3dkcvfBisBhP1XH9B33VqHG9SHnbnQXdBUaCgKAfxome8UmBKfe+naTsE5fkvjb/do3/dD6l4sGBwFCnKRdln4XpM03zLpoHFao8zOwt8l/uP3qUIxmCYv9A7m69Ms+5/pCkTu/rK4mRDsfhZ0QLfbzVI6zQFOKF/rwsfBtFeWlWtcuJMKlXdD8TXWElTzgh7JS4qhFzreL0c1mI0GCj+Aws0usZh7dLIVPnlgZcBhgy1SSDQMQ=="

func TestParseTPMPublic(t *testing.T) {
	t.Parallel()
	p, err := ParseTPMPublic(ekSample)
	require.NoError(t, err)
	require.Equal(t, 2048, p.key.N.BitLen())
	require.Equal(t, 65537, p.key.E)
	for _, bad := range []string{"", "?", "AAAA", ekSample[:40], base64.StdEncoding.EncodeToString(make([]byte, 316)), ekSample + "AAAA"} {
		_, err := ParseTPMPublic(bad)
		require.ErrorIs(t, err, ErrTPMKey, "%.20s", bad)
	}
}

// software is a TPM's key in memory: what TPM2_ActivateCredential and TPM2_Import do with it.
type software struct {
	*rsa.PrivateKey
	area []byte
}

func newSoftware(t *testing.T) software {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	be := binary.BigEndian
	area := be.AppendUint16(nil, 0x0001)
	area = be.AppendUint16(area, 0x000b)
	area = be.AppendUint32(area, 0x00030472)
	area = be.AppendUint16(area, 0)
	for _, v := range []uint16{0x0006, 128, 0x0043, 0x0010, 2048} {
		area = be.AppendUint16(area, v)
	}
	area = be.AppendUint32(area, 0)
	area = append(be.AppendUint16(area, 256), key.N.FillBytes(make([]byte, 256))...)
	return software{key, area}
}

func (s software) text() string {
	return base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint16(nil, uint16(len(s.area))), s.area...))
}

// open undoes an outer wrap.
func (s software) open(t *testing.T, label string, name, object, secret []byte) []byte {
	t.Helper()
	seed, err := rsa.DecryptOAEP(sha256.New(), nil, s.PrivateKey, secret, append([]byte(label), 0))
	require.NoError(t, err)
	derive := func(use string, context []byte, bits byte, high byte) []byte {
		mac := hmac.New(sha256.New, seed)
		mac.Write([]byte{0, 0, 0, 1})
		mac.Write([]byte(use + "\x00"))
		mac.Write(context)
		mac.Write([]byte{0, 0, high, bits})
		return mac.Sum(nil)
	}
	n := int(binary.BigEndian.Uint16(object))
	sum, body := object[2:2+n], object[2+n:]
	mac := hmac.New(sha256.New, derive("INTEGRITY", nil, 0, 1))
	mac.Write(body)
	mac.Write(name)
	require.Equal(t, mac.Sum(nil), sum)
	return uncfb(t, derive("STORAGE", name, 128, 0)[:16], body)
}

func uncfb(t *testing.T, key, body []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	out := make([]byte, len(body))
	//lint:ignore SA1019 TPMs wrap in this mode and no other
	cipher.NewCFBDecrypter(block, make([]byte, 16)).XORKeyStream(out, body)
	return out
}

// The TPM that the blob is made for gets the key out of it, by the steps of TPM2_ActivateCredential and
// TPM2_Import.
func TestTPMActivation(t *testing.T) {
	t.Parallel()
	ek, srk := newSoftware(t), newSoftware(t)
	ekPublic, err := ParseTPMPublic(ek.text())
	require.NoError(t, err)
	srkPublic, err := ParseTPMPublic(srk.text())
	require.NoError(t, err)
	blob, err := TPMActivation(ekPublic, srkPublic, []byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	r := tpmReader{rest: blob}
	credential, secret, duplicate, seed, area := r.sized(), r.sized(), r.sized(), r.sized(), r.sized()
	require.Empty(t, r.sized())
	require.False(t, r.short)
	require.Empty(t, r.rest)

	srkName := append([]byte{0, 0x0b}, sum(srk.area)...)
	inner := ek.open(t, "IDENTITY", srkName, credential, secret)
	require.Equal(t, []byte{0, 16}, inner[:2])
	name := append([]byte{0, 0x0b}, sum(area)...)
	plain := uncfb(t, inner[2:], srk.open(t, "DUPLICATE", name, duplicate, seed))
	p := tpmReader{rest: plain}
	integrity := p.sized()
	require.Equal(t, sum(append(append([]byte{}, p.rest...), name...)), integrity)
	s := tpmReader{rest: p.sized()}
	require.EqualValues(t, 0x0008, s.u16())
	require.Empty(t, s.sized())
	objectSeed, key := s.sized(), s.sized()
	require.Equal(t, "0123456789abcdef0123456789abcdef", string(key))
	require.Equal(t, sum(append(append([]byte{}, objectSeed...), key...)), area[len(area)-32:], "unique binds the key")
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func FuzzTPMPublic(f *testing.F) {
	f.Add(ekSample)
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParseTPMPublic(text); err == nil {
			require.NotNil(t, p.key)
		}
	})
}
