package hosts

import "strings"

// The platforms that names can lead to, spelled as in the journal.
const (
	DPS        = "dps"
	IoTHub     = "iothub"
	MindSphere = "mindsphere"
	IoTDA      = "iotda"
	Edge       = "edge"
	ARM        = "arm" // management.azure.com, the Azure Resource Manager
)

const (
	dpsNet = ".azure-devices-provisioning.net"
	dpsCN  = ".azure-devices-provisioning.cn"
	hubNet = ".azure-devices.net"
	hubCN  = ".azure-devices.cn"

	mindsphereSuffix = ".mindsphere.io"
	HuaweiSuffix     = ".myhuaweicloud.com" // of every name of Huawei Cloud's
	armHost          = "management.azure.com"
)

// huaweiServices are the labels before the region that belong to IoTDA or to the log-in its REST API needs.
var huaweiServices = map[string]bool{
	"iot-mqtts": true, "iotda": true, "iotda-device": true, "iotda-app": true, "iot-bs": true, "iam": true,
}

// domains are what the vendors' names end in, as name constraints want them: without a leading dot, so
// that the domain itself and everything below it is permitted.
var domains = []string{
	dpsNet[1:], dpsCN[1:], hubNet[1:], hubCN[1:], mindsphereSuffix[1:], HuaweiSuffix[1:], armHost,
}

// VendorDomains returns the domains that the emulated vendors' names lie in, for name constraints.
func VendorDomains() []string { return append([]string(nil), domains...) }

// platformOf returns the platform whose pattern name matches, empty where no vendor has such names.
// name is in canonical form.
func platformOf(name string) string {
	switch {
	case name == armHost:
		return ARM
	case below(name, dpsNet), below(name, dpsCN):
		return DPS
	case below(name, hubNet), below(name, hubCN):
		return IoTHub
	case below(name, mindsphereSuffix):
		return MindSphere
	case below(name, HuaweiSuffix) && huaweiService(name):
		return IoTDA
	}
	return ""
}

func below(name, suffix string) bool {
	return len(name) > len(suffix) && strings.HasSuffix(name, suffix)
}

// huaweiService tells IoTDA's names from those of the vendor's other services:
// [{instance}.]{service}.{region}.myhuaweicloud.com.
func huaweiService(name string) bool {
	labels := strings.Split(strings.TrimSuffix(name, HuaweiSuffix), ".")
	return len(labels) >= 2 && huaweiServices[labels[len(labels)-2]]
}

// Forms returns all vendor names that lead to the same instance as name, name first: a hub's .device.
// and .service. forms, and for DPS and IoT Hub the Chinese domain beside the global one. A name of
// another platform has only itself.
func Forms(name string) []string {
	name = Canonical(name)
	for _, pair := range [][2]string{{dpsNet, dpsCN}, {dpsCN, dpsNet}} {
		if below(name, pair[0]) {
			return []string{name, strings.TrimSuffix(name, pair[0]) + pair[1]}
		}
	}
	for _, pair := range [][2]string{{hubNet, hubCN}, {hubCN, hubNet}} {
		if !below(name, pair[0]) {
			continue
		}
		hub := strings.TrimSuffix(name, pair[0])
		hub = strings.TrimSuffix(strings.TrimSuffix(hub, ".device"), ".service")
		forms := []string{name}
		for _, domain := range pair {
			for _, middle := range []string{"", ".device", ".service"} {
				if form := hub + middle + domain; form != name {
					forms = append(forms, form)
				}
			}
		}
		return forms
	}
	return []string{name}
}

// Canonical returns name in lower case without the trailing dot of a fully qualified name.
func Canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
