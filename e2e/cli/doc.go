// Package cli runs the built binary as its users meet it: commands, exit codes, messages, files and the
// admin API. The scripts in testdata are the cases (testscript's language and the commands of
// commands_test.go).
package cli
