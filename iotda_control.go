package fakecloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// ConfigureLog tells a device of an IoTDA instance to collect its logs until a time, or to stop, as the console
// does (log_config). The device reports them as events of $log. It is an error that it is not connected.
func (c *Cloud) ConfigureLog(instance, device string, on bool, until time.Time) error {
	return consoleControl{c}.ConfigureLog(instance, device, on, until)
}

// UpdateConfig sends a device of an IoTDA instance its remote configuration, a JSON object, as the console does
// (config_update). The device answers with an event of $device_config. It is an error that it is not connected.
func (c *Cloud) UpdateConfig(instance, device string, content []byte) error {
	return consoleControl{c}.UpdateConfig(instance, device, content)
}

// consoleControl is the control plane's access to what the console of IoTDA does.
type consoleControl struct{ cloud *Cloud }

var _ plane.Consoles = consoleControl{}

// ConfigureLog implements plane.Consoles.
func (c consoleControl) ConfigureLog(instance, device string, on bool, until time.Time) error {
	return c.do(instance, func(core *iotda.Service, name string) error { return core.ConfigureLog(name, device, on, until) })
}

// UpdateConfig implements plane.Consoles.
func (c consoleControl) UpdateConfig(instance, device string, content json.RawMessage) error {
	return c.do(instance, func(core *iotda.Service, name string) error { return core.UpdateConfig(name, device, content) })
}

// do gives the core's errors the control plane's names.
func (c consoleControl) do(instance string, ask func(core *iotda.Service, name string) error) error {
	core, name := c.cloud.gen().cores.iot, strings.ToLower(instance)
	if _, ok := core.Instance(name); !ok {
		return plane.ErrNoInstance
	}
	err := ask(core, name)
	var known *iotda.Error
	if !errors.As(err, &known) {
		return err
	}
	switch {
	case known.Refusal != nil:
		return known.Refusal
	case known.Code == iotda.CodeNoDevice:
		return plane.ErrNoDevice
	}
	return fmt.Errorf("%w: %s", plane.ErrArgument, known.Text)
}
