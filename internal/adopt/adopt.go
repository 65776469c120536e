package adopt

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/world"
)

// Attempt is a refused client: the rule that it broke, and what it has shown of itself.
type Attempt struct {
	Rule     rule.ID
	Platform string // as in the journal; "door" where no platform took the client
	Endpoint string // as in the journal: the instance or gateway that refused
	ClientID string
	Username string
	// Certificates are as presented, leaf first; none of them is verified.
	Certificates []*x509.Certificate
}

// ErrNotAdoptable marks a client that no change of the world would let in, or whose secret nobody has seen.
var ErrNotAdoptable = errors.New("cannot be adopted")

func cannot(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotAdoptable, fmt.Sprintf(format, args...))
}

// Plan returns what has to be laid over w for the client to be accepted at its next attempt. The error
// says why nothing can be added, and what would help.
func Plan(w *world.World, a Attempt) (*world.World, error) {
	switch a.Platform {
	case hosts.DPS:
		return planDPS(w, &a)
	case hosts.IoTHub:
		return planHub(w, &a)
	case hosts.MindSphere:
		return planMindSphere(w, &a)
	case hosts.IoTDA:
		return planIoTDA(w, &a)
	case hosts.Edge:
		return planEdge(w, &a)
	case "door":
		return planUnclaimed(w, &a)
	}
	return nil, fault(&a)
}

// planUnclaimed tells by what the client sent where it wanted to go.
func planUnclaimed(w *world.World, a *Attempt) (*world.World, error) {
	if _, ok := azure.ClaimsDPS(a.Username); ok {
		return planDPS(w, a)
	}
	if u, err := azure.ParseHubUsername(a.Username); err == nil && u.Host != "" {
		return planHub(w, a)
	}
	if a.Username == "" && len(a.Certificates) > 0 {
		return planMindSphere(w, a)
	}
	return nil, cannot("neither user name nor client id tells which platform it was meant for")
}

// fault is the answer to a client that is wrong itself.
func fault(a *Attempt) error {
	return cannot("%s is the client's to mend, no change of the world lets it in; fakecloud rules %s says how", a.Rule, a.Rule)
}

// keyNeeded is the answer to a client that signs with an unknown key.
func keyNeeded(line string) error {
	return cannot("the client signs with a key, which cannot be read from its signature; give the world the key: %s", line)
}

// authority returns the CA that the client sent along with its certificate, the topmost one.
func authority(a *Attempt) (*x509.Certificate, bool) {
	if len(a.Certificates) < 2 {
		return nil, false
	}
	return a.Certificates[len(a.Certificates)-1], true
}

// unverified returns the name of the uploaded CA without proof of possession that has signed one of the
// client's certificates.
func unverified(a *Attempt, uploads []world.CACertificate) (name string, ok bool) {
	for _, upload := range uploads {
		block, _ := pem.Decode([]byte(upload.PEM))
		if upload.IsVerified() || block == nil {
			continue
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		for _, c := range a.Certificates {
			// Not CheckSignatureFrom: a v1 root has no basic constraints.
			if ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
				return upload.Name, true
			}
		}
	}
	return "", false
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
