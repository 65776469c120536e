package control

import (
	"context"
	"net/http"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// Rule is one row of a conformance table.
type Rule struct {
	ID         rule.ID    `json:"id"`
	Title      string     `json:"title"`
	Enforced   bool       `json:"enforced" doc:"false: not built yet"`
	Source     string     `json:"source,omitempty"`
	Grade      rule.Grade `json:"grade,omitempty" enum:"documented,measured,assumed"`
	Assumption string     `json:"assumption,omitempty"`
	Causes     []Cause    `json:"causes,omitempty"`
}

// Cause is one way to break a rule.
type Cause struct {
	ID  rule.ID `json:"id" doc:"with the row, as the journal shows it"`
	Why string  `json:"why"`
	Fix string  `json:"fix"`
}

type rulesOutput struct {
	Body struct {
		Rules []Rule `json:"rules"`
	}
}

type ruleOutput struct{ Body Rule }

func (a *api) rules() {
	register(a, call(http.MethodGet, "/api/v1/rules", "rules", "Every rule: enforced ones with source, grade and causes, the rest as not built yet"),
		func(context.Context, *struct{}) (*rulesOutput, error) {
			out := &rulesOutput{}
			for _, row := range rule.Rows(a.plane.Rules) {
				out.Body.Rules = append(out.Body.Rules, showRule(row))
			}
			return out, nil
		})
	op := call(http.MethodGet, "/api/v1/rules/{id...}", "rule", "One rule, by its row or by the id of a cause")
	op.Errors = append(op.Errors, http.StatusNotFound)
	register(a, op, func(_ context.Context, in *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*ruleOutput, error) {
		row, ok := rule.FindRow(a.plane.Rules, rule.ID(in.ID))
		if !ok {
			return nil, refuse(http.StatusNotFound, "no such rule; GET /api/v1/rules lists them")
		}
		return &ruleOutput{Body: showRule(row)}, nil
	})
}

func showRule(row rule.Row) Rule {
	r := Rule{ID: row.ID, Title: row.Title, Enforced: row.Enforced, Source: row.Source, Grade: row.Grade, Assumption: row.Assumption}
	for _, c := range row.Causes {
		r.Causes = append(r.Causes, Cause{ID: row.ID + "/" + rule.ID(c.ID), Why: c.Why, Fix: c.Fix})
	}
	return r
}
