package rest

import (
	"fmt"
	"time"
)

// limit is how many requests of one operation a tenant may make ("MindConnect MQTT usage quota and limits",
// offerings XS and up).
type limit struct {
	in30s, inHour int // 0: no limit
}

// String tells the limit for a message.
func (l limit) String() string {
	text := fmt.Sprintf("%d in 30 s", l.in30s)
	if l.inHour > 0 {
		text += fmt.Sprintf(", %d in an hour", l.inHour)
	}
	return text
}

// limits are the published ones, by pattern.
var limits = map[string]limit{
	"POST /api/mindconnectmqtt/v3/caCertificates":                      {2, 10},
	"GET /api/mindconnectmqtt/v3/caCertificates":                       {10, 30},
	"GET /api/mindconnectmqtt/v3/caCertificates/{id}":                  {10, 30},
	"DELETE /api/mindconnectmqtt/v3/caCertificates/{id}":               {2, 10},
	"GET /api/mindconnectmqtt/v3/caCertificates/{id}/registrationCode": {2, 10},
	"POST /api/mindconnectmqtt/v3/caCertificates/{id}/verify":          {2, 10},
	"POST /api/mindconnectmqtt/v3/agentCertificates":                   {10, 0},
	"GET /api/mindconnectmqtt/v3/agentCertificates":                    {30, 0},
	"GET /api/mindconnectmqtt/v3/agentCertificates/{id}":               {30, 0},
	"DELETE /api/mindconnectmqtt/v3/agentCertificates/{id}":            {5, 0},
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
	var hour []time.Time
	recent := 0
	for _, at := range h.calls[k] {
		if now.Sub(at) < time.Hour {
			hour = append(hour, at)
		}
		if now.Sub(at) < 30*time.Second {
			recent++
		}
	}
	allowed := recent < l.in30s && (l.inHour == 0 || len(hour) < l.inHour)
	if allowed {
		hour = append(hour, now)
	}
	if keep := max(l.in30s, l.inHour); len(hour) > keep {
		hour = hour[len(hour)-keep:]
	}
	h.calls[k] = hour
	return allowed
}
