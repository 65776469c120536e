package iothub

import (
	"fmt"

	"golang.org/x/time/rate"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The error code of the daily quota ("Troubleshoot IoT Hub error codes").
const (
	codeQuota = 403002
)

// meter is what a hub counts separately.
type meter byte

const (
	meterTelemetry meter = iota
	meterTwinReads
	meterTwinUpdates
	meterReceives
	meterUploads
	meterCount
)

// The profiles of Switches.Throttle: a hub of one unit of the tier. The emulated hub answers at once where
// the real one first lets requests wait.
const (
	ThrottleS1 = "S1"
	ThrottleS2 = "S2"
	ThrottleS3 = "S3"
)

// perSecond are a unit's limits ("IoT Hub quotas and throttling").
var perSecond = map[string][meterCount]rate.Limit{
	ThrottleS1: {meterTelemetry: 100, meterTwinReads: 100, meterTwinUpdates: 50, meterReceives: 16.67, meterUploads: 1.67},
	ThrottleS2: {meterTelemetry: 120, meterTwinReads: 100, meterTwinUpdates: 50, meterReceives: 16.67, meterUploads: 1.67},
	ThrottleS3: {meterTelemetry: 6000, meterTwinReads: 500, meterTwinUpdates: 250, meterReceives: 833.33, meterUploads: 83.33},
}

var meterNames = [meterCount]string{"device-to-cloud messages", "twin reads", "twin updates", "receives over HTTPS", "file uploads"}

// throttle is a hub's meters under a profile. Each takes a second's worth at once.
type throttle struct {
	profile string
	limits  [meterCount]*rate.Limiter
}

func validThrottle(profile string) error {
	if _, ok := perSecond[profile]; !ok && profile != "" {
		return fmt.Errorf("%w: throttle profile %s; known are S1, S2, S3, and none", ErrInvalid, quote(profile))
	}
	return nil
}

// setThrottle puts a hub's profile in force, at once and for live connections too.
func (s *Service) setThrottle(hub, profile string) {
	if profile == "" {
		s.throttles.Delete(hub)
		return
	}
	if old, ok := s.throttles.Load(hub); ok && old.(*throttle).profile == profile {
		return
	}
	t := &throttle{profile: profile}
	for m, limit := range perSecond[profile] {
		t.limits[m] = rate.NewLimiter(limit, int(limit)+1)
		if limit == rate.Limit(int(limit)) {
			t.limits[m].SetBurst(int(limit))
		}
	}
	s.throttles.Store(hub, t)
}

// admit judges n requests of the session against its hub's meter (HUB-59) and against a fault that the
// device asked for (HUB-70).
func (c *Session) admit(m meter, n int) *rule.Refusal {
	if r := c.svc.troubled(c.id, m); r != nil {
		return r
	}
	found, ok := c.svc.throttles.Load(c.id.Hub)
	if !ok {
		return nil
	}
	t := found.(*throttle)
	if t.limits[m].AllowN(c.svc.clock.Now(), n) {
		return nil
	}
	cause := rule.ID("HUB-59/requests")
	switch m {
	case meterTelemetry:
		cause = "HUB-59/telemetry"
	case meterTwinReads, meterTwinUpdates:
		cause = "HUB-59/twin"
	}
	return &rule.Refusal{Rule: cause, Code: codeThrottled, Detail: "too many " + meterNames[m] + " in a short time",
		Seen: fmt.Sprintf("more than %.4g a second", float64(t.limits[m].Limit())), Expected: "fewer, or a pause; the hub's profile is " + t.profile}
}

// AdmitReceive judges a poll for messages over HTTPS.
func (c *Session) AdmitReceive() *rule.Refusal { return c.admit(meterReceives, 1) }

// AdmitUpload judges the begin of a file upload.
func (c *Session) AdmitUpload() *rule.Refusal { return c.admit(meterUploads, 1) }
