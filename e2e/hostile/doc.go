// Package hostile is the service side of a device that lives under the hostile profile: it calls again what
// was lost, and counts what broke and what arrived.
package hostile
