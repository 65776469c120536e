package service

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// mostListed is how many identities a list holds at most ("Understand the identity registry").
const mostListed = 1000

func deviceJSON(d iothub.Device) azure.Identity {
	reason, updated := azure.StatusReason(d.StatusReason), azure.Time(d.StatusUpdatedTime)
	return azure.Identity{
		DeviceID: d.DeviceID, GenerationID: d.GenerationID, ETag: d.ETag, ConnectionState: d.ConnectionState,
		Status: string(d.Status), StatusReason: &reason, StatusUpdated: &updated,
		ConnectionUpdated: azure.Time(d.ConnectionStateUpdatedTime), LastActivity: azure.Time(d.LastActivityTime),
		CloudToDeviceCount: d.CloudToDeviceMessageCount, Capabilities: &azure.IdentityCapabilities{IoTEdge: d.Capabilities.IoTEdge},
		Authentication: authJSON(d.Authentication), DeviceScope: d.DeviceScope, ParentScopes: d.ParentScopes,
	}
}

func moduleJSON(m iothub.Module) azure.Identity {
	return azure.Identity{
		DeviceID: m.DeviceID, ModuleID: m.ModuleID, ManagedBy: &m.ManagedBy, GenerationID: m.GenerationID, ETag: m.ETag,
		ConnectionState: m.ConnectionState, ConnectionUpdated: azure.Time(m.ConnectionStateUpdatedTime),
		LastActivity: azure.Time(m.LastActivityTime), CloudToDeviceCount: m.CloudToDeviceMessageCount,
		Authentication: authJSON(m.Authentication),
	}
}

func authJSON(a iothub.Authentication) azure.IdentityAuth {
	return azure.IdentityAuth{
		PrimaryKey: a.SymmetricKey.PrimaryKey, SecondaryKey: a.SymmetricKey.SecondaryKey,
		PrimaryThumbprint: a.Thumbprint.Primary, SecondaryThumbprint: a.Thumbprint.Secondary, Type: string(a.Type),
	}
}

func authOf(a azure.AuthRequest) iothub.Authentication {
	return iothub.Authentication{
		Type:         iothub.AuthType(a.Type),
		SymmetricKey: iothub.SymmetricKey{PrimaryKey: a.SymmetricKey.Primary, SecondaryKey: a.SymmetricKey.Secondary},
		Thumbprint:   iothub.Thumbprints{Primary: a.Thumbprint.Primary, Secondary: a.Thumbprint.Secondary},
	}
}

func (c *call) listDevices() (answer, error) {
	top, err := c.top(mostListed)
	if err != nil {
		return answer{}, err
	}
	devices := c.Handler.hub.Devices(c.hub.Host)
	list := make([]azure.Identity, 0, min(top, len(devices)))
	for _, d := range devices[:min(top, len(devices))] {
		list = append(list, deviceJSON(d))
	}
	return answer{body: list}, nil
}

// top reads the query's top: how many rows are wanted, at most most.
func (c *call) top(most int) (int, error) {
	text := c.r.URL.Query().Get("top")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, failed("SVC-38/top", azure.ArgumentInvalid, "top is no number of rows", "top="+show(text), fmt.Sprintf("1 to %d", most))
	}
	return min(n, most), nil
}

func (c *call) getDevice() (answer, error) {
	d, err := c.Handler.hub.GetDevice(c.hub.Host, c.ids[0])
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{body: deviceJSON(d), etag: d.ETag}, nil
}

// statusOf reads a status in any case, as the hub does: azure-iot-sdk-java sends back Enabled when it updates a
// device (iot-e2e-tests, ConnectionTests.java).
func statusOf(text string) iothub.Status { return iothub.Status(strings.ToLower(text)) }

func (c *call) putDevice() (answer, error) {
	var in azure.IdentityRequest
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	if in.DeviceID != c.ids[0] {
		return answer{}, failed("SVC-1/mismatch", azure.ArgumentInvalid, "the deviceId in the body is not the one in the path",
			"deviceId "+strconv.Quote(show(in.DeviceID)), strconv.Quote(show(c.ids[0])))
	}
	d := iothub.Device{DeviceID: in.DeviceID, Status: statusOf(in.Status), StatusReason: in.StatusReason,
		Authentication: authOf(in.Authentication), DeviceScope: in.DeviceScope, ParentScopes: in.ParentScopes}
	if in.Capabilities != nil {
		d.Capabilities.IoTEdge = in.Capabilities.IoTEdge
	}
	var err error
	if match, given := c.ifMatch(); given {
		d, err = c.Handler.hub.UpdateDevice(c.hub.Host, d, match)
	} else {
		d, err = c.Handler.hub.CreateDevice(c.hub.Host, d)
	}
	if err != nil {
		return answer{}, c.fault(err, faults{invalid: "SVC-5/invalid", exists: "SVC-2/exists", etag: "SVC-3/etag"})
	}
	c.Handler.hub.ApplyConfigurations(c.hub.Host, d.DeviceID)
	return answer{body: deviceJSON(d), etag: d.ETag}, nil
}

func (c *call) deleteDevice() (answer, error) {
	match, _ := c.ifMatch()
	if err := c.Handler.hub.DeleteDevice(c.hub.Host, c.ids[0], match); err != nil {
		return answer{}, c.fault(err, faults{etag: "SVC-3/etag"})
	}
	return answer{status: http.StatusNoContent}, nil
}

func (c *call) listModules() (answer, error) {
	if _, err := c.Handler.hub.GetDevice(c.hub.Host, c.ids[0]); err != nil {
		return answer{}, c.fault(err, faults{})
	}
	list := []azure.Identity{}
	for _, m := range c.Handler.hub.Modules(c.hub.Host, c.ids[0]) {
		list = append(list, moduleJSON(m))
	}
	return answer{body: list}, nil
}

func (c *call) getModule() (answer, error) {
	m, err := c.Handler.hub.GetModule(c.hub.Host, c.ids[0], c.ids[1])
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{body: moduleJSON(m), etag: m.ETag}, nil
}

// putModule answers 201 to a new module, which the generated clients list beside 200.
func (c *call) putModule() (answer, error) {
	var in azure.IdentityRequest
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	if in.DeviceID != c.ids[0] || in.ModuleID != c.ids[1] {
		return answer{}, failed("SVC-12/mismatch", azure.ArgumentInvalid, "deviceId and moduleId in the body are not those in the path",
			strconv.Quote(show(in.DeviceID+"/"+in.ModuleID)), strconv.Quote(show(c.ids[0]+"/"+c.ids[1])))
	}
	m := iothub.Module{DeviceID: in.DeviceID, ModuleID: in.ModuleID, ManagedBy: in.ManagedBy, Authentication: authOf(in.Authentication)}
	var err error
	status := http.StatusOK
	if match, given := c.ifMatch(); given {
		m, err = c.Handler.hub.UpdateModule(c.hub.Host, m, match)
	} else {
		status = http.StatusCreated
		m, err = c.Handler.hub.CreateModule(c.hub.Host, m)
	}
	if err != nil {
		return answer{}, c.fault(err, faults{invalid: "SVC-12/invalid", exists: "SVC-12/exists", etag: "SVC-12/etag"})
	}
	c.Handler.hub.ApplyConfigurations(c.hub.Host, m.DeviceID)
	return answer{status: status, body: moduleJSON(m), etag: m.ETag}, nil
}

func (c *call) deleteModule() (answer, error) {
	match, _ := c.ifMatch()
	if err := c.Handler.hub.DeleteModule(c.hub.Host, c.ids[0], c.ids[1], match); err != nil {
		return answer{}, c.fault(err, faults{etag: "SVC-12/etag"})
	}
	return answer{status: http.StatusNoContent}, nil
}

func (c *call) deviceStatistics() (answer, error) {
	n, err := c.Handler.hub.Statistics(c.hub.Host)
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{body: map[string]int{"totalDeviceCount": n.Total, "enabledDeviceCount": n.Enabled, "disabledDeviceCount": n.Disabled}}, nil
}

func (c *call) serviceStatistics() (answer, error) {
	n, err := c.Handler.hub.Statistics(c.hub.Host)
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{body: map[string]int{"connectedDeviceCount": n.Connected}}, nil
}

func (c *call) purge() (answer, error) {
	if _, err := c.Handler.hub.GetDevice(c.hub.Host, c.ids[0]); err != nil {
		return answer{}, c.fault(err, faults{})
	}
	n, err := c.Handler.hub.PurgeC2D(c.hub.Host, c.ids[0], "")
	if err != nil {
		return answer{}, c.fault(err, faults{})
	}
	return answer{body: map[string]any{"totalMessagesPurged": n, "deviceId": c.ids[0], "moduleId": nil}}, nil
}

// seconds returns a number of seconds of JSON as a duration; what would not fit is out of every range.
func seconds(n int) time.Duration {
	const most = 1 << 32
	return time.Duration(max(-most, min(n, most))) * time.Second
}
