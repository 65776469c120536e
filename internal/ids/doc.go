// Package ids makes the identifiers that fakecloud shows to clients (operation, tracking and request
// ids, etags) from one seed, so that two runs with the same seed show the same ids. It is no source of
// secrets: keys come from crypto/rand.
package ids
