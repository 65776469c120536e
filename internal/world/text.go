package world

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/near"
)

func lower(s string) string { return strings.ToLower(s) }

// quote shows a value in a message: short, printable, in quotation marks.
func quote(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// plural writes "1 byte", "2 bytes".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// nearest returns the candidate closest to name, or "" when none is close enough to be a slip.
func nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, least := "", 1+max(2, len(name)/3)
	for _, c := range candidates {
		d := near.Edits(fold(name), fold(c), least)
		if d < least && d < max(len(name), len(c)) {
			best, least = c, d
		}
	}
	return best
}

// fold drops case and punctuation: initial_twin, initial-twin and InitialTwin are the same slip.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// didYouMean ends a message about an unknown word: the nearest legal one, or all of them when they are few.
func didYouMean(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	if len(candidates) == 0 {
		return ""
	}
	const most = 30
	if len(candidates) > most {
		return fmt.Sprintf("; known are %s and %d more", strings.Join(candidates[:most], ", "), len(candidates)-most)
	}
	return "; known are " + strings.Join(candidates, ", ")
}
