package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/explain"
)

func (a *app) explainCommand() *cobra.Command {
	var last bool
	var as string
	cmd := &cobra.Command{
		Use:   "explain [DEVICE | ADDRESS | \"ERROR TEXT\"]",
		Short: "Why was it refused: rule, seen, expected, fix, and what the device saw",
		Long: "Tells why a device was refused: the rule that was broken, what was seen, what was expected,\n" +
			"how to mend it, who says so, and what the device itself saw of it.\n\n" +
			"Without argument: the newest refusals. With an IP address: of clients there. With the text that the\n" +
			"client itself printed: what the text means, and which refusals show as that. Else: of that device.",
		Example: `  fakecloud explain
  fakecloud explain dev-01
  fakecloud explain 192.168.1.20
  fakecloud explain "Connection Refused: not authorised."
  fakecloud explain --last --as json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("as", as, "text", "json"); err != nil {
				return err
			}
			text := strings.Join(args, " ")
			if last && text != "" {
				return usagef("--last stands alone, without %s", "DEVICE, ADDRESS or error text")
			}
			return a.explain(cmd.Context(), text, last, as)
		},
	}
	cmd.Flags().BoolVar(&last, "last", false, "the newest refusal of any device")
	cmd.Flags().StringVar(&as, "as", "text", "text or json")
	return cmd
}

func (a *app) explain(ctx context.Context, text string, last bool, as string) error {
	query := url.Values{}
	if last {
		query.Set("last", "true")
	}
	if text != "" {
		q := explain.Guess(text)
		for name, value := range map[string]string{"device": q.Device, "address": q.Address, "error": q.Error} {
			if value != "" {
				query.Set(name, value)
			}
		}
	}
	body, err := a.adminBytes(ctx, adminRequest{Path: "/api/v1/explain", Query: query, Accept: "application/json"})
	if err != nil {
		return err
	}
	if as == "json" {
		_, err := a.out.Write(body)
		return err
	}
	var report explain.Report
	if err := json.Unmarshal(body, &report); err != nil {
		return fmt.Errorf("the instance's answer cannot be read: %w; are both of the same version?", err)
	}
	return explain.Text(a.out, report, a.colours(a.out))
}
