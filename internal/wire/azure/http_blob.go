package azure

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// BlobVersion is the storage version that our shared access signatures are made for; its string-to-sign is
// that of Microsoft's page "Create a service SAS".
const BlobVersion = "2018-11-09"

// BlobSAS is a shared access signature of a blob or a container.
type BlobSAS struct {
	Permissions string // of r (read), a, c (create), w (write), d, l
	Expiry      time.Time
	Resource    string // b for a blob, c for a container
	Sig         []byte

	fields url.Values
}

// Errors of ParseBlobSAS.
var (
	ErrNoBlobSAS  = errors.New("no shared access signature")
	ErrBadBlobSAS = errors.New("malformed shared access signature")
)

const blobTime = "2006-01-02T15:04:05Z"

// ParseBlobSAS reads the signature out of a request's query.
func ParseBlobSAS(query url.Values) (BlobSAS, error) {
	if query.Get("sig") == "" {
		return BlobSAS{}, ErrNoBlobSAS
	}
	s := BlobSAS{Permissions: query.Get("sp"), Resource: query.Get("sr"), fields: query}
	var err error
	if s.Sig, err = base64.StdEncoding.DecodeString(query.Get("sig")); err != nil {
		return s, fmt.Errorf("%w: field sig", ErrBadBlobSAS)
	}
	if s.Expiry, err = time.Parse(blobTime, query.Get("se")); err != nil {
		return s, fmt.Errorf("%w: field se", ErrBadBlobSAS)
	}
	if s.Resource != "b" && s.Resource != "c" {
		return s, fmt.Errorf("%w: field sr", ErrBadBlobSAS)
	}
	return s, nil
}

// SignedBy reports whether key made the signature for the resource: /blob/{account}/{container}[/{blob}].
func (s BlobSAS) SignedBy(key []byte, resource string) bool {
	return hmac.Equal(s.Sig, blobSignature(key, s.fields, resource))
}

func blobSignature(key []byte, f url.Values, resource string) []byte {
	text := strings.Join([]string{f.Get("sp"), f.Get("st"), f.Get("se"), resource, f.Get("si"), f.Get("sip"), f.Get("spr"), f.Get("sv"),
		f.Get("sr"), "", f.Get("rscc"), f.Get("rscd"), f.Get("rsce"), f.Get("rscl"), f.Get("rsct")}, "\n")
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// FormatBlobSAS signs and returns the query, with its question mark; sv comes first, as in Azure Storage's own.
func FormatBlobSAS(s BlobSAS, key []byte, resource string) string {
	f := url.Values{"sv": {BlobVersion}, "sr": {s.Resource}, "sp": {s.Permissions}, "spr": {"https"}, "se": {s.Expiry.UTC().Format(blobTime)}}
	sig := url.QueryEscape(base64.StdEncoding.EncodeToString(blobSignature(key, f, resource)))
	return "?sv=" + BlobVersion + "&sr=" + s.Resource + "&sig=" + sig + "&se=" + url.QueryEscape(f.Get("se")) + "&sp=" + s.Permissions + "&spr=https"
}

// Limits of a block list.
const (
	MaxBlockList = 4 << 20 // bytes of its XML
	maxBlocks    = 50_000  // as Azure Blob Storage has it
	maxBlockID   = 64      // bytes, before base64
)

// Errors of blocks.
var (
	ErrBlockID   = errors.New("a block id is base64 of 1 to 64 bytes")
	ErrBlockList = errors.New("not a block list")
)

// ParseBlockID checks a block id, which is base64.
func ParseBlockID(text string) (string, error) {
	if raw, err := base64.StdEncoding.DecodeString(text); err != nil || len(raw) == 0 || len(raw) > maxBlockID {
		return "", ErrBlockID
	}
	return text, nil
}

// ParseBlockList reads <BlockList><Latest>id</Latest><Committed>id</Committed><Uncommitted>id</Uncommitted></BlockList>
// and returns the ids in order, which is the blob's.
func ParseBlockList(text []byte) ([]string, error) {
	var list struct {
		XMLName xml.Name `xml:"BlockList"`
		Blocks  []struct {
			XMLName xml.Name
			ID      string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBlockList, err)
	}
	if len(list.Blocks) > maxBlocks {
		return nil, fmt.Errorf("%w: %d blocks, at most %d", ErrBlockList, len(list.Blocks), maxBlocks)
	}
	ids := make([]string, len(list.Blocks))
	for i, b := range list.Blocks {
		switch b.XMLName.Local {
		case "Latest", "Committed", "Uncommitted":
		default:
			return nil, fmt.Errorf("%w: element %q", ErrBlockList, clip(b.XMLName.Local))
		}
		id, err := ParseBlockID(strings.TrimSpace(b.ID))
		if err != nil {
			return nil, fmt.Errorf("%w: block %d: %w", ErrBlockList, i+1, err)
		}
		ids[i] = id
	}
	return ids, nil
}

// BlobError writes the body of a storage error.
func BlobError(code, message, request string, at time.Time) []byte {
	body := struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: fmt.Sprintf("%s\nRequestId:%s\nTime:%s", message, request, FormatDPSTime(at))}
	b, err := xml.Marshal(body)
	if err != nil {
		panic(err) // three texts
	}
	return append([]byte(xml.Header), b...)
}
