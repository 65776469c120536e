// Package archtest keeps the architecture: which of our packages may import which, each with its
// reason, and what the platforms may not call. See docs/decisions/0001-layout.md.
package archtest
