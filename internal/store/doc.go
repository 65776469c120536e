// Package store keeps fakecloud's state: small typed tables, copies in and out, compare-and-swap
// updates. A platform commits here before its answer leaves (PUBACK, 204, assigned mean: committed).
//
// Tables live in memory.
package store
