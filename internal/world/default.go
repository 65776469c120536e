package world

import _ "embed"

//go:embed default.yaml
var defaultText []byte

// DefaultText returns the YAML of the default world with its comments.
func DefaultText() []byte { return append([]byte(nil), defaultText...) }

// Default returns the default world: a DPS with two groups, a hub with a SAS device, and their CA, all
// with well-known, test-only keys.
func Default() *World {
	w, err := Parse("default world", defaultText)
	if err != nil {
		panic(err) // embedded and tested
	}
	return w
}

//go:embed example.yaml
var exampleText []byte

// ExampleText returns a commented example that uses most keys.
func ExampleText() []byte { return append([]byte(nil), exampleText...) }
