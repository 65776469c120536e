package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) trustCommand() *cobra.Command {
	f := &envFlags{}
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Print the one line that makes an SDK trust the server root",
		Example: `  fakecloud trust --for python
  fakecloud trust --for mosquitto --ca-file fakecloud-ca.pem`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.checkTarget(); err != nil {
				return err
			}
			i, err := a.instance(cmd.Context())
			if err != nil {
				return err
			}
			root, err := a.serverRoot(i, f)
			if err != nil {
				return err
			}
			if !i.running {
				fmt.Fprintln(a.err, "note: no instance runs; the server root is made when one first starts")
			}
			fmt.Fprint(a.out, trustLines(f.target, root))
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

// trustStore is the Java trust store beside the root.
func trustStore(root string) string {
	return strings.TrimSuffix(root, filepath.Ext(root)) + ".p12"
}

// trustLines say how a target is made to trust the root: what to run or write, with remarks as comments.
func trustLines(target, root string) string {
	quoted := quoteShell(root)
	switch target {
	case "python":
		return "export SSL_CERT_FILE=" + quoted + `
# or in code, for DPS and IoT Hub clients alike:
#   server_verification_cert=open(` + quoteJSON(root) + ").read()\n"
	case "node":
		return "export NODE_EXTRA_CA_CERTS=" + quoted + `
# or in code, for IoT Hub clients before open() (the provisioning transports have no such option):
#   client.setOptions({ca: fs.readFileSync(` + quoteJSON(root) + ", \"utf8\")})\n"
	case "java":
		store := trustStore(root)
		return "rm -f " + quoteShell(store) + "\nkeytool -importcert -noprompt -alias fakecloud -storetype PKCS12 -storepass changeit -file " + quoted + " -keystore " + quoteShell(store) + `
export JAVA_TOOL_OPTIONS=` + quoteShell("-Djavax.net.ssl.trustStore="+store+" -Djavax.net.ssl.trustStorePassword=changeit") + "\n"
	case "dotnet":
		return "export SSL_CERT_FILE=" + quoted + `   # Linux
# Windows: certutil -addstore -user Root ` + quoted + `
# or in code: MqttTransportSettings.RemoteCertificateValidationCallback
`
	case "c":
		return `/* root is the text of ` + root + ` */
IoTHubDeviceClient_LL_SetOption(client, OPTION_TRUSTED_CERT, root);
Prov_Device_LL_SetOption(provisioning, OPTION_TRUSTED_CERT, root);
`
	case "az":
		return "export SSL_CERT_FILE=" + quoted + " REQUESTS_CA_BUNDLE=" + quoted + "\n"
	case "huawei":
		return huaweiTrust(root)
	case "mosquitto":
		return "--cafile " + quoted + "\n"
	default: // github
		return "sudo cp " + quoted + " /usr/local/share/ca-certificates/fakecloud.crt && sudo update-ca-certificates\n"
	}
}
