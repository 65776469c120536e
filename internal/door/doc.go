// Package door is where every device comes in: it owns the sockets, TLS, the first packet and the choice
// of the platform that serves it.
//
// A connection goes one way: accept, handshake (by the policy of the name that the client asked for), the
// first MQTT packet peeked and parsed, one pure function (route) that names platform and instance, and the
// platform's server, which reads the peeked bytes again. HTTPS goes by host name and path to the platform's
// handler, and the proxy port hands its tunnels to the same code without a socket in between.
//
// Client certificates are requested and never judged here: the vendors do so at CONNECT (IoT Hub answers a
// wrong one with CONNACK 5, not with a TLS alert). What the door itself refuses it names by its own rules,
// TLS-n and DOOR-n.
package door
