package pki

import (
	"crypto/x509"
	"sync"
)

// Cache keeps parsed certificates by their text, so that it can never be stale. The zero Cache is empty; its
// methods may be called concurrently.
type Cache struct {
	mu    sync.RWMutex
	certs map[string]*x509.Certificate
}

// maxCached bounds a Cache; beyond it the cache starts afresh.
const maxCached = 4096

// Certificate returns the first certificate of a PEM text, nil where there is none.
func (c *Cache) Certificate(text string) *x509.Certificate {
	c.mu.RLock()
	cert, ok := c.certs[text]
	c.mu.RUnlock()
	if ok {
		return cert
	}
	certs, err := ParseCertificates([]byte(text))
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certs == nil || len(c.certs) >= maxCached {
		c.certs = map[string]*x509.Certificate{}
	}
	c.certs[text] = certs[0]
	return certs[0]
}
