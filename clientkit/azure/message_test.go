package azure

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

func TestTopicOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		device, module string
		message        Message
		want           string
	}{
		"bare":   {device: "dev-01", want: "devices/dev-01/messages/events/"},
		"module": {device: "dev-01", module: "m", want: "devices/dev-01/modules/m/messages/events/"},
		"system properties": {
			device: "dev-01",
			message: Message{
				ID: "8f0c 1", CorrelationID: "a+b", ContentType: "application/json", ContentEncoding: "utf-8",
			},
			want: "devices/dev-01/messages/events/%24.mid=8f0c%201&%24.cid=a%2Bb&%24.ct=application%2Fjson&%24.ce=utf-8",
		},
		"own properties, by name": {
			device:  "dev-01",
			message: Message{ID: "1", Properties: map[string]string{"zone": "ä&=/#", "a b": "", "$.on": "out"}},
			want:    "devices/dev-01/messages/events/%24.mid=1&%24.on=out&a%20b=&zone=%C3%A4%26%3D%2F%23",
		},
		"wildcards in the id": {device: "Dev#01+%", want: "devices/Dev%2301%2B%25/messages/events/"},
	}
	for name, tc := range cases {
		topic, err := HubConfig{DeviceID: tc.device, ModuleID: tc.module}.topicOf(tc.message)
		require.NoError(t, err, name)
		require.Equal(t, tc.want, topic, name)
	}
}

func TestMessageSize(t *testing.T) {
	t.Parallel()
	cfg := HubConfig{DeviceID: "d"}
	_, err := cfg.topicOf(Message{Body: make([]byte, 262144)})
	require.NoError(t, err)
	_, err = cfg.topicOf(Message{Body: make([]byte, 262144-4), ID: "12", Properties: map[string]string{"a": "b"}})
	require.NoError(t, err, "a system property's name does not count")
	_, err = cfg.topicOf(Message{Body: make([]byte, 262144-3), ID: "12", Properties: map[string]string{"a": "b"}})
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = cfg.topicOf(Message{Properties: map[string]string{"long": strings.Repeat("%", 30000)}})
	require.ErrorIs(t, err, ErrTooLarge, "escaped, it does not fit into a topic")

	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		require.ErrorIs(t, h.Send(t.Context(), Message{Body: make([]byte, 262145)}), ErrTooLarge)
		require.Empty(t, p.Packets)
	})
}

func TestHubConfig(t *testing.T) {
	t.Parallel()
	key, err := SymmetricKey(demoKey)
	require.NoError(t, err)
	cases := map[string]struct {
		change func(*HubConfig)
		want   string
	}{
		"port":        {func(c *HubConfig) { c.Port = 65536 }, "azure: port is 65536, expected 1 to 65535"},
		"gateway":     {func(c *HubConfig) { c.GatewayHost = "edge:8883" }, `azure: gateway host is "edge:8883"`},
		"host":        {func(c *HubConfig) { c.Host = "https://contoso.azure-devices.net" }, "hub host is"},
		"no device":   {func(c *HubConfig) { c.DeviceID = "" }, "no device ID"},
		"device":      {func(c *HubConfig) { c.DeviceID = "a/b" }, `device ID "a/b"`},
		"module":      {func(c *HubConfig) { c.ModuleID = "a b" }, `module ID "a b"`},
		"keep alive":  {func(c *HubConfig) { c.KeepAlive = 20 * time.Minute }, "keep alive is 20m0s"},
		"token life":  {func(c *HubConfig) { c.TokenLife = time.Second }, "token life is 1s"},
		"credential":  {func(c *HubConfig) { c.Credential = Credential{} }, "no credential"},
		"long device": {func(c *HubConfig) { c.DeviceID = strings.Repeat("d", 129) }, "up to 128"},
	}
	for name, tc := range cases {
		cfg := HubConfig{Host: hubHost, DeviceID: "d", Credential: key}
		tc.change(&cfg)
		_, err := Dial(t.Context(), cfg)
		require.ErrorContains(t, err, tc.want, name)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	low, high := Timing{Jitter: func() float64 { return 0 }}, Timing{Jitter: func() float64 { return 0.999 }}
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute,
	} {
		require.Equal(t, want/2, low.Backoff(n))
		require.InDelta(t, want.Seconds(), high.Backoff(n).Seconds(), 0.05)
	}
}
