package e2e

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// entrance is a way in, and what a device that comes by it is told.
type entrance struct {
	address string // that is dialled
	sni     string
	hub     string // assignedHub
}

// entrances are the ways into an instance that advertises fakecloud.test and is bound to all addresses.
func entrances(t *testing.T) map[string]entrance {
	t.Helper()
	all := map[string]entrance{
		"vendor's name":         {"127.0.0.1", globalDPS, demoHub},
		"Chinese name":          {"127.0.0.1", "global.azure-devices-provisioning.cn", demoHub},
		"the instance's name":   {"127.0.0.1", "fakecloud-dps.azure-devices-provisioning.net", demoHub},
		"address":               {"127.0.0.1", "", "127.0.0.1"},
		"localhost":             {"127.0.0.1", "localhost", "127.0.0.1"},
		"advertised, loopback":  {"127.0.0.1", "fakecloud.test", "127.0.0.1"},
		"another loopback name": {"127.0.0.1", "dps.localhost", "127.0.0.1"},
	}
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses { // machines without IPv6 or without a network have fewer ways in
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || n.IP.IsLinkLocalUnicast():
		case n.IP.Equal(net.IPv6loopback):
			all["IPv6 address"] = entrance{"::1", "", "127.0.0.1"}
			all["localhost by IPv6"] = entrance{"::1", "localhost", "127.0.0.1"}
		case n.IP.IsLoopback():
		case n.IP.To4() != nil && n.IP.IsPrivate():
			all["advertised, network"] = entrance{n.IP.String(), "fakecloud.test", "fakecloud.test"}
			all["container's name"] = entrance{n.IP.String(), "fakecloud", "fakecloud.test"} // a name without a dot
		}
	}
	return all
}

// What a device is told as its hub leads it back through the same door, and the hub takes every name of
// that door in username and SAS resource.
func TestDoorHandsOverTheHub(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithAdvertise("fakecloud.test"), fakecloud.WithBind("0.0.0.0", "::"))
	id := 0
	for name, way := range entrances(t) {
		id++
		device := "door-" + string(rune('a'+id))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := hmacKey(t, groupKey, device)
			token := registrationToken(t, key, idScope, device)
			v := via{name: way.sni}
			r, _ := finish(t, enrollee{id: device, token: &token}.openOn(t, dialAt(t, cloud, way.address, v)), "")
			require.Equal(t, way.hub, r.State.AssignedHub)
			require.Equal(t, device, r.State.DeviceID)

			if way.hub == demoHub {
				v.name = demoHub
			}
			for _, host := range []string{way.hub, demoHub, "127.0.0.1", "localhost", "::1", "fakecloud.test", "fakecloud-hub.azure-devices.cn", way.address} {
				password := sasFor(t, key, host+"%2Fdevices%2F"+device, farFuture, "")
				c := hubConnect(t, dialAt(t, cloud, way.address, v), host, device, &password)
				send(t, c, rawmqtt.Publish("devices/"+device+"/messages/events/", host, 1, 1, false))
				wantBytes(t, c, 0x40, 0x02, 0x00, 0x01)
			}
			for _, e := range telemetry(t, cloud, device, 8) {
				require.Equal(t, demoHub, e.Endpoint)
			}
		})
	}
}

// Without an advertised name a device that came over the network is told the address that it came to.
func TestDoorHandsOverAnAddress(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithBind("0.0.0.0"))
	for name, way := range entrances(t) {
		if way.sni == "fakecloud.test" || net.ParseIP(way.address).To4() == nil {
			continue
		}
		if way.sni == "fakecloud" {
			way.hub = way.address // SDKs refuse a name without a dot
		}
		v := via{name: way.sni, cert: device(t, cloud, "net-1")}
		r, _ := finish(t, enrollee{id: "net-1"}.openOn(t, dialAt(t, cloud, way.address, v)), "")
		require.Equal(t, way.hub, r.State.AssignedHub, name)
	}
}

// Behind one address there are several hubs: a device is found at the one that it was assigned to.
func TestDoorFindsTheSecondHub(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, `
azure:
  hubs: [{name: zz-second-hub}]
  dps:
    - name: fakecloud-dps
      linkedHubs: [fakecloud-hub, zz-second-hub]
      groups:
        - {name: demo-x509, iotHubs: [zz-second-hub], attestation: {x509: {ca: demo-ca}}}
`)
	v := via{cert: device(t, cloud, "far-1")}
	r, _ := finish(t, enrollee{id: "far-1"}.openOn(t, dialAt(t, cloud, "127.0.0.1", v)), "")
	require.Equal(t, "127.0.0.1", r.State.AssignedHub)
	for _, host := range []string{"127.0.0.1", "localhost", "zz-second-hub.azure-devices.net"} {
		c := hubConnect(t, dialAt(t, cloud, "127.0.0.1", v), host, "far-1", nil)
		send(t, c, rawmqtt.Publish("devices/far-1/messages/events/", "x", 1, 1, false))
		wantBytes(t, c, 0x40, 0x02, 0x00, 0x01)
	}
	for _, e := range telemetry(t, cloud, "far-1", 3) {
		require.Equal(t, "zz-second-hub.azure-devices.net", e.Endpoint)
	}
	// By the vendor's name the hub is the one that the name says, and that one has no such device.
	c := dial(t, cloud, via{name: demoHub, cert: v.cert})
	send(t, c, rawmqtt.Connect{ClientID: "far-1", Username: ptr(demoHub + "/far-1/?api-version=2021-04-12")}.Bytes())
	wantConnack(t, c, 5)
	refused(t, cloud, "HUB-9/unknown")
}

// Without a telling name the CONNECT says where it wants to go. What nobody takes is answered by 5, and the
// journal tells what it nearly was.
func TestDoorNobodyTakesIt(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		v        via
		username *string
		id       rule.ID
		near     string
	}{
		"no username":             {via{}, nil, "DOOR-1/nobody", "no platform recognises"},
		"something else":          {via{name: "localhost"}, ptr("user"), "DOOR-1/nobody", "no platform recognises"},
		"DPS, singular":           {via{}, ptr("0ne00FAKE01/registration/dev-1/api-version=2019-03-31"), "DOOR-1/nobody", `"0ne00FAKE01/registrations/dev-1/api-version=2019-03-31"`},
		"DPS, upper case":         {via{name: "localhost"}, ptr("0ne00FAKE01/Registrations/dev-1/api-version=2019-03-31"), "DOOR-1/nobody", `"0ne00FAKE01/registrations/dev-1/api-version=2019-03-31"`},
		"DPS, scope alone":        {via{}, ptr("0ne00FAKE01"), "DOOR-1/nobody", `dps: DPS takes the username "0ne00FAKE01/registrations/`},
		"a hub's short name":      {via{}, ptr("fakecloud-hub/demo-sas/?api-version=2021-04-12"), "DOOR-1/nobody", "fakecloud-hub.azure-devices.net/demo-sas/?api-version=2021-04-12"},
		"a name that is unknown":  {via{name: "device.test"}, ptr("user"), "DOOR-1/nobody", "no platform recognises"},
		"a platform without MQTT": {via{name: "management.azure.com"}, ptr("user"), "DOOR-1/port", "does not speak MQTT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			c := dialAt(t, cloud, "127.0.0.1", row.v)
			send(t, c, rawmqtt.Connect{ClientID: "dev-1", Username: row.username}.Bytes())
			wantConnack(t, c, 5)
			wantClosed(t, c)
			require.Contains(t, refused(t, cloud, row.id).Detail, row.near)
		})
	}
}

// A name under a vendor's domain that no instance has goes to that platform's own refusal.
func TestDoorUnknownVendorName(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	v := via{name: "someone-elses-dps.azure-devices-provisioning.net", cert: device(t, cloud, "dev-1")}
	// DPS has one shared endpoint: the ID scope tells the instance, not the name.
	require.Equal(t, demoHub, provision(t, cloud, enrollee{id: "dev-1", via: v}).State.AssignedHub)

	c := dial(t, cloud, via{name: "someone-elses-hub.azure-devices.net"})
	send(t, c, rawmqtt.Connect{ClientID: "dev-1", Username: ptr("someone-elses-hub.azure-devices.net/dev-1/?api-version=2021-04-12"), Password: ptr("x")}.Bytes())
	wantConnack(t, c, 5)
	refused(t, cloud, "HUB-11/host")

	// A name that tells the platform settles that: a DPS username at a hub is the hub's to refuse.
	c = dial(t, cloud, via{name: demoHub, cert: v.cert})
	send(t, c, enrollee{id: "dev-1"}.connect().Bytes())
	wantConnack(t, c, 5)
	wantClosed(t, c)
	e := refused(t, cloud, "HUB-11/username")
	require.Contains(t, e.Detail, "Device Provisioning Service")
	require.Contains(t, e.Expected, "/dev-1/?api-version=")
}

// An HTTPS request that leads nowhere is answered by 404 and explained.
func TestDoorHTTPSNobodyTakesIt(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithPorts(fakecloud.Ports{HTTPS: []int{0}}))
	conn := shake(t, cloud, tcp(t, "127.0.0.1", cloud.Ports().HTTPS[0]), "127.0.0.1", via{})
	_, err := conn.Write([]byte("GET /nothing/of/ours HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"))
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 404 Not Found\r\n"), "%s", answer)
	require.Contains(t, refused(t, cloud, "DOOR-5/host").Seen, "/nothing/of/ours")
}
