package rest

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// messageView is a message as the API shows it.
type messageView struct {
	ID            string          `json:"message_id"`
	Name          string          `json:"name,omitempty"`
	Message       json.RawMessage `json:"message"`
	Properties    json.RawMessage `json:"properties,omitempty"`
	Encoding      string          `json:"encoding"`
	PayloadFormat string          `json:"payload_format"`
	Topic         string          `json:"topic"`
	Status        string          `json:"status"`
	ErrorInfo     *errorBody      `json:"error_info,omitempty"`
	CreatedTime   string          `json:"created_time"`
	FinishedTime  string          `json:"finished_time,omitempty"`
}

func viewMessage(m iotda.Message) messageView {
	v := messageView{ID: m.ID, Name: m.Name, Message: m.Content, Properties: m.Properties, Encoding: m.Encoding, PayloadFormat: m.PayloadFormat, Topic: m.Topic,
		Status: m.Status, CreatedTime: wire.FormatTime(m.Created)}
	if m.Error != nil {
		v.ErrorInfo = &errorBody{string(m.Error.Code), m.Error.Text}
	}
	if !m.Finished.IsZero() {
		v.FinishedTime = wire.FormatTime(m.Finished)
	}
	return v
}

func createMessage(c *call) (int, any, error) {
	var ask struct {
		ID            string          `json:"message_id"`
		Name          string          `json:"name"`
		Message       json.RawMessage `json:"message"`
		Properties    json.RawMessage `json:"properties"`
		Encoding      string          `json:"encoding"`
		PayloadFormat string          `json:"payload_format"`
		Topic         string          `json:"topic"`
		TopicFullName string          `json:"topic_full_name"`
		TTL           any             `json:"ttl"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	n := iotda.NewMessage{ID: ask.ID, Name: ask.Name, Content: ask.Message, Encoding: ask.Encoding, PayloadFormat: ask.PayloadFormat,
		Topic: ask.Topic, TopicFullName: ask.TopicFullName}
	if string(ask.Properties) != "null" {
		n.Properties = ask.Properties
	}
	ttl, err := timeToLive(ask.TTL)
	if err != nil {
		return 0, nil, err
	}
	n.TTL = ttl
	m, err := c.SendMessage(c.instance, c.path("device"), n)
	v := viewMessage(m)
	return http.StatusCreated, object{"message_id": v.ID, "result": object{"status": v.Status, "created_time": v.CreatedTime, "finished_time": v.FinishedTime}}, err
}

// timeToLive reads a time to live, which may be a number in a text as well; nil is none. One that is no whole number is as
// illegal as a negative one.
func timeToLive(given any) (*int, error) {
	number, ok := given.(json.Number)
	if text, isText := given.(string); isText {
		_, err := strconv.ParseFloat(text, 64)
		number, ok = json.Number(text), err == nil
	}
	switch {
	case given == nil:
		return nil, nil
	case !ok:
		return nil, &iotda.Error{Code: iotda.CodeFormat, Text: `the body is not the JSON that the call wants: "ttl" is not a number`}
	}
	ttl, err := number.Int64()
	if err != nil || ttl != int64(int32(ttl)) {
		ttl = -1
	}
	whole := int(ttl)
	return &whole, nil
}

func listMessages(c *call) (int, any, error) {
	all, err := c.Messages(c.instance, c.path("device"))
	return http.StatusOK, object{"device_id": c.path("device"), "messages": mapped(all, viewMessage)}, err
}

func showMessage(c *call) (int, any, error) {
	m, err := c.Message(c.instance, c.path("device"), c.path("message"))
	return http.StatusOK, viewMessage(m), err
}

func deleteMessage(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteMessage(c.instance, c.path("device"), c.path("message"))
}

func createCommand(c *call) (int, any, error) {
	var ask struct {
		ServiceID   string         `json:"service_id"`
		CommandName string         `json:"command_name"`
		Paras       map[string]any `json:"paras"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	reply, err := c.Command(c.request.Context(), c.instance, c.path("device"), wire.CommandCall{ServiceID: ask.ServiceID, CommandName: ask.CommandName, Paras: ask.Paras})
	return http.StatusOK, object{"command_id": reply.RequestID, "response": reply.Response}, err
}

func getProperties(c *call) (int, any, error) {
	reply, err := c.GetProperties(c.request.Context(), c.instance, c.path("device"), c.query("service_id"))
	return http.StatusOK, object{"request_id": reply.RequestID, "response": reply.Response}, err
}

func setProperties(c *call) (int, any, error) {
	var ask struct {
		Services []wire.ServiceData `json:"services"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	if len(ask.Services) == 0 {
		return 0, nil, &iotda.Error{Code: iotda.CodeInvalid, Text: `services: a list such as [{"service_id":"…","properties":{…}}]`}
	}
	reply, err := c.SetProperties(c.request.Context(), c.instance, c.path("device"), ask.Services)
	return http.StatusOK, object{"request_id": reply.RequestID, "response": reply.Response}, err
}

func (c *call) viewShadow(services []wire.ShadowService) object {
	return object{"device_id": c.path("device"), "shadow": services}
}

func showShadow(c *call) (int, any, error) {
	services, err := c.Shadow(c.instance, c.path("device"))
	return http.StatusOK, c.viewShadow(services), err
}

func updateShadow(c *call) (int, any, error) {
	var ask struct {
		Shadow []iotda.Desired `json:"shadow"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	services, err := c.SetDesired(c.instance, c.path("device"), ask.Shadow)
	return http.StatusOK, c.viewShadow(services), err
}

func deleteShadow(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteShadow(c.instance, c.path("device"))
}

func broadcast(c *call) (int, any, error) {
	var ask struct {
		AppID   string `json:"app_id"`
		Topic   string `json:"topic_full_name"`
		Message []byte `json:"message"` // base64
		ID      string `json:"message_id"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	app, err := c.App(c.instance, ask.AppID)
	if err != nil {
		return 0, nil, err
	}
	_, err = c.Broadcast(c.instance, app.AppID, ask.Topic, ask.Message)
	return http.StatusCreated, object{"app_id": app.AppID, "topic_full_name": ask.Topic, "message_id": orText(ask.ID, c.NewID()), "created_time": wire.FormatTime(c.Now())}, err
}
