package azure

import (
	"fmt"
	"slices"
	"strings"
)

// MaxMessage is the hub's limit for a message's body and properties together, in bytes.
const MaxMessage = 262144

// Message is one device-to-cloud message.
type Message struct {
	Body            []byte
	ID              string // up to 128 characters; optional
	CorrelationID   string // optional
	ContentType     string // e.g. application/json, which with ContentEncoding utf-8 lets the hub route on the body
	ContentEncoding string // e.g. utf-8
	// Properties are the application's own. A name that begins with "$." is a system property of the hub.
	Properties map[string]string
}

// maxTopic is the length of a string in MQTT.
const maxTopic = 65535

// topicOf returns devices/{id}[/modules/{id}]/messages/events/{property bag}. The bag has the system
// properties first and the others by name, names and values percent-encoded.
func (c HubConfig) topicOf(m Message) (string, error) {
	topic := "devices/" + topicID(c.DeviceID)
	if c.ModuleID != "" {
		topic += "/modules/" + topicID(c.ModuleID)
	}
	bag, size := propertyBag(m)
	topic += "/messages/events/" + bag
	switch {
	case size > MaxMessage:
		return "", fmt.Errorf("%w: body and properties have %d bytes, IoT Hub takes %d", ErrTooLarge, size, MaxMessage)
	case len(topic) > maxTopic:
		return "", fmt.Errorf("%w: the encoded properties make a topic of %d bytes, MQTT takes %d", ErrTooLarge, len(topic), maxTopic)
	}
	return topic, nil
}

func propertyBag(m Message) (bag string, size int) {
	var parts []string
	size = len(m.Body)
	add := func(name, value string) {
		parts = append(parts, escape(name)+"="+escape(value))
		size += len(value)
		if !strings.HasPrefix(name, "$.") {
			size += len(name)
		}
	}
	for _, p := range [][2]string{
		{"$.mid", m.ID}, {"$.cid", m.CorrelationID}, {"$.ct", m.ContentType}, {"$.ce", m.ContentEncoding},
	} {
		if p[1] != "" {
			add(p[0], p[1])
		}
	}
	names := make([]string, 0, len(m.Properties))
	for name := range m.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add(name, m.Properties[name])
	}
	return strings.Join(parts, "&"), size
}

// topicID escapes what may not stand in the topic of a PUBLISH.
func topicID(id string) string {
	return strings.NewReplacer("%", "%25", "#", "%23", "+", "%2B").Replace(id)
}
