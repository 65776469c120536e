package door

import "sync"

// attemptsKept is how many of the newest CONNECTs the door remembers, with the certificates shown.
const attemptsKept = 128

// attempts remembers what the newest clients have said of themselves, for whoever wants to let a refused
// one in. No passwords are among it.
type attempts struct {
	mu   sync.Mutex
	ring [attemptsKept]attempt
	next int
}

type attempt struct {
	conn  uint64
	hello Hello
}

func (a *attempts) note(conn uint64, h *Hello) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ring[a.next] = attempt{conn, *h}
	a.next = (a.next + 1) % attemptsKept
}

func (a *attempts) of(conn uint64) (Hello, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.ring {
		if a.ring[i].conn == conn && conn != 0 {
			return a.ring[i].hello, true
		}
	}
	return Hello{}, false
}

// HelloOf returns what the client of a connection has said in its CONNECT, if that was among the newest
// 128.
func (d *Door) HelloOf(conn uint64) (Hello, bool) { return d.attempts.of(conn) }
