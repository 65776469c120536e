package iotda

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
)

// The object store stands in for Huawei's OBS: upgrade packages lie in it, and what devices upload by
// $file_manager. Addresses are signed as OBS signs them, by a query of AccessKeyId, Expires and Signature.

// Limits of the object store; OBS's own are in terabytes, these are for a test's files.
const (
	MaxObject     = 32 << 20 // bytes of one object
	maxStored     = 128 << 20
	maxObjects    = 5000
	maxObjectName = 1024
)

// DeviceBucket is where devices' uploads go: {device_id}/{file_name}.
const DeviceBucket = "iotda-device-files"

// PackageBucket holds the upgrade packages that the platform keeps itself, as those uploaded in its console:
// devices get them with an access token, not by a signed address.
const PackageBucket = "iotda-packages"

// ObjectPath is what addresses of objects begin with: /obs/{bucket}/{name}.
const ObjectPath = "/obs/"

// urlLife is how long a signed address is good for.
const urlLife = time.Hour

// Object is one stored object. Its body is shared and must not be changed.
type Object struct {
	Body     []byte
	Modified time.Time
}

// objects is the object store of all instances.
type objects struct {
	table *store.Table[Object]
	mu    sync.Mutex // held over a change with its count
	key   []byte     // signs addresses; those of an earlier life are void
}

func newObjects(s *store.Store) objects {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails (crypto/rand, Go 1.24)
	return objects{table: store.NewTable[Object](s, "iotda.objects", nil), key: key}
}

func objectKey(instance, bucket, name string) string { return key(instance, bucket, name) }

// PutObject stores an object.
func (s *Service) PutObject(instance, bucket, name string, body []byte) error {
	switch {
	case s.known(instance) != nil:
		return s.known(instance)
	case bucket == "" || len(bucket) > 63 || strings.ContainsAny(bucket, "/\x1f"):
		return invalid("bucket %q: 1 to 63 characters without /", clip(bucket))
	case name == "" || len(name) > maxObjectName || strings.ContainsAny(name, "\x00\x1f"):
		return invalid("object key: 1 to %d characters without control characters", maxObjectName)
	case len(body) > MaxObject:
		return invalid("the object has %d bytes; at most %d are stored", len(body), MaxObject)
	}
	o := &s.objects
	o.mu.Lock()
	defer o.mu.Unlock()
	used, k := len(body), objectKey(instance, bucket, name)
	keys := o.table.Keys("")
	for _, other := range keys {
		if old, ok := o.table.Get(other); ok && other != k {
			used += len(old.Body)
		}
	}
	if used > maxStored || len(keys) >= maxObjects && !slices.Contains(keys, k) {
		return conflict("the object store is full: %d bytes and %d objects are its limits", maxStored, maxObjects)
	}
	o.table.Put(k, Object{Body: body, Modified: s.clock.Wall().UTC()})
	return nil
}

// Object returns an object.
func (s *Service) Object(instance, bucket, name string) (Object, error) {
	o, ok := s.objects.table.Get(objectKey(instance, bucket, name))
	if !ok {
		return o, notFound("object", bucket+"/"+name)
	}
	return o, nil
}

// SignObject returns the query that allows one method on an object for an hour.
func (s *Service) SignObject(instance, method, bucket, name string) url.Values {
	expires := strconv.FormatInt(s.clock.Wall().Add(urlLife).Unix(), 10)
	return url.Values{"AccessKeyId": {"fakecloud"}, "Expires": {expires}, "Signature": {s.objectSignature(instance, method, bucket, name, expires)}}
}

func (s *Service) objectSignature(instance, method, bucket, name, expires string) string {
	mac := hmac.New(sha256.New, s.objects.key)
	mac.Write([]byte(strings.Join([]string{instance, method, bucket, name, expires}, "\n")))
	return hex.EncodeToString(mac.Sum(nil))
}

// MayReachObject judges a signed address.
func (s *Service) MayReachObject(instance, method, bucket, name string, query url.Values) error {
	expires := query.Get("Expires")
	at, err := strconv.ParseInt(expires, 10, 64)
	want := s.objectSignature(instance, method, bucket, name, expires)
	switch {
	case err != nil || subtle.ConstantTimeCompare([]byte(want), []byte(query.Get("Signature"))) != 1:
		return invalid("the signature does not allow %s of this object", method)
	case s.clock.Wall().Unix() > at:
		return invalid("the address expired at %s", time.Unix(at, 0).UTC().Format(timeForm))
	}
	return nil
}

// bearer is the method that access tokens are signed for; no call has it.
const bearer = "BEARER"

// objectToken returns a token that allows a device to get an object for an hour: when it ends, and a signature.
func (s *Service) objectToken(instance, bucket, name string) string {
	expires := strconv.FormatInt(s.clock.Wall().Add(urlLife).Unix(), 10)
	return expires + "." + s.objectSignature(instance, bearer, bucket, name, expires)
}

// MayGetObject judges an access token.
func (s *Service) MayGetObject(instance, bucket, name, token string) error {
	expires, signature, _ := strings.Cut(token, ".")
	at, err := strconv.ParseInt(expires, 10, 64)
	want := s.objectSignature(instance, bearer, bucket, name, expires)
	switch {
	case err != nil || subtle.ConstantTimeCompare([]byte(want), []byte(signature)) != 1:
		return invalid("the access token is none for this object")
	case s.clock.Wall().Unix() > at:
		return invalid("the access token expired at %s", time.Unix(at, 0).UTC().Format(timeForm))
	}
	return nil
}

// objectURL is a signed address on the host that the device itself has reached.
func (c *Session) objectURL(method, bucket, name string) string {
	return c.bareObjectURL(bucket, name) + "?" + c.svc.SignObject(c.id.Instance, method, bucket, name).Encode()
}

// bareObjectURL is the same address without a signature.
func (c *Session) bareObjectURL(bucket, name string) string {
	u := url.URL{Scheme: "https", Host: c.filesHost, Path: ObjectPath + bucket + "/" + name}
	return u.String()
}
