// Package store keeps fakecloud's state: small typed tables (copies in and out, compare-and-swap updates)
// and bounded logs. A platform commits here before its answer leaves (PUBACK, 204, assigned mean:
// committed).
//
// Tables and logs are read from memory. New keeps them there only; Open keeps them in a directory too:
// tables in one bbolt file, each log in segments that only grow. What a call has returned from outlives
// the process, killed at whatever moment, for the operating system has it by then. It does not outlive
// the machine: files are synced every few seconds and on Close.
package store
