package iotda

import (
	"slices"
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/near"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// nearest returns the name with the fewest edits to text, empty when none is close.
func nearest(text string, names []string) string {
	text = clip(text)
	return near.Name(text, names, len(text)/3+2)
}

func (s *Service) nearestDevice(instance, id string) string {
	prefix := instance + keySeparator
	keys := s.devices.Keys(prefix)
	if len(keys) > near.Most {
		return ""
	}
	for i := range keys {
		keys[i] = keys[i][len(prefix):]
	}
	sort.Strings(keys)
	return nearest(id, keys)
}

// nearestTopic returns the topic that a device probably meant to publish to: first one that continues what
// it wrote, then the one with the fewest edits, else the report's.
func nearestTopic(name, device string) string {
	bare, _, _ := strings.Cut(name, "?")
	bare, _, _ = strings.Cut(bare, "/request_id=")
	byPath, paths := map[string]iotda.Topic{}, []string{}
	for _, k := range iotda.Up() {
		t := iotda.Topic{Kind: k, DeviceID: device}
		path := strings.TrimSuffix(t.Format(), "/request_id=")
		if path != t.Format() {
			t.RequestID = "{request_id}"
		}
		byPath[path], paths = t, append(paths, path)
	}
	for _, path := range paths {
		if strings.HasPrefix(path, bare+"/") && strings.HasPrefix(bare, "$oc/devices/"+device+"/sys/") {
			return byPath[path].Format()
		}
	}
	if best := nearest(bare, paths); best != "" {
		return byPath[best].Format()
	}
	return byPath[paths[0]].Format()
}

// lookalike warns of a custom topic that was meant as one of the device's system topics: the shell takes $oc for a
// variable between double quotes, and MQTT.fx before 1.7.1 has trouble with it. The platform takes such a
// topic as what it is (DA-56).
func (c *Session) lookalike(name string) *rule.Refusal {
	at := strings.Index(name, "devices/"+c.id.DeviceID+"/sys/")
	if at < 0 || strings.HasPrefix(name, "$oc/") {
		return nil
	}
	return &rule.Refusal{Rule: "DA-56/lookalike", Detail: "the payload was taken as a message on a custom topic, and means nothing else to the platform",
		Seen: "topic " + clip(name), Expected: clip("$oc/" + name[at:])}
}

// Names reports whether a client id has IoTDA's form and names a registered device.
func (s *Service) Names(clientID string) bool {
	id, err := iotda.ParseClientID(clientID)
	return err == nil && slices.ContainsFunc(s.Instances(), func(i Instance) bool {
		_, known := s.devices.Get(key(i.Name, id.DeviceID))
		return known
	})
}

// Claim says whether a CONNECT without a telling host name is for IoTDA, and for which instance: the one
// that has the device, or one whose enrollment group the client id names, else the first. near is the
// closest legal client id where it is not claimed but looks as if it was meant for IoTDA.
func (s *Service) Claim(clientID, username string) (instance string, ok bool, near string) {
	instances := s.Instances()
	if len(instances) == 0 {
		return "", false, ""
	}
	for _, i := range instances {
		for _, scope := range i.Scopes {
			if _, ok := iotda.ParseScopeID(clientID, scope.ID); ok {
				return i.Name, true, ""
			}
		}
	}
	id, err := iotda.ParseClientID(clientID)
	for _, device := range []string{id.DeviceID, username} {
		for _, i := range instances {
			if _, known := s.devices.Get(key(i.Name, device)); known && device != "" {
				return i.Name, true, ""
			}
		}
	}
	if err == nil {
		return instances[0].Name, true, ""
	}
	if username != "" && strings.HasPrefix(clientID, username+"_0_") {
		return instances[0].Name, true, ""
	}
	if best := s.nearestDevice(instances[0].Name, id.DeviceID); best != "" && id.DeviceID != "" {
		return "", false, "IoTDA takes the client id " + iotda.ClientID{DeviceID: best, Sign: iotda.SignUnchecked, Stamp: iotda.Stamp(s.clock.Wall())}.Format()
	}
	return "", false, ""
}
