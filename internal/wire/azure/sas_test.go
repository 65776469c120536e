package azure

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

const demoKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// The vectors of the fact sheets; openssl and Python agree on each.
func TestSignatureVectors(t *testing.T) {
	derived := "d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU="
	for _, v := range []struct{ name, key, sr, se, sig string }{
		{"hub V1", demoKey, "contoso.azure-devices.net%2Fdevices%2Fdev-01", "1893456000", "JQmpIEKDMl+OJOOeafv5EINLZmT/O/u0tqZURbAHh+Q="},
		{"hub V2", demoKey, "contoso.azure-devices.net%2fdevices%2fdev-01", "1893456000", "J7NRO9v4VM7r+iPC/PoXqMCex1DI+aFHSGGMQSnuX9M="},
		{"hub V3", demoKey, "contoso.azure-devices.net%2Fdevices%2Fdev-01%2Fmodules%2Fmod-a", "1893456000", "Aph6WgFAF00uSVneZglExBjOsbRbUsrlT6bipTiK5iU="},
		{"hub V4", demoKey, "contoso.azure-devices.net", "1893456000", "qntaV5IT1dM2apsDoJXawvLIz4ZKnzKlcX2pfrRfwRU="},
		{"hub V5", demoKey, "contoso.azure-devices.net%2Fdevices%2FDev%2301", "1893456000", "YNn9lFGKK39o5Rd2p8Ss70uldaryrmI0htqzpXX6XhY="},
		{"hub V6", demoKey, "contoso.azure-devices.net%2Fdevices%2Fdev-01", "1577836800", "V/T3GuAyQ3xNOOJJKsvL7qzUS5UCcdTbNIB6mwuVTh4="},
		{"dps V3", derived, "0ne00FAKE01%2Fregistrations%2Fdevice-001", "4102444800", "+UMInG4dEKIdrF/V9/0/Kk9gnlSf4YnvBeLW0PrFgGU="},
		{"dps V4", derived, "0ne00FAKE01%2Fregistrations%2Fdevice-001", "1577836800", "1/7JadeGBemKLfY73yLNP6VZhqgNmFAPIO6o0HpsoN8="},
		{"dps V5", demoKey, "0ne00FAKE01%2Fregistrations%2FMeter-01", "4102444800", "WlpM10gU8RjKF57rf+LBwsGvwkMHyXjfxZSRqyofPEU="},
		{"dps V6", demoKey, "0ne00FAKE01%2fregistrations%2fMeter-01", "4102444800", "kDszwdcTR8wsAR434SImJ2bDuN+QD9czO5uXRBO677U="},
	} {
		t.Run(v.name, func(t *testing.T) {
			require.Equal(t, v.sig, base64.StdEncoding.EncodeToString(Signature(unbase64(t, v.key), v.sr, v.se)))
		})
	}
}

func TestDeriveKeyVectors(t *testing.T) {
	for _, v := range [][3]string{
		{"8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6", "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="},
		{"ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==", "device-001", "d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU="},
		{"ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==", "DEVICE-001", "2nXaIuEYZFbBouUAgagPLCmxI8hxAV7mY+/hIL5F98k="},
	} {
		require.Equal(t, v[2], base64.StdEncoding.EncodeToString(DeriveKey(unbase64(t, v[0]), v[1])))
	}
}

const v1Token = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000"

func TestFormatSASVector(t *testing.T) {
	require.Equal(t, v1Token, FormatSAS("contoso.azure-devices.net/devices/dev-01", unbase64(t, demoKey), time.Unix(1893456000, 0), ""))
}

func TestParseSAS(t *testing.T) {
	s, err := ParseSAS(v1Token)
	require.NoError(t, err)
	require.True(t, s.SignedBy(unbase64(t, demoKey)))
	target, err := s.Target()
	require.NoError(t, err)
	require.Equal(t, "contoso.azure-devices.net/devices/dev-01", target)

	reordered := "SharedAccessSignature sr=Contoso.azure-devices.net%2Fdevices%2FDev%2301&skn=&se=99999999999999&sig=YQ=="
	s, err = ParseSAS(reordered)
	require.NoError(t, err)
	require.Equal(t, 9999, s.Expiry.Year())
	target, err = s.Target()
	require.NoError(t, err)
	require.Equal(t, "contoso.azure-devices.net/devices/Dev#01", target, "the host folds, the id does not")

	for _, bad := range []string{"", "Bearer x", "SharedAccessSignature ", "SharedAccessSignature sr=a&se=1", "SharedAccessSignature sr=a&sig=%zz&se=1",
		"SharedAccessSignature sr=a&sig=YQ==&se=soon", "SharedAccessSignature sr=a&sig=YQ==", "SharedAccessSignature sig=YQ==&se=1"} {
		_, err := ParseSAS(bad)
		require.Error(t, err, bad)
	}
}

func TestCoversBySegment(t *testing.T) {
	require.True(t, Covers("h", "h/devices/dev-01"))
	require.True(t, Covers("h/devices/dev-01", "h/devices/dev-01/modules/m"))
	require.False(t, Covers("h/devices/dev-0", "h/devices/dev-01"))
}

func TestMaskSAS(t *testing.T) {
	for token, want := range map[string]string{
		"SharedAccessSignature sr=a&sig=abc&se=1":         "SharedAccessSignature sr=a&sig=***&se=1",
		"SharedAccessSignature sr=a&sig=abc":              "SharedAccessSignature sr=a&sig=***",
		"SharedAccessSignature sig=abc&se=1&skn=":         "SharedAccessSignature sig=***&se=1&skn=",
		"sharedaccesssignature sr=a&Sig=abc&se=1&SIG=abc": "sharedaccesssignature sr=a&Sig=***&se=1&SIG=***",
		"SharedAccessSignature sr=İİİİ&sig=abc&se=1":      "SharedAccessSignature sr=İİİİ&sig=***&se=1",
		"SharedAccessSignature c2VjcmV0":                  "SharedAccessSignature ***",
		"":                                                "***", "abc": "***",
		"sr=c2VjcmV0": "***",
	} {
		require.Equal(t, want, MaskSAS(token))
	}
}

func TestMaskPassword(t *testing.T) {
	require.Empty(t, MaskPassword(nil))
	require.Equal(t, "***", MaskPassword([]byte("c2VjcmV0")))
	require.Equal(t, "SharedAccessSignature sr=a&sig=***", MaskPassword([]byte("SharedAccessSignature sr=a&sig=abc")))
}

func FuzzParseSAS(f *testing.F) {
	f.Add(v1Token)
	f.Add("SharedAccessSignature sr=&sig=&se=&skn=")
	f.Fuzz(func(t *testing.T, token string) {
		s, err := ParseSAS(token)
		if err != nil {
			return
		}
		if target, err := s.Target(); err == nil {
			again, err := ParseSAS(FormatSAS(target, []byte("k"), s.Expiry, s.Policy))
			require.NoError(t, err)
			require.Equal(t, s.Policy, again.Policy)
		}
	})
}
