package iotda

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The device and secret of vectors V2 to V5, and an hour of theirs.
const (
	host      = "x.iot-mqtts.cn-north-4.myhuaweicloud.com"
	deviceID  = "5e25cd2ea16ebc0a3f7b1f1c_dev01"
	secret    = "mySecret_0123"
	sys       = "$oc/devices/" + deviceID + "/sys/"
	connectV2 = "\x10\x9b\x01\x00\x04MQTT\x04\xc2\x00\x78" +
		"\x00\x2d5e25cd2ea16ebc0a3f7b1f1c_dev01_0_0_2018072417\x00\x1e5e25cd2ea16ebc0a3f7b1f1c_dev01" +
		"\x00\x402a6acdf8e766b25981f6cc109313db3dc99937bc50f4b966535703f20b5a19c1"
)

func at2018() time.Time { return time.Date(2018, 7, 24, 17, 56, 20, 0, time.UTC) }

func config(c *kittest.Cloud) Config {
	return Config{
		Host: host, DeviceID: deviceID, Credential: Secret(secret), TLS: c.TLS(), Dial: c.Dial,
		Timing: Timing{Now: at2018, Jitter: func() float64 { return 0 }},
	}
}

type dialled struct {
	device *Device
	err    error
}

func dialling(t *testing.T, cfg Config) <-chan dialled {
	done := make(chan dialled, 1)
	go func() {
		d, err := Dial(t.Context(), cfg)
		done <- dialled{d, err}
	}()
	return done
}

// up connects a device whose request and event ids are id1.
func up(t *testing.T, change ...func(*Config)) (*Device, *kittest.Peer, *kittest.Cloud) {
	t.Helper()
	c := kittest.NewCloud(t, host)
	cfg := config(c)
	for _, f := range change {
		f(&cfg)
	}
	done := dialling(t, cfg)
	p, _ := c.Accept(kittest.Accepted)
	got := <-done
	require.NoError(t, got.err)
	got.device.ids = func() string { return "id1" }
	t.Cleanup(func() { _ = got.device.Close(context.Background()) })
	return got.device, p, c
}

// running runs f beside the test.
func running(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// inform sends a message to the device with QoS 0, as the platform does for system topics.
func inform(p *kittest.Peer, topic, body string) {
	p.TB.Helper()
	p.Send(kittest.Publish("\x30", topic, "", body))
}

// events wraps an event as the platform sends it.
func events(service, kind, id, paras string) string {
	return `{"object_device_id":"` + deviceID + `","services":[{"service_id":"` + service + `","event_type":"` + kind +
		`","event_time":"20180724T175620Z","event_id":"` + id + `","paras":` + paras + `}]}`
}
