package iotda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The actions of device policies (iot_01_1111).
const (
	actionPublish   = "iotda:devices:publish"
	actionSubscribe = "iotda:devices:subscribe"
)

// PutPolicy adds or replaces a device policy.
func (s *Service) PutPolicy(instance string, p Policy) (Policy, error) {
	if err := s.known(instance); err != nil {
		return p, err
	}
	if p.Name == "" || len(p.Name) > 128 || len(p.Statements) == 0 || len(p.Statements) > 10 {
		return p, invalid("policy_name has 1 to 128 characters; statement 1 to 10 elements")
	}
	for _, st := range p.Statements {
		if st.Effect != "ALLOW" && st.Effect != "DENY" {
			return p, invalid("statement.effect %q: ALLOW or DENY", clip(st.Effect))
		}
		if len(st.Resources) == 0 || len(st.Resources) > 10 || slices.ContainsFunc(st.Resources, func(r string) bool { return !strings.HasPrefix(r, "topic:") }) {
			return p, invalid("statement.resources: 1 to 10 of the form topic:…")
		}
		for _, a := range st.Actions {
			if a != actionPublish && a != actionSubscribe {
				return p, invalid("statement.actions %q: %s or %s", clip(a), actionPublish, actionSubscribe)
			}
		}
	}
	app, err := s.App(instance, p.AppID)
	if err != nil {
		return p, err
	}
	p.AppID = app.AppID
	s.admin.Lock()
	defer s.admin.Unlock()
	if p.ID == "" {
		p.ID = s.ids.Hex(24)
	}
	s.policies.Put(key(instance, p.ID), p)
	return p, nil
}

// Policy returns one device policy.
func (s *Service) Policy(instance, id string) (Policy, error) {
	p, ok := s.policies.Get(key(instance, id))
	if !ok {
		return p, notFound("device policy", id)
	}
	return p, nil
}

// Policies returns the device policies of an instance, ordered by id.
func (s *Service) Policies(instance string) []Policy {
	return s.policies.List(instance + keySeparator)
}

// DeletePolicy removes a device policy.
func (s *Service) DeletePolicy(instance, id string) error {
	return notFoundIf(!s.policies.Delete(key(instance, id)), "device policy", id)
}

// BindPolicy binds a policy to devices and products, or unbinds it from them.
func (s *Service) BindPolicy(instance, id string, devices, products []string, bind bool) (Policy, error) {
	p, err := s.policies.Update(key(instance, id), func(p Policy) (Policy, error) {
		p.Devices, p.Products = bound(p.Devices, devices, bind), bound(p.Products, products, bind)
		return p, nil
	})
	if err != nil {
		return p, notFound("device policy", id)
	}
	return p, nil
}

func bound(have, change []string, bind bool) []string {
	kept := slices.DeleteFunc(slices.Clone(have), func(id string) bool { return slices.Contains(change, id) })
	if bind {
		kept = append(kept, change...)
	}
	return kept
}

// denied judges an action on a topic that does not start with $oc: a DENY of a bound policy wins, else the
// system's default policy allows (DA-56).
func (s *Service) denied(instance string, d Device, action, topic string) *rule.Refusal {
	for _, p := range s.Policies(instance) {
		if !slices.Contains(p.Devices, d.DeviceID) && !slices.Contains(p.Products, d.ProductID) {
			continue
		}
		for _, st := range p.Statements {
			if st.Effect != "DENY" || !slices.Contains(st.Actions, action) {
				continue
			}
			for _, resource := range st.Resources {
				if covers(expand(resource, d), topic) {
					return &rule.Refusal{Rule: "DA-56/policy", Code: subackFailure, Detail: fmt.Sprintf("policy %q denies %s on this topic", p.Name, action),
						Seen: "topic " + clip(topic), Expected: "a topic outside " + resource + ", or another policy"}
				}
			}
		}
	}
	return nil
}

// subackFailure is what a refused subscription is answered with.
const subackFailure = 0x80

func expand(resource string, d Device) string {
	return strings.NewReplacer("${devices.deviceId}", d.DeviceID, "${devices.nodeId}", d.NodeID, "${devices.productId}", d.ProductID).
		Replace(strings.TrimPrefix(resource, "topic:"))
}

// covers reports whether a policy's topic, which may hold * and MQTT's wildcards, covers a topic or filter.
func covers(pattern, topic string) bool {
	if before, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(topic, before)
	}
	want, have := strings.Split(pattern, "/"), strings.Split(topic, "/")
	for i, level := range want {
		switch {
		case level == "#":
			return true
		case i >= len(have), level != "+" && level != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// mayPublish judges a publish to a custom topic.
func (c *Session) mayPublish(from source) *rule.Refusal {
	d, err := c.svc.Device(c.id.Instance, c.id.DeviceID)
	if err != nil {
		return nil
	}
	if from.topic.Kind == iotda.User {
		return c.operation(d, from.topic.Suffix, "PUBLISH")
	}
	return c.svc.denied(c.id.Instance, d, actionPublish, from.name)
}

// operation judges a custom topic under user/ by what the product declares; undeclared ones are free.
func (c *Session) operation(d Device, suffix, operation string) *rule.Refusal {
	p, _ := c.svc.Product(c.id.Instance, d.ProductID)
	for _, t := range p.Topics {
		if t.Suffix == suffix && t.Operation != operation && t.Operation != "ALL" {
			return &rule.Refusal{Rule: "DA-56/operation", Code: subackFailure, Detail: fmt.Sprintf("product %s declares topic %q for %s only", p.ProductID, suffix, t.Operation),
				Seen: operation, Expected: t.Operation}
		}
	}
	return nil
}

// Subscribe judges a topic filter; nil grants it.
func (c *Session) Subscribe(filter string) *rule.Refusal {
	f, ok := iotda.ParseFilter(filter)
	d, err := c.svc.Device(c.id.Instance, c.id.DeviceID)
	switch {
	case err != nil:
		return nil // its connection is about to end
	case f.DeviceID != "" && f.DeviceID != c.id.DeviceID:
		own := strings.Replace(filter, f.DeviceID, c.id.DeviceID, 1)
		return refusal("DA-39/device", subackFailure, "the filter is for another device's topics", "device id "+clip(f.DeviceID), own)
	case !ok:
		return refusal("DA-39/filter", subackFailure, "the filter reaches beyond the device's own topics, or is none of IoTDA's", "filter "+clip(filter),
			"$oc/devices/"+c.id.DeviceID+"/sys/commands/#, …/user/{suffix} or a topic that does not start with $")
	case f.UserTopic && f.System:
		_, suffix, _ := strings.Cut(filter, "/user/")
		return c.operation(d, suffix, "SUBSCRIBE")
	case f.UserTopic:
		if r := c.svc.denied(c.id.Instance, d, actionSubscribe, filter); r != nil {
			return r
		}
		c.noteLegacy(filter)
	}
	return nil
}

// Subscribed tells that a granted subscription is in force: messages may have waited for it.
func (c *Session) Subscribed() {
	if c.id.Scope == "" {
		c.svc.deliverPending(c.id.Instance, c.id.DeviceID)
	}
}
