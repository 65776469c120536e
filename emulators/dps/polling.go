package dps

import (
	"errors"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The polling limit of a device (azure-docs includes/iot-dps-limits.md).
const (
	maxPolls   = 5
	pollWindow = 10 * time.Second
)

var errTooManyPolls = errors.New("too many polls")

// throttle counts a poll of a device and says after how many seconds the next one is welcome where there
// were too many; 0 lets it pass. A poll that is refused does not count.
func (s *Service) throttle(k string) (seconds int) {
	now := s.Clock.Now()
	_, _ = s.operations.Update(k, func(all operations) (operations, error) { // a device without operations is answered 404
		var recent []time.Time
		for _, at := range all.Polls {
			if age := now.Sub(at); age >= 0 && age < pollWindow {
				recent = append(recent, at)
			}
		}
		if len(recent) >= maxPolls {
			left := pollWindow - now.Sub(recent[len(recent)-maxPolls])
			seconds = int((left + time.Second - 1) / time.Second)
			return all, errTooManyPolls
		}
		all.Polls = append(recent, now)
		return all, nil
	})
	return seconds
}

// tooManyPolls is the answer to a poll over the limit.
func (s *Service) tooManyPolls(retryAfter int) Answer {
	out := s.errorAnswer(deny(throttled, "Too many requests.", rule.Refusal{Rule: "DPS-32/polls",
		Seen:     fmt.Sprintf("more than %d polls within %s", maxPolls, pollWindow),
		Expected: fmt.Sprintf("at most %d polls in any %s; the next one after %d s", maxPolls, pollWindow, retryAfter)}))
	out.RetryAfter = retryAfter
	return out
}
