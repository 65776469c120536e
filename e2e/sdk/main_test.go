//go:build vendor

// Package sdk runs other people's clients, unmodified, against fakecloud on the real ports and under the
// vendors' names. The tests run themselves in a network namespace of their own, where 8883 and 443 are
// free and a private hosts file leads the vendors' names to loopback.
package sdk

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// insideVar marks the process that runs inside the namespace.
const insideVar = "FAKECLOUD_NETNS"

// vendorNames lead to loopback inside the namespace.
var vendorNames = []string{
	"global.azure-devices-provisioning.net",
	"fakecloud-dps.azure-devices-provisioning.net",
	"fakecloud-hub.azure-devices.net",
	"eWONPROJECT.azure-devices.net",
	"conn-demo2-iothub.azure-devices.net",
	"mygateway.contoso.com",
	"mindconnectmqtt.eu1.mindsphere.io",
	"gateway.eu1.mindsphere.io",
	"mqtt.site.test",
	"fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com",
	"fakecloud.iotda.cn-north-4.myhuaweicloud.com",
	"iam.cn-north-4.myhuaweicloud.com",
	"iot-bs.cn-north-4.myhuaweicloud.com",
}

func TestMain(m *testing.M) {
	if os.Getenv(insideVar) != "" {
		os.Exit(m.Run())
	}
	code, err := enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/sdk: a network namespace is needed:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// enter runs this test binary again inside a user, network and mount namespace.
func enter() (int, error) {
	dir, err := os.MkdirTemp("", "fakecloud-hosts")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	hosts := filepath.Join(dir, "hosts")
	text := "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 " + strings.Join(vendorNames, " ") + "\n"
	if err := os.WriteFile(hosts, []byte(text), 0o644); err != nil {
		return 0, err
	}
	script := `ip link set lo up && mount --bind "$1" /etc/hosts && shift && exec "$@"`
	args := append([]string{"--map-root-user", "--net", "--mount", "sh", "-c", script, "sh", hosts}, os.Args...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
	return 0, nil
}
