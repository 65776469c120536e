package fault

import "time"

// Pace is the speed of a slow connection in bytes a second; 0 is any speed.
type Pace int64

// Piece is how many of n bytes to move at a time: a tenth of a second's, at least one.
func (p Pace) Piece(n int) int {
	if p == 0 {
		return n
	}
	return min(n, max(int(p)/10, 1))
}

// Wait lets the time of n bytes pass, real time as all of a connection's own, and reports whether done is
// still open.
func (p Pace) Wait(n int, done <-chan struct{}) bool {
	if p == 0 || n <= 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(n) * time.Second / time.Duration(p))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}
