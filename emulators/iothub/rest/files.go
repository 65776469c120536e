package rest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// maxFileRequest bounds the bodies of the files paths.
const maxFileRequest = 64 << 10

// decode reads a JSON object.
func (c *call) decode(into any, form string) *rule.Refusal {
	body, ok := c.read(maxFileRequest)
	if ok && json.Unmarshal(body, into) == nil {
		return nil
	}
	return &rule.Refusal{Rule: "HUB-65/json", Code: 400006, Detail: "the body is not the JSON that the path takes",
		Seen: fmt.Sprintf("%d bytes that do not parse", len(body)), Expected: form}
}

// beginUpload answers where to put a file.
func (c *call) beginUpload() *rule.Refusal {
	var ask struct {
		BlobName string `json:"blobName"`
	}
	if r := c.decode(&ask, `{"blobName":"…"}`); r != nil {
		return r
	}
	if r := c.visit().AdmitUpload(); r != nil {
		return r
	}
	g, r := c.head.hub.BeginUpload(c.id, ask.BlobName)
	if r != nil {
		return r
	}
	c.done(http.StatusOK, azure.MarshalJSON(struct { // the token's & stays one: devices cut the answer up as text
		CorrelationID string `json:"correlationId"`
		HostName      string `json:"hostName"`
		ContainerName string `json:"containerName"`
		BlobName      string `json:"blobName"`
		SASToken      string `json:"sasToken"`
	}{g.CorrelationID, c.blobHost(), g.Container, g.BlobName, g.SAS}))
	return nil
}

// blobHost is the host of the blob's address: the name that the client came by, with the port that it
// wrote, since every SDK joins the address of these parts.
func (c *call) blobHost() string {
	host := c.id.Hub
	if c.peer.Door != "" {
		host = c.peer.Door
	}
	if _, port, err := net.SplitHostPort(c.r.Host); err == nil && port != "443" {
		return net.JoinHostPort(host, port)
	}
	return host
}

// endUpload takes what the device says of its upload. The correlation id stands in the body, or in the path
// (Node).
func (c *call) endUpload() *rule.Refusal {
	var said struct {
		CorrelationID     string `json:"correlationId"`
		IsSuccess         bool   `json:"isSuccess"`
		StatusCode        int    `json:"statusCode"`
		StatusDescription string `json:"statusDescription"`
	}
	if r := c.decode(&said, `{"correlationId":"…","isSuccess":true,"statusCode":200,"statusDescription":"…"}`); r != nil {
		return r
	}
	if said.CorrelationID == "" {
		said.CorrelationID = c.path.ID
	}
	r := c.head.hub.EndUpload(c.id, iothub.UploadResult{CorrelationID: said.CorrelationID, Success: said.IsSuccess,
		StatusCode: said.StatusCode, Description: said.StatusDescription})
	if r != nil {
		return r
	}
	c.done(http.StatusNoContent, nil)
	return nil
}
