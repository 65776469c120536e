package rest

import (
	"fmt"
	"time"
)

// limit is how many requests of one operation a tenant may make ("MindConnect MQTT usage quota and limits",
// offerings XS and up).
type limit struct {
	in30s, in60s, inHour int // 0: no limit
}

// String tells the limit for a message.
func (l limit) String() string {
	text := fmt.Sprintf("%d in 30 s", l.in30s)
	if l.in60s > 0 {
		text += fmt.Sprintf(", %d in 60 s", l.in60s)
	}
	if l.inHour > 0 {
		text += fmt.Sprintf(", %d in an hour", l.inHour)
	}
	return text
}

// limits are the published ones, by pattern.
var limits = map[string]limit{
	"POST /api/mindconnectmqtt/v3/caCertificates":                      {2, 0, 10},
	"GET /api/mindconnectmqtt/v3/caCertificates":                       {10, 0, 30},
	"GET /api/mindconnectmqtt/v3/caCertificates/{id}":                  {10, 0, 30},
	"DELETE /api/mindconnectmqtt/v3/caCertificates/{id}":               {2, 0, 10},
	"GET /api/mindconnectmqtt/v3/caCertificates/{id}/registrationCode": {2, 0, 10},
	"POST /api/mindconnectmqtt/v3/caCertificates/{id}/verify":          {2, 0, 10},
	"POST /api/mindconnectmqtt/v3/agentCertificates":                   {10, 0, 0},
	"GET /api/mindconnectmqtt/v3/agentCertificates":                    {30, 40, 0},
	"GET /api/mindconnectmqtt/v3/agentCertificates/{id}":               {30, 0, 0},
	"DELETE /api/mindconnectmqtt/v3/agentCertificates/{id}":            {5, 20, 0},
}

// admit counts a request and reports whether it is within the limits, which only tenants with RateLimits have.
// Refused requests do not count. Time is the timers reading.
func (h *Handler) admit(tenant, pattern string) bool {
	l, ok := limits[pattern]
	if !ok {
		return true
	}
	if t, ok := h.svc.Tenant(tenant); !ok || !t.RateLimits {
		return true
	}
	now := h.svc.Clock().Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	k := tenant + " " + pattern
	calls := h.calls[k]
	within := func(span time.Duration) (n int) {
		for _, at := range calls {
			if now.Sub(at) < span {
				n++
			}
		}
		return n
	}
	if within(30*time.Second) >= l.in30s || l.in60s > 0 && within(time.Minute) >= l.in60s || l.inHour > 0 && within(time.Hour) >= l.inHour {
		return false
	}
	calls = append(calls, now)
	if keep := max(l.in30s, l.in60s, l.inHour); len(calls) > keep {
		calls = calls[len(calls)-keep:]
	}
	h.calls[k] = calls
	return true
}
