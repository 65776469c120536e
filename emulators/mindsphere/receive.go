package mindsphere

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// sender is the agent of a message, with the beginning of its events.
type sender struct {
	Identity
	event journal.Event
}

// receive takes an agent's message to its application.
func (s *Service) receive(from sender, ch mindsphere.Channel, payload []byte) Outcome {
	if len(payload) > MaxPayload {
		return Outcome{Close: true, Refusal: refuse("MS-29/size", "the message is larger than MindConnect MQTT takes",
			fmt.Sprintf("%d bytes on %s", len(payload), ch), fmt.Sprintf("at most %d bytes (128 KB)", MaxPayload))}
	}
	switch ch {
	case mindsphere.ModelV3:
		return s.createModel(from, payload)
	case mindsphere.InstantiateV3:
		return s.instantiate(from, payload)
	case mindsphere.ModelV4:
		return s.applyModel(from, payload)
	case mindsphere.GetModelV4:
		return s.sendModel(from, payload)
	case mindsphere.TimeSeries:
		return s.storeTimeSeries(from, payload)
	case mindsphere.Events:
		return s.storeEvents(from, payload)
	case mindsphere.File:
		return s.storeFile(from, payload)
	case mindsphere.CommandStatus:
		return s.updateCommand(from, payload)
	case mindsphere.TokenRequest:
		return s.issueToken(from, payload)
	}
	return Outcome{}
}

// swallowed is the outcome of a message, or a part of it, that is lost without the agent hearing of it.
func swallowed(id rule.ID, detail, seen, expected string) Outcome {
	return Outcome{Refusal: refuse(id, detail, seen, expected)}
}

// response is the envelope of what applications answer ("Creating V4 Data Model", "Acquiring an Agent Access
// Token").
type response struct {
	ID            string `json:"id"`
	CorrelationID string `json:"correlationId"`
	RequestID     string `json:"requestId,omitempty"`
	Data          any    `json:"data"`
}

// answer makes one message to the agent.
func (s *Service) answer(ch mindsphere.Channel, requestID, correlationID string, data any) Message {
	return Message{Channel: ch, Payload: mindsphere.Encode(response{ID: s.ulid(), CorrelationID: correlationID, RequestID: requestID, Data: data})}
}

// requestID reads the envelope's id, which answers refer to.
func requestID(root node) string {
	if !root.ok() || !root.object() {
		return ""
	}
	return root.get("id").need()
}

// names joins a few names for a message.
func names(list []string) string {
	const most = 10
	more := ""
	if len(list) > most {
		list, more = list[:most], fmt.Sprintf(" and %d more", len(list)-most)
	}
	quoted := make([]string, len(list))
	for i, n := range list {
		quoted[i] = fmt.Sprintf("%q", clip(n))
	}
	return strings.Join(quoted, ", ") + more
}
