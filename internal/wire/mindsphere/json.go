package mindsphere

import (
	"bytes"
	"encoding/json"
)

// Encode returns v as JSON with < > & as they are, which a device may look for in the text; it panics on what cannot
// be JSON, which is a bug.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
