//go:build vendor

package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// dpsOwnerString is the default world's connection string of DPS's owner.
const dpsOwnerString = "HostName=fakecloud-dps.azure-devices-provisioning.net;SharedAccessKeyName=provisioningserviceowner;" +
	"SharedAccessKey=ZmFrZWNsb3VkLXRlc3Qta2V5LXByb3Zpc2lvbmluZ3NlcnZpY2Vvd25lci0x"

// The service SDK manages enrollments over HTTPS on 443.
func TestAzureProvisioningServiceSDK(t *testing.T) {
	cloud := real(t)
	const member = "js-member"
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	credential, err := azure.SymmetricKey(deviceKey(t, member))
	require.NoError(t, err)
	_, err = azure.Provision(t.Context(), azure.ProvisionConfig{IDScope: idScope, RegistrationID: member,
		Credential: credential, TLS: &tls.Config{RootCAs: roots}, Dial: cloud.DialContext})
	require.NoError(t, err)
	steps, code := program{"node", []string{"node", "node/dps_service.js"}}.run(t, with(trust(t, cloud), map[string]string{
		"PROVISIONING_CONNECTION_STRING": dpsOwnerString, "GROUP": "demo-symmetric", "MEMBER": member,
	}))
	require.Zero(t, code)
	wantSteps(t, []step{
		{Step: "create", Status: "enabled", Device: "js-device", Text: "symmetricKey 64"},
		{Step: "keys", Text: "64"},
		{Step: "create again", Status: "409000", Error: "DeviceAlreadyExistsError"},
		{Step: "update", Status: "disabled", Text: "true"},
		{Step: "update stale", Status: "412000", Error: "InvalidEtagError"},
		{Step: "unknown", Status: "404201", Error: "Error"},
		{Step: "bad", Status: "400000", Error: "ArgumentError"},
		{Step: "bulk", Status: "true"},
		{Step: "bulk again", Status: "false", Error: "409000", Text: "js-b1"},
		{Step: "query", Text: `[["js-b1","js-b2"],["js-b3","js-b4"],["js-enrollment"]]`},
		{Step: "query syntax", Status: "400000", Error: "ArgumentError"},
		{Step: "bulk delete", Status: "true"},
		{Step: "delete stale", Status: "412000", Error: "InvalidEtagError"},
		{Step: "deleted", Status: "404201", Error: "Error"},
		{Step: "group", Status: "static", Device: "js-group"},
		{Step: "group keys", Text: "64"},
		{Step: "groups", Text: `[["demo-symmetric"],["demo-x509"],["js-group"]]`},
		{Step: "group deleted", Status: "404202", Error: "Error"},
		{Step: "members", Text: `[["js-member"]]`},
		{Step: "registration", Status: "assigned", Device: member, Text: demoHub},
		{Step: "registration deleted", Status: "404202", Error: "Error"},
		{Step: "wrong key", Status: "401002", Error: "UnauthorizedError"},
	}, steps)
	rule.Proves(t, "DPS-40", "DPS-41", "DPS-42", "DPS-43")
}
