package azure

import (
	"errors"
	"strings"
)

// Errors of ParseEdgeUsername.
var (
	ErrEdgeUsername   = errors.New("the username is not {hub}/{device}[/{module}]/?api-version={version}")
	ErrEdgeAPIVersion = errors.New("the username names no api-version")
	ErrEdgeDevice     = errors.New("the username names no device")
)

// oldMLClient ends the one username with six segments that edgeHub takes, of an old C# client.
const oldMLClient = "/api-version=2017-06-30/deviceclienttype=microsoft.azure.devices.client/1.5.1-preview-003"

// ParseEdgeUsername reads a username as an IoT Edge gateway does (Azure/iotedge, MqttUsernameParser):
// {anything}/{device}[/{module}]/?{query}, or the same without question mark where the query has
// "api-version=" in it. It wants an api-version, of which it does not look at the value, leaves ids as they
// are but for blanks around them, and ignores other members of the query.
func ParseEdgeUsername(text string) (HubUsername, error) {
	segments := strings.Split(text, "/")
	n := len(segments)
	u := HubUsername{Host: segments[0]}
	if n == 6 && strings.HasSuffix(strings.ToLower(text), oldMLClient) {
		u.DeviceID, u.ModuleID = strings.TrimSpace(segments[1]), strings.TrimSpace(segments[2])
		u.APIVersion, u.DeviceClientType = "2017-06-30", strings.Join(segments[4:], "/")[len(keyClientType)+1:]
		return u, u.edgeFault()
	}
	if n != 3 && n != 4 {
		return u, ErrEdgeUsername
	}
	query, marked := strings.CutPrefix(segments[n-1], "?")
	if !marked && !strings.Contains(query, keyAPIVersion+"=") {
		return u, ErrEdgeUsername
	}
	u.DeviceID = strings.TrimSpace(segments[1])
	if n == 4 {
		u.ModuleID = strings.TrimSpace(segments[2])
	}
	u.readEdgeQuery(strings.TrimSpace(query))
	return u, u.edgeFault()
}

func (u *HubUsername) edgeFault() error {
	switch {
	case strings.TrimSpace(u.APIVersion) == "":
		return ErrEdgeAPIVersion
	case u.DeviceID == "":
		return ErrEdgeDevice
	}
	return nil
}

// readEdgeQuery takes the first of several members of one name, whatever it holds.
func (u *HubUsername) readEdgeQuery(query string) {
	seen := map[string]bool{}
	for member := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(member, "=")
		if seen[key] {
			continue
		}
		seen[key] = true
		switch value = unescape(value); key {
		case keyAPIVersion:
			u.APIVersion = value
		case keyClientType:
			u.DeviceClientType = value
		case keyModelID:
			u.ModelID = value
		case keyAuthChain:
			u.AuthChain = value
		}
	}
}

// AuthChainIDs takes an auth-chain apart: the target first, the acting edge device last.
func AuthChainIDs(chain string) []string {
	return strings.FieldsFunc(chain, func(r rune) bool { return r == ';' })
}
