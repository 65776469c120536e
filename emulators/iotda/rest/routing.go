package rest

import (
	"net/http"
	"slices"

	"github.com/fakecloud/fakecloud/emulators/iotda"
)

// routing are the calls of data forwarding.
var routing = map[string]operation{
	"POST " + base + "/routing-rule/rules":          createRule,
	"GET " + base + "/routing-rule/rules":           listRules,
	"GET " + base + "/routing-rule/rules/{rule}":    showRule,
	"PUT " + base + "/routing-rule/rules/{rule}":    updateRule,
	"DELETE " + base + "/routing-rule/rules/{rule}": deleteRule,

	"POST " + base + "/routing-rule/actions":            createAction,
	"GET " + base + "/routing-rule/actions":             listActions,
	"GET " + base + "/routing-rule/actions/{action}":    showAction,
	"PUT " + base + "/routing-rule/actions/{action}":    updateAction,
	"DELETE " + base + "/routing-rule/actions/{action}": deleteAction,
}

func createRule(c *call) (int, any, error) {
	var r iotda.RoutingRule
	if err := c.read(&r); err != nil {
		return 0, nil, err
	}
	r.ID, r.Active = "", false
	r, err := c.PutRoutingRule(c.instance, r)
	return http.StatusCreated, r, err
}

func listRules(c *call) (int, any, error) {
	resource, event := c.query("resource"), c.query("event")
	all := slices.DeleteFunc(c.RoutingRules(c.instance), func(r iotda.RoutingRule) bool {
		return resource != "" && r.Subject.Resource != resource || event != "" && r.Subject.Event != event
	})
	list, page, err := paged(c, all, func(r iotda.RoutingRule) string { return r.ID })
	return http.StatusOK, object{"rules": list, "count": page.Count, "marker": page.Marker}, err
}

func showRule(c *call) (int, any, error) {
	r, err := c.RoutingRule(c.instance, c.path("rule"))
	return http.StatusOK, r, err
}

func updateRule(c *call) (int, any, error) {
	r, err := c.RoutingRule(c.instance, c.path("rule"))
	if err != nil {
		return 0, nil, err
	}
	subject := r.Subject
	if err := c.read(&r); err != nil {
		return 0, nil, err
	}
	r.ID, r.Subject = c.path("rule"), subject
	r, err = c.PutRoutingRule(c.instance, r)
	return http.StatusOK, r, err
}

func deleteRule(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteRoutingRule(c.instance, c.path("rule"))
}

func createAction(c *call) (int, any, error) {
	var a iotda.RoutingAction
	if err := c.read(&a); err != nil {
		return 0, nil, err
	}
	a.ID = ""
	a, err := c.PutRoutingAction(c.instance, a)
	return http.StatusCreated, a, err
}

func listActions(c *call) (int, any, error) {
	of := c.query("rule_id")
	all := slices.DeleteFunc(c.RoutingActions(c.instance), func(a iotda.RoutingAction) bool { return of != "" && a.RuleID != of })
	list, page, err := paged(c, all, func(a iotda.RoutingAction) string { return a.ID })
	return http.StatusOK, object{"actions": list, "count": page.Count, "marker": page.Marker}, err
}

func showAction(c *call) (int, any, error) {
	a, err := c.RoutingAction(c.instance, c.path("action"))
	return http.StatusOK, a, err
}

func updateAction(c *call) (int, any, error) {
	a, err := c.RoutingAction(c.instance, c.path("action"))
	if err != nil {
		return 0, nil, err
	}
	old := a
	a.Detail = nil // it must not be decoded into the old one
	if err := c.read(&a); err != nil {
		return 0, nil, err
	}
	if a.Detail == nil {
		a.Detail = old.Detail
	}
	a.ID, a.RuleID = old.ID, old.RuleID
	a, err = c.PutRoutingAction(c.instance, a)
	return http.StatusOK, a, err
}

func deleteAction(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteRoutingAction(c.instance, c.path("action"))
}
