package iotda

import (
	"encoding/json"
	"time"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The services by which the console reaches into a device; no call of the application API does.
const (
	deviceLog    = "$log"
	deviceConfig = "$device_config"
)

// maxConfig bounds the content of a remote configuration; our own, far below that of a message.
const maxConfig = 64 << 10

// ConfigureLog tells a device to collect its logs until a time, or to stop (Platform Delivering a Log Collection
// Notification, iot_06_v5_1303). The device reports them as events of $log.
func (s *Service) ConfigureLog(instance, device string, on bool, until time.Time) error {
	paras := map[string]any{"switch": "off"}
	if on {
		paras["switch"] = "on"
		if !until.After(s.clock.Wall()) {
			return invalid("end_time: a time to come")
		}
	}
	if !until.IsZero() {
		paras["end_time"] = iotda.FormatTime(until)
	}
	return s.reachInto(instance, device, deviceLog, "log_config", paras)
}

// UpdateConfig sends a device its configuration, a JSON object (huaweicloud-iot-device-sdk-c,
// iota_datatrans.h and device_config_test.c). The device answers with config_update_response.
func (s *Service) UpdateConfig(instance, device string, content []byte) error {
	var object map[string]json.RawMessage
	if len(content) > maxConfig || iotda.Decode(content, &object) != nil || object == nil {
		return invalid("config_content: a JSON object of at most %d bytes", maxConfig)
	}
	return s.reachInto(instance, device, deviceConfig, "config_update", map[string]any{"config_content": json.RawMessage(content)})
}

// reachInto sends an event of the console to a device, which must be online.
func (s *Service) reachInto(instance, device, service, kind string, paras map[string]any) error {
	d, err := s.Device(instance, device)
	if err != nil {
		return err
	}
	if !s.sendEvent(instance, d, service, kind, paras) {
		return s.notOnline(instance, d)
	}
	return nil
}
