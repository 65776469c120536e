//go:build vendor

package sdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

const edgeGateway = "mygateway.contoso.com"

func edgeRoot(t *testing.T, cloud *fakecloud.Cloud) []byte {
	t.Helper()
	text, err := cloud.EdgeRootPEM()
	require.NoError(t, err)
	return text
}

// Seed 004, "Connect a downstream device to an Azure IoT Edge gateway": the test command as printed.
// Mend: <CERTDIR> is the folder of the test.
func TestSeed004GatewayConnection(t *testing.T) {
	cloud := real(t)
	dir := t.TempDir()
	_, code := shell(t, dir, "mkdir certs")
	require.Zero(t, code)
	writeTo(t, dir, "certs/azure-iot-test-only.root.ca.cert.pem", edgeRoot(t, cloud))
	out, code := shell(t, dir, `openssl s_client -connect mygateway.contoso.com:8883 -CAfile ./certs/azure-iot-test-only.root.ca.cert.pem -showcerts </dev/null`)
	require.Zero(t, code)
	require.Contains(t, out, "Verify return code: 0 (ok)")
	for _, name := range []string{"s:CN = mygateway.contoso.com", "s:CN = mygateway.ca", "s:CN = Azure_IoT_Hub_Intermediate_Cert_Test_Only"} {
		require.Contains(t, out, name)
	}
	out, _ = shell(t, dir, `openssl s_client -connect mygateway.contoso.com:8883 </dev/null`)
	require.Contains(t, out, "Verify return code: 20 (unable to get local issuer certificate)")
	out, _ = shell(t, dir, `openssl s_client -connect mygateway.contoso.com:8883 -CAfile certs/azure-iot-test-only.root.ca.cert.pem -verify_hostname other.contoso.com </dev/null`)
	require.Contains(t, out, "Verify return code: 62 (hostname mismatch)")
}

// The SDKs behind a gateway, as the page's sample has it: GatewayHostName in the connection string, the root
// by setOptions (Node) or server_verification_cert (Python). The hub is away when the device connects and
// sends; what it sent arrives when the hub is back. Then messages, methods and twins go through.
func TestSeed004AzureSDKs(t *testing.T) {
	for _, p := range programs() {
		for _, credential := range []string{"key", "x509"} {
			t.Run(p.name+"/"+credential, func(t *testing.T) {
				cloud := real(t)
				require.NoError(t, cloud.PatchWorld(t.Context(), `
edge:
  gateways:
    - hostname: mygateway.contoso.com
      children:
        - deviceId: key
          authentication: {type: sas, symmetricKey: {primaryKey: `+demoKey+`}}
        - deviceId: x509
          authentication: {type: certificateAuthority}
`))
				root := write(t, "edge.pem", edgeRoot(t, cloud))
				env := with(sessionCredential(t, cloud, credential, ""), map[string]string{"GATEWAY_HOST": edgeGateway, "CA_FILE": root, "EDGE_CA": root})
				if p.name == "node" && credential == "x509" { // the SDK then looks at neither GatewayHostName nor ca
					env = with(env, map[string]string{"HUB_HOST": edgeGateway, "GATEWAY_HOST": "", "EDGE_CA": "", "NODE_EXTRA_CA_CERTS": root})
				}
				require.NoError(t, cloud.SetEdgeUpstream(edgeGateway, false))
				_, code := p.run(t, with(env, map[string]string{"SESSION": ""}))
				require.Zero(t, code)
				state, err := cloud.EdgeGateway(edgeGateway)
				require.NoError(t, err)
				require.Equal(t, 1, state.Queue.Messages)
				require.NoError(t, cloud.SetEdgeUpstream(edgeGateway, true))
				await(t, cloud, fakecloud.Filter{Platform: "iothub", Kind: "telemetry", Device: credential})

				s := &session{cloud: cloud, device: credential, messages: true, connected: true}
				s.running = p.start(t, env)
				s.await("connected")
				s.await("ready")
				s.use("first")
				require.NoError(t, cloud.SetEdgeUpstream(edgeGateway, false))
				require.NoError(t, cloud.SetEdgeUpstream(edgeGateway, true))
				s.use("second")
				s.leave()
				sent, _ := cloud.Telemetry(demoHub, credential, 0, 0)
				require.Len(t, sent, 3)
				require.JSONEq(t, `{"temperature":31}`, string(sent[0].Body))
				require.JSONEq(t, `{"temperature":32}`, string(sent[2].Body))
				require.Equal(t, "downstream", sent[0].System["edgeHubOriginInterface"])
			})
		}
	}
}
