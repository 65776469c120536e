package world

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// whole and rest together use every key of the world file but file (TestEveryKeyIsUsed).
const whole = `
base: none
azure:
  dps:
    - name: d1
      idScope: 0ne0000ABCD
      allocationPolicy: static
      linkedHubs: [h1, h2.fakecloud.test]
      retryAfter: 90s
      rounds: 0
      certificates:
        - {name: c1, ca: plant-ca, verified: false}
        - name: c2
          pem: %[1]q
      enrollments:
        - registrationId: "007"
          deviceId: dev,7
          attestation: {x509: {primary: {pem: %[1]q}}}
          provisioningStatus: disabled
          allocationPolicy: hashed
          iotHubs: [h1]
          iotHubHostName: h1.azure-devices.net
          initialTwin: {tags: {a: {b: [1, 1.5, x, true, null, {c: d}]}, "true": "1"}, properties: {desired: {n: -5, empty: {}, big: 18446744073709551615}}}
          reprovisionPolicy: {updateHubAssignment: true, migrateDeviceData: false}
          capabilities: {iotEdge: true}
        - registrationId: 0x1F
          attestation: {symmetricKey: {}}
      groups:
        - name: g1
          attestation: {x509: {ca: c1, secondaryCa: C2}}
        - name: g2
          attestation: {x509: {primary: {pem: %[1]q}, secondary: {pem: %[1]q}}}
        - name: g3
          attestation: {symmetricKey: {primaryKey: MDEyMzQ1Njc4OWFiY2RlZg==}}
  hubs:
    - name: h1
      disableDeviceSAS: false
      disableModuleSAS: true
      policies: [{name: p, rights: [ServiceConnect], primaryKey: MDEyMzQ1Njc4OWFiY2RlZg==}]
      certificates: [{name: c1, ca: demo-ca}]
      devices:
        - deviceId: "#*?!'@$:=;"
          status: disabled
          statusReason: "it \"broke\"\ton Tuesday: \\ Ünïcode 🙂 \u0001"
          authentication: {certificate: {pem: %[1]q}, x509Thumbprint: {secondaryThumbprint: aabbccddeeff00112233445566778899aabbccdd}}
          modules:
            - {moduleId: $edgeAgent, authentication: {type: none}}
            - {moduleId: "null"}
        - {deviceId: 1e3, authentication: {type: certificateAuthority}}
    - {name: h2, host: H2.fakecloud.test}
iotda:
  instances:
    - name: i1
      region: eu-west-101
      projectId: 0123456789abcdef0123456789abcdef
      defaultSpace: space0
      stampTolerance: 0
      commandTimeout: 5s
      bootstrapAddress: "10.0.0.5:8883"
      strategies: [plant]
      scopes: [{id: scope1, secret: Z3JvdXBzZWNyZXQtMDE=}, {id: scope2}]
      accessKeys: [{access: AK1, secret: SK1}]
      spaces: [{id: space1, name: Plant}]
      templates:
        - {id: t1, name: T, description: d, body: {parameters: {"iotda::certificate::common_name": {type: String}}, resources: {device: {node_id: {ref: "iotda::certificate::common_name"}, product_id: p1}}}}
      certificates:
        - {name: c1, ca: plant-ca, verified: false, space: space1, template: t1}
        - {name: c2, pem: %[1]q}
      products:
        - productId: p1
          name: P
          space: space1
          deviceType: pump
          protocol: MQTT
          dataFormat: json
          manufacturer: M
          industry: I
          description: D
          services:
            - serviceId: s1
              serviceType: S
              option: Master
              description: D
              properties:
                - {name: a, method: RW, dataType: int, required: true, min: -1, max: 1.5, step: 0.5, unit: s, description: D}
                - {name: b, dataType: enum, enum: [on, "1"], maxLength: 3}
                - {name: c, dataType: string list}
              commands: [{name: go, paras: [{name: x, dataType: int}], responses: [{name: ok, paras: [{name: y, dataType: string}]}]}]
              events: [{type: alarm, paras: [{name: z, dataType: long}]}]
          topics: [{topic: up/x, operation: PUBLISH}]
      devices:
        - {deviceId: p1_gw, productId: p1, name: G, description: D, secret: "12345678", secondarySecret: abcd_1234, secureAccess: true, timeout: 60, frozen: true, tags: [{key: k, value: v}]}
        - {deviceId: p1_c, productId: p1, nodeId: c, gatewayId: p1_gw}
        - {deviceId: x, productId: p1, authType: CERTIFICATES, fingerprint: aabbccddeeff00112233445566778899aabbccdd, secondaryFingerprint: aabbccddeeff00112233445566778899aabbccde}
      policies:
        - {id: pol1, name: N, space: space1, statements: [{effect: DENY, actions: ["iotda:devices:publish"], resources: ["topic:a/*"]}], devices: [p1_gw], products: [p1]}
      forwarding:
        - {id: f1, name: N, resource: device.property, event: report, space: space1, active: false, actions: [{id: a1, url: "http://127.0.0.1:9/x"}]}
pki:
  cas:
    - {name: plant-ca, commonName: Plant CA}
    - name: own
      pem: %[1]q
serve:
  data: ./state
  ephemeral: true
  bind: 127.0.0.1
  admin-bind: "::1"
  lan: false
  advertise: [build-1, 10.0.0.5]
  mqtts-port: 0
  mqtt-port: off
  https-port: auto
  seed: 18446744073709551615
  server-key: ecdsa
  log-format: json
`

func wholeWorld(t *testing.T) *World {
	t.Helper()
	return parseOK(t, fmt.Sprintf(whole, flexyPEM))
}

func TestEveryKeyIsReadAndWrittenBack(t *testing.T) {
	t.Parallel()
	w := wholeWorld(t)
	require.NoError(t, Validate(w))
	e := w.Azure.DPS[0].Enrollments
	require.Equal(t, "007", e[0].RegistrationID)
	require.Equal(t, "0x1F", e[1].RegistrationID, "ids stay as they are written")
	tags, err := json.Marshal(e[0].InitialTwin)
	require.NoError(t, err)
	require.Contains(t, string(tags), `{"b":[1,1.5,"x",true,null,{"c":"d"}]}`)
	device := w.Azure.Hubs[0].Devices[0]
	require.Equal(t, "it \"broke\"\ton Tuesday: \\ Ünïcode 🙂 \u0001", device.StatusReason)
	require.Equal(t, &Authentication{Type: TypeSelfSigned, X509Thumbprint: &Thumbprint{
		PrimaryThumbprint: flexySHA256, SecondaryThumbprint: "AABBCCDDEEFF00112233445566778899AABBCCDD"}}, device.Authentication)
	require.Equal(t, "1e3", w.Azure.Hubs[0].Devices[1].DeviceID)
	require.Equal(t, "h2.fakecloud.test", w.Azure.Hubs[1].HostName())

	text := Format(w)
	again := parseOK(t, string(text))
	require.Equal(t, string(text), string(Format(again)))
	again.origins, w.origins = nil, nil
	require.Equal(t, w, again)
}
