package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Platforms take time from clock.Clock and chance from ids.Source: a test moves both.
func TestPlatformsTakeTimeAndChanceFromOutside(t *testing.T) {
	for _, p := range list(t, "./emulators/...") {
		for _, name := range p.GoFiles {
			file := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			parsed, err := parser.ParseFile(fset, file, nil, 0)
			require.NoError(t, err)
			for _, imp := range parsed.Imports {
				if strings.Contains(imp.Path.Value, "math/rand") {
					t.Errorf("%s imports %s", fset.Position(imp.Pos()), imp.Path.Value)
				}
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					switch sel.Sel.Name {
					case "Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep":
						t.Errorf("%s calls time.%s", fset.Position(sel.Pos()), sel.Sel.Name)
					}
				}
				return true
			})
		}
	}
}
