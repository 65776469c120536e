package dps

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

const kindTPM = "tpm"

// Limits of challenges. How long the real service waits for their answer is not known.
const (
	challengeLife  = time.Hour // by the timers reading
	mostChallenges = 10_000
	tpmKeySize     = 32
)

// challenges are the keys that TPMs were asked to sign with, by registration.
type challenges struct {
	mu   sync.Mutex
	list map[string]challenge
}

type challenge struct {
	key   []byte
	srk   azure.TPMPublic
	until time.Time
}

func (c *challenges) get(k string, now time.Time) (challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.list[k]
	return found, ok && found.until.After(now)
}

// put keeps a challenge; the newest of a registration counts.
func (c *challenges) put(k string, ch challenge, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list == nil {
		c.list = map[string]challenge{}
	}
	if len(c.list) >= mostChallenges {
		for other, old := range c.list {
			if !old.until.After(now) || len(c.list) >= mostChallenges {
				delete(c.list, other)
			}
		}
	}
	c.list[k] = ch
}

// attestTPM judges a device whose enrollment names a TPM: without a token it is asked to open an activation
// blob, with one it must have signed with the key in it (azure-iot-sdk-node, provisioning/device
// tpm_registration).
func (s *Service) attestTPM(i Instance, e Enrollment, c Caller, a admission) (admission, *denial) {
	a.kind = kindTPM
	k, now := key(i.Name, e.RegistrationID), s.Clock.Now()
	ek, err := azure.ParseTPMPublic(e.Attestation.TPM.EndorsementKey)
	if err != nil {
		return a, deny(codeBadRequest, err.Error(), rule.Refusal{Rule: "DPS-36/keys", Detail: err.Error(), Expected: "an enrollment with a TPM's endorsement key"})
	}
	if !azure.IsSAS(c.Token) {
		return a, s.challengeTPM(e, c, k, ek)
	}
	ch, ok := s.challenges.get(k, now)
	if !ok {
		return a, deny(codeUnauthorized, messageUnauthorized, rule.Refusal{Rule: "DPS-36/no-challenge",
			Seen: c.credential(), Expected: "first a register request without Authorization, whose 401 has the key to sign with"})
	}
	if d := s.checkToken(i, c, ch.key); d != nil {
		return a, d
	}
	hub := make([]byte, tpmKeySize)
	rand.Read(hub) // never fails (crypto/rand, Go 1.24)
	blob, err := azure.TPMActivation(ek, ch.srk, hub)
	if err != nil {
		return a, deny(codeBadRequest, err.Error(), rule.Refusal{Rule: "DPS-36/keys", Detail: err.Error(), Expected: "keys of a TPM"})
	}
	a.auth = Auth{PrimaryKey: base64.StdEncoding.EncodeToString(hub), SecondaryKey: base64.StdEncoding.EncodeToString(hub)}
	a.activation = base64.StdEncoding.EncodeToString(blob)
	return a, nil
}

// challengeTPM makes a key that only the enrolled TPM can open. It always denies.
func (s *Service) challengeTPM(e Enrollment, c Caller, k string, ek azure.TPMPublic) *denial {
	refuse := func(cause rule.ID, detail, seen, expected string) *denial {
		return deny(codeCertificate, messageUnauthorized, rule.Refusal{Rule: cause, Detail: detail, Seen: seen, Expected: expected})
	}
	enrolled := e.Attestation.TPM
	if c.TPM == nil {
		return refuse("DPS-36/attestation", "individual enrollment "+e.RegistrationID+" attests by TPM, and the device showed no TPM", c.credential(),
			`over HTTPS a register request with {"tpm":{"endorsementKey":"…","storageRootKey":"…"}}; there is no TPM attestation over MQTT`)
	}
	if c.TPM.EndorsementKey != enrolled.EndorsementKey {
		return refuse("DPS-36/endorsement-key", "the endorsement key is not the enrolled one", "endorsementKey "+ends(c.TPM.EndorsementKey), "endorsementKey "+ends(enrolled.EndorsementKey))
	}
	if enrolled.StorageRootKey != "" && c.TPM.StorageRootKey != enrolled.StorageRootKey {
		return refuse("DPS-36/storage-root-key", "the storage root key is not the enrolled one", "storageRootKey "+ends(c.TPM.StorageRootKey), "storageRootKey "+ends(enrolled.StorageRootKey))
	}
	srk, err := azure.ParseTPMPublic(c.TPM.StorageRootKey)
	if err != nil {
		return deny(codeBadRequest, "The storage root key is not valid.", rule.Refusal{Rule: "DPS-36/keys", Detail: "storageRootKey: " + err.Error(),
			Seen: "storageRootKey " + ends(c.TPM.StorageRootKey), Expected: "TPM2B_PUBLIC of an RSA key, base64"})
	}
	ch := challenge{key: make([]byte, tpmKeySize), srk: srk, until: s.Clock.Now().Add(challengeLife)}
	rand.Read(ch.key)
	blob, err := azure.TPMActivation(ek, srk, ch.key)
	if err != nil {
		return deny(codeBadRequest, err.Error(), rule.Refusal{Rule: "DPS-36/keys", Detail: err.Error(), Expected: "keys of a TPM"})
	}
	s.challenges.put(k, ch, s.Clock.Now())
	d := refuse("", "", "", "")
	d.challenge = &azure.DPSChallenge{Message: "Authorization required", AuthenticationKey: base64.StdEncoding.EncodeToString(blob), KeyName: "registration"}
	return d
}

// ends shows begin and end of a long public text.
func ends(text string) string {
	const each = 24
	if len(text) <= 2*each {
		return clip(text)
	}
	return clip(text[:each]) + "…" + clip(text[len(text)-each:])
}

// normaliseTPM checks the keys of an enrollment.
func (a *Attestation) normaliseTPM(group bool) error {
	switch {
	case a.X509 != nil || a.SymmetricKey != nil:
		return wrong("attestation", "has tpm beside x509 or symmetricKey; give one")
	case group:
		return wrong("attestation.tpm", "a group cannot attest by TPM; give the device an individual enrollment")
	}
	if _, err := azure.ParseTPMPublic(a.TPM.EndorsementKey); err != nil {
		return wrong("attestation.tpm.endorsementKey", "%v", err)
	}
	if a.TPM.StorageRootKey != "" {
		if _, err := azure.ParseTPMPublic(a.TPM.StorageRootKey); err != nil {
			return wrong("attestation.tpm.storageRootKey", "%v", err)
		}
	}
	return nil
}
