// Package e2e looks at fakecloud from outside: real sockets, literal bytes and strings, and the journal.
// It shares no wire code with the product. A refusal counts as proven only when a test has seen both the
// answer on the wire and the rule in the journal (see refused).
package e2e
