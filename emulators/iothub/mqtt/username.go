package mqtt

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// currentAPI is the api-version of today's documents, for what a client should have sent.
const currentAPI = "2021-04-12"

// readUsername reads the username and holds it against the client id. Its ids come back as the registry
// knows them: the embedded C SDK escapes them in the username but not in the client id.
func (h *Head) readUsername(c *broker.Connect) (azure.HubUsername, *rule.Refusal) {
	refuse := func(detail string) (azure.HubUsername, *rule.Refusal) {
		return azure.HubUsername{}, &rule.Refusal{Rule: "HUB-11/username", Code: notAuthorized, Detail: detail,
			Seen: seenUsername(c), Expected: h.expectedUsername(c)}
	}
	if !c.HasUsername || c.Username == "" {
		return refuse("the CONNECT has no username")
	}
	u, err := azure.ParseHubUsername(c.Username)
	if err != nil {
		return refuse(err.Error())
	}
	for _, form := range []azure.HubUsername{u, u.Decoded()} {
		if form.ClientID() == c.ClientID {
			return form, nil
		}
	}
	if _, provisioning := azure.ClaimsDPS(c.Username); provisioning {
		return refuse("this is a username for the Device Provisioning Service, and it came to a hub")
	}
	detail := fmt.Sprintf("the client id is %s, the username names %s", shown(c.ClientID), shown(u.ClientID()))
	switch {
	case c.ClientID == "":
		detail = "the client id is empty"
	case strings.EqualFold(c.ClientID, u.ClientID()):
		detail += ": they differ in case"
	}
	return u, &rule.Refusal{Rule: "HUB-10/client-id", Code: notAuthorized, Detail: detail,
		Seen: "client id " + shown(c.ClientID), Expected: "client id " + shown(u.ClientID())}
}

func seenUsername(c *broker.Connect) string {
	if !c.HasUsername {
		return "no username"
	}
	return shown(c.Username)
}

// expectedUsername is the username that would have been right for the client id.
func (h *Head) expectedUsername(c *broker.Connect) string {
	device, module, _ := strings.Cut(c.ClientID, "/")
	if device == "" || len(c.ClientID) > 300 {
		device = "{device}"
	}
	host := c.Peer.Endpoint
	if c.Peer.Door != "" {
		host = c.Peer.Door
	}
	return azure.HubUsername{Host: host, DeviceID: device, ModuleID: module, APIVersion: currentAPI}.Format()
}

// shown quotes a client's text, cut to a sane length.
func shown(text string) string {
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("%q… (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}
