package plane

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrNoInstance answers calls for an unknown IoTDA instance.
var ErrNoInstance = errors.New("no such IoTDA instance")

// Consoles is what a person does to a device in the console of an IoTDA instance, and no application can.
// Errors are ErrNoInstance, ErrNoDevice, ErrArgument and *rule.Refusal.
type Consoles interface {
	// ConfigureLog tells a device to collect its logs until a time, or to stop.
	ConfigureLog(instance, device string, on bool, until time.Time) error
	// UpdateConfig sends a device its remote configuration, a JSON object.
	UpdateConfig(instance, device string, content json.RawMessage) error
}
