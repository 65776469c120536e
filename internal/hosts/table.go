package hosts

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Match is what the table knows of a name.
type Match struct {
	Platform string // empty: no vendor's name
	// Endpoint is the instance that the name leads to. It is empty where the name serves several (all
	// instances of DPS share one global name) and where the name is not Known.
	Endpoint string
	// Known is whether an instance that is emulated now has this name. A name that only lies under a
	// vendor's domain has a Platform and is not Known: the platform refuses it in its own way.
	Known bool
}

// Table maps names to instances. Its methods may be called concurrently; reading takes no lock, so that
// instances come and go while connections are being routed.
type Table struct {
	mu    sync.Mutex // serialises writers
	state atomic.Pointer[state]
}

type owner struct{ platform, endpoint string }

type state struct {
	names map[owner][]string // as put
	match map[string]Match   // by canonical name, forms included
}

// New returns an empty table: it knows the vendors' patterns and no instance.
func New() *Table {
	t := &Table{}
	t.state.Store(&state{names: map[owner][]string{}, match: map[string]Match{}})
	return t
}

// Put makes names, with all their Forms, lead to an instance and replaces the names it had before. A
// name that several instances of one platform share leads to that platform alone. It is an error that a
// name already belongs to another platform; nothing has changed then.
func (t *Table) Put(platform, endpoint string, names ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.state.Load()
	next := maps.Clone(old.names)
	canonical := make([]string, len(names))
	for i, name := range names {
		canonical[i] = Canonical(name)
		if canonical[i] == "" {
			return fmt.Errorf("host table: %s %q has an empty host name", platform, endpoint)
		}
	}
	next[owner{platform, endpoint}] = canonical
	match, err := index(next)
	if err != nil {
		return err
	}
	t.state.Store(&state{names: next, match: match})
	return nil
}

// Drop forgets an instance's names. Their domain still leads to the platform's own refusal.
func (t *Table) Drop(platform, endpoint string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := maps.Clone(t.state.Load().names)
	delete(next, owner{platform, endpoint})
	match, err := index(next)
	if err != nil {
		panic("host table: fewer names cannot conflict: " + err.Error())
	}
	t.state.Store(&state{names: next, match: match})
}

// Take makes t know what other knows, and nothing else, as one step.
func (t *Table) Take(other *Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Store(other.state.Load())
}

// index computes the matches of all names. A name that was put goes before a form derived from another.
func index(names map[owner][]string) (map[string]Match, error) {
	match := map[string]Match{}
	for o, list := range names {
		for _, name := range list {
			if err := join(match, name, o); err != nil {
				return nil, err
			}
		}
	}
	derived := map[string]Match{}
	for o, list := range names {
		for _, name := range list {
			for _, form := range Forms(name)[1:] {
				if _, put := match[form]; put {
					continue
				}
				if err := join(derived, form, o); err != nil {
					return nil, err
				}
			}
		}
	}
	maps.Copy(match, derived)
	return match, nil
}

func join(match map[string]Match, name string, o owner) error {
	m, taken := match[name]
	switch {
	case !taken:
		m = Match{Platform: o.platform, Endpoint: o.endpoint, Known: true}
	case m.Platform != o.platform:
		return fmt.Errorf("host name %q cannot belong to both %s and %s", name, m.Platform, o.platform)
	case m.Endpoint != o.endpoint:
		m.Endpoint = ""
	}
	match[name] = m
	return nil
}

// Lookup finds name, in any case and with or without a trailing dot.
func (t *Table) Lookup(name string) Match {
	name = Canonical(name)
	if m, ok := t.state.Load().match[name]; ok {
		return m
	}
	return Match{Platform: platformOf(name)}
}

// Names returns every name that leads to an instance now, sorted: what a hosts file must point here.
func (t *Table) Names() []string {
	return slices.Sorted(maps.Keys(t.state.Load().match))
}

// Domains returns the vendors' domains and the instances' names outside them (gateways): the DNS names
// that the server root must permit.
func (t *Table) Domains() []string {
	all := VendorDomains()
	for _, name := range t.Names() {
		if !slices.ContainsFunc(domains, func(d string) bool { return name == d || below(name, "."+d) }) {
			all = append(all, name)
		}
	}
	return all
}
