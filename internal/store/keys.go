package store

import "strings"

// Keys returns the keys that start with prefix, unordered and without copying any value.
func (t *Table[V]) Keys(prefix string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	keys := make([]string, 0, len(t.rows))
	for k := range t.rows {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}
