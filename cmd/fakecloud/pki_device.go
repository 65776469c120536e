package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fakecloud/fakecloud/internal/pki"
)

// issueFlags are the flags of all subcommands that write a device's certificate.
type issueFlags struct {
	ca, key, out, format, password string
	days                           int
	force                          bool
}

func (f *issueFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.out, "out", ".", "directory for the files")
	fs.StringVar(&f.format, "format", "pem", "pem, pfx (PKCS#12) or c (header file)")
	fs.StringVar(&f.password, "password", "", "password of the PFX")
	fs.BoolVar(&f.force, "force", false, "replace files that are there")
	fs.IntVar(&f.days, "days", 0, "validity in days from now (default 365)")
	keyFlag(fs, &f.key)
}

func (f *issueFlags) registerCA(fs *pflag.FlagSet) {
	fs.StringVar(&f.ca, "ca", "", "device CA that signs (default "+pki.DemoCA+")")
}

// request checks the flags and begins a request from them.
func (f *issueFlags) request(fs *pflag.FlagSet, commonName string) (pki.DeviceRequest, error) {
	if err := oneOf("format", f.format, "pem", "pfx", "c"); err != nil {
		return pki.DeviceRequest{}, err
	}
	if err := checkKey(f.key); err != nil {
		return pki.DeviceRequest{}, err
	}
	if f.password != "" && f.format != "pfx" {
		return pki.DeviceRequest{}, usagef("--password goes with --format pfx only: PEM files and C headers hold the key in the clear")
	}
	to, err := until(fs, f.days)
	return pki.DeviceRequest{CommonName: commonName, CA: f.ca, Key: pki.KeyType(f.key), NotAfter: to}, err
}

func (p *pkiTool) deviceCommand() *cobra.Command {
	f := &issueFlags{}
	var self, v1 bool
	cmd := &cobra.Command{
		Use:   "device CN",
		Short: "Make a device's key and certificate",
		Long: "Makes a key and a certificate whose common name is CN: the registration id for DPS, the device id for IoT Hub. " +
			"Written are {CN}.pem, {CN}_chain.pem (with its CAs, what a device presents) and {CN}.key, or {CN}.pfx, or {CN}.h.",
		Example: `  fakecloud pki device dev1
  fakecloud pki device mydevice001 --key rsa2048 --format pfx --password 12345678
  fakecloud pki device Flexy205Self --self --key rsa2048 --days 3650
  fakecloud pki device sensor7 --ca plant --format c --out firmware/`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.request(cmd.Flags(), args[0])
			if err != nil {
				return err
			}
			r.Self, r.X509v1 = self, v1
			cas, err := p.open()
			if err != nil {
				return err
			}
			issued, err := cas.IssueDevice(r)
			if err != nil {
				return pkiError(err)
			}
			return p.writeDevice(f, r, issued, p.nextForDevice(f, r))
		},
	}
	f.register(cmd.Flags())
	f.registerCA(cmd.Flags())
	cmd.Flags().BoolVar(&self, "self", false, "self-signed, for registration by thumbprint")
	cmd.Flags().BoolVar(&v1, "v1", false, "X.509 v1, as openssl x509 -req makes it without -extfile")
	return cmd
}

func (p *pkiTool) chainCommand() *cobra.Command {
	f := &issueFlags{}
	var depth int
	var device string
	cmd := &cobra.Command{
		Use:   "chain NAME",
		Short: "Make a root, intermediates below it and a device certificate at the end",
		Long:  "Makes the device CAs NAME-root, NAME-1 and so on, each issued by the one before, keeps those that are there, and issues a device certificate with the last.",
		Example: `  fakecloud pki chain plant
  fakecloud pki chain plant --depth 3 --device sensor7`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.request(cmd.Flags(), device)
			if err != nil {
				return err
			}
			cas, err := p.open()
			if err != nil {
				return err
			}
			chain, err := cas.CreateChain(args[0], depth, r.Key)
			if err != nil {
				return pkiError(err)
			}
			for _, ca := range chain {
				fmt.Fprintf(p.out, "device CA %s\n  %s\n", ca.Name, ca.File)
			}
			r.CA = chain[len(chain)-1].Name
			issued, err := cas.IssueDevice(r)
			if err != nil {
				return pkiError(err)
			}
			return p.writeDevice(f, r, issued, p.nextForDevice(f, r))
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().IntVar(&depth, "depth", 2, "number of CAs, the root included")
	cmd.Flags().StringVar(&device, "device", "device1", "common name of the device")
	return cmd
}

func (p *pkiTool) proofCommand() *cobra.Command {
	f := &issueFlags{}
	cmd := &cobra.Command{
		Use:   "proof CODE",
		Short: "Make the certificate that proves possession of a CA's key",
		Long:  "Makes a certificate whose common name is the platform's verification code, signed by the CA. Uploaded beside the CA, it makes the CA verified (DPS, IoT Hub, MindSphere, IoTDA).",
		Example: `  fakecloud pki proof 75B86466DA34D2B04C0C4C9557A119687ADAE7D4732BDDB3 --ca plant
  fakecloud pki proof 75B86466DA34D2B0 --ca plant --out upload/`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			cas, err := p.open()
			if err != nil {
				return err
			}
			issued, err := cas.Proof(f.ca, args[0])
			if err != nil {
				return pkiError(err)
			}
			ca := f.ca
			if ca == "" {
				ca = pki.DemoCA
			}
			file := outFile{name: ca + "_proof.pem", data: []byte(issued.Certificate)}
			if err := writeFiles(f.out, f.force, file); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "wrote %s\n  CN=%s, signed by %s\n\nNext: give it to the platform as the verification certificate of %s.\n",
				filepath.Join(f.out, file.name), args[0], ca, ca)
			return nil
		},
	}
	f.registerCA(cmd.Flags())
	cmd.Flags().StringVar(&f.out, "out", ".", "directory for the file")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace a file that is there")
	return cmd
}

func (p *pkiTool) brokenCommand() *cobra.Command {
	f := &issueFlags{}
	var device string
	var about strings.Builder
	var kinds []string
	for _, k := range pki.BrokenKinds() {
		kinds = append(kinds, k.Name)
		fmt.Fprintf(&about, "\n  %-16s %s", k.Name, k.About)
	}
	cmd := &cobra.Command{
		Use:   "broken KIND",
		Short: "Make a device certificate with one thing wrong, to see it refused",
		Long:  "Makes a certificate like fakecloud pki device, with one thing wrong. KIND is one of:\n" + about.String(),
		Example: `  fakecloud pki broken expired --cn dev1
  fakecloud pki broken wrong-ca --cn dev1 --ca plant`,
		Args:      positional(cobra.ExactArgs(1)),
		ValidArgs: kinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.request(cmd.Flags(), device)
			if err != nil {
				return err
			}
			cas, err := p.open()
			if err != nil {
				return err
			}
			issued, err := cas.Broken(args[0], r)
			if err != nil {
				return pkiError(err)
			}
			next := append(p.nextForDevice(f, r)[:1], "fakecloud explain "+quoteShell(device))
			return p.writeDevice(f, r, issued, next)
		},
	}
	f.register(cmd.Flags())
	f.registerCA(cmd.Flags())
	cmd.Flags().StringVar(&device, "cn", "device1", "common name of the device")
	return cmd
}

// writeDevice writes the files in the format that was asked for and says what to do with them.
func (p *pkiTool) writeDevice(f *issueFlags, r pki.DeviceRequest, issued pki.Issued, next []string) error {
	base := fileName(r.CommonName)
	var files []outFile
	switch f.format {
	case "pfx":
		pfx, err := issued.PFX(f.password)
		if err != nil {
			return pkiError(err)
		}
		files = []outFile{{base + ".pfx", pfx, "key, certificate and CAs", true}}
	case "c":
		files = []outFile{{base + ".h", issued.CHeader(p.serverRoot()), "certificate with CAs, and key, as C strings", true}}
	default:
		files = []outFile{
			{base + ".pem", []byte(issued.Certificate), "certificate", false},
			{base + "_chain.pem", []byte(issued.Chain), "certificate with its CAs: what the device presents", false},
			{base + ".key", []byte(issued.PrivateKey), "private key", true},
		}
	}
	if err := writeFiles(f.out, f.force, files...); err != nil {
		return err
	}
	widest := 0
	for _, file := range files {
		widest = max(widest, len(filepath.Join(f.out, file.name)))
	}
	for _, file := range files {
		fmt.Fprintf(p.out, "wrote %-*s  %s\n", widest, filepath.Join(f.out, file.name), file.about)
	}
	if issued.Leaf != nil {
		fmt.Fprintf(p.out, "  subject  %s\n  issuer   %s\n  valid    %s to %s\n", pki.Name(issued.Leaf.Subject), pki.Name(issued.Leaf.Issuer),
			day(issued.Leaf.NotBefore), day(issued.Leaf.NotAfter))
	}
	fmt.Fprintf(p.out, "  SHA-1    %s\n  SHA-256  %s\n\nNext, with fakecloud serve running:\n", issued.SHA1, issued.SHA256)
	for _, line := range next {
		fmt.Fprintf(p.out, "  %s\n", line)
	}
	return nil
}

// serverRoot is the server root of the data directory, nil before the first start.
func (p *pkiTool) serverRoot() []byte {
	root, err := os.ReadFile(filepath.Join(*p.data, "pki", "root.pem")) //nolint:gosec // the user's own directory
	if err != nil {
		return nil
	}
	return root
}

// nextForDevice returns the lines to copy: through DPS for demo-ca, which the default world's group
// trusts, else as a device of the hub by thumbprint; then a plain client.
func (p *pkiTool) nextForDevice(f *issueFlags, r pki.DeviceRequest) []string {
	base := filepath.Join(f.out, fileName(r.CommonName))
	switch f.format {
	case "pfx":
		return []string{fmt.Sprintf("new X509Certificate2(%q, %q)   // C#", base+".pfx", f.password)}
	case "c":
		return []string{fmt.Sprintf("#include %q", fileName(r.CommonName)+".h")}
	}
	certificate, key := quoteShell(base+"_chain.pem"), quoteShell(base+".key")
	first := "fakecloud add hub-device " + quoteShell(r.CommonName) + " --cert " + quoteShell(base+".pem")
	if !r.Self && (r.CA == "" || r.CA == pki.DemoCA) {
		first = "fakecloud device azure --id " + quoteShell(r.CommonName) + " --cert " + certificate + " --key-file " + key
	}
	return []string{first, fmt.Sprintf(`mosquitto_pub -h localhost -p 8883 --cafile %s --cert %s --key %s -i %s -u %s -q 1 -t %s -m '{"temperature":21.5}'`,
		quoteShell(filepath.Join(*p.data, "pki", "root.pem")), certificate, key, quoteShell(r.CommonName),
		quoteShell("fakecloud-hub.azure-devices.net/"+r.CommonName+"/?api-version=2021-04-12"),
		quoteShell("devices/"+r.CommonName+"/messages/events/"))}
}
