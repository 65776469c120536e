package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// Identity is a device's or a module's identity as the service API writes it (azure-iothub, pl/models).
type Identity struct {
	DeviceID           string                `json:"deviceId"`
	ModuleID           string                `json:"moduleId,omitempty"`
	ManagedBy          *string               `json:"managedBy,omitempty"` // modules only
	GenerationID       string                `json:"generationId"`
	ETag               string                `json:"etag"`
	ConnectionState    string                `json:"connectionState"`
	Status             string                `json:"status,omitempty"` // devices only
	StatusReason       *StatusReason         `json:"statusReason,omitempty"`
	ConnectionUpdated  Time                  `json:"connectionStateUpdatedTime"`
	StatusUpdated      *Time                 `json:"statusUpdatedTime,omitempty"`
	LastActivity       Time                  `json:"lastActivityTime"`
	CloudToDeviceCount int                   `json:"cloudToDeviceMessageCount"`
	Capabilities       *IdentityCapabilities `json:"capabilities,omitempty"`
	Authentication     IdentityAuth          `json:"authentication"`
	DeviceScope        string                `json:"deviceScope,omitempty"`
	ParentScopes       []string              `json:"parentScopes,omitempty"`
}

// Time is written as ServiceTime.
type Time time.Time

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(ServiceTime(time.Time(t))) }

// StatusReason is written as null when it is empty.
type StatusReason string

// MarshalJSON implements json.Marshaler.
func (r StatusReason) MarshalJSON() ([]byte, error) { return json.Marshal(orNull(string(r))) }

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// IdentityCapabilities of a device.
type IdentityCapabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// IdentityAuth is how an identity proves itself. Empty texts are written as null.
type IdentityAuth struct {
	PrimaryKey, SecondaryKey               string
	PrimaryThumbprint, SecondaryThumbprint string
	Type                                   string
}

// identityAuth is the JSON of IdentityAuth.
type identityAuth struct {
	SymmetricKey struct {
		Primary   any `json:"primaryKey"`
		Secondary any `json:"secondaryKey"`
	} `json:"symmetricKey"`
	Thumbprint struct {
		Primary   any `json:"primaryThumbprint"`
		Secondary any `json:"secondaryThumbprint"`
	} `json:"x509Thumbprint"`
	Type string `json:"type"`
}

// MarshalJSON implements json.Marshaler.
func (a IdentityAuth) MarshalJSON() ([]byte, error) {
	var w identityAuth
	w.SymmetricKey.Primary, w.SymmetricKey.Secondary = orNull(a.PrimaryKey), orNull(a.SecondaryKey)
	w.Thumbprint.Primary, w.Thumbprint.Secondary = orNull(a.PrimaryThumbprint), orNull(a.SecondaryThumbprint)
	w.Type = a.Type
	return json.Marshal(w)
}

// IdentityRequest is an identity as clients send it. They send back what they have read, so everything
// that is the hub's own is ignored.
type IdentityRequest struct {
	DeviceID       string                `json:"deviceId"`
	ModuleID       string                `json:"moduleId"`
	ManagedBy      string                `json:"managedBy"`
	Status         string                `json:"status"`
	StatusReason   string                `json:"statusReason"`
	Authentication AuthRequest           `json:"authentication"`
	Capabilities   *IdentityCapabilities `json:"capabilities"`
	DeviceScope    string                `json:"deviceScope"`
	ParentScopes   []string              `json:"parentScopes"`
}

// AuthRequest is an identity's authentication as clients send it; null stands for empty.
type AuthRequest struct {
	SymmetricKey struct {
		Primary   string `json:"primaryKey"`
		Secondary string `json:"secondaryKey"`
	} `json:"symmetricKey"`
	Thumbprint struct {
		Primary   string `json:"primaryThumbprint"`
		Secondary string `json:"secondaryThumbprint"`
	} `json:"x509Thumbprint"`
	Type string `json:"type"`
}

// BulkRequest is one element of a bulk registry operation: an identity under other names, what to do with
// it, and its twin (ExportImportDevice of the SDKs).
type BulkRequest struct {
	ID             string                `json:"id"`
	ModuleID       string                `json:"moduleId"`
	ETag           string                `json:"eTag"`
	ImportMode     string                `json:"importMode"`
	ManagedBy      string                `json:"managedBy"`
	Status         string                `json:"status"`
	StatusReason   string                `json:"statusReason"`
	Authentication AuthRequest           `json:"authentication"`
	TwinETag       string                `json:"twinETag"`
	Tags           map[string]any        `json:"tags"`
	Properties     TwinProperties        `json:"properties"`
	Capabilities   *IdentityCapabilities `json:"capabilities"`
	DeviceScope    string                `json:"deviceScope"`
	ParentScopes   []string              `json:"parentScopes"`
}

// TwinRequest is a change of a twin as clients send it; what is the hub's own is ignored.
type TwinRequest struct {
	DeviceID   string         `json:"deviceId"`
	ModuleID   string         `json:"moduleId"`
	ETag       string         `json:"etag"`
	Tags       map[string]any `json:"tags"`
	Properties TwinProperties `json:"properties"`
}

// TwinProperties hold the part of a twin's properties that the service side may change.
type TwinProperties struct {
	Desired map[string]any `json:"desired"`
}

// Errors of ReadJSON beside those of encoding/json.
var (
	ErrJSONEmpty = errors.New("the body is empty")
	ErrJSONText  = errors.New("the body is not UTF-8")
	ErrJSONDepth = errors.New("the body is nested too deep")
	ErrJSONTail  = errors.New("something follows the JSON value")
)

// MaxJSONDepth bounds objects and lists within each other: a twin's ten levels and what is around them,
// with room for lists.
const MaxJSONDepth = 64

// ReadJSON reads exactly one JSON value and keeps numbers as they are written. A byte order mark before it
// is skipped.
func ReadJSON(text []byte, into any) error {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return ErrJSONEmpty
	}
	if at := notUTF8(text); at >= 0 {
		return fmt.Errorf("%w, at byte %d", ErrJSONText, at)
	}
	if at := tooDeep(text); at >= 0 {
		return fmt.Errorf("%w: more than %d objects and lists within each other at byte %d", ErrJSONDepth, MaxJSONDepth, at)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return placed(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w, at byte %d", ErrJSONTail, d.InputOffset())
	}
	return nil
}

// placed adds to an error of encoding/json where in the text it is, and says of a wrong type what stands
// there in JSON's words.
func placed(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%w, at byte %d", err, syntax.Offset)
	case errors.As(err, &kind):
		where := "the value"
		if kind.Field != "" {
			where = kind.Field
		}
		return fmt.Errorf("%s is of JSON type %s, which is not what is expected there", where, kind.Value)
	}
	return err
}

// notUTF8 returns where a text stops being UTF-8, or -1.
func notUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// tooDeep returns where a text is nested too deep, or -1.
func tooDeep(text []byte) int {
	depth, inText := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > MaxJSONDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}
