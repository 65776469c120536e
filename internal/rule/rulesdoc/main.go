// Command rulesdoc writes docs/rules.md from the rule tables. Run it in the repository's root:
//
//	go run ./internal/rule/rulesdoc
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fakecloud/fakecloud"
)

func main() {
	out := filepath.Join("docs", "rules.md")
	if _, err := os.Stat("go.mod"); err != nil {
		fmt.Fprintln(os.Stderr, "rulesdoc: run it in the repository's root")
		os.Exit(2)
	}
	if err := os.WriteFile(out, []byte(render(fakecloud.Rules())), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "rulesdoc:", err)
		os.Exit(1)
	}
}
