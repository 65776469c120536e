package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// responseTime is what a caller gives a device, by the timers reading.
const responseTime = 10 * time.Second

// Call calls a direct method until the device has answered. A call that may have been lost comes to its
// time-out at once, because Call moves the timers on.
func Call(ctx context.Context, cloud *fakecloud.Cloud, hub, device, method string, payload []byte) (fakecloud.MethodResult, error) {
	for {
		result, err := once(ctx, cloud, hub, device, method, payload)
		var r *rule.Refusal
		if err == nil || !errors.As(err, &r) {
			return result, err
		}
	}
}

// once calls and, each time that something happened to the device's connection, lets the time-out pass.
func once(ctx context.Context, cloud *fakecloud.Cloud, hub, device, method string, payload []byte) (fakecloud.MethodResult, error) {
	type outcome struct {
		result fakecloud.MethodResult
		err    error
	}
	since := Last(cloud)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan outcome, 1)
	go func() {
		result, err := cloud.InvokeMethod(ctx, hub, device, method, json.RawMessage(payload), responseTime)
		ended <- outcome{result, err}
		cancel()
	}()
	for {
		events, err := cloud.Await(ctx, fakecloud.Filter{Since: since, Device: device, Match: mayLose}, 1)
		if err != nil { // the call has come to its end, or the test
			o := <-ended
			return o.result, o.err
		}
		since = events[len(events)-1].Seq
		if err := cloud.Advance(responseTime); err != nil {
			return fakecloud.MethodResult{}, err
		}
	}
}

// mayLose reports whether a call under way may have been lost by what the event tells.
func mayLose(e *fakecloud.Event) bool {
	return e.Kind == "fault" || e.Kind == "connack" || e.Kind == "disconnected"
}

// Fired counts the faults that happened, by id.
func Fired(cloud *fakecloud.Cloud) map[string]int {
	fired := map[string]int{}
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "fault"}) {
		if words := strings.Fields(e.Detail); len(words) > 1 { // fault ID at STEP: ACTION
			fired[words[1]]++
		}
	}
	return fired
}

// Taken counts a device's telemetry by its body.
func Taken(cloud *fakecloud.Cloud, hub, device string) map[string]int {
	taken := map[string]int{}
	messages, _ := cloud.Telemetry(hub, device, 0, 0)
	for _, m := range messages {
		taken[string(m.Body)]++
	}
	return taken
}

// Last is the number of the journal's newest event.
func Last(cloud *fakecloud.Cloud) uint64 {
	events := cloud.Events(fakecloud.Filter{})
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].Seq
}
