package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/fakecloud/fakecloud"

// pkg is what we read of `go list -json`.
type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		require.NoError(t, err)
		pkgs = append(pkgs, p)
	}
}

func rel(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

// law says what packages under From may import of ours; the first match in order decides.
type law struct {
	from string // pattern as in path.Match; "" is the root package
	may  []string
	why  string
}

var laws = []law{
	{"cmd/*", []string{"", "clientkit", "clientkit/*", "internal/*", "internal/*/*", "internal/*/*/*", "emulators/*", "emulators/*/*"},
		"commands are the outermost layer"},
	{"", []string{"emulators/*", "emulators/*/*", "internal/*", "internal/wire/*", "internal/store/storetest"},
		"the root package alone wires platforms together"},
	{"emulators/*", []string{"internal/store", "internal/store/storetest", "internal/rule", "internal/journal", "internal/fault", "internal/clock", "internal/ids", "internal/near", "internal/pki", "internal/wire/*"},
		"a platform's core knows no protocol and no other platform"},
	{"emulators/*/*", []string{"emulators/own", "internal/broker", "internal/broker/*", "internal/amqp", "internal/wire/*", "internal/journal", "internal/rule", "internal/fault", "internal/clock", "internal/ids", "internal/pki", "internal/store"},
		"a head translates one protocol for one core"},
	{"internal/door", []string{"internal/broker", "internal/pki", "internal/journal", "internal/rule", "internal/fault", "internal/clock", "internal/hosts"},
		"the door knows sockets and names, not platforms"},
	{"internal/broker", []string{"internal/clock", "internal/journal", "internal/rule", "internal/fault", "internal/broker/*", "internal/ids"},
		"the broker knows packets, not platforms"},
	{"internal/wire/*", []string{"internal/near"}, "wire formats are pure text: nothing with a state"},
	{"internal/journal", []string{"internal/clock", "internal/ids", "internal/rule"}, "the lowest layer"},
	{"internal/rule", []string{"internal/clock", "internal/ids"}, "the lowest layer"},
	{"internal/store", []string{"internal/clock", "internal/ids", "internal/store/storetest"}, "the lowest layer"},
	{"internal/store/storetest", []string{"internal/store"}, "tests of the store alone"},
	{"internal/clock", nil, "the lowest layer"},
	{"internal/ids", nil, "the lowest layer"},
	{"internal/near", nil, "the lowest layer"},
	{"internal/hosts", []string{"internal/near"}, "the host table is data"},
	{"clientkit", nil, "what the kits share are plain types"},
	{"clientkit/internal/*", []string{"clientkit"}, "the connection under the kits knows no platform"},
	{"clientkit/mindsphere", []string{"clientkit", "clientkit/azure", "clientkit/internal/*", "internal/wire/*", "internal/pki"},
		"region eu2 is DPS and IoT Hub underneath"},
	{"clientkit/*", []string{"clientkit", "clientkit/internal/*", "internal/wire/*", "internal/pki"}, "the kit must not share behaviour with the emulators"},
	{"e2e", []string{"", "clientkit", "clientkit/*", "internal/rule", "internal/journal", "e2e/*"}, "a witness that shares wire code with the product proves nothing"},
	{"e2e/*", []string{"", "clientkit", "clientkit/*", "internal/rule", "internal/journal", "e2e/*", "e2e"}, "as e2e"},
	{"e2e/*/*", []string{"", "clientkit", "clientkit/*", "internal/rule", "internal/journal", "e2e/*", "e2e"}, "as e2e"},
	{"internal/outbound", []string{"internal/rule", "internal/journal", "internal/clock"}, "what may be called is no matter of a platform; its tests read the journal"},
}

func forbidden(from, to string) string {
	for _, l := range laws {
		if ok, _ := path.Match(l.from, from); !ok {
			continue
		}
		for _, may := range l.may {
			may = strings.ReplaceAll(may, "emulators/own", path.Dir(from))
			if ok, _ := path.Match(may, to); ok {
				return ""
			}
		}
		return l.why
	}
	return ""
}

func TestImports(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := rel(p.ImportPath)
		imports := append(append(p.Imports, p.TestImports...), p.XTestImports...)
		for _, to := range imports {
			if strings.HasPrefix(to, module) {
				if why := forbidden(from, rel(to)); rel(to) != from && why != "" {
					t.Errorf("%q imports %q: %s", from, rel(to), why)
				}
			}
		}
		for _, to := range p.Imports {
			if strings.HasPrefix(to, "github.com/mochi-mqtt/") && from != "internal/broker" && from != "bench" {
				t.Errorf("%q imports mochi: internal/broker is its only importer (bench measures it bare)", from)
			}
			if to == "text/template" || to == "html/template" {
				t.Errorf("%q imports %q: it makes the linker keep every method of every type, 3 MB of program", from, to)
			}
			if strings.HasPrefix(from, "internal/wire/") && !strings.HasPrefix(to, module) && strings.Contains(strings.Split(to, "/")[0], ".") {
				t.Errorf("%q imports %q: wire formats use no other's library", from, to)
			}
		}
	}
}

// What an embedding test does not need stays out of the root package's closure.
func TestRootClosureIsSmall(t *testing.T) {
	for _, p := range list(t, ".") {
		for _, dep := range p.Deps {
			for _, heavy := range []string{"github.com/spf13/cobra", "github.com/danielgtaylor/huma", "github.com/VictoriaMetrics/", "testing"} {
				if dep == heavy || strings.HasPrefix(dep, strings.TrimSuffix(heavy, "/")+"/") {
					t.Errorf("the root package depends on %s", dep)
				}
			}
		}
	}
}
