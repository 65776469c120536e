package mindsphere

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of AWS IoT Core, which carries region eu1 (AWS IoT device SDK, client-side validation).
const (
	MaxTopic    = 256 // bytes of a topic or filter
	MaxSlashes  = 7   // in a topic or filter
	MaxClientID = 128 // bytes
)

// designator is the first level of every topic.
const designator = "tc"

// levels of a topic: tc/{tenant}/{clientId}/{direction}/{application}/{topic}.
const levels = 6

// Direction is the fourth level of a topic, as the cloud sees it.
type Direction string

// The directions.
const (
	Inbound  Direction = "i" // to the agent, which subscribes
	Outbound Direction = "o" // from the agent, which publishes
)

// Channel names a topic of an application, such as amo_v3 and ms.
type Channel struct {
	App  string // application and version
	Name string // the application's topic
}

// String returns the channel as it stands in a topic.
func (c Channel) String() string { return c.App + "/" + c.Name }

// The channels that agents publish to.
var (
	ModelV3       = Channel{"amo_v3", "m"}  // create a model
	InstantiateV3 = Channel{"amo_v3", "i"}  // make assets of a model
	ModelV4       = Channel{"amo_v4", "mi"} // create or update model and assets
	GetModelV4    = Channel{"amo_v4", "m"}  // ask for the agent's own model
	TimeSeries    = Channel{"mc_v3", "ts"}
	Events        = Channel{"mc_v3", "e"}
	File          = Channel{"mc_v3", "f"}
	CommandStatus = Channel{"cmd_v3", "u"}
	TokenRequest  = Channel{"agm_v3", "t"}
)

// The channels that agents subscribe to.
var (
	ModelStatusV3      = Channel{"amo_v3", "ms"}
	InstanceProgressV3 = Channel{"amo_v3", "ip"}
	ModelProgressV4    = Channel{"amo_v4", "mip"}
	ModelAnswerV4      = Channel{"amo_v4", "m"}
	Command            = Channel{"cmd_v3", "c"}
	TokenResponse      = Channel{"agm_v3", "tr"}
)

var (
	outbound = []Channel{ModelV3, InstantiateV3, ModelV4, GetModelV4, TimeSeries, Events, File, CommandStatus, TokenRequest}
	inbound  = []Channel{ModelStatusV3, InstanceProgressV3, ModelProgressV4, ModelAnswerV4, Command, TokenResponse}
)

// Channels returns the channels of a direction.
func Channels(d Direction) []Channel {
	known := inbound
	if d == Outbound {
		known = outbound
	}
	return append([]Channel(nil), known...)
}

// Known reports whether c exists in direction d.
func Known(d Direction, c Channel) bool {
	known := inbound
	if d == Outbound {
		known = outbound
	}
	for _, k := range known {
		if k == c {
			return true
		}
	}
	return false
}

// Topic is a topic taken apart.
type Topic struct {
	Tenant    string
	ClientID  string
	Direction Direction
	Channel
}

// String returns the topic as on the wire.
func (t Topic) String() string {
	return strings.Join([]string{designator, t.Tenant, t.ClientID, string(t.Direction), t.App, t.Name}, "/")
}

// ErrTopic says that a topic has not the form that all MindConnect topics have.
var ErrTopic = errors.New("a topic is tc/{tenant}/{clientId}/{i or o}/{application}_{version}/{topic}")

// ParseTopic takes a topic apart. It does not ask whether application and topic exist. The error wraps
// ErrTopic and says what is wrong.
func ParseTopic(s string) (Topic, error) {
	part := strings.Split(s, "/")
	switch {
	case len(part) != levels:
		return Topic{}, fmt.Errorf("%w; this one has %d levels instead of %d", ErrTopic, len(part), levels)
	case part[0] != designator:
		return Topic{}, fmt.Errorf("%w; this one begins with %q", ErrTopic, part[0])
	case part[3] != string(Inbound) && part[3] != string(Outbound):
		return Topic{}, fmt.Errorf("%w; this one has %q for i or o", ErrTopic, part[3])
	}
	for _, p := range part {
		if p == "" || strings.ContainsAny(p, "+#\x00") {
			return Topic{}, fmt.Errorf("%w; %q is no level", ErrTopic, p)
		}
	}
	return Topic{Tenant: part[1], ClientID: part[2], Direction: Direction(part[3]), Channel: Channel{App: part[4], Name: part[5]}}, nil
}

// Branch returns the beginning of all topics of an agent in one direction, with its trailing slash.
func Branch(tenant, clientID string, d Direction) string {
	return designator + "/" + tenant + "/" + clientID + "/" + string(d) + "/"
}

// FilterKind is what a topic filter asks for.
type FilterKind byte

// The kinds of filter.
const (
	FilterOwn     FilterKind = iota // inside the agent's own inbound branch: the only legal kind
	FilterOutput                    // the agent's own outbound branch, or a wildcard that covers it
	FilterForeign                   // another agent's or tenant's branch
	FilterBroad                     // a wildcard that reaches beyond the agent's branch
	FilterForm                      // no MindConnect topic at all
	FilterTooLong                   // over MaxTopic or MaxSlashes
)

// JudgeFilter tells the kind of a syntactically valid filter of an agent. Wildcards are legal below
// tc/{tenant}/{clientId}/i/ only.
func JudgeFilter(filter, tenant, clientID string) FilterKind {
	if len(filter) > MaxTopic || strings.Count(filter, "/") > MaxSlashes {
		return FilterTooLong
	}
	if rest, own := strings.CutPrefix(filter, Branch(tenant, clientID, Inbound)); own && rest != "" {
		return FilterOwn
	}
	part := strings.Split(filter, "/")
	want := []string{designator, tenant, clientID}
	for i, w := range want {
		switch {
		case i >= len(part):
			return FilterForm
		case part[i] == "#" || part[i] == "+":
			return FilterBroad
		case part[i] == w:
		case i == 0:
			return FilterForm
		default:
			return FilterForeign
		}
	}
	switch {
	case len(part) < 4:
		return FilterForm
	case part[3] == "#" || part[3] == "+" || part[3] == string(Outbound):
		return FilterOutput
	}
	return FilterForm
}

// Covers reports whether a filter of FilterOwn kind matches at least one inbound channel, so that messages
// can ever come.
func Covers(filter, tenant, clientID string) bool {
	for _, c := range inbound {
		if Matches(filter, Branch(tenant, clientID, Inbound)+c.String()) {
			return true
		}
	}
	return false
}

// Matches reports whether a topic falls under a filter (MQTT 3.1.1 section 4.7).
func Matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// ClientID returns the client id of an agent in region eu1 and in the private cloud.
func ClientID(tenant, commonName string) string { return tenant + "_" + commonName }

// SplitClientID returns tenant and device of a client id; tenant names have no underscore.
func SplitClientID(clientID string) (tenant, device string, ok bool) {
	tenant, device, ok = strings.Cut(clientID, "_")
	return tenant, device, ok && tenant != "" && device != ""
}

// maxTenant is longer than any tenant name seen; names are short as they stand in host names.
const maxTenant = 63

// ValidTenant reports whether s can be a tenant's name: letters, digits and inner hyphens, for it stands in
// host names and ends at the first underscore of a client id.
func ValidTenant(s string) bool {
	if s == "" || len(s) > maxTenant || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}
