package iotda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Poster makes the outbound calls of data forwarding.
type Poster interface {
	// Post sends body as JSON and returns the status of the answer. It ends within a time limit of its own,
	// follows no redirect, and returns a *rule.Refusal for a host that may not be called.
	Post(ctx context.Context, url string, body []byte) (status int, err error)
}

// Subject is what a routing rule forwards.
type Subject struct {
	Resource string `json:"resource"` // device.property, device.message, device.status, …
	Event    string `json:"event"`    // report, update, …
}

// RoutingRule is a rule of data forwarding.
type RoutingRule struct {
	ID          string  `json:"rule_id"`
	Name        string  `json:"rule_name"`
	Description string  `json:"description,omitempty"`
	Subject     Subject `json:"subject"`
	AppType     string  `json:"app_type,omitempty"` // GLOBAL (default), or APP with AppID
	AppID       string  `json:"app_id,omitempty"`
	Select      string  `json:"select,omitempty"` // SQL: what is forwarded; empty or * for all
	Where       string  `json:"where,omitempty"`  // SQL: when; empty for always
	Active      bool    `json:"active"`
}

// RoutingAction is where a rule forwards to.
type RoutingAction struct {
	ID      string          `json:"action_id"`
	RuleID  string          `json:"rule_id"`
	AppID   string          `json:"app_id,omitempty"`
	Channel string          `json:"channel"`                  // HTTP_FORWARDING; other channels are kept and do nothing
	Detail  json.RawMessage `json:"channel_detail,omitempty"` // {"http_forwarding":{"url":"…"}}
}

// ChannelHTTP is the channel that is served.
const ChannelHTTP = "HTTP_FORWARDING"

// Limits of data forwarding; our own.
const (
	maxRouting = 1000
	maxOutbox  = 1000 // notifications that wait for one address
)

// URL returns the address of a ChannelHTTP action.
func (a RoutingAction) URL() string {
	var detail struct {
		HTTP struct {
			URL string `json:"url"`
		} `json:"http_forwarding"`
	}
	if json.Unmarshal(a.Detail, &detail) != nil {
		return ""
	}
	return detail.HTTP.URL
}

// subjects are the resources that a rule may forward, with their events (CreateRoutingRule, iot_06_v5_01307).
var subjects = map[string][]string{
	"device":                {created, deleted, updated},
	"device.property":       {reports},
	"device.message":        {reports},
	"device.message.status": {updated},
	"device.status":         {updated},
	"device.command.status": {updated},
	"product":               {created, deleted, updated},
	"batchtask":             {updated},
}

// noSuchSubject refuses a subject that no notification has, and names the nearest that one has (DA-57).
func (s *Service) noSuchSubject(instance string, of Subject) error {
	resources := slices.Sorted(maps.Keys(subjects))
	expected := "resource " + closest(of.Resource, resources)
	if best := nearest(of.Resource, resources); best != "" {
		expected += ", event " + closest(of.Event, subjects[best])
	}
	return s.refuseAPI(instance, "", CodeInvalid, &rule.Refusal{Rule: "DA-57/subject", Detail: "subject: nothing is forwarded with this resource and event; expected " + expected,
		Seen: fmt.Sprintf("resource %q, event %q", clip(of.Resource), clip(of.Event)), Expected: expected})
}

// PutRoutingRule adds or replaces a rule of data forwarding.
func (s *Service) PutRoutingRule(instance string, r RoutingRule) (RoutingRule, error) {
	if err := s.known(instance); err != nil {
		return r, err
	}
	if r.AppType == "" {
		r.AppType = "GLOBAL"
	}
	switch {
	case !slices.Contains(subjects[r.Subject.Resource], r.Subject.Event):
		return r, s.noSuchSubject(instance, r.Subject)
	case r.AppType != "GLOBAL" && r.AppType != "APP":
		return r, invalid("app_type %q: GLOBAL or APP", clip(r.AppType))
	}
	if _, err := parseSQL(r.Select, r.Where); err != nil {
		return r, err
	}
	if r.AppType == "APP" {
		app, err := s.App(instance, r.AppID)
		if err != nil {
			return r, err
		}
		r.AppID = app.AppID
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if r.ID == "" {
		r.ID = s.ids.GUID()
	}
	if _, replaces := s.routing.Get(key(instance, r.ID)); !replaces && len(s.routing.Keys(instance+keySeparator)) >= maxRouting {
		return r, conflict("there are %d rules already, which is the limit", maxRouting)
	}
	s.routing.Put(key(instance, r.ID), r)
	return r, nil
}

// RoutingRule returns one rule of data forwarding.
func (s *Service) RoutingRule(instance, id string) (RoutingRule, error) {
	r, ok := s.routing.Get(key(instance, id))
	if !ok {
		return r, notFound("rule", id)
	}
	return r, nil
}

// RoutingRules returns the rules of data forwarding, ordered by id.
func (s *Service) RoutingRules(instance string) []RoutingRule {
	return s.routing.List(instance + keySeparator)
}

// DeleteRoutingRule removes a rule with its actions.
func (s *Service) DeleteRoutingRule(instance, id string) error {
	for _, a := range s.RoutingActions(instance) {
		if a.RuleID == id {
			s.actions.Delete(key(instance, a.ID))
		}
	}
	return notFoundIf(!s.routing.Delete(key(instance, id)), "rule", id)
}

// PutRoutingAction adds or replaces an action of a rule.
func (s *Service) PutRoutingAction(instance string, a RoutingAction) (RoutingAction, error) {
	r, err := s.RoutingRule(instance, a.RuleID)
	if err != nil {
		return a, err
	}
	a.AppID = r.AppID
	if a.Channel == ChannelHTTP {
		u, err := url.Parse(a.URL())
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return a, invalid(`channel_detail: {"http_forwarding":{"url":"https://…"}}`)
		}
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if a.ID == "" {
		a.ID = s.ids.GUID()
	}
	if _, replaces := s.actions.Get(key(instance, a.ID)); !replaces && len(s.actions.Keys(instance+keySeparator)) >= maxRouting {
		return a, conflict("there are %d actions already, which is the limit", maxRouting)
	}
	s.actions.Put(key(instance, a.ID), a)
	return a, nil
}

// RoutingAction returns one action.
func (s *Service) RoutingAction(instance, id string) (RoutingAction, error) {
	a, ok := s.actions.Get(key(instance, id))
	if !ok {
		return a, notFound("action", id)
	}
	return a, nil
}

// RoutingActions returns the actions of all rules, ordered by id.
func (s *Service) RoutingActions(instance string) []RoutingAction {
	return s.actions.List(instance + keySeparator)
}

// DeleteRoutingAction removes an action.
func (s *Service) DeleteRoutingAction(instance, id string) error {
	return notFoundIf(!s.actions.Delete(key(instance, id)), "action", id)
}

// parcel is a notification on its way.
type parcel struct {
	instance, device string
	body             []byte
}

// outboxes are the notifications that wait, by address. Each address has a goroutine of its own while
// something waits for it: a slow receiver holds up nobody else, and order is kept.
type outboxes struct {
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	waiting map[string][]parcel
	working sync.WaitGroup
}

// Close ends data forwarding: what waits is forgotten.
func (s *Service) Close() {
	s.out.mu.Lock()
	s.out.cancel() // nobody begins to work after this
	s.out.mu.Unlock()
	s.out.working.Wait()
}

// background runs work that Close waits for; after Close it runs nothing.
func (s *Service) background(work func()) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if s.out.ctx.Err() == nil {
		s.out.working.Go(work)
	}
}

// route is a way that a notification goes: an address, with what the rule's SQL leaves of it.
type route struct {
	url string
	sql statement
}

// forwardedBy returns the ways of the active rules that want a notification about something of a resource
// space.
func (s *Service) forwardedBy(instance, app string, n Notification) []route {
	if s.actions.Len() == 0 {
		return nil
	}
	wanted := map[string]statement{}
	for _, r := range s.RoutingRules(instance) {
		if !r.Active || r.Subject != (Subject{n.Resource, n.Event}) || r.AppType == "APP" && r.AppID != app {
			continue
		}
		if sql, err := parseSQL(r.Select, r.Where); err == nil { // it was read when the rule was made
			wanted[r.ID] = sql
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var routes []route
	for _, a := range s.RoutingActions(instance) {
		if sql, ok := wanted[a.RuleID]; ok && a.Channel == ChannelHTTP {
			routes = append(routes, route{a.URL(), sql})
		}
	}
	return routes
}

// forward hands a notification to those that want it (DA-57).
func (s *Service) forward(routes []route, p parcel) {
	for _, r := range routes {
		if body, ok := r.sql.apply(p.body); ok {
			s.enqueue(r.url, parcel{p.instance, p.device, body})
		}
	}
}

func (s *Service) enqueue(address string, p parcel) {
	o := &s.out
	o.mu.Lock()
	queue, working := o.waiting[address]
	full := len(queue) >= maxOutbox
	if !full {
		o.waiting[address] = append(queue, p)
	}
	if !working && o.ctx.Err() == nil {
		o.working.Go(func() { s.deliver(address) })
	}
	o.mu.Unlock()
	if full {
		s.notForwarded(p, address, "full", fmt.Sprintf("%d notifications wait for the address already", maxOutbox), "")
	}
}

// deliver posts what waits for an address until nothing does.
func (s *Service) deliver(address string) {
	o := &s.out
	for {
		o.mu.Lock()
		queue := o.waiting[address]
		if len(queue) == 0 || o.ctx.Err() != nil {
			delete(o.waiting, address)
			o.mu.Unlock()
			return
		}
		p := queue[0]
		o.mu.Unlock()
		s.post(address, p)
		o.mu.Lock()
		o.waiting[address] = o.waiting[address][1:]
		o.mu.Unlock()
	}
}

func (s *Service) post(address string, p parcel) {
	if s.poster == nil {
		s.notForwarded(p, address, "outbound", "this instance makes no outbound calls", "")
		return
	}
	status, err := s.poster.Post(s.out.ctx, address, p.body)
	var refused *rule.Refusal
	switch {
	case errors.As(err, &refused):
		s.journal.Refuse(s.outgoing(p, address), refused)
	case err != nil && s.out.ctx.Err() != nil: // we are closing
	case err != nil:
		s.notForwarded(p, address, "unreachable", err.Error(), "")
	case status < 200 || status > 299:
		s.notForwarded(p, address, "status", "the application did not take the notification", fmt.Sprintf("status %d", status))
	default:
		e := s.outgoing(p, address)
		e.Kind, e.Code = journal.HTTP, journal.Code(status)
		s.journal.Append(e)
	}
}

func (s *Service) outgoing(p parcel, address string) journal.Event {
	return journal.Event{Platform: Platform, Endpoint: p.instance, Device: p.device, Dir: journal.Out, Topic: "POST " + bareURL(address), Payload: p.body}
}

// bareURL leaves out what may be secret.
func bareURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

func (s *Service) notForwarded(p parcel, address, cause, detail, seen string) {
	s.journal.Refuse(s.outgoing(p, address), &rule.Refusal{Rule: rule.ID("DA-57/" + cause), Silent: true, Detail: detail,
		Seen: seen, Expected: "a status of 200 to 299 from " + bareURL(address)})
}
