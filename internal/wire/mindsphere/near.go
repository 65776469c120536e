package mindsphere

import (
	"math"
	"strings"

	"github.com/fakecloud/fakecloud/internal/near"
)

// NearTopic returns the legal outbound topic of an agent that is closest to what it published to.
func NearTopic(topic, tenant, clientID string) string {
	return Branch(tenant, clientID, Outbound) + nearest(topic, outbound).String()
}

// NearFilter returns the legal filter of an agent that is closest to what it subscribed to.
func NearFilter(filter, tenant, clientID string) string {
	branch := Branch(tenant, clientID, Inbound)
	if last := filter[strings.LastIndexByte(filter, '/')+1:]; last == "#" || last == "+" {
		for _, app := range Apps(Inbound) {
			if strings.Contains(filter, app) {
				return branch + app + "/#"
			}
		}
		return branch + "#"
	}
	return branch + nearest(filter, inbound).String()
}

// nearest compares the end of a topic, where application and topic stand, with the known channels.
func nearest(topic string, known []Channel) Channel {
	if len(topic) > MaxTopic {
		topic = topic[len(topic)-MaxTopic:]
	}
	part := strings.Split(strings.ToLower(topic), "/")
	tail := strings.Join(part[max(0, len(part)-2):], "/")
	best, fewest := known[0], -1
	for _, c := range known {
		if d := distance(tail, c); fewest < 0 || d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

// distance counts edits; a wrong topic of the right application is nearer than another application.
func distance(tail string, c Channel) int {
	d := near.Edits(tail, c.String(), math.MaxInt)
	if !strings.Contains(tail, c.App) {
		d += 3
	}
	return d
}
