package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const dpsVersion = "?api-version=2021-06-01"

// askDPS asks the global endpoint for a device.
func askDPS(t *testing.T, cloud *fakecloud.Cloud, line, body string, header ...string) reply {
	t.Helper()
	return ask(t, cloud, via{name: globalDPS}, line, body, append([]string{"Content-Type: application/json; charset=utf-8"}, header...)...)
}

func registerLine(id string) string {
	return "PUT /" + idScope + "/registrations/" + id + "/register" + dpsVersion
}

// wantDPSError checks an error's body and header fields.
func wantDPSError(t *testing.T, r reply, status, code int) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, r.body)
	require.Equal(t, fmt.Sprint(code), r.Header.Get("x-ms-error-code"))
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	var e struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &e))
	require.Equal(t, code, e.ErrorCode)
	require.Equal(t, e.TrackingID, r.Header.Get("x-ms-request-id"))
	require.NotEmpty(t, e.Message)
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`, e.TimestampUTC)
}

// httpProvision registers and polls until the outcome is there; header has the credential.
func httpProvision(t *testing.T, cloud *fakecloud.Cloud, v via, id, body string, header ...string) (registration, string) {
	t.Helper()
	r := ask(t, cloud, v, registerLine(id), body, header...)
	require.Equal(t, 202, r.StatusCode, r.body)
	require.Equal(t, "3", r.Header.Get("retry-after"))
	require.Regexp(t, `max-age=31536000`, r.Header.Get("Strict-Transport-Security"))
	m := assigning.FindStringSubmatch(r.body)
	require.NotNil(t, m, r.body)
	require.True(t, strings.HasSuffix(r.Header.Get("Location"), "/"+idScope+"/registrations/"+id+"/operations/"+m[1]+dpsVersion), r.Header.Get("Location"))
	poll := "GET /" + idScope + "/registrations/" + id + "/operations/" + m[1] + dpsVersion
	lookup := "POST /" + idScope + "/registrations/" + id + dpsVersion
	r = ask(t, cloud, v, lookup, body, header...)
	require.Equal(t, 200, r.StatusCode, r.body)
	require.JSONEq(t, `{"registrationId":"`+id+`","status":"assigning"}`, r.body)
	r = ask(t, cloud, v, poll, "ignored", header...)
	require.Equal(t, 202, r.StatusCode, r.body)
	require.Equal(t, "3", r.Header.Get("retry-after"))
	r = ask(t, cloud, v, poll, "", header...)
	require.Equal(t, 200, r.StatusCode, r.body)
	require.Empty(t, r.Header.Get("retry-after"))
	var reg registration
	require.NoError(t, json.Unmarshal([]byte(r.body), &reg))
	state := ask(t, cloud, v, lookup, body, header...)
	require.Equal(t, 200, state.StatusCode, state.body)
	require.Contains(t, r.body, state.body, "the bare registrationState")
	return reg, r.body
}

func TestHTTPProvisioning(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	t.Run("key", func(t *testing.T) {
		token := registrationToken(t, hmacKey(t, groupKey, "http-key"), idScope, "http-key")
		r, body := httpProvision(t, cloud, via{name: globalDPS}, "http-key", `{"registrationId":"http-key"}`, "authorization: "+token)
		require.Equal(t, "assigned", r.Status, body)
		require.Equal(t, demoHub, r.State.AssignedHub)
		require.Equal(t, "demo-symmetric", r.State.SymmetricKey.EnrollmentGroupID)
		rule.Proves(t, "DPS-35")
	})
	t.Run("certificate", func(t *testing.T) {
		r, body := httpProvision(t, cloud, via{name: globalDPS, cert: device(t, cloud, "http-cert")}, "http-cert", "")
		require.Equal(t, "assigned", r.Status, body)
		require.NotNil(t, r.State.X509)
	})
	t.Run("by address", func(t *testing.T) {
		token := registrationToken(t, hmacKey(t, groupKey, "http-near"), idScope, "http-near")
		r, body := httpProvision(t, cloud, via{}, "http-near", "", "Authorization: "+token)
		require.Equal(t, "127.0.0.1", r.State.AssignedHub, body)
	})
}

func TestHTTPProvisioningRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line, body, credential string
		status, code                 int
		rule                         rule.ID
	}{
		{"unknown path", "PUT /" + idScope + "/registrations/d/enroll" + dpsVersion, "", "good", 404, 404000, "DPS-35/path"},
		{"nothing of the kind", "GET /hello" + dpsVersion, "", "good", 404, 404000, "DPS-35/path"},
		{"method", "POST /" + idScope + "/registrations/d/register" + dpsVersion, "", "good", 405, 405000, "DPS-35/method"},
		{"no api-version", "PUT /" + idScope + "/registrations/d/register", "", "good", 400, 400000, "DPS-35/api-version"},
		{"registration id", "PUT /" + idScope + "/registrations/d%20d/register" + dpsVersion, "", "good", 400, 400000, "DPS-35/registration-id"},
		{"never registered", "POST /" + idScope + "/registrations/d" + dpsVersion, "", "good", 404, 404201, "DPS-35/registration"},
		{"wrong key", registerLine("d"), "", "bad", 401, 401002, "DPS-15/signature"},
		{"no credential", registerLine("d"), "", "", 401, 401002, "DPS-15/token"},
		{"token of another device", registerLine("e"), "", "good", 401, 401002, "DPS-15/resource"},
		{"wrong key at a poll", "GET /" + idScope + "/registrations/d/operations/4.0.x" + dpsVersion, "", "bad", 401, 401002, "DPS-15/signature"},
		{"unknown scope", "PUT /0neFFFFFFFF/registrations/d/register" + dpsVersion, "", "good", 401, 401000, "DPS-26/scope"},
		{"bad body", registerLine("d"), "{", "good", 400, 400000, "DPS-11/json"},
		{"other id in the body", registerLine("d"), `{"registrationId":"e"}`, "good", 400, 400000, "DPS-11/registration-id"},
		{"too large", registerLine("d"), strings.Repeat(" ", 98305), "good", 400, 400000, "DPS-11/size"},
		{"unknown operation", "GET /" + idScope + "/registrations/d/operations/4.0.x" + dpsVersion, "", "good", 404, 404203, "DPS-14/operation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			var header []string
			switch c.credential {
			case "good":
				header = append(header, "Authorization: "+registrationToken(t, hmacKey(t, groupKey, "d"), idScope, "d"))
			case "bad":
				header = append(header, "Authorization: "+registrationToken(t, hmacKey(t, groupKey, "e"), idScope, "d"))
			}
			wantDPSError(t, askDPS(t, cloud, c.line, c.body, header...), c.status, c.code)
			refused(t, cloud, c.rule)
		})
	}
}

// tpm is a TPM's RSA key in memory, with its public area.
type tpm struct {
	*rsa.PrivateKey
	area []byte
}

func newTPM(t *testing.T) tpm {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	// RSA, SHA-256, attributes, no policy, AES-128-CFB, no scheme, 2048 bits, exponent 65537, modulus
	area := []byte{0, 1, 0, 0x0b, 0, 3, 4, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0}
	return tpm{key, append(area, key.N.FillBytes(make([]byte, 256))...)}
}

func (m tpm) public() string {
	return base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint16(nil, uint16(len(m.area))), m.area...))
}

// take cuts a part with its length before it off the front.
func take(t *testing.T, b *[]byte) []byte {
	t.Helper()
	n := int(binary.BigEndian.Uint16(*b))
	part := (*b)[2 : 2+n]
	*b = (*b)[2+n:]
	return part
}

// unwrap opens an outer wrap of TPM 2.0 part 1, section 22.
func (m tpm) unwrap(t *testing.T, label string, name, object, secret []byte) []byte {
	t.Helper()
	seed, err := rsa.DecryptOAEP(sha256.New(), nil, m.PrivateKey, secret, []byte(label+"\x00"))
	require.NoError(t, err)
	derive := func(text string) []byte {
		h := hmac.New(sha256.New, seed)
		h.Write([]byte("\x00\x00\x00\x01" + text))
		return h.Sum(nil)
	}
	sum := take(t, &object)
	h := hmac.New(sha256.New, derive("INTEGRITY\x00\x00\x00\x01\x00"))
	h.Write(append(append([]byte{}, object...), name...))
	require.Equal(t, h.Sum(nil), sum)
	return decrypt(t, derive("STORAGE\x00" + string(name) + "\x00\x00\x00\x80")[:16], object)
}

func decrypt(t *testing.T, key, text []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	plain := make([]byte, len(text))
	//lint:ignore SA1019 TPMs wrap in this mode and no other
	cipher.NewCFBDecrypter(block, make([]byte, 16)).XORKeyStream(plain, text)
	return plain
}

func named(area []byte) []byte {
	sum := sha256.Sum256(area)
	return append([]byte{0, 0x0b}, sum[:]...)
}

// activate gets the key out of an activation blob, as TPM2_ActivateCredential and TPM2_Import do.
func activate(t *testing.T, ek, srk tpm, blob string) (key string) {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(blob)
	require.NoError(t, err)
	credential, secret, duplicate, seed, area := take(t, &b), take(t, &b), take(t, &b), take(t, &b), take(t, &b)
	inner := ek.unwrap(t, "IDENTITY", named(srk.area), credential, secret)
	plain := decrypt(t, take(t, &inner), srk.unwrap(t, "DUPLICATE", named(area), duplicate, seed))
	take(t, &plain) // integrity
	sensitive := take(t, &plain)
	sensitive = sensitive[2:] // keyed hash
	take(t, &sensitive)       // no authorization
	take(t, &sensitive)       // seed
	return base64.StdEncoding.EncodeToString(take(t, &sensitive))
}

func TestHTTPTPM(t *testing.T) {
	t.Parallel()
	ek, srk, other := newTPM(t), newTPM(t), newTPM(t)
	world := func(extra string) string {
		return "azure: {dps: [{name: fakecloud-dps, enrollments: [{registrationId: tpm-1, deviceId: meter, attestation: {tpm: {endorsementKey: " + ek.public() + extra + "}}}]}]}"
	}
	body := func(ek, srk string) string {
		return fmt.Sprintf(`{"registrationId":"tpm-1","tpm":{"endorsementKey":%q,"storageRootKey":%q}}`, ek, srk)
	}
	t.Run("flow", func(t *testing.T) {
		t.Parallel()
		cloud := fakecloud.Start(t, fakecloud.WithWorld(world("")))
		r := askDPS(t, cloud, registerLine("tpm-1"), body(ek.public(), srk.public()))
		require.Equal(t, 401, r.StatusCode, r.body)
		var challenge struct{ Message, AuthenticationKey, KeyName string }
		require.NoError(t, json.Unmarshal([]byte(r.body), &challenge))
		require.Equal(t, "registration", challenge.KeyName)
		require.NotEmpty(t, challenge.Message)
		require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "refused"}), "a challenge is no refusal")
		key := activate(t, ek, srk, challenge.AuthenticationKey)
		token := sasFor(t, key, idScope+"%2Fregistrations%2Ftpm-1", farFuture, "&skn=registration")
		reg, text := httpProvision(t, cloud, via{name: globalDPS}, "tpm-1", body(ek.public(), srk.public()), "Authorization: "+token)
		require.Equal(t, "assigned", reg.Status, text)
		require.Equal(t, "meter", reg.State.DeviceID)
		var state struct {
			RegistrationState struct {
				TPM struct{ AuthenticationKey string }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(text), &state))

		// The answer's key is the device's at the hub.
		hubKey := activate(t, ek, srk, state.RegistrationState.TPM.AuthenticationKey)
		r = ask(t, cloud, via{name: demoHub}, "POST /devices/meter/messages/events"+version, "x",
			"Authorization: "+sasFor(t, hubKey, demoHub+"%2Fdevices%2Fmeter", farFuture, ""))
		require.Equal(t, 204, r.StatusCode, r.body)
		rule.Proves(t, "DPS-36")
	})
	for _, c := range []struct {
		name, world, body, token string
		status, code             int
		rule                     rule.ID
	}{
		{"another TPM", world(""), body(other.public(), srk.public()), "", 401, 401002, "DPS-36/endorsement-key"},
		{"another storage root key", world(", storageRootKey: " + other.public()), body(ek.public(), srk.public()), "", 401, 401002, "DPS-36/storage-root-key"},
		{"no keys", world(""), `{"registrationId":"tpm-1"}`, "", 401, 401002, "DPS-36/attestation"},
		{"storage root key that is none", world(""), body(ek.public(), "AAAA"), "", 400, 400000, "DPS-36/keys"},
		{"token without a challenge", world(""), body(ek.public(), srk.public()), groupKey, 401, 401002, "DPS-36/no-challenge"},
		{"not enrolled", "", body(ek.public(), srk.public()), "", 404, 404201, "DPS-26/enrollment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var options []fakecloud.Option
			if c.world != "" {
				options = append(options, fakecloud.WithWorld(c.world))
			}
			cloud := fakecloud.Start(t, options...)
			var header []string
			if c.token != "" {
				header = append(header, "Authorization: "+registrationToken(t, c.token, idScope, "tpm-1"))
			}
			wantDPSError(t, askDPS(t, cloud, registerLine("tpm-1"), c.body, header...), c.status, c.code)
			refused(t, cloud, c.rule)
		})
	}
	t.Run("wrong signature", func(t *testing.T) {
		t.Parallel()
		cloud := fakecloud.Start(t, fakecloud.WithWorld(world("")))
		require.Equal(t, 401, askDPS(t, cloud, registerLine("tpm-1"), body(ek.public(), srk.public())).StatusCode)
		wantDPSError(t, askDPS(t, cloud, registerLine("tpm-1"), "", "Authorization: "+registrationToken(t, groupKey, idScope, "tpm-1")), 401, 401002)
		refused(t, cloud, "DPS-15/signature")
	})
}
