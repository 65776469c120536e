package e2e

import (
	"testing"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// A token for the device dev-01 of hub contoso.azure-devices.net with the demo key, until 2030: vector V1
// of the fact sheet, on which openssl and Python agree.
const v1Token = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000"

// contoso is the hub of the vectors.
const contoso = `
azure:
  hubs:
    - name: contoso
      devices:
        - deviceId: dev-01
          authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}
`

func TestHubAcceptsSASDevice(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(contoso))
	c := dial(t, cloud, via{name: "contoso.azure-devices.net"})
	send(t, c, rawmqtt.Connect{ClientID: "dev-01",
		Username: ptr("contoso.azure-devices.net/dev-01/?api-version=2021-04-12"), Password: ptr(v1Token)}.Bytes())
	wantConnack(t, c, 0)
	rule.Proves(t, "HUB-1")
}
