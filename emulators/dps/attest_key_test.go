package dps_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// sign makes a token as an SDK does, for what the vectors do not cover.
func sign(t *testing.T, key, id string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key)
	require.NoError(t, err)
	return azure.FormatSAS(scope+"/registrations/"+id, raw, time.Unix(4102444800, 0), "registration")
}

// DPS-16 to DPS-18 and DPS-20: tokens that are accepted.
func TestKeysAccepted(t *testing.T) {
	t.Parallel()
	const reordered = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2FMeter-01&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&skn=registration&se=4102444800"
	const emptySKN = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2FMeter-01&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&se=4102444800&skn="
	const seFirst = "SharedAccessSignature se=4102444800&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&sr=0ne00FAKE01%2Fregistrations%2FMeter-01"
	w := newWorld(t)
	secondary := keyOf(32)
	w.enrollKeys(t, "Meter-01", individualKey, secondary)
	w.enrollGroupKey(t, "demo-symmetric", groupKey)
	stored, ok := w.Group(instance, "demo-symmetric")
	require.True(t, ok)
	groupSecondary := base64.StdEncoding.EncodeToString(azure.DeriveKey(unbase64(t, stored.Attestation.SymmetricKey.Secondary), "device-001"))
	for name, c := range map[string]dps.Caller{
		"DPS-16 V3, derived":         withToken("device-001", tokenV3),
		"DPS-17 V5, %2F":             withToken("Meter-01", tokenV5),
		"DPS-17 V6, %2f":             withToken("Meter-01", tokenV6),
		"DPS-18 node order":          withToken("Meter-01", reordered),
		"DPS-18 java, empty skn":     withToken("Meter-01", emptySKN),
		"DPS-18 no skn, se first":    withToken("Meter-01", seFirst),
		"DPS-20 secondary":           withToken("Meter-01", sign(t, secondary, "Meter-01")),
		"DPS-20 group's secondary":   withToken("device-001", sign(t, groupSecondary, "device-001")),
		"id in another case":         withToken("METER-01", sign(t, individualKey, "METER-01")),
		"another token beside chain": {Scope: scope, RegistrationID: "Meter-01", Token: tokenV5, Certificates: withChain("x", issue(t, "x", nil).cert).Certificates},
	} {
		t.Run(name, func(t *testing.T) {
			final, state := w.provision(t, c)
			require.Nil(t, final.Refusal)
			require.Equal(t, "assigned", state["status"])
		})
	}
	_, state := w.provision(t, withToken("Meter-01", tokenV5))
	require.Equal(t, map[string]any{}, state["symmetricKey"], "an individual enrollment has an empty attestation object")
	require.Equal(t, individualKey, w.hubs.last(t).Auth.PrimaryKey)
	require.Equal(t, secondary, w.hubs.last(t).Auth.SecondaryKey)
}

// DPS-15, DPS-16, DPS-19, DPS-26, DPS-45: keys that are refused.
func TestKeysRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollKeys(t, "Meter-01", individualKey, "")
	w.enrollGroupKey(t, "demo-symmetric", groupKey)
	notDecoded := azure.FormatSAS(scope+"/registrations/Meter-01", []byte(individualKey), time.Unix(4102444800, 0), "registration")
	otherText := withOtherSignature(t, individualKey, "0ne00FAKE01/registrations/Meter-01")
	stranger := withToken("device-001", tokenV3)
	stranger.Scope = "0ne00FAKE0l"
	for _, c := range []struct {
		name   string
		caller dps.Caller
		code   int
		rule   rule.ID
		detail string
		expect string
	}{
		{"wrong key", withToken("Meter-01", sign(t, keyOf(32), "Meter-01")), 401000, "DPS-15/signature", "", ""},
		{"wrong key, group", withToken("device-001", sign(t, keyOf(32), "device-001")), 401000, "DPS-15/signature", "", ""},
		{"V4, expired", withToken("device-001", tokenV4), 401000, "DPS-16/expired", "", ""},
		{"group key itself", withToken("device-001", sign(t, groupKey, "device-001")), 401000, "DPS-19/group-key", "", `"device-001"`},
		{"derived from the other case", withToken("DEVICE-001", sign(t, derivedKey, "DEVICE-001")), 401000, "DPS-15/signature", "another case", ""},
		{"key not decoded", withToken("Meter-01", notDecoded), 401000, "DPS-15/signature", "base64-decoded", ""},
		{"signed over the plain text", withToken("Meter-01", otherText), 401000, "DPS-15/signature", "signature was made over", ""},
		{"token of another device", withToken("device-002", tokenV3), 401000, "DPS-15/resource", "", "sr=0ne00FAKE01%2Fregistrations%2Fdevice-002"},
		{"hub token", withToken("Meter-01", azure.FormatSAS("h.azure-devices.net/devices/Meter-01", unbase64(t, individualKey), time.Unix(4102444800, 0), "")), 401000, "DPS-15/resource", "", ""},
		{"no token at all", withToken("device-001", "secret"), 401000, "DPS-15/token", "", ""},
		{"key as password", withToken("Meter-01", individualKey), 401000, "DPS-15/key", "", "SharedAccessSignature sr="},
		{"derived key as password", withToken("device-001", derivedKey+"\n"), 401000, "DPS-15/key", "", "SharedAccessSignature sr="},
		{"group key as password", withToken("device-001", groupKey), 401000, "DPS-15/key", "", "SharedAccessSignature sr="},
		{"blank as password", withToken("device-001", " "), 401000, "DPS-15/token", "", ""},
		{"another key as password", withToken("Meter-01", groupKey), 401000, "DPS-15/token", "", ""},
		{"cut token", withToken("Meter-01", "SharedAccessSignature sr=a"), 401000, "DPS-15/token", "", ""},
		{"certificate for a key enrollment", withChain("Meter-01", issue(t, "Meter-01", nil).cert), 401000, "DPS-15/attestation", "", ""},
		{"unknown scope", stranger, 401000, "DPS-26/scope", "", "0ne00FAKE01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusal, body := w.refused(t, c.caller, c.code, c.rule)
			require.Equal(t, "Unauthorized", body["message"])
			require.Contains(t, refusal.Detail, c.detail)
			require.Contains(t, refusal.Expected, c.expect)
			for _, text := range []string{refusal.Seen, refusal.Detail, refusal.Expected} {
				require.NotContains(t, text, "secret")
				require.NotContains(t, text, individualKey)
				require.NotContains(t, text, groupKey)
			}
		})
	}
}

// DPS-26: without an enrollment the answer is 404, and the nearest id is named.
func TestKeyWithoutEnrollment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollKeys(t, "Meter-01", individualKey, "")
	refusal, body := w.refused(t, withToken("Meter-O1", sign(t, individualKey, "Meter-O1")), 404201, "DPS-26/enrollment")
	require.Contains(t, refusal.Expected, "Meter-01")
	require.NotEmpty(t, body["message"])
	final, _ := w.provision(t, withToken("Meter-01", tokenV5))
	require.Nil(t, final.Refusal)
}

// DPS-16 is judged by the wall reading, which only skew moves.
func TestExpiryFollowsTheWallClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollKeys(t, "Meter-01", individualKey, "")
	token := azure.FormatSAS(scope+"/registrations/Meter-01", unbase64(t, individualKey), w.clock.Wall().Add(time.Hour), "registration")
	require.NoError(t, w.clock.Advance(2*time.Hour))
	w.provision(t, withToken("Meter-01", token))
	w.clock.Skew(2 * time.Hour)
	w.refused(t, withToken("Meter-01", token), 401000, "DPS-16/expired")
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return raw
}

// withOtherSignature signs signed, but writes the escaped resource into the token.
func withOtherSignature(t *testing.T, key, signed string) string {
	t.Helper()
	sig := base64.StdEncoding.EncodeToString(azure.Signature(unbase64(t, key), signed, "4102444800"))
	return "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2FMeter-01&sig=" + sig + "&se=4102444800&skn=registration"
}
