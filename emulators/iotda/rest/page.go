package rest

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/fakecloud/fakecloud/emulators/iotda"
)

// The sizes of a page.
const (
	defaultLimit = 10
	maxLimit     = 50
	maxOffset    = 500
)

// firstMarker is what the API reference names as the marker of the first page.
const firstMarker = "ffffffffffffffffffffffff"

// pageInfo stands beside a list.
type pageInfo struct {
	Count  int    `json:"count"`
	Marker string `json:"marker,omitempty"`
}

// paged cuts the page that a call asks for out of a list in the order of its ids.
func paged[T any](c *call, list []T, id func(T) string) ([]T, pageInfo, error) {
	limit, err := c.number("limit", defaultLimit, 1, maxLimit)
	if err != nil {
		return nil, pageInfo{}, err
	}
	offset, err := c.number("offset", 0, 0, maxOffset)
	if err != nil {
		return nil, pageInfo{}, err
	}
	info := pageInfo{Count: len(list)}
	if marker := c.query("marker"); marker != "" && marker != firstMarker {
		after, err := hex.DecodeString(marker)
		if err != nil {
			return nil, info, &iotda.Error{Code: iotda.CodeInvalid, Text: fmt.Sprintf("marker %q: that of the page before", clip(marker))}
		}
		for len(list) > 0 && id(list[0]) <= string(after) {
			list = list[1:]
		}
	}
	list = list[min(offset, len(list)):]
	list = list[:min(limit, len(list))]
	if len(list) > 0 {
		info.Marker = hex.EncodeToString([]byte(id(list[len(list)-1])))
	}
	return append([]T{}, list...), info, nil
}

func (c *call) number(name string, otherwise, least, most int) (int, error) {
	text := c.query(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, &iotda.Error{Code: iotda.CodeLimit, Text: fmt.Sprintf("%s %q: %d to %d", name, clip(text), least, most)}
	}
	return n, nil
}

// mapped applies a change to each element.
func mapped[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}
