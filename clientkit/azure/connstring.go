package azure

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ConnectionString is a device's connection string, as the portal and the CLI print it.
type ConnectionString struct {
	HostName    string // the hub, e.g. contoso.azure-devices.net
	DeviceID    string
	ModuleID    string // empty for a device
	GatewayHost string // GatewayHostName: where to connect instead of HostName
	Key         string // SharedAccessKey, base64
	Token       string // SharedAccessSignature
	X509        bool   // x509=true: the certificate comes separately
}

// ParseConnectionString reads "HostName=…;DeviceId=…;SharedAccessKey=…" with the optional parts
// ModuleId, GatewayHostName, SharedAccessSignature and x509. Names are compared without regard to case,
// unknown ones are refused. Errors name the part that is wrong and never its value.
func ParseConnectionString(text string) (ConnectionString, error) {
	var s ConnectionString
	fields := map[string]*string{
		"hostname": &s.HostName, "deviceid": &s.DeviceID, "moduleid": &s.ModuleID,
		"gatewayhostname": &s.GatewayHost, "sharedaccesskey": &s.Key, "sharedaccesssignature": &s.Token,
		"x509": new(string),
	}
	seen := map[string]bool{}
	for n, part := range strings.Split(strings.TrimSpace(text), ";") {
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		if !found {
			return s, connStringErr("part %d has no '='; expected Name=value;Name=value", n+1)
		}
		lower := strings.ToLower(strings.TrimSpace(name))
		if lower == "sharedaccesskeyname" {
			return s, errors.New("azure: this is a service connection string (it has SharedAccessKeyName); " +
				"a device's has DeviceId and SharedAccessKey, see the device's page in the portal")
		}
		field, known := fields[lower]
		switch {
		case !known:
			return s, connStringErr("unknown part %q", name)
		case seen[lower]:
			return s, connStringErr("%s appears twice", name)
		case value == "":
			return s, connStringErr("%s is empty", name)
		}
		seen[lower] = true
		*field = value
	}
	if seen["x509"] {
		var err error
		if s.X509, err = strconv.ParseBool(strings.ToLower(*fields["x509"])); err != nil {
			return s, connStringErr("x509 is %q, expected true or false", *fields["x509"])
		}
	}
	return s, s.check()
}

func connStringErr(format string, args ...any) error {
	return errors.New("azure: connection string: " + fmt.Sprintf(format, args...))
}

func (s ConnectionString) check() error {
	ways := 0
	for _, has := range []bool{s.Key != "", s.Token != "", s.X509} {
		if has {
			ways++
		}
	}
	switch {
	case s.HostName == "":
		return connStringErr("HostName is missing")
	case s.DeviceID == "":
		return connStringErr("DeviceId is missing")
	case ways == 0:
		return connStringErr("no credential: SharedAccessKey, SharedAccessSignature or x509=true is missing")
	case ways > 1:
		return connStringErr("more than one of SharedAccessKey, SharedAccessSignature and x509=true")
	}
	if s.Key != "" {
		if _, err := decodeKey(s.Key); err != nil {
			return connStringErr("SharedAccessKey: %s", strings.TrimPrefix(err.Error(), "azure: "))
		}
	}
	return nil
}

// HubConfig returns the configuration that the string describes. With x509=true the caller sets the
// Credential to the device's certificate.
func (s ConnectionString) HubConfig() (HubConfig, error) {
	cfg := HubConfig{Host: s.HostName, DeviceID: s.DeviceID, ModuleID: s.ModuleID, GatewayHost: s.GatewayHost}
	var err error
	switch {
	case s.Key != "":
		cfg.Credential, err = SymmetricKey(s.Key)
	case s.Token != "":
		cfg.Credential, err = Token(s.Token)
	}
	return cfg, err
}
