package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/pki"
)

// edgeCommand writes the chain that the gateways present.
func (p *pkiTool) edgeCommand() *cobra.Command {
	out, key := "", string(pki.RSA2048)
	cmd := &cobra.Command{
		Use:   "edge [DEVICE]",
		Short: "Write the IoT Edge test chain under the names of certGen.sh: root, intermediate, edge CA, keys",
		Long: `Writes the chain that the data directory's IoT Edge gateways present, under the names that the vendor's
certGen.sh gives its files: certs/azure-iot-test-only.root.ca.cert.pem, the intermediate, the edge CA of the
edge device with its full chain, and their keys in private. What is missing is made. DEVICE is the id of the
edge device (default mygateway); the keys are not encrypted.`,
		Example: `  fakecloud pki edge --out .
  fakecloud pki edge plant-gateway --out /tmp/edge`,
		Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			device := "mygateway"
			if len(args) > 0 {
				device = args[0]
			}
			if err := oneOf("key", key, string(pki.RSA2048), string(pki.ECDSA)); err != nil {
				return err
			}
			cas, err := p.open()
			if err != nil {
				return err
			}
			files, err := cas.Edge(pki.KeyType(key)).Files(device)
			if err != nil {
				return pkiError(err)
			}
			if out == "" {
				out = filepath.Join(*p.data, "edge")
			}
			for _, f := range files {
				if err := writeEdgeFile(filepath.Join(out, f.Name), f); err != nil {
					return err
				}
				fmt.Fprintln(p.out, filepath.Join(out, f.Name))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder for certs and private (default edge in the data directory)")
	cmd.Flags().StringVar(&key, "key", key, "rsa2048 or ecdsa, for what is made")
	return cmd
}

func writeEdgeFile(path string, f pki.EdgeFile) error {
	mode, folder := os.FileMode(0o644), os.FileMode(0o755)
	if f.Secret {
		mode, folder = 0o600, 0o700
	}
	if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
		return err
	}
	return os.WriteFile(path, f.Data, mode)
}
