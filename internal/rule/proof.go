package rule

import (
	"fmt"
	"os"
)

// ProofsFile names the environment variable with the file that proofs are appended to.
const ProofsFile = "FAKECLOUD_PROOFS"

// TB is the part of testing.TB that Proves needs.
type TB interface {
	Helper()
	Name() string
	Failed() bool
	Skipped() bool
	Cleanup(func())
	Errorf(format string, args ...any)
}

// Proves records that the test, should it pass, proves rule id on the wire. For a refusal name the
// cause, and only after the test has seen both the wire's answer and the rule in the journal.
// Without the environment variable FAKECLOUD_PROOFS nothing is written.
func Proves(t TB, ids ...ID) {
	t.Helper()
	file := os.Getenv(ProofsFile)
	if file == "" {
		return
	}
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Errorf("proofs: %v", err)
			return
		}
		defer f.Close()
		for _, id := range ids {
			if _, err := fmt.Fprintf(f, "%s\t%s\n", id, t.Name()); err != nil {
				t.Errorf("proofs: %v", err)
			}
		}
	})
}
