package iothub

import (
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// TwinDocument returns the twin of an identity as the service side reads and queries it: a JSON object
// with the identity's state, tags and properties with their $metadata and $version (azure-iothub,
// pl/models/twin).
func (s *Service) TwinDocument(hub, device, module string) (map[string]any, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil, err
	}
	d, err := s.GetDevice(h.Host, device)
	if err != nil {
		return nil, err
	}
	t, err := s.GetTwin(h.Host, device, module)
	if err != nil {
		return nil, err
	}
	if module == "" {
		return deviceDocument(d, t), nil
	}
	m, err := s.GetModule(h.Host, device, module)
	if err != nil {
		return nil, err
	}
	return moduleDocument(m, t), nil
}

func deviceDocument(d Device, t Twin) map[string]any {
	doc := twinDocument(t, d.Authentication)
	doc["deviceEtag"] = d.ETag
	doc["status"] = string(d.Status)
	doc["statusUpdateTime"] = azure.ServiceTime(d.StatusUpdatedTime)
	doc["connectionState"] = d.ConnectionState
	doc["lastActivityTime"] = azure.ServiceTime(d.LastActivityTime)
	doc["cloudToDeviceMessageCount"] = d.CloudToDeviceMessageCount
	doc["capabilities"] = map[string]any{"iotEdge": d.Capabilities.IoTEdge}
	if d.StatusReason != "" {
		doc["statusReason"] = d.StatusReason
	}
	if d.DeviceScope != "" {
		doc["deviceScope"] = d.DeviceScope
	}
	if len(d.ParentScopes) > 0 {
		scopes := make([]any, len(d.ParentScopes))
		for i, p := range d.ParentScopes {
			scopes[i] = p
		}
		doc["parentScopes"] = scopes
	}
	return doc
}

func moduleDocument(m Module, t Twin) map[string]any {
	doc := twinDocument(t, m.Authentication)
	doc["moduleId"] = m.ModuleID
	doc["deviceEtag"] = m.ETag
	doc["status"] = string(Enabled)
	doc["statusUpdateTime"] = azure.ServiceTime(time.Time{})
	doc["connectionState"] = m.ConnectionState
	doc["lastActivityTime"] = azure.ServiceTime(m.LastActivityTime)
	doc["cloudToDeviceMessageCount"] = m.CloudToDeviceMessageCount
	return doc
}

// twinDocument is what devices and modules have in common.
func twinDocument(t Twin, auth Authentication) map[string]any {
	return map[string]any{
		"deviceId":           t.DeviceID,
		"etag":               t.ETag(),
		"version":            t.Version,
		"authenticationType": string(auth.Type),
		"x509Thumbprint": map[string]any{
			"primaryThumbprint": textOrNull(auth.Thumbprint.Primary), "secondaryThumbprint": textOrNull(auth.Thumbprint.Secondary)},
		"tags": t.Tags,
		"properties": map[string]any{
			"desired":  t.Desired.document(true),
			"reported": t.Reported.document(false),
		},
	}
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// document returns a section with its $metadata and $version; only desired properties tell the version of
// each value.
func (s Section) document(versions bool) map[string]any {
	doc := make(map[string]any, len(s.Values)+2)
	for k, v := range s.Values {
		doc[k] = v
	}
	doc["$metadata"] = s.Meta.document(versions)
	doc["$version"] = s.Version
	return doc
}

// document returns the metadata in the shape of its values.
func (m *Metadata) document(versions bool) map[string]any {
	doc := make(map[string]any, len(m.Members)+2)
	for k, member := range m.Members {
		doc[k] = member.document(versions)
	}
	doc["$lastUpdated"] = azure.ServiceTime(m.Updated)
	if versions {
		doc["$lastUpdatedVersion"] = m.Version
	}
	return doc
}

// Statistics count the identities of a hub.
type Statistics struct {
	Total, Enabled, Disabled int
	Connected                int // devices with a live connection
}

// Statistics returns a hub's figures as they are now.
func (s *Service) Statistics(hub string) (Statistics, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Statistics{}, fmt.Errorf("statistics: %w", err)
	}
	var n Statistics
	for _, d := range s.devices.List(h.Host + keySeparator) {
		n.Total++
		if d.Status == Disabled {
			n.Disabled++
		} else {
			n.Enabled++
		}
		if d.ConnectionState == Connected {
			n.Connected++
		}
	}
	return n, nil
}
