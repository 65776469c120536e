package mqtt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// The SDK for Java alone is paused for (the usernames are those that the SDKs send).
func TestPauseFor(t *testing.T) {
	t.Parallel()
	for client, want := range map[string]time.Duration{
		"com.microsoft.azure.sdk.iot.iot-device-client%2F2.5.0%20%2817.0.15%3B%20Linux%3B%20amd64%29": javaPause,
		"azure-iot-device-iothub-py%2F2.14.0%283.11.2%3BLinux%29":                                     0,
		"azure-iot-device%2F1.18.4%20(node%20v18.20.4%3B%20Linux%3B%20x64)":                           0,
		"": 0,
	} {
		u, err := azure.ParseHubUsername("fakecloud-hub.azure-devices.net/d/?api-version=2020-09-30&DeviceClientType=" + client)
		require.NoError(t, err)
		require.Equal(t, want, pauseFor(u), client)
	}
}
