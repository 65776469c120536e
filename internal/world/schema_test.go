package world

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/require"
)

// rest uses the keys that whole has no place for, so that both are worlds.
const rest = `
base: none
azure:
  dps:
    - name: d1
      idScope: 0ne0000ABCD
      linkedHubs: [h1]
      pollLimit: true
      policies: [{name: p, rights: [ServiceConfig], primaryKey: MDEyMzQ1Njc4OWFiY2RlZg==, secondaryKey: MDEyMzQ1Njc4OWFiY2RlZg==}]
      enrollments:
        - registrationId: e1
          attestation: {tpm: {endorsementKey: AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEA, storageRootKey: AToAAQALAAMAcgAAAAYAgABDABAIAAAAAAABAA==}}
          allocationPolicy: custom
          customAllocationDefinition: {webhookUrl: "http://127.0.0.1:9/allocate", apiVersion: 2021-10-01}
          optionalDeviceInformation: {floor: 2}
      groups:
        - name: g1
          attestation: {symmetricKey: {primaryKey: MDEyMzQ1Njc4OWFiY2RlZg==, secondaryKey: MDEyMzQ1Njc4OWFiY2RlZg==}}
          provisioningStatus: disabled
          allocationPolicy: custom
          customAllocationDefinition: {webhookUrl: "http://127.0.0.1:9/allocate", apiVersion: 2021-10-01}
          iotHubs: [h1]
          iotHubHostName: h1.azure-devices.net
          initialTwin: {tags: {a: 1}}
          reprovisionPolicy: {updateHubAssignment: false}
          capabilities: {iotEdge: false}
        - name: g2
          attestation: {x509: {primary: {pem: %[1]q}, secondary: {pem: %[1]q}}}
        - {name: g3, attestation: {x509: {primary: {pem: %[1]q}}}}
      certificates: [{name: c1, pem: %[1]q}]
  hubs:
    - name: h1
      throttle: S2
      faultProperties: false
      scenarios: true
      policies: [{name: p, rights: [RegistryRead], secondaryKey: MDEyMzQ1Njc4OWFiY2RlZg==}]
      devices:
        - {deviceId: mygateway, capabilities: {iotEdge: true}}
        - deviceId: leaf
          parent: mygateway
          initialTwin: {tags: {a: 1}, properties: {desired: {b: 2}}}
          authentication: {type: sas, symmetricKey: {primaryKey: MDEyMzQ1Njc4OWFiY2RlZg==, secondaryKey: MDEyMzQ1Njc4OWFiY2RlZg==}}
        - deviceId: pinned
          authentication: {type: selfSigned, x509Thumbprint: {primaryThumbprint: AABBCCDDEEFF00112233445566778899AABBCCDD, secondaryThumbprint: AABBCCDDEEFF00112233445566778899AABBCCDE}}
mindsphere:
  tenants:
    - {name: t1, region: private, host: mqtt.plant.test, provisioning: 1s, rateLimits: true, eventTypes: [t1.Alarm], certificates: [{name: c1, pem: %[1]q}]}
    - {name: t2, region: eu2, idScope: 0ne0000ABCD, hub: h1}
iotda:
  instances:
    - name: i1
      scenarios: true
      products:
        - productId: p1
          services:
            - serviceId: s1
              commands: [{name: go, paras: [{name: x, dataType: int, required: true, min: 0, max: 9, step: 1, unit: s, description: D}, {name: y, dataType: enum, enum: [a], maxLength: 1}]}]
      forwarding: [{id: f1, resource: device.property, event: report, select: notify_data.body, where: "notify_data.header.product_id = 'p1'"}]
edge:
  gateways:
    - hostname: mygateway.contoso.com
      aliases: [edge.localhost]
      hub: h1
      deviceId: mygateway
      authenticationMode: CloudAndScope
      maxClients: 7
      queueMessages: 8
      queueBytes: 9
      trustBundle: [{name: plant, ca: demo-ca}, {name: pem, pem: %[1]q}]
      edgeHub: {desired: {schemaVersion: "1.1", routes: {}}}
      children: [{deviceId: child}]
faults:
  - {id: f1, match: {step: connect, platform: iothub, endpoint: h1.azure-devices.net, device: leaf}, action: {code: 3, delay: 1s}, probability: 0.5, count: 2, seed: 7}
  - {match: {step: dps.register}, action: {throttle: 2}}
  - {match: {step: dps.register}, action: {rounds: 3}}
  - {match: {step: token}, action: {expire: 5s}}
  - {match: {step: publish}, action: {close: true}}
  - {match: {step: publish}, action: {reset: true}}
  - {match: {step: publish}, action: {drop: true}}
  - {match: {step: publish}, action: {duplicate: true}}
  - {match: {step: publish}, action: {halfopen: true}}
  - {match: {step: publish}, action: {reorder: 1s}}
  - {match: {step: deliver}, action: {slow: 100}}
  - {match: {step: tls, host: "*.test"}, action: {servercert: expired}}
  - {match: {step: hub, endpoint: h1.azure-devices.net}, action: {failover: 30s}}
serve:
  profile: ci
  amqps-port: off
  amqp-port: off
  edge-port: 0
  admin-port: 0
  proxy-port: off
  server-ca: ca.pem
  server-ca-key: ca.key
  root-unconstrained: true
  log-level: debug
  keylog: keys.log
  allow-outbound: [hooks.test]
  adopt: true
  admin-token: boss
  viewer-token: guest
`

// files uses the keys that lead to files beside the world file; what they hold is in the world in their place.
const files = `
base: none
pki:
  cas: [{name: own, file: c.pem, key: {file: c.key}}]
azure:
  dps:
    - name: d1
      idScope: 0ne0000ABCD
      certificates: [{name: c1, file: c.pem}]
      enrollments: [{registrationId: e1, attestation: {x509: {primary: {file: c.pem}, secondary: {file: c.pem}}}}]
  hubs: [{name: h1}]
iotda:
  instances: [{name: i1, certificates: [{name: c1, file: c.pem}]}]
edge:
  gateways:
    - {hostname: mygateway.contoso.com, hub: h1, edgeCA: {file: c.pem, key: {file: c.key}}, trustBundle: [{name: own, file: c.pem}]}
`

// texts uses the keys that a world has in place of files.
const texts = `
base: none
pki:
  cas: [{name: own, pem: %[1]q, key: {pem: %[2]q}}]
azure:
  hubs: [{name: h1}]
edge:
  gateways: [{hostname: mygateway.contoso.com, hub: h1, edgeCA: {pem: %[1]q, key: {pem: %[2]q}}}]
`

// selfSigned is a CA that no world has: certificate and key as PEM texts.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Own"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// definitions are the mappings of a world file, as the schema has them.
func definitions(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	var schema jsonschema.Schema
	require.NoError(t, json.Unmarshal(Schema(), &schema))
	all := maps.Clone(schema.Defs)
	all["World"] = &schema
	return all
}

// use marks the keys of a mapping, and of those within it, as DEFINITION.KEY.
func use(t *testing.T, all map[string]*jsonschema.Schema, used map[string]bool, name string, value any) {
	t.Helper()
	mapping, _ := value.(map[string]any)
	for key, value := range mapping {
		property := all[name].Properties[key]
		require.NotNil(t, property, "the schema has no %s.%s", name, key)
		used[name+"."+key] = true
		elements := []any{value}
		if list, is := value.([]any); is && property.Items != nil {
			elements, property = list, property.Items
		}
		if inner, is := strings.CutPrefix(property.Ref, "#/$defs/"); is {
			for _, element := range elements {
				use(t, all, used, inner, element)
			}
		}
	}
}

// Every key of the schema is in a world that the reader takes and that is written back, and what these worlds use is
// in the schema: a key that is added needs its line here or in whole.
func TestEveryKeyIsUsed(t *testing.T) {
	t.Parallel()
	certificate, key := selfSigned(t)
	all, used := definitions(t), map[string]bool{}
	texts := fmt.Sprintf(texts, certificate, key)
	for _, text := range []string{fmt.Sprintf(whole, flexyPEM), fmt.Sprintf(rest, flexyPEM), texts, files} {
		var value any
		require.NoError(t, yaml.Unmarshal([]byte(text), &value))
		use(t, all, used, "World", value)
	}
	var known []string
	for name, definition := range all {
		for key := range definition.Properties {
			known = append(known, name+"."+key)
		}
	}
	require.ElementsMatch(t, known, slices.Collect(maps.Keys(used)))

	for _, text := range []string{fmt.Sprintf(rest, flexyPEM), texts} {
		w := parseOK(t, text)
		require.NoError(t, Validate(w))
		again := parseOK(t, string(Format(w)))
		again.origins, w.origins = nil, nil
		require.Equal(t, w, again)
	}
}

func TestFilesAreReadInTheirPlace(t *testing.T) {
	t.Parallel()
	certificate, key := selfSigned(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"c.pem": certificate, "c.key": key, "world.yaml": files} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	w, err := Load("", filepath.Join(dir, "world.yaml"))
	require.NoError(t, err)
	text := string(Format(w))
	require.NotContains(t, text, "file:")
	require.Equal(t, 7, strings.Count(text, "BEGIN CERTIFICATE"))
	require.Equal(t, 2, strings.Count(text, "BEGIN PRIVATE KEY"))
}
