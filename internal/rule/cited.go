package rule

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// CheckCited is a platform's test of its own rules: every cause that the code cites is declared and explained, and
// every declared cause is cited somewhere. The code is what matches the patterns, without its tests.
func CheckCited(t TB, rules []Rule, patterns ...string) {
	t.Helper()
	table := NewTable(rules)
	cited := citations(t, rules, patterns)
	for id := range cited {
		if _, _, ok := table.Cause(id); !ok {
			t.Errorf("%s is cited, but not declared", id)
		}
	}
	for _, r := range rules {
		for _, c := range r.Causes {
			id := r.ID + ID("/"+c.ID)
			if !cited[id] {
				t.Errorf("%s is declared, but never cited", id)
			}
			if c.Why == "" || c.Fix == "" {
				t.Errorf("%s does not say why, or how to mend it", id)
			}
		}
	}
}

// citations finds the full ids of the rules' kinds that stand as texts in the code.
func citations(t TB, rules []Rule, patterns []string) map[ID]bool {
	t.Helper()
	prefixes := map[string]bool{}
	for _, r := range rules {
		prefix, _ := split(r.ID)
		prefixes[prefix] = true
	}
	full := regexp.MustCompile(`"([A-Z]+)-\d+[a-z]?/[a-z0-9-]+"`)
	cited := map[ID]bool{}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Errorf("no file is %s (%v)", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("%v", err)
			}
			for _, found := range full.FindAllStringSubmatch(string(text), -1) {
				if prefixes[found[1]] {
					cited[ID(strings.Trim(found[0], `"`))] = true
				}
			}
		}
	}
	return cited
}
