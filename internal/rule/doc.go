// Package rule holds fakecloud's rules as data: what each platform enforces, on whose word, and for
// each way to break it why it was refused and how to mend it.
//
// A rule's public id is the row of its conformance table ("HUB-16"); a cause adds one way of breaking
// it ("HUB-16/cn"). Ids are never renumbered. Each platform declares its rules in its files rules*.go; the
// journal, explain, the rules command, docs/rules.md and the coverage figure are all read from here.
package rule
