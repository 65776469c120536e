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
	"errors"
	"fmt"
	"math/big"
)

// Numbers of the TPM 2.0 specification, part 2: algorithms and attributes.
const (
	tpmRSA       = 0x0001
	tpmHMAC      = 0x0005
	tpmAES       = 0x0006
	tpmKeyedHash = 0x0008
	tpmSHA256    = 0x000b
	tpmNull      = 0x0010

	tpmUserWithAuth = 1 << 6
	tpmSign         = 1 << 18
)

// tpmKeyBits is the size of the symmetric keys; endorsement and storage root keys of the DPS clients ask for
// AES-128.
const tpmKeyBits = 128

// maxTPMKey bounds a public area in bytes; that of RSA 2048 has 314.
const maxTPMKey = 2 << 10

// ErrTPMKey marks a text that is no public area of an RSA key.
var ErrTPMKey = errors.New("not a TPM 2.0 public area (TPM2B_PUBLIC in base64) of an RSA key with SHA-256")

// TPMPublic is the public area of an RSA key in a TPM.
type TPMPublic struct {
	key  *rsa.PublicKey
	name []byte // of the object: its algorithm and the hash of its public area
}

// ParseTPMPublic reads an endorsement key or storage root key as DPS has them: TPM2B_PUBLIC in base64 (TPM
// 2.0 part 2, section 12.2.5).
func ParseTPMPublic(text string) (TPMPublic, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) > maxTPMKey {
		return TPMPublic{}, ErrTPMKey
	}
	outer := tpmReader{rest: raw}
	area := outer.sized()
	r := tpmReader{rest: area}
	kind, hash := r.u16(), r.u16()
	r.take(4) // attributes
	r.sized() // policy
	if r.u16() == tpmAES {
		r.take(4) // key bits, mode
	}
	if scheme := r.u16(); scheme != tpmNull {
		r.take(2) // its hash
	}
	bits, exponent := r.u16(), r.u32()
	modulus := r.sized()
	if exponent == 0 {
		exponent = 65537
	}
	if outer.short || r.short || len(outer.rest) > 0 || len(r.rest) > 0 || kind != tpmRSA || hash != tpmSHA256 ||
		int(bits) != 8*len(modulus) || bits < 1024 || bits > 4096 || exponent > 1<<31-1 {
		return TPMPublic{}, ErrTPMKey
	}
	p := TPMPublic{key: &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(exponent)}, name: tpmName(area)}
	return p, nil
}

func tpmName(area []byte) []byte {
	sum := sha256.Sum256(area)
	return append(binary.BigEndian.AppendUint16(nil, tpmSHA256), sum[:]...)
}

// TPMActivation wraps an HMAC key so that only the TPM with that endorsement key and storage root key can
// have it. Its parts are those that azure-iot-sdk-node (security/tpm) and -c unmarshal, in order: a
// credential (TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET) with the inner wrapping key, the duplicated HMAC key
// (TPM2B_PRIVATE, TPM2B_ENCRYPTED_SECRET), its public area (TPM2B_PUBLIC), and data, which is empty here.
func TPMActivation(endorsement, storage TPMPublic, key []byte) ([]byte, error) {
	inner := make([]byte, tpmKeyBits/8)
	rand.Read(inner) // never fails (crypto/rand, Go 1.24)
	credential, secret, err := endorsement.protect("IDENTITY", storage.name, sized(inner))
	if err != nil {
		return nil, err
	}
	area, sensitive := hmacObject(key)
	name := tpmName(area)
	sum := sha256.Sum256(append(append([]byte{}, sensitive...), name...))
	wrapped := cfb(inner, append(sized(sum[:]), sensitive...))
	duplicate, seed, err := storage.protect("DUPLICATE", name, wrapped)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, part := range [][]byte{credential, secret, duplicate, seed, area, nil} {
		out = append(out, sized(part)...)
	}
	return out, nil
}

// hmacObject returns public area and TPM2B_SENSITIVE of an HMAC key that may be used without a policy.
func hmacObject(key []byte) (area, sensitive []byte) {
	seed := make([]byte, sha256.Size)
	rand.Read(seed)
	unique := sha256.Sum256(append(append([]byte{}, seed...), key...))
	be := binary.BigEndian
	area = be.AppendUint16(nil, tpmKeyedHash)
	area = be.AppendUint16(area, tpmSHA256)
	area = be.AppendUint32(area, tpmUserWithAuth|tpmSign)
	area = append(area, sized(nil)...) // no policy
	area = be.AppendUint16(be.AppendUint16(area, tpmHMAC), tpmSHA256)
	area = append(area, sized(unique[:])...)

	sensitive = be.AppendUint16(nil, tpmKeyedHash)
	for _, part := range [][]byte{nil, seed, key} { // authorization value, seed, key
		sensitive = append(sensitive, sized(part)...)
	}
	return area, sized(sensitive)
}

// protect encrypts data to the key's holder, bound to the object called name, and returns it with the
// encrypted seed (TPM 2.0 part 1, sections 23 and 24: outer wrap with label).
func (p TPMPublic) protect(label string, name, data []byte) (object, secret []byte, err error) {
	seed := make([]byte, sha256.Size)
	rand.Read(seed)
	secret, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, p.key, seed, append([]byte(label), 0))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrTPMKey, err)
	}
	body := cfb(kdfa(seed, "STORAGE", name, tpmKeyBits), data)
	mac := hmac.New(sha256.New, kdfa(seed, "INTEGRITY", nil, 8*sha256.Size))
	mac.Write(body)
	mac.Write(name)
	return append(sized(mac.Sum(nil)), body...), secret, nil
}

// kdfa derives a key of at most 256 bits (TPM 2.0 part 1, section 11.4.10.2).
func kdfa(seed []byte, label string, context []byte, bits uint32) []byte {
	mac := hmac.New(sha256.New, seed)
	mac.Write([]byte{0, 0, 0, 1})
	mac.Write(append([]byte(label), 0))
	mac.Write(context)
	mac.Write(binary.BigEndian.AppendUint32(nil, bits))
	return mac.Sum(nil)[:bits/8]
}

// cfb encrypts with AES-CFB and an IV of zeros, as TPMs wrap.
func cfb(key, data []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys of our own have the right length
	}
	out := make([]byte, len(data))
	//lint:ignore SA1019 TPMs wrap in this mode and no other
	cipher.NewCFBEncrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(out, data)
	return out
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// tpmReader takes fields off the front; one that is cut short sets short.
type tpmReader struct {
	rest  []byte
	short bool
}

func (r *tpmReader) take(n int) []byte {
	if r.short || n > len(r.rest) {
		r.short = true
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *tpmReader) u16() uint16   { return binary.BigEndian.Uint16(r.take(2)) }
func (r *tpmReader) u32() uint32   { return binary.BigEndian.Uint32(r.take(4)) }
func (r *tpmReader) sized() []byte { return r.take(int(r.u16())) }
