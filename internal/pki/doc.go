// Package pki makes and judges the certificates of an emulator: the server root and the leaves that the
// listeners present, device CAs and device certificates for tests, and the check of a device's chain.
//
// The server root is made once per data directory and never leaves it. It carries name constraints
// (RFC 5280, section 4.2.1.10), so that a machine that trusts it trusts it for the emulated clouds and
// for private names only. They are not critical: strict embedded stacks refuse critical extensions that
// they do not know, and Go, OpenSSL and rustls enforce them either way.
//
// The device CA demo-ca is the opposite: its key is published here, because it authenticates devices to
// an emulator only, and fixtures and flashed devices are to work with every instance.
//
// Files of a data directory, in the folder pki: root.pem and root.key (server root), server.key (RSA key
// of the server leaves), {name}.pem and {name}.key for each device CA. A CA's .pem holds its certificate
// followed by those of its issuers.
package pki
