// Package clock is fakecloud's time: two readings that a test can move apart.
//
// The timers reading (Now, AfterFunc) drives everything that becomes due: TTLs, locks, provisioning
// rounds, retry-after, expiry of credentials on live connections. Advance moves it.
//
// The wall reading (Wall) judges credentials presented now and stamps times. It follows real time and
// moves only by Skew, because the devices' own clocks are real and would be locked out otherwise.
//
// Real time is that of package time. In a testing/synctest bubble this is the bubble's: both readings follow it,
// as the devices in the bubble do, and Advance and Skew work on top of it.
package clock
