package mindsphere

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// admit lets a provisioned certificate in, and turns others away: a new one starts its provisioning (MS-1),
// one that is being provisioned has to wait (MS-2).
func (s *Service) admit(tenant, clientID string, leaf *x509.Certificate) (Identity, error) {
	t, ok := s.Tenant(tenant)
	if !ok {
		return Identity{}, refuse("MS-6/unknown-ca", "the tenant has just been deleted", describe(leaf), "a certificate of a tenant's CA")
	}
	sha, now := thumbprint(leaf), s.clock.Now()
	a, known := s.agents.Get(clientID)
	if known {
		if c := a.certificate(sha); c != nil {
			if !c.Active && now.Before(c.Due) {
				return Identity{}, pending(a, c.Due.Sub(now))
			}
			if !c.Active { // its timer is about to run
				s.complete(clientID, sha, c.Due)
			}
			return Identity{Tenant: tenant, Region: t.Region, ClientID: clientID, AgentID: a.AgentID}, nil
		}
	}
	delay := t.provisioning()
	due := now.Add(delay).UTC().Round(0) // as the store gives it back
	if err := s.begin(tenant, clientID, leaf.Subject.CommonName, AgentCertificate{SHA256: sha, Due: due}); err != nil {
		return Identity{}, err
	}
	s.clock.AfterFunc(delay, func() { s.complete(clientID, sha, due) })
	s.log.Info("provisioning", "endpoint", tenant, "device", clientID, "delay", delay)
	return Identity{}, starting(known, clientID, delay)
}

// starting is the refusal of the connection that starts a provisioning.
func starting(known bool, clientID string, delay time.Duration) *rule.Refusal {
	r := refuse("MS-1/first", fmt.Sprintf("first connection of %s: the agent is provisioned now, which takes %s", clientID, delay),
		"a certificate never seen before", fmt.Sprintf("a new connection in %s; clients that reconnect by themselves get there", delay))
	if known {
		r.Rule, r.Detail = "MS-1/renewal", fmt.Sprintf("%s came with a new certificate, which is provisioned now and takes %s", clientID, delay)
	}
	return r
}

func pending(a Agent, left time.Duration) *rule.Refusal {
	left = left.Round(time.Millisecond)
	return refuse("MS-2/pending", fmt.Sprintf("%s is still being provisioned, for another %s", a.ClientID, left),
		"a connection before the agent is ready", fmt.Sprintf("a new connection in %s", left))
}

// begin records that a certificate is being provisioned.
func (s *Service) begin(tenant, clientID, name string, c AgentCertificate) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	_, err := s.agents.Update(clientID, func(a Agent) (Agent, error) {
		if len(a.Certificates) >= maxCertificates {
			a.Certificates = a.Certificates[len(a.Certificates)-maxCertificates+1:]
		}
		a.Certificates = append(a.Certificates, c)
		return a, nil
	})
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if s.agents.Len() >= maxAgents {
		return fmt.Errorf("agent %q: %w: there are %d agents", clip(clientID), ErrLimit, maxAgents)
	}
	s.agents.Put(clientID, Agent{ClientID: clientID, Tenant: tenant, Name: name, AgentID: s.ids.Hex(32), Status: Provisioning,
		Created: s.clock.Wall().UTC(), Certificates: []AgentCertificate{c}})
	return nil
}

// resume sets the timers of provisionings that an earlier process has begun. An advanced clock does not outlive its
// process, so none takes longer than a whole one.
func (s *Service) resume() {
	now := s.clock.Now()
	for _, a := range s.agents.List("") {
		t, _ := s.Tenant(a.Tenant)
		for _, c := range a.Certificates {
			if c.Active {
				continue
			}
			due := c.Due
			if latest := now.Add(t.provisioning()).UTC().Round(0); due.After(latest) {
				due = latest
				s.postpone(a.ClientID, c.SHA256, due)
			}
			s.clock.AfterFunc(due.Sub(now), func() { s.complete(a.ClientID, c.SHA256, due) })
		}
	}
}

// postpone gives a provisioning another end.
func (s *Service) postpone(clientID, sha string, due time.Time) {
	_, _ = s.agents.Update(clientID, func(a Agent) (Agent, error) { // one that has gone needs none
		if c := a.certificate(sha); c != nil {
			c.Due = due
		}
		return a, nil
	})
}

// complete ends the provisioning that is due then; one that was started anew meanwhile is left alone.
func (s *Service) complete(clientID, sha string, due time.Time) {
	s.admin.Lock()
	defer s.admin.Unlock()
	done, first := false, false
	a, err := s.agents.Update(clientID, func(a Agent) (Agent, error) {
		c := a.certificate(sha)
		if c == nil || c.Active || !c.Due.Equal(due) {
			return a, nil
		}
		c.Active, c.Due = true, time.Time{}
		done, first = true, a.Status != Ready
		if first {
			a.Status, a.AssetID = Ready, s.ids.Hex(32)
		}
		return a, nil
	})
	if err != nil || !done { // the agent or the whole state is gone
		return
	}
	if first {
		s.assets.Put(key(a.Tenant, a.AssetID), Asset{AssetID: a.AssetID, TenantID: a.Tenant, Name: a.ClientID, TypeID: AgentType, ExternalID: a.ClientID})
	}
	s.journal.Append(journal.Event{Platform: Platform, Endpoint: a.Tenant, Device: clientID, Kind: journal.Provisioned,
		Detail:     "the agent's certificate is active: its next connection is accepted",
		Properties: map[string]string{"agentId": a.AgentID, "assetId": a.AssetID, "type": AgentType, "sha256": sha}})
}

// AddAgent makes an agent whose certificate is known beforehand, as the service itself issues them: it is not
// turned away at its first connection. name is the certificate's common name.
func (s *Service) AddAgent(tenant, name string, certificate *x509.Certificate) (Agent, error) {
	if _, ok := s.Tenant(tenant); !ok {
		return Agent{}, fmt.Errorf("tenant %q: %w", clip(tenant), ErrNotFound)
	}
	clientID, sha, due := mindsphere.ClientID(tenant, name), thumbprint(certificate), s.clock.Now().UTC().Round(0)
	if a, ok := s.agents.Get(clientID); ok && a.certificate(sha) != nil {
		return Agent{}, fmt.Errorf("agent %q: %w", clip(clientID), ErrExists)
	}
	if err := s.begin(tenant, clientID, name, AgentCertificate{SHA256: sha, Due: due}); err != nil {
		return Agent{}, err
	}
	s.complete(clientID, sha, due)
	a, _ := s.agents.Get(clientID)
	return a, nil
}
