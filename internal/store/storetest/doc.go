// Package storetest holds the tests that every engine of package store passes, and one that a platform
// runs over its own tables: what is written and read back is equal.
package storetest
