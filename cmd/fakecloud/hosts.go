package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
)

// Marks around the lines in a hosts file, so that --remove finds them.
const (
	hostsBegin = "# fakecloud begin"
	hostsEnd   = "# fakecloud end"
)

// image is the container image that the printed snippets use.
const image = "fakecloud"

func (a *app) hostsCommand() *cobra.Command {
	var format, address string
	var remove bool
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "Print the lines that point the vendors' names here",
		Example: `  fakecloud hosts | sudo tee -a /etc/hosts
  fakecloud hosts --remove | sudo sh
  fakecloud hosts --format compose
  fakecloud hosts --format k8s --address 10.96.0.20`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, "hosts", "compose", "github", "gitlab", "k8s"); err != nil {
				return err
			}
			if remove {
				return a.removeHosts(format)
			}
			if format == "k8s" && address == "" {
				return usagef("--format k8s wants --address, the cluster IP of fakecloud's service (kubectl get service)")
			}
			if address == "" {
				address = "127.0.0.1"
			}
			if _, err := netip.ParseAddr(address); err != nil {
				return usagef("--address wants an IP address such as 192.168.1.20, not %q", address)
			}
			i, err := a.instance(cmd.Context())
			if err != nil {
				return err
			}
			if !i.running {
				fmt.Fprintln(a.err, "note: no instance runs; these are the names of the default world")
			}
			fmt.Fprint(a.out, hostLines(format, address, i.names))
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "hosts", "hosts, compose, github, gitlab or k8s")
	offer(cmd, "format", "hosts", "compose", "github", "gitlab", "k8s")
	cmd.Flags().StringVar(&address, "address", "", "where fakecloud is (default 127.0.0.1)")
	cmd.Flags().BoolVar(&remove, "remove", false, "print the command that takes the lines out again")
	return cmd
}

func (a *app) removeHosts(format string) error {
	if format != "hosts" {
		return usagef("--remove is for hosts files; what --format %s prints goes with the file that you put it in", format)
	}
	fmt.Fprintf(a.out, "sed -i.fakecloud-backup '/^%s$/,/^%s$/d' /etc/hosts\n", hostsBegin, hostsEnd)
	return nil
}

// hostLines writes names in one of the formats.
func hostLines(format, address string, names []string) string {
	var b strings.Builder
	switch format {
	case "compose":
		b.WriteString("# Other services of this file reach fakecloud by the vendors' names.\nservices:\n  fakecloud:\n    image: " + image + "\n    networks:\n      default:\n        aliases:\n")
		list(&b, "          - ", names)
	case "github":
		githubLines(&b, address, names)
	case "gitlab":
		b.WriteString("# .gitlab-ci.yml: a job with the Docker executor reaches fakecloud by the vendors' names.\nservices:\n  - name: " + image + "\n    alias: " +
			strings.Join(append([]string{"fakecloud"}, names...), ",") + "\n")
	case "k8s":
		b.WriteString("# In the pod template of the clients.\nspec:\n  hostAliases:\n    - ip: \"" + address + "\"\n      hostnames:\n")
		list(&b, "        - ", names)
	default:
		b.WriteString(hostsBegin + "\n")
		list(&b, address+" ", names)
		b.WriteString(hostsEnd + "\n")
	}
	return b.String()
}

func githubLines(b *strings.Builder, address string, names []string) {
	b.WriteString(`# Steps that run on the runner itself, fakecloud's ports published on it:
steps:
  - name: point the vendors' names at fakecloud
    run: |
      sudo tee -a /etc/hosts <<'EOF'
`)
	list(b, "      "+address+" ", names)
	b.WriteString("      EOF\n# Jobs that run in a container:\nservices:\n  fakecloud:\n    image: " + image + "\n    options: >-\n")
	list(b, "      --network-alias ", names)
}

func list(b *strings.Builder, prefix string, names []string) {
	for _, name := range names {
		b.WriteString(prefix + name + "\n")
	}
}
