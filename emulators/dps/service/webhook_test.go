package service_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/dps/service"
)

// function stands for the server of a webhook.
type function struct {
	status int
	answer string
	err    error
	url    string
	body   string
}

func (f *function) Call(_ context.Context, url string, body []byte) (int, []byte, error) {
	f.url, f.body = url, string(body)
	return f.status, []byte(f.answer), f.err
}

// The request of the vendor's page, with our times.
func TestWebhookRequest(t *testing.T) {
	t.Parallel()
	made := time.Date(2022, 7, 5, 21, 27, 16, 812323500, time.UTC)
	f := &function{status: 200, answer: `{"iotHubHostName":"toasters.azure-devices.net","initialTwin":{"tags":{"deviceType":"toaster"}},"payload":{"a":[1]}}`}
	group := dps.Group{ID: "contoso-custom-allocated-devices", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: ownerKey}},
		Terms: dps.Terms{AllocationPolicy: dps.Custom, IoTHubs: []string{"toasters.azure-devices.net", "heatpumps.azure-devices.net"}, ETag: "13003fea-0000-0300-0000-62d1d5e50000",
			Created: made, LastUpdated: made, ReprovisionPolicy: &dps.ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true},
			CustomAllocation: &dps.CustomAllocation{WebhookURL: "https://function-app-3.azurewebsites.net/api/HttpTrigger1?code=geheim", APIVersion: "2021-10-01"}}}
	request := dps.AllocationRequest{URL: group.CustomAllocation.WebhookURL, Group: &group, RegistrationID: "breakroom499-contoso-tstrsd-007", Attestation: "symmetricKey",
		CurrentHub: "toasters.azure-devices.net", CurrentDeviceID: "tstrsd-007", Payload: json.RawMessage(`{"model":5}`), LinkedHubs: group.IoTHubs}
	answer, err := service.Webhook{Caller: f}.Ask(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, dps.AllocationAnswer{Status: 200, Hub: "toasters.azure-devices.net", InitialTwin: json.RawMessage(`{"tags":{"deviceType":"toaster"}}`), Payload: json.RawMessage(`{"a":[1]}`)}, answer)
	require.Equal(t, request.URL, f.url, "the function key goes along")
	require.JSONEq(t, `{"enrollmentGroup":{"enrollmentGroupId":"contoso-custom-allocated-devices","attestation":{"type":"symmetricKey"},"capabilities":{"iotEdge":false},
		"etag":"\"13003fea-0000-0300-0000-62d1d5e50000\"","provisioningStatus":"enabled","reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true},
		"createdDateTimeUtc":"2022-07-05T21:27:16.8123235Z","lastUpdatedDateTimeUtc":"2022-07-05T21:27:16.8123235Z","allocationPolicy":"custom",
		"iotHubs":["toasters.azure-devices.net","heatpumps.azure-devices.net"],
		"customAllocationDefinition":{"webhookUrl":"https://function-app-3.azurewebsites.net/api/HttpTrigger1?****","apiVersion":"2021-10-01"}},
		"deviceRuntimeContext":{"registrationId":"breakroom499-contoso-tstrsd-007","currentIotHubHostName":"toasters.azure-devices.net","currentDeviceId":"tstrsd-007","symmetricKey":{},"payload":{"model":5}},
		"linkedHubs":["toasters.azure-devices.net","heatpumps.azure-devices.net"]}`, f.body)
	require.NotContains(t, f.body, ownerKey)
	require.Equal(t, "https://function-app-3.azurewebsites.net/api/HttpTrigger1?code=geheim", group.CustomAllocation.WebhookURL)
}

func TestWebhookRequestOfCertificateAndTPM(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(10), Subject: pkix.Name{CommonName: "dev-2"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4102444800, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	f := &function{status: 500}
	ask := func(r dps.AllocationRequest) map[string]any {
		r.Enrollment = &dps.Enrollment{RegistrationID: "dev-2", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{}}}
		answer, err := service.Webhook{Caller: f}.Ask(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, dps.AllocationAnswer{Status: 500}, answer)
		var v struct {
			Device     map[string]any `json:"deviceRuntimeContext"`
			Individual map[string]any `json:"individualEnrollment"`
		}
		require.NoError(t, json.Unmarshal([]byte(f.body), &v))
		require.Equal(t, "dev-2", v.Individual["registrationId"])
		return v.Device
	}
	x := ask(dps.AllocationRequest{Leaf: leaf})["x509"].(map[string]any)
	require.Equal(t, "A", x["clientCertificates"].(map[string]any)["primary"].(map[string]any)["info"].(map[string]any)["serialNumber"])
	require.Equal(t, map[string]any{"endorsementKey": "e", "storageRootKey": "s"}, ask(dps.AllocationRequest{TPM: &dps.TPM{EndorsementKey: "e", StorageRootKey: "s"}})["tpm"])
}

func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	ask := func(f *function) (dps.AllocationAnswer, error) {
		return service.Webhook{Caller: f}.Ask(t.Context(), dps.AllocationRequest{URL: "http://localhost/", RegistrationID: "x"})
	}
	for _, bad := range []string{"", "[]", "5", `{"iotHubHostName":5}`, "<html>"} {
		_, err := ask(&function{status: 200, answer: bad})
		require.ErrorIs(t, err, dps.ErrAllocationAnswer, bad)
	}
	answer, err := ask(&function{status: 299, answer: `{"iotHubHostname":"h","initialTwin":null,"payload":null,"more":1}`})
	require.NoError(t, err)
	require.Equal(t, dps.AllocationAnswer{Status: 299, Hub: "h"}, answer)
	broken := errors.New("broken")
	_, err = ask(&function{err: broken})
	require.ErrorIs(t, err, broken)
}

func FuzzWebhookAnswer(f *testing.F) {
	f.Add(`{"iotHubHostName":"h","initialTwin":{},"payload":[1]}`)
	f.Add(`{`)
	f.Fuzz(func(t *testing.T, text string) {
		answer, err := service.Webhook{Caller: &function{status: 200, answer: text}}.Ask(t.Context(), dps.AllocationRequest{})
		if err != nil {
			require.ErrorIs(t, err, dps.ErrAllocationAnswer)
			return
		}
		require.True(t, answer.Payload == nil || json.Valid(answer.Payload))
	})
}
