// Package broker runs MQTT for the platforms. It is the only importer of mochi: everything mochi does
// differently from the clouds is corrected here, once (see docs/decisions/0002-mochi.md), and pinned by
// a wire test beside this file.
//
// A platform implements Head and Device in plain Go types; the broker owns the packets, their order, the
// delivery queue with its packet ids, keep alive, takeover and the journal of the wire.
package broker
