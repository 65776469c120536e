package azure

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is wrong with a body is said with its place, and in JSON's words rather than Go's.
func TestReadJSONSaysWhere(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "the body is empty",
		"{\"a\":\"\xff\"}":        "the body is not UTF-8, at byte 6",
		`{"a":1 2}`:               "invalid character '2' after object key:value pair, at byte 8",
		`{"a":1} 2`:               "something follows the JSON value, at byte 9",
		`{"name":5}`:              "name is of JSON type number, which is not what is expected there",
		`{"inner":{"count":"x"}}`: "inner.count is of JSON type string, which is not what is expected there",
		`[]`:                      "the value is of JSON type array, which is not what is expected there",
		strings.Repeat("[", 65):   "the body is nested too deep: more than 64 objects and lists within each other at byte 64",
		"\xef\xbb\xbf{\"a\":":     "unexpected EOF",
	} {
		var into struct {
			Name  string `json:"name"`
			Inner struct {
				Count int `json:"count"`
			} `json:"inner"`
		}
		require.EqualError(t, ReadJSON([]byte(text), &into), want, text)
	}
}
