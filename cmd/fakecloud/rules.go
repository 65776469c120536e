package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func (a *app) rulesCommand() *cobra.Command {
	var as string
	var enforced bool
	cmd := &cobra.Command{
		Use:   "rules [ID]",
		Short: "Every rule that is enforced, its source and grade, and those not built yet",
		Long: "Lists the rules of this version; no instance has to run. With an id, a row's (HUB-16) or a\n" +
			"cause's (HUB-16/cn) as the journal shows it, or a prefix (HUB): those, in full.",
		Example: "  fakecloud rules\n  fakecloud rules HUB-16\n  fakecloud rules DPS\n  fakecloud rules --enforced --as json",
		Args:    positional(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("as", as, "text", "json"); err != nil {
				return err
			}
			rows, full, err := chosenRows(args)
			if err != nil {
				return err
			}
			if enforced {
				rows = onlyEnforced(rows)
			}
			if as == "json" {
				return rulesJSON(a.out, rows)
			}
			rulesText(a.out, rows, full)
			return nil
		},
	}
	cmd.Flags().BoolVar(&enforced, "enforced", false, "without those not built yet")
	cmd.Flags().StringVar(&as, "as", "text", "text or json")
	return cmd
}

// chosenRows returns the rows that an argument names, and whether they are shown in full.
func chosenRows(args []string) (rows []rule.Row, full bool, err error) {
	all := rule.Rows(allRules())
	if len(args) == 0 {
		return all, false, nil
	}
	if row, ok := rule.FindRow(allRules(), rule.ID(args[0])); ok {
		return []rule.Row{row}, true, checkCause(args[0], row)
	}
	prefix := strings.ToUpper(strings.TrimSuffix(args[0], "-")) + "-"
	for _, row := range all {
		if strings.HasPrefix(string(row.ID), prefix) {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, false, noSuchRule(args[0], all)
	}
	return rows, true, nil
}

// checkCause finds an id that names a cause which its row has not.
func checkCause(id string, row rule.Row) error {
	_, cause, named := strings.Cut(id, "/")
	var causes []string
	for _, c := range row.Causes {
		causes = append(causes, c.ID)
	}
	if !named || !row.Enforced || slices.ContainsFunc(causes, func(c string) bool { return strings.EqualFold(c, cause) }) {
		return nil
	}
	return fmt.Errorf("no such rule: %s has no cause %q; it has %s%s", row.ID, cause, strings.Join(causes, ", "), meant(explain.Closest(cause, causes)))
}

// noSuchRule says where the rules are that an id was probably meant to be among.
func noSuchRule(id string, all []rule.Row) error {
	prefix, _, _ := strings.Cut(strings.ToUpper(id), "-")
	var prefixes []string
	for _, row := range all {
		if p, _, _ := strings.Cut(string(row.ID), "-"); !slices.Contains(prefixes, p) {
			prefixes = append(prefixes, p)
		}
	}
	if slices.Contains(prefixes, prefix) {
		return fmt.Errorf("no such rule: %q; `fakecloud rules %s` lists those of its kind", id, prefix)
	}
	return fmt.Errorf("no such rule: %q; their ids begin with %s%s", id, strings.Join(prefixes, ", "), meant(explain.Closest(prefix, prefixes)))
}

func onlyEnforced(rows []rule.Row) []rule.Row {
	var kept []rule.Row
	for _, row := range rows {
		if row.Enforced {
			kept = append(kept, row)
		}
	}
	return kept
}

func rulesText(w io.Writer, rows []rule.Row, full bool) {
	built := 0
	for _, row := range rows {
		grade := "not built yet"
		if row.Enforced {
			grade = string(row.Grade)
			built++
		}
		fmt.Fprintf(w, "%-8s %-13s  %s\n", row.ID, grade, row.Title)
		if !full || !row.Enforced {
			continue
		}
		fmt.Fprintf(w, "         source: %s\n", row.Source)
		if row.Assumption != "" {
			fmt.Fprintf(w, "         assumed: %s\n", row.Assumption)
		}
		for _, c := range row.Causes {
			fmt.Fprintf(w, "         %s/%s\n           why: %s\n           fix: %s\n", row.ID, c.ID, c.Why, c.Fix)
		}
	}
	if !full {
		fmt.Fprintf(w, "%d rules, %d enforced\n", len(rows), built)
	}
}

func rulesJSON(w io.Writer, rows []rule.Row) error {
	type cause struct {
		ID  rule.ID `json:"id"`
		Why string  `json:"why"`
		Fix string  `json:"fix"`
	}
	type shown struct {
		ID         rule.ID    `json:"id"`
		Title      string     `json:"title"`
		Enforced   bool       `json:"enforced"`
		Source     string     `json:"source,omitempty"`
		Grade      rule.Grade `json:"grade,omitempty"`
		Assumption string     `json:"assumption,omitempty"`
		Causes     []cause    `json:"causes,omitempty"`
	}
	list := make([]shown, 0, len(rows))
	for _, row := range rows {
		s := shown{ID: row.ID, Title: row.Title, Enforced: row.Enforced, Source: row.Source, Grade: row.Grade, Assumption: row.Assumption}
		for _, c := range row.Causes {
			s.Causes = append(s.Causes, cause{row.ID + "/" + rule.ID(c.ID), c.Why, c.Fix})
		}
		list = append(list, s)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(list)
}
