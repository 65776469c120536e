package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "",
		"one two":                  "one two",
		"one two three":            "one two\nthree",
		"one two\n\nthree four x":  "one two\n\nthree\nfour x",
		"  KIND    of a table":     "  KIND    of a table",
		"ähh öhh":                  "ähh öhh",
		"unbreakable word":         "unbreakable\nword",
		"from one\nfrom two three": "from one\nfrom two\nthree",
	} {
		require.Equal(t, want, wrap(text, 8), text)
	}
}

// Every command says what it does and shows it, on lines that a terminal holds.
func TestHelpTexts(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(t)
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" {
			return // cobra's own
		}
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.Contains(t, cmd.Example, cmd.CommandPath(), "an example of the command itself")
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 122, "%s: %s", cmd.CommandPath(), line)
		}
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(a.root())
}
