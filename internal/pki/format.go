package pki

import (
	"bytes"
	"fmt"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// PFX returns key, leaf and chain as PKCS#12. It is encrypted as every reader from Windows Server 2012 and
// OpenSSL 1.0 to today's understands (3DES, SHA-1): the keys are for tests. An empty password is possible,
// but some readers want one.
func (i Issued) PFX(password string) ([]byte, error) {
	if i.Leaf == nil {
		return nil, badRequest("a certificate that Go cannot parse cannot be put into a PFX: take PEM")
	}
	pfx, err := pkcs12.LegacyDES.Encode(i.Key, i.Leaf, i.Issuers, password)
	if err != nil {
		return nil, fmt.Errorf("pfx: %w", err)
	}
	return pfx, nil
}

// CHeader returns a C header with the leaf's chain, its key and, where root is not empty, the certificate
// that the device is to trust for the server, each as a string in PEM.
func (i Issued) CHeader(root []byte) []byte {
	var out bytes.Buffer
	out.WriteString("/* Made by fakecloud. For tests only: the private key is in clear text. */\n")
	out.WriteString("#ifndef FAKECLOUD_DEVICE_H\n#define FAKECLOUD_DEVICE_H\n")
	for _, part := range []struct{ name, about, pem string }{
		{"fakecloud_device_cert", "device certificate, then its CAs", i.Chain},
		{"fakecloud_device_key", "private key of the device", i.PrivateKey},
		{"fakecloud_root_ca", "trust this for the server", string(root)},
	} {
		if part.pem == "" {
			continue
		}
		fmt.Fprintf(&out, "\n/* %s */\nstatic const char %s[] =\n", part.about, part.name)
		lines := strings.Split(strings.TrimRight(part.pem, "\n"), "\n")
		for n, line := range lines {
			end := ""
			if n == len(lines)-1 {
				end = ";"
			}
			fmt.Fprintf(&out, "    \"%s\\n\"%s\n", line, end)
		}
	}
	out.WriteString("\n#endif /* FAKECLOUD_DEVICE_H */\n")
	return out.Bytes()
}
