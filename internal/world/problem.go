package world

import (
	"fmt"
	"strings"
)

// Position is a place in a world file; Line and Column count from 1.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	case p.File != "":
		return p.File
	default:
		return "world"
	}
}

// Problem is one thing that is wrong with a world, and what would be right. Its text quotes names and
// short values, never keys and tokens.
type Problem struct {
	Position
	Key  string // such as azure.hubs[2].devices[0].status; empty for the file as a whole
	Text string
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Position.String() + ": " + p.Text
	}
	return p.Position.String() + ": " + p.Key + ": " + p.Text
}

// Problems is the error of Parse, Load and Validate: everything found, in the order of the text.
type Problems []Problem

// maxShown bounds an error's text; the rest is counted.
const maxShown = 50

func (p Problems) Error() string {
	var b strings.Builder
	for i, one := range p {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(p)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.String())
	}
	return b.String()
}

// err returns nil for no problems, so that a nil slice never becomes a non-nil error.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
