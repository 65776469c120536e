package iotda

import (
	"errors"
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
	if _, replaces := s.policies.Get(key(instance, p.ID)); !replaces && len(s.policies.Keys(instance+keySeparator)) >= maxPolicies {
		return p, conflict("there are %d device policies already, which is the limit", maxPolicies)
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

// The kinds of target that a policy is bound to: devices, the devices of a product, those of a resource space.
const (
	TargetDevice  = "device"
	TargetProduct = "product"
	TargetApp     = "app"
)

// TargetTypes are the kinds of target.
var TargetTypes = []string{TargetDevice, TargetProduct, TargetApp}

// targets returns the list of one kind, nil where there is no such kind.
func (p *Policy) targets(kind string) *[]string {
	switch kind {
	case TargetDevice:
		return &p.Devices
	case TargetProduct:
		return &p.Products
	case TargetApp:
		return &p.Apps
	}
	return nil
}

// Targets returns the ids of one kind that a policy is bound to.
func (p Policy) Targets(kind string) []string {
	if ids := p.targets(kind); ids != nil {
		return *ids
	}
	return nil
}

// TargetFailure is a target that a policy was not bound to.
type TargetFailure struct {
	ID   string `json:"target_id"`
	Code Code   `json:"error_code"`
	Text string `json:"error_msg"`
}

// BindPolicy binds a policy to targets of a kind, or unbinds it from them. A target that does not exist is not bound to; the
// others are.
func (s *Service) BindPolicy(instance, id, kind string, targets []string, bind bool) (done []string, failed []TargetFailure, err error) {
	if !slices.Contains(TargetTypes, kind) {
		return nil, nil, invalid("target_type %q: one of %s", clip(kind), listed(TargetTypes))
	}
	done, failed = []string{}, []TargetFailure{}
	for _, target := range targets {
		var missing *Error
		if bind && errors.As(s.target(instance, kind, target), &missing) {
			failed = append(failed, TargetFailure{target, missing.Code, missing.Text})
		} else if !slices.Contains(done, target) {
			done = append(done, target)
		}
	}
	_, err = s.policies.Update(key(instance, id), func(p Policy) (Policy, error) {
		list := p.targets(kind)
		*list = bound(*list, done, bind)
		return p, nil
	})
	if err != nil {
		return nil, nil, notFound("device policy", id)
	}
	return done, failed, nil
}

// target reports that a policy's target does not exist.
func (s *Service) target(instance, kind, id string) (err error) {
	switch kind {
	case TargetDevice:
		_, err = s.Device(instance, id)
	case TargetProduct:
		_, err = s.Product(instance, id)
	case TargetApp:
		if id == "" {
			return notFound("resource space", id)
		}
		_, err = s.App(instance, id)
	}
	return err
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
		if !slices.Contains(p.Devices, d.DeviceID) && !slices.Contains(p.Products, d.ProductID) && !slices.Contains(p.Apps, d.AppID) {
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
	if r := tooLong(from.topic.Suffix); r != nil {
		return r
	}
	if from.topic.Kind == iotda.User {
		return c.operation(d, from.topic.Suffix, "PUBLISH")
	}
	return c.svc.denied(c.id.Instance, d, actionPublish, from.name)
}

// tooLong refuses a custom topic, or the suffix of one under user/, of more than the platform takes ("Limitations",
// iot_04_0010). Topics of the v3 interface are none.
func tooLong(topic string) *rule.Refusal {
	if len(topic) <= maxTopic || strings.HasPrefix(topic, iotda.LegacyPrefix) {
		return nil
	}
	return refusal("DA-56/length", subackFailure, "the custom topic is too long", byteCount(len(topic)), "at most "+byteCount(maxTopic))
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
		if r := tooLong(suffix); r != nil {
			return r
		}
		return c.operation(d, suffix, "SUBSCRIBE")
	case f.UserTopic:
		if r := tooLong(filter); r != nil {
			return r
		}
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
