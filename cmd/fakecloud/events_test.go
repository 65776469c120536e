package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/plane"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

// TestEventFormats shows the events of testdata/events/*.txtar in every format.
func TestEventFormats(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/events/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	info := mosquittoInfo{Ports: plane.Ports{MQTTS: 8883}, Addresses: []string{"127.0.0.1"}, Data: "fakecloud-data"}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			var events []journal.Event
			for line := range strings.Lines(string(archive.Files[0].Data)) {
				var e journal.Event
				require.NoError(t, json.Unmarshal([]byte(line), &e), line)
				events = append(events, e)
			}
			var text strings.Builder
			for i := range events {
				text.WriteString(eventLine(&events[i], false) + "\n")
			}
			shown := map[string]string{"text": text.String(), "mermaid": mermaid(events), "mosquitto": mosquitto(events, info)}
			for i, f := range archive.Files[1:] {
				if *updateGolden {
					archive.Files[i+1].Data = []byte(shown[f.Name])
					continue
				}
				require.Equal(t, string(f.Data), shown[f.Name], f.Name)
			}
			if *updateGolden {
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o600))
			}
		})
	}
}

func TestShellQuotes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                `''`,
		"dev-01":          "dev-01",
		"a b":             `'a b'`,
		"$dps/x?$rid=1":   `'$dps/x?$rid=1'`,
		"it's":            `'it'\''s'`,
		"`id`; rm -rf \\": "'`id`; rm -rf \\'",
	} {
		require.Equal(t, want, shell(text))
	}
	require.Equal(t, `printf '\377\000' | `, fed([]byte{0xff, 0}))
	require.Equal(t, " -s", message([]byte{0xff, 0}))
	require.Equal(t, " -n", message(nil))
}
