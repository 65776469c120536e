package journal

import (
	"errors"
	"path"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// Filter chooses events. Empty fields match everything.
type Filter struct {
	Platform string
	Endpoint string
	Device   string // a glob as in path.Match, where * also crosses slashes
	Kind     Kind
	Rule     rule.ID // a row matches all its causes
	Address  string  // host or host:port of the client
	Conn     uint64
	Since    uint64 // only events with a larger sequence number
	Limit    int    // at most so many, 0 is no limit
	Match    func(*Event) bool
}

func (f *Filter) matches(e *Event) bool {
	switch {
	case f.Platform != "" && f.Platform != e.Platform,
		f.Endpoint != "" && f.Endpoint != e.Endpoint,
		f.Kind != "" && f.Kind != e.Kind,
		f.Conn != 0 && f.Conn != e.Conn,
		f.Rule != "" && f.Rule != e.Rule && f.Rule != e.Rule.Row(),
		f.Device != "" && !Glob(f.Device, e.Device),
		f.Address != "" && f.Address != e.Address && f.Address != hostOf(e.Address):
		return false
	}
	return f.Match == nil || f.Match(e)
}

func hostOf(address string) string {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return address
	}
	return strings.Trim(address[:i], "[]")
}

// ErrGlob refuses a pattern that could never match anything.
var ErrGlob = errors.New(`it is a glob: * is any run of characters, ? any one, [a-z] one of these and \* the character itself; here a bracket or a backslash is not complete`)

// CheckGlob reports a pattern that is malformed, which to Glob looks like one that matches nothing.
func CheckGlob(pattern string) error {
	if !isGlob(pattern) {
		return nil
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return ErrGlob
	}
	return nil
}

// isGlob tells a pattern from a name.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// Glob reports whether name matches pattern; * matches any run of characters, slashes included.
func Glob(pattern, name string) bool {
	if !isGlob(pattern) {
		return pattern == name
	}
	const slash = "\x00" // path.Match's wildcards stop at a slash; ours do not
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(name, "/", slash))
	return err == nil && ok
}
