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
	for username, want := range map[string]time.Duration{
		"0ne00FAKE01/registrations/d/api-version=2019-03-31&ClientVersion=2019-03-31":                                javaPause,
		"0ne00FAKE01/registrations/d/api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1":     0,
		"0ne00FAKE01/registrations/d/api-version=2021-06-01&ClientVersion=1.15.0":                                    0,
		"0ne00FAKE01/registrations/d/api-version=2019-03-31":                                                         0,
		"0ne00FAKE01/registrations/d/api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0": 0,
	} {
		u, err := azure.ParseDPSUsername(username)
		require.NoError(t, err)
		require.Equal(t, want, pauseFor(u), username)
	}
}
