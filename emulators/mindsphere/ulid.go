package mindsphere

// crockford is the alphabet of ULIDs (github.com/ulid/spec): base 32 without I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ulid returns a new ULID: 48 bits of time in milliseconds, then 80 bits of the id stream.
func (s *Service) ulid() string {
	ms := uint64(s.clock.Wall().UnixMilli())
	text := make([]byte, 26)
	for i := 9; i >= 0; i-- {
		text[i] = crockford[ms&31]
		ms >>= 5
	}
	for i, b := range s.ids.Bytes(16) {
		text[10+i] = crockford[b&31]
	}
	return string(text)
}
