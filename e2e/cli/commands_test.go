//go:build unix

package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// instances are a script's running ones by name.
type instances map[string]*instance

type instancesKey struct{}

func running(ts *testscript.TestScript) instances { return ts.Value(instancesKey{}).(instances) }

// environ is the script's environment.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "FAKECLOUD_") {
			env = append(env, name+"="+ts.Getenv(name))
		}
	}
	for _, name := range settings {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// settings are the variables of fakecloud that scripts set.
var settings = []string{"FAKECLOUD_ADMIN", "FAKECLOUD_DATA", "FAKECLOUD_WORLD", "FAKECLOUD_SEED", "FAKECLOUD_EPHEMERAL",
	"FAKECLOUD_LOG_FORMAT", "FAKECLOUD_ADVERTISE", "FAKECLOUD_MQTTS_PORT", "FAKECLOUD_MQTT_PORT", "FAKECLOUD_HTTPS_PORT", "FAKECLOUD_ADMIN_PORT", "FAKECLOUD_PROXY_PORT", "FAKECLOUD_EDGE_PORT",
	"FAKECLOUD_ADMIN_TOKEN", "FAKECLOUD_VIEWER_TOKEN", "FAKECLOUD_PROFILE", "NO_COLOR"}

// serve [-name NAME] [ARG…] runs fakecloud with ARGs until shutdown or the script's end, with port 0 for every
// port that neither ARGs nor the environment give. $ADMIN, $MQTTS, $HTTPS, $PROXY, $SEED and $CA are set
// from its ready line, which is what stdout matches.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("a serve that fails is: exits 1 fakecloud serve …")
	}
	name := ""
	if len(args) > 1 && args[0] == "-name" {
		name, args = args[1], args[2:]
	}
	i, err := start(ts.MkAbs("."), environ(ts), args...)
	ts.Check(err)
	running(ts)[name] = i
	ts.Defer(i.kill)
	for name, value := range i.env {
		ts.Setenv(name, value)
	}
	fmt.Fprint(ts.Stdout(), i.ready)
}

// shutdown [-name NAME] SIGINT|SIGTERM ends an instance, which has to exit with 0 within a second; stdout and
// stderr are all that it wrote.
func shutdown(ts *testscript.TestScript, neg bool, args []string) {
	name := ""
	if len(args) > 1 && args[0] == "-name" {
		name, args = args[1], args[2:]
	}
	signals := map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM}
	i := running(ts)[name]
	if neg || len(args) != 1 || signals[args[0]] == 0 || i == nil {
		ts.Fatalf("usage: shutdown [-name NAME] SIGINT|SIGTERM, after serve")
	}
	ts.Check(i.end(signals[args[0]]))
	fmt.Fprint(ts.Stdout(), i.text(&i.out))
	fmt.Fprint(ts.Stderr(), i.text(&i.log))
}

// exits CODE COMMAND… runs a command that has to exit with CODE. A standard input is given by `exits -in FILE CODE …`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	var input io.Reader
	if len(args) > 2 && args[0] == "-in" {
		input, args = strings.NewReader(ts.ReadFile(args[1])), args[2:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits [-in FILE] CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	path := args[1]
	if path == "fakecloud" {
		path = binary
	}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = ts.MkAbs("."), environ(ts), input
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = runBounded(cmd)
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), errs.String())
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args[1:], " "), got, want, out.String(), errs.String())
	}
	if strings.Contains(errs.String(), "panic:") || strings.Contains(errs.String(), "goroutine 1") {
		ts.Fatalf("it panicked: %s", errs.String())
	}
}

// call METHOD URL STATUS [-H NAME:VALUE]… [-d BODY|@FILE] makes an HTTP request; stdout is status line,
// headers and body. URLs without a host go to $ADMIN.
func call(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: http METHOD URL STATUS [-H NAME:VALUE]… [-d BODY|@FILE]")
	}
	method, url, want := args[0], args[1], args[2]
	if strings.HasPrefix(url, "/") {
		url = ts.Getenv("ADMIN") + url
	}
	var body io.Reader
	headers := http.Header{}
	for rest := args[3:]; len(rest) > 0; rest = rest[2:] {
		switch {
		case len(rest) < 2:
			ts.Fatalf("%s without a value", rest[0])
		case rest[0] == "-H":
			name, value, _ := strings.Cut(rest[1], ":")
			headers.Set(name, strings.TrimSpace(value))
		case rest[0] == "-d" && strings.HasPrefix(rest[1], "@"):
			body = strings.NewReader(ts.ReadFile(rest[1][1:]))
		case rest[0] == "-d":
			body = strings.NewReader(rest[1])
		}
	}
	request, err := http.NewRequest(method, url, body)
	ts.Check(err)
	request.Header = headers
	request.Host = headers.Get("Host")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), answer.Status)
	var head strings.Builder
	ts.Check(answer.Header.Write(&head))
	fmt.Fprintf(ts.Stdout(), "%s\n%s", strings.ReplaceAll(head.String(), "\r\n", "\n"), text)
	if strconv.Itoa(answer.StatusCode) != want {
		ts.Fatalf("%s %s: %s, want %s\n%s", method, url, answer.Status, want, text)
	}
}

// capture NAME REGEXP [FILE] sets a variable to the first group of a match in FILE, stdout where none is given.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: capture NAME REGEXP [FILE]")
	}
	file := "stdout"
	if len(args) == 3 {
		file = args[2]
	}
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile(file))
	if len(m) < 2 {
		ts.Fatalf("no match for %s in %s", args[1], file)
	}
	ts.Setenv(args[0], m[1])
}

// mode MODE FILE… checks permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode MODE FILE…")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// taken NAME sets a variable to a port that stays taken until the script's end.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}
