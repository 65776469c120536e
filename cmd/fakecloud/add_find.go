package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"github.com/fakecloud/fakecloud/internal/world"
)

// choose picks a named element, or without a name the only one, or the default world's.
func choose[T any](list []T, name func(T) string, wanted, usual, flag, kind string) (T, error) {
	var none T
	var names []string
	for _, x := range list {
		if wanted != "" && strings.EqualFold(name(x), wanted) || wanted == "" && (len(list) == 1 || name(x) == usual) {
			return x, nil
		}
		names = append(names, name(x))
	}
	switch {
	case len(names) == 0:
		return none, usagef("the world has no %s", kind)
	case wanted == "":
		return none, usagef("the world has several %ss: name one with --%s (%s)", kind, flag, strings.Join(names, ", "))
	}
	return none, usagef("no %s %q; there are %s", kind, wanted, strings.Join(names, ", "))
}

// hub finds a hub by name or host name, or the default one.
func (i *instance) hub(wanted string) (world.Hub, error) {
	if hub, ok := i.world.Hub(wanted); ok {
		return hub, nil
	}
	return choose(i.world.Azure.Hubs, func(h world.Hub) string { return h.Name }, wanted, "fakecloud-hub", "hub", "hub")
}

// dps finds a DPS instance by name, ID scope or host name, or the default one.
func (i *instance) dps(wanted string) (world.DPS, error) {
	for _, d := range i.world.Azure.DPS {
		if strings.EqualFold(d.IDScope, wanted) || strings.EqualFold(d.Name+".azure-devices-provisioning.net", wanted) {
			return d, nil
		}
	}
	return choose(i.world.Azure.DPS, func(d world.DPS) string { return d.Name }, wanted, "fakecloud-dps", "dps", "DPS instance")
}

// certFile reads a certificate file, PEM or DER, and returns its certificates and its PEM text.
func certFile(flag, name string) ([]*x509.Certificate, string, error) {
	data, err := readFile(flag, name)
	if err != nil {
		return nil, "", err
	}
	certs, err := world.ParseCertificates(data)
	if err != nil {
		return nil, "", usagef("%s: %s %w", flag, name, err)
	}
	var text strings.Builder
	for _, c := range certs {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return nil, "", err
		}
	}
	return certs, text.String(), nil
}

// checkedKey reads --key.
func checkedKey(key string) (string, error) {
	if why := world.CheckKey(key); why != "" {
		return "", usagef("--key %s", why)
	}
	return key, nil
}

// thumbprints reads --thumbprint, once or twice, and says when it had to clean one.
func (a *app) thumbprints(given []string) (*world.Thumbprint, error) {
	if len(given) > 2 {
		return nil, usagef("--thumbprint can be given twice (primary and secondary), not %d times", len(given))
	}
	slots := make([]string, 2)
	for n, text := range given {
		clean := world.NormalizeThumbprint(text)
		if why := world.CheckThumbprint(clean); why != "" {
			return nil, usagef("--thumbprint %s", why)
		}
		if !strings.EqualFold(clean, text) {
			fmt.Fprintf(a.err, "note: the thumbprint is registered without its separators, as %s\n", clean)
		}
		slots[n] = clean
	}
	return &world.Thumbprint{PrimaryThumbprint: slots[0], SecondaryThumbprint: slots[1]}, nil
}

// initialTwin reads --initial-twin: JSON or YAML text, or the name of a file that holds it.
func initialTwin(given string) (*world.Twin, error) {
	if given == "" {
		return nil, nil
	}
	text := given
	if !strings.HasPrefix(strings.TrimSpace(given), "{") {
		data, err := os.ReadFile(given)
		if err != nil {
			return nil, usagef("--initial-twin is neither JSON nor a file that can be read: %s", given)
		}
		text = string(data)
	}
	w, err := world.ParseTwin("--initial-twin", []byte(text))
	if err != nil {
		return nil, usagef("%w", err)
	}
	return w, nil
}

// oneCredential refuses flags that exclude each other; with none given it returns "".
func oneCredential(given map[string]bool, order ...string) (string, error) {
	var chosen []string
	for _, name := range order {
		if given[name] {
			chosen = append(chosen, name)
		}
	}
	switch len(chosen) {
	case 0:
		return "", nil
	case 1:
		return chosen[0], nil
	}
	return "", usagef("--%s exclude each other: an identity has one kind of credential", strings.Join(chosen, " and --"))
}

// quoteShell quotes a word for a POSIX shell.
func quoteShell(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if word != "" && strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// quoteJSON writes a string for languages whose literals JSON's are.
func quoteJSON(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(data)
}
