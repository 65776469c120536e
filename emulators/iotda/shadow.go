package iotda

import (
	"fmt"
	"maps"
	"reflect"
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// shadow is a device's shadow by service. Maps are replaced, never changed in place.
type shadow struct {
	Services map[string]iotda.ShadowService
}

// Shadow returns a device's shadow, ordered by service.
func (s *Service) Shadow(instance, id string) ([]iotda.ShadowService, error) {
	if _, err := s.Device(instance, id); err != nil {
		return nil, err
	}
	sh, _ := s.shadows.Get(key(instance, id))
	list := make([]iotda.ShadowService, 0, len(sh.Services))
	for _, service := range sh.Services {
		list = append(list, service)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ServiceID < list[j].ServiceID })
	return list, nil
}

// changeShadow replaces services of a shadow as one step.
func (s *Service) changeShadow(instance, id string, change func(map[string]iotda.ShadowService) error) error {
	k := key(instance, id)
	_ = s.shadows.Create(k, shadow{}) // it may be there already
	_, err := s.shadows.Update(k, func(old shadow) (shadow, error) {
		services := maps.Clone(old.Services)
		if services == nil {
			services = map[string]iotda.ShadowService{}
		}
		err := change(services)
		return shadow{services}, err
	})
	return err
}

func emptyShadow(service string) iotda.ShadowService {
	return iotda.ShadowService{ServiceID: service, Desired: iotda.ShadowPart{Properties: map[string]any{}}, Reported: iotda.ShadowPart{Properties: map[string]any{}}}
}

func shadowOf(services map[string]iotda.ShadowService, id string) iotda.ShadowService {
	if service, ok := services[id]; ok {
		return service
	}
	return emptyShadow(id)
}

// storeReported merges accepted values into the reported part, one version for each service of a report.
func (s *Service) storeReported(instance, id string, data []iotda.ServiceData) {
	_ = s.changeShadow(instance, id, func(services map[string]iotda.ShadowService) error {
		for _, d := range data {
			service := shadowOf(services, d.ServiceID)
			merged := maps.Clone(service.Reported.Properties)
			maps.Copy(merged, d.Properties)
			service.Reported = iotda.ShadowPart{Properties: merged, EventTime: d.EventTime}
			service.Version++
			services[d.ServiceID] = service
		}
		return nil
	})
}

// Desired is what an application wants of one service. An empty object deletes what was desired. Version,
// where set, must be the current one.
type Desired struct {
	ServiceID string         `json:"service_id"`
	Desired   map[string]any `json:"desired"`
	Version   *int64         `json:"version"`
}

// SetDesired changes a shadow's desired part and pushes the difference to a device that is online; one
// that is not gets it when it connects.
func (s *Service) SetDesired(instance, id string, wanted []Desired) ([]iotda.ShadowService, error) {
	d, err := s.Device(instance, id)
	if err != nil {
		return nil, err
	}
	if err := s.checkDesired(instance, d, wanted); err != nil {
		return nil, err
	}
	now := iotda.FormatTime(s.clock.Wall())
	var stale *rule.Refusal
	err = s.changeShadow(instance, id, func(services map[string]iotda.ShadowService) error {
		for _, w := range wanted {
			service := shadowOf(services, w.ServiceID)
			if w.Version != nil && *w.Version != service.Version {
				stale = &rule.Refusal{Rule: "DA-52/version", Detail: "the shadow of service " + w.ServiceID + " has changed in between",
					Seen: fmt.Sprintf("version %d", *w.Version), Expected: fmt.Sprintf("version %d", service.Version)}
				return invalid("version")
			}
			merged := map[string]any{}
			if len(w.Desired) > 0 {
				maps.Copy(merged, service.Desired.Properties)
				maps.Copy(merged, w.Desired)
			}
			service.Desired = iotda.ShadowPart{Properties: merged, EventTime: now}
			service.Version++
			services[w.ServiceID] = service
		}
		return nil
	})
	if stale != nil {
		return nil, s.refuseAPI(instance, id, CodeInvalid, stale)
	}
	if err != nil {
		return nil, err
	}
	s.pushDesired(instance, d)
	return s.Shadow(instance, id)
}

// DeleteShadow empties a shadow.
func (s *Service) DeleteShadow(instance, id string) error {
	_, err := s.Device(instance, id)
	s.shadows.Delete(key(instance, id))
	return err
}

// desire sets the shadow that a device starts with.
func (s *Service) desire(instance string, d Device, data []iotda.ServiceData) error {
	var wanted []Desired
	for _, service := range data {
		wanted = append(wanted, Desired{ServiceID: service.ServiceID, Desired: service.Properties})
	}
	_, err := s.SetDesired(instance, d.DeviceID, wanted)
	return err
}

func (s *Service) checkDesired(instance string, d Device, wanted []Desired) error {
	p, err := s.Product(instance, d.ProductID)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		service, ok := p.service(w.ServiceID)
		if !ok {
			return invalid("service_id %q: product %s has no such service; expected %s", clip(w.ServiceID), p.ProductID, p.nearService(w.ServiceID))
		}
		for name, value := range w.Desired {
			property, ok := service.property(name)
			if !ok || strings.ContainsAny(name, ".$\x00") {
				return invalid("service %s has no property %q; expected %s", w.ServiceID, clip(name), closest(name, service.propertyNames()))
			}
			if r := property.check(w.ServiceID+"."+name, value); r != nil {
				return invalid("%s; expected %s", r.Detail, r.Expected)
			}
		}
	}
	return nil
}

// pushDesired sends what is desired and not reported yet to a device that is online (DA-53).
func (s *Service) pushDesired(instance string, d Device) {
	sh, _ := s.shadows.Get(key(instance, d.DeviceID))
	var services []iotda.ServiceData
	for id, service := range sh.Services {
		differ := map[string]any{}
		for name, value := range service.Desired.Properties {
			if !reflect.DeepEqual(value, service.Reported.Properties[name]) {
				differ[name] = value
			}
		}
		if len(differ) > 0 {
			services = append(services, iotda.ServiceData{ServiceID: id, Properties: differ})
		}
	}
	if len(services) == 0 {
		return
	}
	sort.Slice(services, func(i, j int) bool { return services[i].ServiceID < services[j].ServiceID })
	c := s.session(instance, d.Gateway())
	if c == nil {
		return
	}
	topic := iotda.Topic{Kind: iotda.Set, DeviceID: d.Gateway(), RequestID: s.ids.GUID()}
	set := iotda.PropertySet{ObjectDeviceID: d.DeviceID, Services: services}
	s.waiting.expect(topic.RequestID, waiter{instance: instance, device: d.Gateway(), kind: iotda.SetResponse, set: &set})
	c.down.Deliver(topic.Format(), iotda.Encode(set), true)
}

// wasSet takes what a device says that it has set, by result code 0, for reported. No page confirms it, and a report that
// follows does it anyway.
func (s *Service) wasSet(instance string, set iotda.PropertySet, answer []byte) {
	var result struct {
		Code *int `json:"result_code"`
	}
	if iotda.Decode(answer, &result) != nil || result.Code == nil || *result.Code != 0 {
		return
	}
	d, err := s.Device(instance, set.ObjectDeviceID)
	if err != nil { // deleted in between
		return
	}
	p, _ := s.Product(instance, d.ProductID)
	var taken []iotda.ServiceData
	for _, sent := range set.Services {
		service, _ := p.service(sent.ServiceID)
		kept := map[string]any{}
		for name, value := range sent.Properties {
			if property, known := service.property(name); known && property.check(name, value) == nil {
				kept[name] = value
			}
		}
		if len(kept) > 0 {
			taken = append(taken, iotda.ServiceData{ServiceID: sent.ServiceID, Properties: kept, EventTime: iotda.FormatTime(s.clock.Wall())})
		}
	}
	s.storeReported(instance, d.DeviceID, taken)
}

// shadowGet answers a device that asks for its shadow, or a child's.
func (c *Session) shadowGet(from source, payload []byte) []Answer {
	var ask iotda.PropertyGet
	if len(payload) > 0 {
		if err := iotda.Decode(payload, &ask); err != nil {
			c.explain(from.name, notJSON(err, payload))
			return nil
		}
	}
	d, ok := c.target(from.name, orText(ask.ObjectDeviceID, from.topic.DeviceID))
	if !ok {
		return nil
	}
	services, err := c.svc.Shadow(c.id.Instance, d.DeviceID)
	if err != nil { // deleted in between
		return nil
	}
	answer := iotda.ShadowAnswer{ObjectDeviceID: d.DeviceID, Shadow: []iotda.ShadowService{}}
	for _, service := range services {
		if ask.ServiceID == "" || ask.ServiceID == service.ServiceID {
			answer.Shadow = append(answer.Shadow, service)
		}
	}
	down := iotda.Topic{Kind: iotda.ShadowResponse, DeviceID: c.id.DeviceID, RequestID: from.topic.RequestID}
	return []Answer{{Topic: down.Format(), Payload: iotda.Encode(answer)}}
}
