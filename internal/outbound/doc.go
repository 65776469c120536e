// Package outbound is the one way out: every call that fakecloud makes to somebody else's server (custom
// allocation webhooks of DPS, HTTP forwarding of IoTDA) goes through a Policy.
//
// A call goes to loopback, to a host that the world names, or to one of --allow-outbound; any other is
// refused by rule OUT-1 before a name is looked up. Addresses are checked again when they are dialled, so
// that a name server cannot lead an allowed name to a place that nobody meant. Redirects are not followed,
// proxies of the environment are not used, and time and sizes have limits (OUT-2).
//
// Every request carries the header Fakecloud-Outbound, by which the admin API knows and refuses it: whoever may
// set a webhook through a cloud's API is not thereby the owner of this instance.
//
// The caller puts each call into the journal, as it knows the platform and the device that the call is for.
package outbound
