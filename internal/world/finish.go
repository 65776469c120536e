package world

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// maxFile bounds a file that a world names.
const maxFile = 1 << 20

// finish resolves and completes what a mapping's keys, which are given, say together.
func (r *reader) finish(v reflect.Value, path string, given map[string]bool) {
	switch x := v.Addr().Interface().(type) {
	case *Certificate:
		r.certificateText(&x.PEM, &x.File, path)
	case *CACertificate:
		r.certificateText(&x.PEM, &x.File, path)
	case *IoTDACertificate:
		r.certificateText(&x.PEM, &x.File, path)
	case *TrustedCA:
		r.certificateText(&x.PEM, &x.File, path)
	case *EdgeCA:
		r.certificateText(&x.PEM, &x.File, path)
	case *CA:
		r.certificateText(&x.PEM, &x.File, path)
	case *KeyMaterial:
		r.keyText(x, path)
	case *Authentication:
		r.authentication(x, path)
	case *Fault:
		r.fault(x, path, given)
	}
}

func (r *reader) at(path string) Position {
	if p, ok := r.seen[path]; ok {
		return p
	}
	return Position{File: r.file}
}

func (r *reader) reportKey(path, text string) {
	r.problems = append(r.problems, Problem{Position: r.at(path), Key: path, Text: text})
}

// certificateText moves the content of file into pem.
func (r *reader) certificateText(pemText, file *string, path string) {
	data, ok := r.readFile(*pemText, file, path)
	if !ok {
		return
	}
	certs, err := ParseCertificates(data)
	if err != nil {
		r.reportKey(join(path, "file"), err.Error())
		return
	}
	var b strings.Builder
	for _, cert := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a Builder never fails
	}
	*pemText = b.String()
}

func (r *reader) keyText(k *KeyMaterial, path string) {
	data, ok := r.readFile(k.PEM, &k.File, path)
	if !ok {
		return
	}
	if why := checkPrivateKey(string(data)); why != "" {
		r.reportKey(join(path, "file"), why)
		return
	}
	k.PEM = string(data)
}

// readFile reads and clears a file key; ok is false when there is none or it cannot be read.
func (r *reader) readFile(pemText string, file *string, path string) (data []byte, ok bool) {
	name := *file
	if name == "" {
		return nil, false
	}
	*file = ""
	key := join(path, "file")
	if pemText != "" {
		r.reportKey(key, "stands beside pem; give one of them")
		return nil, false
	}
	if !r.files {
		r.reportKey(key, "files are read only from a world file on disk; give the text itself as pem")
		return nil, false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(r.dir, name)
	}
	data, err := readLimited(name)
	if err != nil {
		r.reportKey(key, err.Error())
		return nil, false
	}
	return data, true
}

// readLimited reads a regular file of at most maxFile bytes.
func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fileError(name, err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fileError(name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return data, nil
}

func fileError(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s cannot be read: permission denied", name)
	default:
		return fmt.Errorf("cannot be read: %w", err)
	}
}

// SHA256Thumbprint returns the thumbprint of the first certificate in PEM or DER data, in upper case.
func SHA256Thumbprint(data []byte) (string, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(certs[0].Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:])), nil
}

// authentication computes the thumbprint of a certificate, derives the type and refuses what
// contradicts it.
func (r *reader) authentication(a *Authentication, path string) {
	if a.Certificate != nil {
		r.thumbprintOf(a, path)
	}
	if t := a.X509Thumbprint; t != nil {
		t.PrimaryThumbprint = strings.ToUpper(t.PrimaryThumbprint)
		t.SecondaryThumbprint = strings.ToUpper(t.SecondaryThumbprint)
	}
	if a.Type == "" {
		a.Type = TypeSAS
		if a.X509Thumbprint != nil {
			a.Type = TypeSelfSigned
		}
	}
	if a.SymmetricKey != nil && a.Type != TypeSAS {
		r.reportKey(join(path, "symmetricKey"), "goes with type sas, but the type is "+a.Type+"; an identity has one kind of credential")
	}
	if a.X509Thumbprint != nil && a.Type != TypeSelfSigned {
		r.reportKey(join(path, "x509Thumbprint"), "goes with type selfSigned, but the type is "+a.Type+"; an identity has one kind of credential")
	}
}

func (r *reader) thumbprintOf(a *Authentication, path string) {
	text := a.Certificate.PEM
	a.Certificate = nil
	if text == "" {
		return
	}
	thumbprint, err := SHA256Thumbprint([]byte(text))
	if err != nil {
		return // the PEM itself has been reported
	}
	if a.X509Thumbprint == nil {
		a.X509Thumbprint = &Thumbprint{}
	}
	if a.X509Thumbprint.PrimaryThumbprint != "" {
		r.reportKey(join(path, "certificate"), "gives the primary thumbprint, which x509Thumbprint gives too; leave one out")
		return
	}
	a.X509Thumbprint.PrimaryThumbprint = thumbprint
}
