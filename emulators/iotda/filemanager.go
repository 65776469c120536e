package iotda

import (
	"encoding/json"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The service of file uploads and downloads (section $file_manager of the events page).
const fileManager = "$file_manager"

// files answers a device that asks for the address of a file, to upload it or to download it. object_name is its
// file_name again (iot_06_v5_3034): Huawei's SDKs for Python and Go find their file by it.
func (c *Session) files(from source, d Device, e iotda.Event) *iotda.Event {
	method := map[string]string{"get_upload_url": "PUT", "get_download_url": "GET"}[e.EventType]
	if method == "" {
		if e.EventType != "upload_result_report" && e.EventType != "download_result_report" {
			c.explain(from.name, &rule.Refusal{Rule: "DA-34/event", Seen: "service_id " + fileManager + ", event_type " + clip(e.EventType),
				Expected: closest(e.EventType, []string{"get_upload_url", "get_download_url", "upload_result_report", "download_result_report"})})
			return nil
		}
		c.tell(from, d, e)
		return nil
	}
	var ask struct {
		FileName   string          `json:"file_name"`
		Attributes json.RawMessage `json:"file_attributes"`
	}
	if !c.parasOf(from, e, &ask) {
		return nil
	}
	if ask.FileName == "" || len(ask.FileName) > 256 || strings.ContainsAny(ask.FileName, "/\\\x00\x1f") {
		c.explain(from.name, &rule.Refusal{Rule: "DA-35/entry", Detail: e.EventType + ": file_name", Seen: "file_name " + clip(ask.FileName), Expected: "1 to 256 characters without slashes"})
		return nil
	}
	name := d.DeviceID + "/" + ask.FileName
	paras := map[string]any{"url": c.objectURL(method, DeviceBucket, name), "bucket_name": DeviceBucket, "object_name": ask.FileName, "expire": int(urlLife.Seconds())}
	if len(ask.Attributes) > 0 {
		paras["file_attributes"] = ask.Attributes
	}
	return c.reply(e, fileManager, e.EventType+"_response", paras)
}

// tell forwards an event that needs no answer.
func (c *Session) tell(from source, d Device, e iotda.Event) {
	c.svc.notify(c.id.Instance, d, Notification{Resource: "device.event", Event: "report", Body: iotda.Events{Services: []iotda.Event{e}}, session: c, topic: from.name})
}
