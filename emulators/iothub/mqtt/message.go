package mqtt

import (
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// retained marks a message that was published with the retain flag, which the hub never stores (HUB-31).
var retained = iothub.Property{Name: "mqtt-retain", Value: "true"}

// d2c translates a PUBLISH to the events topic with its property bag.
func d2c(m broker.Message, text string) (iothub.D2C, error) {
	msg := iothub.D2C{Body: m.Payload}
	bag, err := azure.ParseBag(text)
	if err != nil {
		return msg, err
	}
	system := 0
	for _, p := range bag {
		if _, ok := azure.SystemProperty(p.Name); ok {
			system++
		}
	}
	if system > 0 {
		msg.System = make([]iothub.Property, 0, system)
	}
	if n := len(bag) - system; n > 0 {
		msg.App = make([]iothub.Property, 0, n+1)
	}
	for _, p := range bag {
		if name, ok := azure.SystemProperty(p.Name); ok {
			msg.System = append(msg.System, iothub.Property{Name: name, Value: p.Value})
		} else {
			msg.App = append(msg.App, iothub.Property{Name: p.Name, Value: p.Value})
		}
	}
	if m.Retain {
		msg.App = append(msg.App, retained)
	}
	return msg, nil
}
