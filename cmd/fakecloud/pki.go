package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fakecloud/fakecloud/internal/pki"
)

// pkiCommand works on a data directory; an instance that runs on the same one sees what it makes at once.
func (a *app) pkiCommand() *cobra.Command {
	data := a.env("FAKECLOUD_DATA")
	if data == "" {
		data = "fakecloud-data"
	}
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make roots, device CAs, device certificates and chains, also broken ones on purpose",
		Long: "Makes and shows the certificates of a data directory. No instance has to run; one that runs on the same " +
			"directory sees new device CAs at once. The CA demo-ca is always there and trusted by the default world.",
		Example: `  fakecloud pki device dev1
  fakecloud pki device mydevice001 --key rsa2048 --format pfx --password 12345678
  fakecloud pki ca plant && fakecloud pki proof 75B86466DA34D2B0 --ca plant
  fakecloud pki broken expired --cn dev1`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&data, "data", data, "data directory (env FAKECLOUD_DATA)")
	p := &pkiTool{app: a, data: &data}
	cmd.AddCommand(p.rootCommand(), p.caCommand(), p.deviceCommand(), p.chainCommand(), p.proofCommand(),
		p.brokenCommand(), p.edgeCommand(), p.listCommand(), p.thumbprintCommand())
	return cmd
}

// pkiTool is what the subcommands share.
type pkiTool struct {
	*app
	data *string
}

func (p *pkiTool) options() pki.Options {
	log := slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return pki.Options{Dir: *p.data, ServerKey: pki.ServerECDSA, Log: log}
}

// open opens the device CAs; the server root is left to the instance, whose world decides its names.
func (p *pkiTool) open() (*pki.DeviceCAs, error) { return pki.OpenDeviceCAs(p.options()) }

// pkiError makes errors of the caller's values wrong usage.
func pkiError(err error) error {
	if errors.Is(err, pki.ErrRequest) || errors.Is(err, pki.ErrNoCA) {
		return usagef("%w", err)
	}
	return err
}

func (p *pkiTool) rootCommand() *cobra.Command {
	var out string
	var domains []string
	var unconstrained, force bool
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Show the server root, which clients are to trust, and make it where it is missing",
		Example: `  fakecloud pki root
  fakecloud pki root --out - > root.pem
  fakecloud pki root --domain contoso.com`,
		Args: positional(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			o := p.options()
			o.Domains, o.RootUnconstrained = domains, unconstrained
			authority, err := pki.Open(o)
			if err != nil {
				return pkiError(err)
			}
			defer func() { _ = authority.Close() }() // it never fails: no server key was asked for
			if out == "-" {
				_, err := p.out.Write(authority.RootPEM())
				return err
			}
			file := authority.RootFile()
			if out != "" {
				if err := writeFiles("", force, outFile{name: out, data: authority.RootPEM()}); err != nil {
					return err
				}
				file = out
			}
			return p.showRoot(authority, file)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the certificate to this file; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file")
	cmd.Flags().StringArrayVar(&domains, "domain", nil, "further domain that a new root may certify (repeatable)")
	cmd.Flags().BoolVar(&unconstrained, "root-unconstrained", false, "make a new root without name constraints")
	return cmd
}

func (p *pkiTool) showRoot(authority *pki.Authority, file string) error {
	root := authority.Root()
	_, sha256 := pki.Thumbprints(root)
	scope := "any name: it has no name constraints"
	if names := root.PermittedDNSDomains; len(names) > 0 {
		scope = strings.Join(names, ", ") + ", and private addresses"
	}
	fmt.Fprintf(p.out, "%s\n  subject  %s\n  until    %s\n  SHA-256  %s\n  for      %s\n\nNext, with fakecloud serve running:\n  %s\n",
		file, pki.Name(root.Subject), day(root.NotAfter), sha256, scope,
		"openssl s_client -connect localhost:8883 -servername localhost -CAfile "+quoteShell(file)+" -verify_return_error </dev/null")
	return nil
}

func (p *pkiTool) caCommand() *cobra.Command {
	var r pki.CARequest
	var key, importCert, importKey string
	var days int
	cmd := &cobra.Command{
		Use:   "ca NAME",
		Short: "Make a device CA, or import one of your own",
		Example: `  fakecloud pki ca plant
  fakecloud pki ca line1 --parent plant
  fakecloud pki ca old --key rsa2048 --v1
  fakecloud pki ca camexia --import camexia.pem --import-key camexia.key`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKey(key); err != nil {
				return err
			}
			to, err := until(cmd.Flags(), days)
			if err != nil {
				return err
			}
			switch {
			case importKey != "" && importCert == "":
				return usagef("--import-key needs --import with the CA's certificate")
			case importCert != "" && (r.Parent != "" || r.X509v1 || r.CommonName != "" || !to.IsZero()):
				return usagef("--import takes a CA as it is: --cn, --days, --parent and --v1 are for one that is made")
			}
			cas, err := p.open()
			if err != nil {
				return err
			}
			r.Name, r.Key, r.NotAfter = args[0], pki.KeyType(key), to
			ca, err := makeOrImport(cas, r, importCert, importKey)
			if err != nil {
				return pkiError(err)
			}
			fmt.Fprintf(p.out, "device CA %s: %s, until %s\n  %s\n", ca.Name, pki.Name(ca.Certificate.Subject), day(ca.Certificate.NotAfter), ca.File)
			next := fmt.Sprintf("fakecloud pki device dev1 --ca %s%s\n  fakecloud add ca %s --to dps/fakecloud-dps\n  fakecloud add group %s --ca %s   (what it signs may then provision)",
				ca.Name, p.dataFlag(), quoteShell(ca.File), ca.Name, ca.Name)
			if !ca.CanIssue() {
				next = fmt.Sprintf("fakecloud pki ca %s --import %s --import-key KEYFILE%s   (to issue with it)", ca.Name, quoteShell(importCert), p.dataFlag())
			}
			fmt.Fprintf(p.out, "\nNext:\n  %s\n", next)
			return nil
		},
	}
	fs := cmd.Flags()
	keyFlag(fs, &key)
	fs.IntVar(&days, "days", 0, "validity in days from now (default ten years)")
	fs.StringVar(&r.CommonName, "cn", "", "common name (default NAME)")
	fs.StringVar(&r.Parent, "parent", "", "device CA that issues it (default: self-signed)")
	fs.BoolVar(&r.X509v1, "v1", false, "X.509 v1, without extensions")
	fs.StringVar(&importCert, "import", "", "PEM file of your own CA's certificate")
	fs.StringVar(&importKey, "import-key", "", "PEM file of its key; without it the CA verifies devices and issues none")
	return cmd
}

func makeOrImport(cas *pki.DeviceCAs, r pki.CARequest, certFile, keyFile string) (pki.CA, error) {
	if certFile == "" {
		return cas.CreateCA(r)
	}
	cert, err := readFile("--import", certFile)
	if err != nil {
		return pki.CA{}, err
	}
	var key []byte
	if keyFile != "" {
		if key, err = readFile("--import-key", keyFile); err != nil {
			return pki.CA{}, err
		}
	}
	return cas.ImportCA(r.Name, cert, key)
}

func (p *pkiTool) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the server root and the device CAs",
		Example: "  fakecloud pki list",
		Args:    positional(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cas, err := p.open()
			if err != nil {
				return err
			}
			all, err := cas.CAs()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSUBJECT\tISSUER\tUNTIL\tKEY\tSHA-256")
			for _, ca := range all {
				_, sha256 := pki.Thumbprints(ca.Certificate)
				issuer, key := "self", "yes"
				if !bytes.Equal(ca.Certificate.RawIssuer, ca.Certificate.RawSubject) {
					issuer = pki.Name(ca.Certificate.Issuer)
				}
				if !ca.CanIssue() {
					key = "no"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", ca.Name, pki.Name(ca.Certificate.Subject), issuer, day(ca.Certificate.NotAfter), key, sha256)
			}
			return w.Flush()
		},
	}
}

func (p *pkiTool) thumbprintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "thumbprint FILE",
		Short: "Print the thumbprints of the certificates in a file, as IoT Hub and IoTDA register them",
		Example: `  fakecloud pki thumbprint FlexySelfCertificate.crt
  openssl s_client -connect localhost:8883 </dev/null | fakecloud pki thumbprint -`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := p.given(args[0])
			if err != nil {
				return err
			}
			certs, err := pki.ParseCertificates(data)
			if err != nil {
				return usagef("FILE: %s: %w", args[0], err)
			}
			for _, c := range certs {
				sha1, sha256 := pki.Thumbprints(c)
				fmt.Fprintf(p.out, "%s\n  SHA-1    %s\n  SHA-256  %s\n", pki.Name(c.Subject), sha1, sha256)
			}
			return nil
		},
	}
}

// given reads a file, or standard input for -.
func (p *pkiTool) given(name string) ([]byte, error) {
	if name != "-" {
		return readFile("FILE", name)
	}
	data, err := io.ReadAll(io.LimitReader(p.in, 2<<20))
	if err != nil {
		return nil, usagef("standard input: %w", err)
	}
	return data, nil
}

// dataFlag repeats --data in a line to copy where it is not the default.
func (p *pkiTool) dataFlag() string {
	if *p.data == "fakecloud-data" {
		return ""
	}
	return " --data " + quoteShell(*p.data)
}

func keyFlag(fs *pflag.FlagSet, key *string) {
	fs.StringVar(key, "key", string(pki.ECDSA), "key to make: ecdsa, or rsa2048 as the vendors' openssl commands make")
}

func checkKey(key string) error { return oneOf("key", key, string(pki.ECDSA), string(pki.RSA2048)) }

// until turns --days into an end; without it the end is the default of what is made.
func until(fs *pflag.FlagSet, days int) (time.Time, error) {
	switch {
	case !fs.Changed("days"):
		return time.Time{}, nil
	case days < 1 || days > 36500:
		return time.Time{}, usagef("--days %d: it is 1 to 36500; for an expired certificate see fakecloud pki broken expired", days)
	default:
		return time.Now().AddDate(0, 0, days), nil
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
