package azure

import "strings"

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

// ParseHubFilter classes a SUBSCRIBE filter of the device or, where module is not empty, the module.
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
	for _, own := range DeviceboundFilters(device, module) {
		if filter == own {
			return HubFilterDevicebound
		}
	}
	return HubFilterOther
}

// DeviceboundFilters returns the filters under which a device or module receives messages.
func DeviceboundFilters(device, module string) []string {
	own := devicesPrefix + device
	if module == "" {
		return []string{own + deviceboundEnd + "#", devicesPrefix + "+" + deviceboundEnd + "#"}
	}
	own += modulesPart + module
	return []string{own + "/#", own + "/inputs/#", own + deviceboundEnd + "#"}
}
