// Command bench measures fakecloud beside its floors, in one run: a bare crypto/tls loop that answers
// with fixed bytes, a bare mochi that allows everything, and mosquitto. Every server is a process of its
// own; its CPU time is read from the operating system, and ratios are taken pair by pair over alternating
// rounds, because absolute figures drift with the machine. Linux only.
//
//	go run ./bench                 everything
//	go run ./bench connect publish mindsphere iotda edge iothub reset startup
package main
