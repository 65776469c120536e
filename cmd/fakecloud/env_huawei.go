package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
	"github.com/fakecloud/fakecloud/internal/world"
)

// huaweiVariables are what Huawei's SDKs and their samples want: the application SDKs read
// HUAWEICLOUD_SDK_… themselves (core/auth/provider and core/region of huaweicloud-sdk-go-v3 and -python-v3);
// the device SDKs take their settings in code, where these variables stand for them.
func (i *instance) huaweiVariables(f *envFlags, root string) ([]variable, error) {
	iot, err := i.iotda("")
	if err != nil {
		return nil, err
	}
	api := "https://" + net.JoinHostPort(i.host, strconv.Itoa(i.https))
	host, port := i.host, i.mqtts
	region := iot.Region
	if region == "" {
		region = defaultRegion
	}
	if f.vendorNames {
		host, port = iotdaHost(iot), 8883
		api = "https://" + strings.Replace(host, ".iot-mqtts.", ".iotda.", 1)
	}
	access, secret := "fakecloud", "fakecloud"
	if len(iot.AccessKeys) > 0 {
		access, secret = iot.AccessKeys[0].Access, iot.AccessKeys[0].Secret
	}
	all := append(trustVariables("huawei", root),
		variable{"HUAWEICLOUD_SDK_AK", access, "application SDKs; without access keys in the world any pair is accepted"},
		variable{"HUAWEICLOUD_SDK_SK", secret, ""},
		variable{"HUAWEICLOUD_SDK_PROJECT_ID", iot.ProjectID, ""},
		variable{"HUAWEICLOUD_SDK_REGION_IOTDA_" + strings.ToUpper(strings.ReplaceAll(region, "-", "_")), api, "where the SDKs' region " + region + " leads"},
		variable{"IOTDA_SERVER_URI", "ssl://" + net.JoinHostPort(host, strconv.Itoa(port)), "device SDKs: server, CA file, device and secret"},
		variable{"IOTDA_CA_FILE", root, ""})
	d, err := deviceWithSecret(iot, f.device)
	if err != nil || d.DeviceID == "" {
		return all, err
	}
	client := iotda.ClientID{DeviceID: d.DeviceID, Sign: iotda.SignUnchecked, Stamp: iotda.Stamp(time.Now())}
	return append(all,
		variable{"IOTDA_DEVICE_ID", d.DeviceID, ""}, variable{"IOTDA_DEVICE_SECRET", d.Secret, ""},
		variable{"IOTDA_CLIENT_ID", client.Format(), "plain MQTT clients; the user name is the device id"},
		variable{"IOTDA_PASSWORD", iotda.Password(client.Sign, client.Stamp, d.Secret), ""}), nil
}

// deviceWithSecret finds the device to connect as: the one named, or the first with a secret.
func deviceWithSecret(iot world.IoTDAInstance, wanted string) (world.IoTDADevice, error) {
	for _, d := range iot.Devices {
		switch {
		case wanted == "" && d.Secret != "" && d.GatewayID == "":
			return d, nil
		case d.DeviceID == wanted && d.Secret == "":
			return d, usagef("--device %s has no secret; give its certificate to the client", wanted)
		case d.DeviceID == wanted:
			return d, nil
		}
	}
	if wanted == "" {
		return world.IoTDADevice{}, nil
	}
	return world.IoTDADevice{}, usagef("--device %s: the IoTDA instance %s has no such device; add it with fakecloud add iotda-device", wanted, iot.Name)
}

// huaweiTrust says how Huawei's device SDKs are made to trust the server root.
func huaweiTrust(root string) string {
	quoted := quoteJSON(root)
	return fmt.Sprintf(`# application SDKs in Python (huaweicloudsdkcore):
#   config = HttpConfig.get_default_config(); config.ssl_ca_cert = %[1]s
# in Go (huaweicloud-sdk-go-v3): Go reads the variable
export SSL_CERT_FILE=%[2]s
# device SDK for Java:
#   new IoTDevice("ssl://HOST:8883", deviceId, secret, new File(%[1]s))
# device SDK for Python: IoTClientConfig(server_cert_path=%[1]s, …)
# device SDK for C: copy it to {workdir}/conf/rootcert.pem
`, quoted, quoteShell(root))
}
