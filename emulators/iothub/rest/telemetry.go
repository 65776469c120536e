package rest

import (
	"fmt"
	"mime"
	"net/http"
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// telemetry takes one message, or a batch.
func (c *call) telemetry() *rule.Refusal {
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err == nil && kind == azure.HubBatch {
		return c.batch()
	}
	body, ok := c.read(iothub.MaxMessage)
	if !ok {
		return tooLarge(c.r.ContentLength)
	}
	m := iothub.D2C{Body: body}
	for _, p := range fromHeader(c.r.Header) {
		add(&m, p.Name, p.Value)
	}
	return c.send(m)
}

// send stores the messages, all or none.
func (c *call) send(messages ...iothub.D2C) *rule.Refusal {
	session := c.visit()
	defer session.Acknowledged()
	if r := session.TelemetryBatch(c.r.Context(), messages); r != nil {
		return r
	}
	c.done(http.StatusNoContent, nil)
	return nil
}

// fromHeader returns a message's properties. Go knows header fields without their case, so that names of
// application properties come in lower case.
func fromHeader(h http.Header) []azure.Property {
	var all []azure.Property
	for name, values := range h {
		if _, _, ok := azure.HubHeader(name); ok {
			all = append(all, azure.Property{Name: strings.ToLower(name), Value: strings.Join(values, ",")})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// add sets a property by the name of its header field; others are no part of the message.
func add(m *iothub.D2C, header, value string) {
	name, app, ok := azure.HubHeader(header)
	switch {
	case !ok:
	case app:
		m.App = append(m.App, iothub.Property{Name: name, Value: value})
	default:
		m.System = append(m.System, iothub.Property{Name: name, Value: value})
	}
}

func (c *call) batch() *rule.Refusal {
	text, ok := c.read(azure.MaxHubBatch)
	if !ok {
		return tooLarge(c.r.ContentLength)
	}
	list, err := azure.ParseHubBatch(text)
	if err != nil {
		return &rule.Refusal{Rule: "HUB-61/batch", Code: iothub.CodeArgumentInvalid, Detail: err.Error(),
			Seen: fmt.Sprintf("%d bytes", len(text)), Expected: `[{"body":"{base64}","base64Encoded":true,"properties":{"iothub-app-name":"value"}}, …]`}
	}
	messages := make([]iothub.D2C, len(list))
	for i, m := range list {
		messages[i].Body = m.Body
		for _, p := range m.Properties {
			add(&messages[i], p.Name, p.Value)
		}
	}
	return c.send(messages...)
}

func tooLarge(length int64) *rule.Refusal {
	seen := "a longer body"
	if length > 0 {
		seen = fmt.Sprintf("a body of %d bytes", length)
	}
	return &rule.Refusal{Rule: "HUB-33/size", Code: iothub.CodeMessageTooLarge, Detail: "the message is too large", Seen: seen,
		Expected: fmt.Sprintf("at most %d bytes", iothub.MaxMessage)}
}
