package azure

import (
	"slices"
	"strings"
)

// HubFilterKind says what a device subscribes to.
type HubFilterKind byte

// The kinds of filters that IoT Hub grants.
const (
	HubFilterOther       HubFilterKind = iota // not supported
	HubFilterDevicebound                      // cloud-to-device messages, module inputs
	HubFilterTwinResult                       // answers to twin requests
	HubFilterTwinDesired                      // changes of desired properties
	HubFilterMethods                          // direct methods, all or one name
)

// ParseHubFilter classes a SUBSCRIBE filter of the device or, where module is not empty, the module. Its ids
// may stand as they are or with % # and + percent-encoded.
// devices/+/messages/devicebound/# is what the embedded C SDK and its ports send.
func ParseHubFilter(filter, device, module string) HubFilterKind {
	switch filter {
	case "$iothub/twin/res/#":
		return HubFilterTwinResult
	case "$iothub/twin/PATCH/properties/desired/#":
		return HubFilterTwinDesired
	}
	if name, ok := strings.CutPrefix(filter, methodsPost); ok && name != "" && !strings.Contains(name, "+") {
		return HubFilterMethods
	}
	if slices.Contains(DeviceboundFilters(device, module), filter) ||
		slices.Contains(DeviceboundFilters(EscapeTopicID(device), EscapeTopicID(module)), filter) {
		return HubFilterDevicebound
	}
	return HubFilterOther
}

// DeviceboundFilters returns the filters under which a device or module receives messages.
func DeviceboundFilters(device, module string) []string {
	own := identityPrefix(device, module)
	if module == "" {
		return []string{own + deviceboundEnd + "#", devicesPrefix + "+" + deviceboundEnd + "#"}
	}
	return []string{own + "/#", own + "/inputs/#", own + deviceboundEnd + "#"}
}
