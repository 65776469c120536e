package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The service side of the default world's DPS instance.
const (
	serviceDPS  = "fakecloud-dps.azure-devices-provisioning.net"
	dpsOwnerKey = "ZmFrZWNsb3VkLXRlc3Qta2V5LXByb3Zpc2lvbmluZ3NlcnZpY2Vvd25lci0x"
)

// newRegistrar is a client of the service API of DPS; host is a vendor's name, or 127.0.0.1 for the port itself.
func newRegistrar(t *testing.T, cloud *fakecloud.Cloud, host string) *backend {
	t.Helper()
	b := newBackend(t, cloud, host)
	b.token = sign(host, dpsOwnerKey, time.Now().Add(time.Hour).Unix(), "provisioningserviceowner")
	return b
}

// wantDPSError reads an error of the service API, and its rule in the journal.
func (b *backend) wantDPSError(cloud *fakecloud.Cloud, id rule.ID, code int, method, path, body string, headers ...string) {
	b.t.Helper()
	answer, v := b.do(method, path, body, headers...)
	require.Equal(b.t, code/1000, answer.StatusCode, v)
	require.EqualValues(b.t, code, v["errorCode"])
	require.Regexp(b.t, `^[0-9a-f]{8}-[0-9a-f]{4}-`, v["trackingId"])
	require.NotEmpty(b.t, v["message"])
	require.Regexp(b.t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`, v["timestampUtc"])
	refused(b.t, cloud, id)
}

// A back end enrols, a device registers, the back end reads what became of it: by the vendor's name and by
// the address.
func TestDPSServiceAndDevice(t *testing.T) {
	t.Parallel()
	for _, host := range []string{serviceDPS, "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			b := newRegistrar(t, cloud, host)
			answer, made := b.do("PUT", "/enrollments/meter-1", `{"registrationId":"meter-1","deviceId":"m1","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"`+demoKey+`"}},"initialTwin":{"tags":{"hall":3}}}`)
			require.Equal(t, 200, answer.StatusCode, made)
			shown := made["attestation"].(map[string]any)["symmetricKey"].(map[string]any)
			require.Equal(t, demoKey, shown["primaryKey"], "the answer to PUT shows the keys")
			require.NotEmpty(t, shown["secondaryKey"], "made")
			token := registrationToken(t, demoKey, idScope, "meter-1")
			r := provision(t, cloud, enrollee{id: "meter-1", token: &token})
			require.Equal(t, "m1", r.State.DeviceID)
			_, got := b.do("GET", "/enrollments/meter-1", "")
			require.Equal(t, map[string]any{"type": "symmetricKey"}, got["attestation"], "keys are hidden")
			state := got["registrationState"].(map[string]any)
			require.Equal(t, "assigned", state["status"])
			require.Equal(t, demoHub, state["assignedHub"])
			_, record := b.do("GET", "/registrations/meter-1", "")
			require.Equal(t, state, record)
			_, keys := b.do("POST", "/enrollments/meter-1/attestationmechanism", "")
			require.Equal(t, demoKey, keys["symmetricKey"].(map[string]any)["primaryKey"])
			rule.Proves(t, "DPS-40")

			member := "member-1"
			token = registrationToken(t, hmacKey(t, groupKey, member), idScope, member)
			provision(t, cloud, enrollee{id: member, token: &token})
			members := b.list("/registrations/demo-symmetric/query", `{"query":"SELECT *"}`)
			require.Len(t, members, 1)
			require.Equal(t, member, members[0]["registrationId"])

			answer, _ = b.do("DELETE", "/registrations/"+member, "", "If-Match", members[0]["etag"].(string))
			require.Equal(t, 204, answer.StatusCode)
			b.wantDPSError(cloud, "DPS-40/missing", 404202, "GET", "/registrations/"+member, "")
			b.wantDPSError(cloud, "DPS-41/etag", 412000, "DELETE", "/enrollments/meter-1", "", "If-Match", `"stale"`)
			b.wantDPSError(cloud, "DPS-41/exists", 409000, "PUT", "/enrollments/meter-1", `{"attestation":{"type":"symmetricKey"}}`)
			answer, _ = b.do("DELETE", "/enrollments/meter-1", "", "If-Match", "*")
			require.Equal(t, 204, answer.StatusCode)
			rule.Proves(t, "DPS-41")
			b.token = sign(host, demoKey, time.Now().Add(time.Hour).Unix(), "provisioningserviceowner")
			b.wantDPSError(cloud, "DPS-43/signature", 401002, "GET", "/enrollments/meter-1", "")
		})
	}
}

// list does a query and returns the rows.
func (b *backend) list(path, query string) []map[string]any {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), "POST", b.base+path+"?api-version=2021-10-01", strings.NewReader(query))
	require.NoError(b.t, err)
	request.Header.Set("Authorization", b.token)
	answer, err := b.http.Do(request)
	require.NoError(b.t, err)
	defer answer.Body.Close()
	require.Equal(b.t, 200, answer.StatusCode)
	var rows []map[string]any
	require.NoError(b.t, json.NewDecoder(answer.Body).Decode(&rows))
	return rows
}
