package service

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// transferJSON is an import or export job as clients send and read it (azure-iothub, pl/models: JobProperties).
type transferJSON struct {
	ID          string  `json:"jobId"`
	Start       string  `json:"startTimeUtc,omitempty"`
	End         string  `json:"endTimeUtc,omitempty"`
	Type        string  `json:"type"`
	Status      string  `json:"status,omitempty"`
	Progress    int     `json:"progress"`
	Input       string  `json:"inputBlobContainerUri,omitempty"`
	InputBlob   string  `json:"inputBlobName,omitempty"`
	Output      string  `json:"outputBlobContainerUri,omitempty"`
	OutputBlob  string  `json:"outputBlobName,omitempty"`
	ExcludeKeys bool    `json:"excludeKeysInExport"`
	Auth        string  `json:"storageAuthenticationType,omitempty"`
	Failure     *string `json:"failureReason"`
}

func transferOf(t iothub.Transfer) transferJSON {
	out := transferJSON{ID: t.ID, Start: azure.ServiceTime(t.Start), End: azure.ServiceTime(t.End), Type: string(t.Type), Status: string(t.Status), Progress: 100,
		Input: t.Input, InputBlob: t.InputBlob, Output: t.Output, OutputBlob: t.OutputBlob, ExcludeKeys: t.ExcludeKeys, Auth: "keyBased"}
	if t.Failure != "" {
		out.Failure = &t.Failure
	}
	return out
}

// createTransfer does an import or an export. What is wrong with its addresses is an error; what is wrong
// with the identities of an import stands in the log that it writes.
func (c *call) createTransfer() (answer, error) {
	var in transferJSON
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	if in.Auth != "" && !strings.EqualFold(in.Auth, "keyBased") {
		return answer{}, failed("SVC-27/invalid", azure.ArgumentInvalid, "storageAuthenticationType "+show(in.Auth)+" is not emulated", show(in.Auth), "keyBased, with shared access signatures in the addresses")
	}
	hub := c.Handler.hub
	output, refusal := hub.OpenContainer(c.hub.Host, in.Output, "cw")
	if refusal != nil {
		return answer{}, refusalOf(refusal, "outputBlobContainerUri: the blob container cannot be used")
	}
	t := iothub.Transfer{Type: iothub.TransferType(strings.ToLower(in.Type)), Output: bareAddress(in.Output), OutputBlob: in.OutputBlob, ExcludeKeys: in.ExcludeKeys}
	if t.OutputBlob == "" {
		t.OutputBlob = iothub.TransferBlob
	}
	t = hub.NewTransfer(t)
	switch t.Type {
	case iothub.Export:
		refusal = hub.WriteTo(output, t.OutputBlob, c.exported(t.ExcludeKeys))
	case iothub.Import:
		var input iothub.Container
		if input, refusal = hub.OpenContainer(c.hub.Host, in.Input, "r"); refusal != nil {
			return answer{}, refusalOf(refusal, "inputBlobContainerUri: the blob container cannot be used")
		}
		t.Input, t.InputBlob, t.OutputBlob = bareAddress(in.Input), in.InputBlob, ""
		if t.InputBlob == "" {
			t.InputBlob = iothub.TransferBlob
		}
		var failure string
		if failure, refusal = c.imported(input, t.InputBlob, output); failure != "" {
			return c.recordTransfer(hub.EndTransfer(t, failure))
		}
	default:
		return answer{}, failed("SVC-27/invalid", azure.ArgumentInvalid, "type is neither import nor export", show(in.Type), "import or export")
	}
	if refusal != nil {
		return c.recordTransfer(hub.EndTransfer(t, refusal.Detail+": "+refusal.Seen))
	}
	return c.recordTransfer(hub.EndTransfer(t, ""))
}

func (c *call) recordTransfer(t iothub.Transfer) (answer, error) {
	t, err := c.Handler.hub.RecordTransfer(c.hub.Host, t)
	if err != nil {
		return answer{}, c.jobFault(err)
	}
	return answer{body: transferOf(t)}, nil
}

// bareAddress is a container's address without its signature.
func bareAddress(address string) string {
	bare, _, _ := strings.Cut(address, "?")
	return bare
}

// exportedIdentity is a line of an export (ExportImportDevice).
type exportedIdentity struct {
	ID             string                      `json:"id"`
	ModuleID       string                      `json:"moduleId,omitempty"`
	ManagedBy      *string                     `json:"managedBy,omitempty"`
	ETag           string                      `json:"eTag"`
	Status         string                      `json:"status,omitempty"`
	StatusReason   *azure.StatusReason         `json:"statusReason,omitempty"`
	Authentication azure.IdentityAuth          `json:"authentication"`
	TwinETag       string                      `json:"twinETag"`
	Tags           any                         `json:"tags"`
	Properties     any                         `json:"properties"`
	Capabilities   *azure.IdentityCapabilities `json:"capabilities,omitempty"`
	DeviceScope    string                      `json:"deviceScope,omitempty"`
	ParentScopes   []string                    `json:"parentScopes,omitempty"`
}

// exported writes the identities of the hub, one to a line.
func (c *call) exported(excludeKeys bool) []byte {
	var out bytes.Buffer
	line := func(id azure.Identity) {
		if excludeKeys {
			id.Authentication.PrimaryKey, id.Authentication.SecondaryKey = "", ""
		}
		e := exportedIdentity{ID: id.DeviceID, ModuleID: id.ModuleID, ManagedBy: id.ManagedBy, ETag: id.ETag, Status: id.Status, StatusReason: id.StatusReason,
			Authentication: id.Authentication, Capabilities: id.Capabilities, DeviceScope: id.DeviceScope, ParentScopes: id.ParentScopes}
		if twin, err := c.Handler.hub.TwinDocument(c.hub.Host, id.DeviceID, id.ModuleID); err == nil {
			e.TwinETag, _ = twin["etag"].(string)
			e.Tags, e.Properties = twin["tags"], twin["properties"]
		}
		out.Write(azure.MarshalJSON(e))
		out.WriteByte('\n')
	}
	for _, d := range c.Handler.hub.Devices(c.hub.Host) {
		line(deviceJSON(d))
		for _, m := range c.Handler.hub.Modules(c.hub.Host, d.DeviceID) {
			line(moduleJSON(m))
		}
	}
	return out.Bytes()
}

// importError is a line of the log of an import.
type importError struct {
	ID       string `json:"id"`
	ModuleID string `json:"moduleId,omitempty"`
	Code     string `json:"errorCode"`
	Status   string `json:"errorStatus"`
}

// imported changes the identities that a blob lists, one to a line, and writes what failed into the log.
func (c *call) imported(input iothub.Container, name string, output iothub.Container) (failure string, refusal *rule.Refusal) {
	text, err := c.Handler.hub.ReadFrom(input, name)
	if err != nil {
		return "The blob " + name + " cannot be read: it is not there.", nil
	}
	var items []iothub.BulkItem
	var log bytes.Buffer
	note := func(e importError) {
		log.Write(azure.MarshalJSON(e))
		log.WriteByte('\n')
	}
	for n, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if iothub.TooManyRows(len(items) + 1) {
			return fmt.Sprintf("The blob has too many identities; line %d is the first too many.", n+1), nil
		}
		var r azure.BulkRequest
		if len(line) > maxBody {
			note(importError{Code: azure.ErrorName(azure.ArgumentInvalid), Status: fmt.Sprintf("line %d is longer than %d bytes", n+1, maxBody)})
			continue
		}
		if err := azure.ReadJSON(line, &r); err != nil {
			note(importError{Code: azure.ErrorName(azure.ArgumentInvalid), Status: fmt.Sprintf("line %d cannot be read: %s", n+1, plain(err.Error()))})
			continue
		}
		if r.ImportMode == "" {
			r.ImportMode = "createOrUpdate"
		}
		items = append(items, bulkItem(r))
	}
	errs, err := c.Handler.hub.Bulk(c.hub.Host, items)
	if err != nil {
		return err.Error(), nil
	}
	for _, e := range errs {
		note(importError{ID: e.DeviceID, ModuleID: e.ModuleID, Code: azure.ErrorName(e.Code), Status: e.Detail})
	}
	c.Handler.hub.ApplyConfigurations(c.hub.Host, "")
	if log.Len() == 0 {
		return "", nil
	}
	return "", c.Handler.hub.WriteTo(output, iothub.TransferErrors, log.Bytes())
}

func (c *call) listTransfers() (answer, error) {
	shown := []transferJSON{}
	for _, t := range c.Handler.hub.Transfers(c.hub.Host) {
		shown = append(shown, transferOf(t))
	}
	return answer{body: shown}, nil
}

func (c *call) getTransfer() (answer, error) {
	t, err := c.Handler.hub.GetTransfer(c.hub.Host, c.ids[0])
	if err != nil {
		return answer{}, c.jobFault(err)
	}
	return answer{body: transferOf(t)}, nil
}

// cancelTransfer has nothing left to stop.
func (c *call) cancelTransfer() (answer, error) {
	if _, err := c.Handler.hub.GetTransfer(c.hub.Host, c.ids[0]); err != nil {
		return answer{}, c.jobFault(err)
	}
	return answer{status: http.StatusNoContent}, nil
}
