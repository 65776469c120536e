// Package memnet is a TCP network in memory: listeners, and connections with a buffer in each direction and
// with deadlines. Whoever waits in it waits on channels and condition variables, so that a testing/synctest
// bubble sees the wait and moves its time on. net.Pipe would do for neither: it has no buffer, and over it two
// ends that write at the same time (TLS session tickets against a first request) wait for each other for ever.
package memnet
