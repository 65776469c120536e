package iotda

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// SM3 is the hash function of GB/T 32905-2016 (ISO/IEC 10118-3:2018), which sign type 2 uses in place of
// SHA-256. The standard library has none, and a library for one function of sixty lines would bring a
// whole suite of ciphers along.
const (
	sm3Size  = 32
	sm3Block = 64
)

type sm3 struct {
	state [8]uint32
	block [sm3Block]byte
	used  int    // bytes in block
	total uint64 // bytes written
}

// NewSM3 returns a new SM3 hash.
func NewSM3() hash.Hash {
	d := new(sm3)
	d.Reset()
	return d
}

// Reset implements hash.Hash.
func (d *sm3) Reset() {
	*d = sm3{state: [8]uint32{0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e}}
}

// Size implements hash.Hash.
func (*sm3) Size() int { return sm3Size }

// BlockSize implements hash.Hash.
func (*sm3) BlockSize() int { return sm3Block }

// Write implements hash.Hash.
func (d *sm3) Write(p []byte) (int, error) {
	d.total += uint64(len(p))
	for rest := p; len(rest) > 0; {
		n := copy(d.block[d.used:], rest)
		d.used, rest = d.used+n, rest[n:]
		if d.used == sm3Block {
			d.compress()
			d.used = 0
		}
	}
	return len(p), nil
}

// Sum implements hash.Hash.
func (d *sm3) Sum(b []byte) []byte {
	c := *d
	bitLength := c.total * 8
	pad := make([]byte, 1, 2*sm3Block)
	pad[0] = 0x80
	for (c.used+len(pad))%sm3Block != sm3Block-8 {
		pad = append(pad, 0)
	}
	_, _ = c.Write(binary.BigEndian.AppendUint64(pad, bitLength)) // never fails
	for _, word := range c.state {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}

// compress is the compression function CF of section 5.3 of the standard.
func (d *sm3) compress() {
	var w [68]uint32
	for i := range 16 {
		w[i] = binary.BigEndian.Uint32(d.block[4*i:])
	}
	for i := 16; i < 68; i++ {
		x := w[i-16] ^ w[i-9] ^ bits.RotateLeft32(w[i-3], 15)
		p1 := x ^ bits.RotateLeft32(x, 15) ^ bits.RotateLeft32(x, 23)
		w[i] = p1 ^ bits.RotateLeft32(w[i-13], 7) ^ w[i-6]
	}
	v := d.state
	for j := range 64 {
		constant := uint32(0x79cc4519)
		ff, gg := v[0]^v[1]^v[2], v[4]^v[5]^v[6]
		if j >= 16 {
			constant = 0x7a879d8a
			ff = v[0]&v[1] | v[0]&v[2] | v[1]&v[2]
			gg = v[4]&v[5] | ^v[4]&v[6]
		}
		a12 := bits.RotateLeft32(v[0], 12)
		ss1 := bits.RotateLeft32(a12+v[4]+bits.RotateLeft32(constant, j), 7)
		tt1 := ff + v[3] + (ss1 ^ a12) + (w[j] ^ w[j+4])
		tt2 := gg + v[7] + ss1 + w[j]
		p0 := tt2 ^ bits.RotateLeft32(tt2, 9) ^ bits.RotateLeft32(tt2, 17)
		v = [8]uint32{tt1, v[0], bits.RotateLeft32(v[1], 9), v[2], p0, v[4], bits.RotateLeft32(v[5], 19), v[6]}
	}
	for i := range v {
		d.state[i] ^= v[i]
	}
}
