package fakecloud

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/store"
)

// A snapshot is a gzip file of JSON lines: a header first, an end that counts the lines before it last, and
// between them one line for each device CA, fault, row of a table and record of a log. Values are base64 of
// what the state's directory would keep.
const (
	snapshotKind   = "fakecloud snapshot"
	snapshotFormat = 1
)

// Limits of a snapshot.
const (
	maxSnapshot     = 256 << 20 // bytes of the file
	maxSnapshotText = 4 << 30   // bytes of what is in it
	maxSnapshotLine = 64 << 20
)

// snapshotLine is a line of the file: what is set says which.
type snapshotLine struct {
	Kind    string    `json:"kind,omitempty"` // of the header: snapshotKind
	Format  int       `json:"format,omitempty"`
	Version string    `json:"version,omitempty"`
	Made    time.Time `json:"made,omitzero"`

	CA          string `json:"ca,omitempty"` // name of a device CA
	Certificate string `json:"certificate,omitempty"`
	PrivateKey  string `json:"privateKey,omitempty"`

	Fault *fault.Fault `json:"fault,omitempty"`

	Table string `json:"table,omitempty"`
	Key   string `json:"key,omitempty"`
	Log   string `json:"log,omitempty"`
	Value []byte `json:"value,omitempty"`

	End   bool `json:"end,omitempty"`
	Lines int  `json:"lines,omitempty"`
}

// snapshotContent is what a snapshot holds.
type snapshotContent struct {
	made   time.Time
	cas    []snapshotLine
	faults []fault.Fault
	image  *store.Image
}

// Snapshot returns the state of the instance as one file, which this or any other instance can Restore:
// the whole world, device CAs with their keys, twins, shadows, queues, stored messages, and faults. It does
// not hold the journal, the server's root, or connections. Keys and secrets are in it as they are.
func (c *Cloud) Snapshot() ([]byte, error) {
	c.worldMu.Lock()
	defer c.worldMu.Unlock()
	var file bytes.Buffer
	if err := c.writeSnapshot(&file); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

func (c *Cloud) writeSnapshot(to io.Writer) error {
	image, faults := c.gen().state.Image(), c.faults.List()
	cas, err := c.pki.CAs()
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(to)
	lines := json.NewEncoder(packed)
	count := 0
	var failed error
	line := func(l snapshotLine) {
		if failed == nil {
			failed = lines.Encode(l)
			count++
		}
	}
	line(snapshotLine{Kind: snapshotKind, Format: snapshotFormat, Version: c.config.Version, Made: c.clock.Wall().UTC()})
	for _, ca := range cas {
		if ca.Name == pki.DemoCA {
			continue // every instance has it
		}
		key, err := ca.KeyPEM()
		if err != nil {
			return err
		}
		line(snapshotLine{CA: ca.Name, Certificate: string(ca.PEM()), PrivateKey: string(key)})
	}
	for _, f := range faults {
		line(snapshotLine{Fault: &f})
	}
	for _, table := range slices.Sorted(maps.Keys(image.Tables)) {
		rows := image.Tables[table]
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			line(snapshotLine{Table: table, Key: key, Value: rows[key]})
		}
	}
	for _, log := range slices.Sorted(maps.Keys(image.Logs)) {
		for _, record := range image.Logs[log] {
			line(snapshotLine{Log: log, Value: record})
		}
	}
	return errors.Join(failed, lines.Encode(snapshotLine{End: true, Lines: count}), packed.Close())
}

// badSnapshot says what is wrong with a file.
func badSnapshot(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{plane.ErrSnapshot}, args...)...)
}

// readSnapshot reads a whole file.
func readSnapshot(file []byte) (*snapshotContent, error) {
	if len(file) > maxSnapshot {
		return nil, badSnapshot("it has %d bytes, at most %d are taken", len(file), maxSnapshot)
	}
	packed, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, badSnapshot("it is no gzip file: `fakecloud snapshot save` writes one")
	}
	content := &snapshotContent{image: &store.Image{Tables: map[string]map[string][]byte{}, Logs: map[string][][]byte{}}}
	lines := bufio.NewScanner(io.LimitReader(packed, maxSnapshotText))
	lines.Buffer(nil, maxSnapshotLine)
	ended := false
	number := 0
	for ; lines.Scan(); number++ {
		var l snapshotLine
		read := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		read.DisallowUnknownFields()
		switch err := read.Decode(&l); {
		case number == 0 && (err != nil || l.Kind != snapshotKind):
			return nil, badSnapshot("line 1: it does not begin as a snapshot does")
		case err != nil:
			return nil, badSnapshot("line %d: %s", number+1, err)
		case number == 0 && l.Format != snapshotFormat:
			return nil, badSnapshot("line 1: format %d, written by version %q; this version reads format %d", l.Format, l.Version, snapshotFormat)
		case ended:
			return nil, badSnapshot("line %d: it comes after the end", number+1)
		}
		if number == 0 {
			content.made = l.Made
			continue
		}
		if err := content.add(l, number); err != nil {
			return nil, badSnapshot("line %d: %w", number+1, err)
		}
		ended = l.End
	}
	switch err := lines.Err(); {
	case err != nil:
		return nil, badSnapshot("after line %d: %w", number, err)
	case !ended:
		return nil, badSnapshot("it stops after line %d: the rest is missing", number)
	}
	return content, nil
}

// add takes in a line; number counts those before it.
func (c *snapshotContent) add(l snapshotLine, number int) error {
	switch {
	case l.CA != "":
		c.cas = append(c.cas, l)
	case l.Fault != nil:
		if err := l.Fault.Validate(); err != nil {
			return err
		}
		if len(c.faults) == fault.Most {
			return fmt.Errorf("at most %d faults", fault.Most)
		}
		c.faults = append(c.faults, *l.Fault)
	case l.Table != "":
		if c.image.Tables[l.Table] == nil {
			c.image.Tables[l.Table] = map[string][]byte{}
		}
		c.image.Tables[l.Table][l.Key] = l.Value
	case l.Log != "":
		c.image.Logs[l.Log] = append(c.image.Logs[l.Log], l.Value)
	case l.End && l.Lines != number:
		return fmt.Errorf("it counts %d lines, there are %d", l.Lines, number)
	case !l.End:
		return errors.New("it is none of ca, fault, table, log and end")
	}
	return nil
}

var errRestored = errors.New("a snapshot was restored")

// Restore makes the instance what it was when the file was made by Snapshot. Connections, clock and journal
// are treated as by Reset, which still goes back to the world that the instance was started with. After an
// error, which says what is wrong with the file, nothing has changed. A device CA whose name another one
// has here comes under that name with its fingerprint's beginning appended.
func (c *Cloud) Restore(file []byte) error {
	content, err := readSnapshot(file)
	if err != nil {
		return err
	}
	c.worldMu.Lock()
	defer c.worldMu.Unlock()
	if c.shut {
		return errClosed
	}
	next := c.newGeneration(store.NewFrom(content.image))
	if err := next.ready(); err != nil {
		return badSnapshot("%w", err)
	}
	if left := next.state.Unclaimed(); len(left) > 0 {
		next.abandon()
		return badSnapshot("%s: nothing in this version knows it", left[0])
	}
	if err := c.restoreCAs(content.cas); err != nil {
		next.abandon()
		return badSnapshot("%w", err)
	}
	if w, err := next.exportWorld(); err == nil {
		c.nameOutbound(w)
	}
	return c.begin(next, content.faults, errRestored)
}

// restoreCAs imports the device CAs of a snapshot that are not here, all or none.
func (c *Cloud) restoreCAs(cas []snapshotLine) (err error) {
	var made []string
	defer func() {
		if err != nil {
			c.removeCAs(made)
		}
	}()
	for _, l := range cas {
		certs, err := pki.ParseCertificates([]byte(l.Certificate))
		if err != nil {
			return fmt.Errorf("ca %s: %w", l.CA, err)
		}
		name := l.CA
		for {
			here, err := c.pki.CA(name)
			if errors.Is(err, pki.ErrNoCA) {
				break
			}
			if err != nil {
				return err
			}
			if here.Certificate.Equal(certs[0]) || name != l.CA {
				name = ""
				break
			}
			_, print := pki.Thumbprints(certs[0])
			name = fmt.Sprintf("%.48s-%.8s", l.CA, print)
		}
		if name == "" {
			continue
		}
		if _, err := c.pki.ImportCA(name, []byte(l.Certificate), []byte(l.PrivateKey)); err != nil {
			return fmt.Errorf("ca %s: %w", l.CA, err)
		}
		made = append(made, name)
	}
	return nil
}
