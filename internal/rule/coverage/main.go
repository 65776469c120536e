// Command coverage tells which rules the tests have proven, from the file that FAKECLOUD_PROOFS named
// while they ran (rule.Proves), and fails when an enforced rule or one of its causes has no proof:
//
//	FAKECLOUD_PROOFS=$PWD/proofs.tsv go test ./... && go run ./internal/rule/coverage proofs.tsv
package main

import (
	"fmt"
	"os"

	"github.com/fakecloud/fakecloud"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: coverage PROOFS")
		os.Exit(2)
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(2)
	}
	defer f.Close()
	result, err := measure(fakecloud.Rules(), f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(2)
	}
	fmt.Print(result)
	if !result.complete() {
		os.Exit(1)
	}
}
