package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// EDGE-1 to EDGE-4: the chain as certGen.sh and edgelet make it, verified with the root and not without.
func TestEdgeCertificate(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	shake := func(name string, roots *x509.CertPool) (tls.ConnectionState, error) {
		raw, err := net.Dial("tcp", cloud.MQTTSAddr())
		require.NoError(t, err)
		defer raw.Close()
		conn := tls.Client(raw, &tls.Config{ServerName: edgeGateway, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			above := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				above.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: above, DNSName: name})
			return err
		}})
		require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
		err = conn.Handshake()
		return conn.ConnectionState(), err
	}
	roots := edgeRoots(t, cloud)
	state, err := shake(edgeGateway, roots)
	require.NoError(t, err)
	var names []string
	for _, c := range state.PeerCertificates {
		names = append(names, c.Subject.CommonName)
	}
	require.Equal(t, []string{edgeGateway, "mygateway.ca", "Azure_IoT_Hub_Intermediate_Cert_Test_Only"}, names)
	leaf := state.PeerCertificates[0]
	require.Equal(t, []string{edgeGateway, "edgeHub", "edge.localhost"}, leaf.DNSNames)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
	require.Equal(t, "Azure_IoT_Hub_CA_Cert_Test_Only", state.PeerCertificates[2].Issuer.CommonName)
	for _, ca := range state.PeerCertificates[1:] {
		require.True(t, ca.IsCA)
	}
	rule.Proves(t, "EDGE-1", "EDGE-4")

	_, err = shake(edgeGateway, x509.NewCertPool())
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	server := x509.NewCertPool()
	server.AppendCertsFromPEM(cloud.RootsPEM())
	_, err = shake(edgeGateway, server)
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError), "the gateway has a root of its own")
	require.Contains(t, refused(t, cloud, "TLS-1/bad-certificate").Fix, "pki/azure-iot-test-only.root.ca.cert.pem")
	rule.Proves(t, "EDGE-2")

	_, err = shake("othergateway.contoso.com", roots)
	require.ErrorAs(t, err, new(x509.HostnameError))
	rule.Proves(t, "EDGE-3")
	_, err = tls.Dial("tcp", cloud.MQTTSAddr(), &tls.Config{ServerName: "othergateway.contoso.com", InsecureSkipVerify: true})
	require.ErrorContains(t, err, "unrecognized name")
	require.Contains(t, refused(t, cloud, "TLS-5/name").Detail, `"othergateway.contoso.com" is close to "mygateway.contoso.com"`)
}

// A client that cannot use the gateway's name takes port 8884.
func TestEdgePort(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for _, name := range []string{"localhost", "127.0.0.1", "edge.localhost", edgeGateway} {
		conn := dialEdgeAt(t, cloud, edgePort(cloud), name)
		send(t, conn, leaf().Bytes())
		wantConnack(t, conn, 0)
	}
	unknown := leaf()
	unknown.ClientID, unknown.Username = "nobody", ptr(demoHub+"/nobody/?api-version=1")
	conn := dialEdgeAt(t, cloud, edgePort(cloud), "localhost")
	send(t, conn, unknown.Bytes())
	wantConnack(t, conn, 5)
	require.Equal(t, edgeGateway, refused(t, cloud, "EDGE-11/unknown").Endpoint)
}

// A chain of the tester's own.
func TestEdgeOwnCA(t *testing.T) {
	t.Parallel()
	now := time.Now()
	root := selfSigned(t, "plant root", now.Add(-time.Hour), now.Add(time.Hour), nil, true)
	middle := selfSigned(t, "plant line 7", now.Add(-time.Hour), now.Add(time.Hour), &root, true)
	ca := selfSigned(t, "plant edge.ca", now.Add(-time.Hour), now.Add(time.Hour), &middle, true)
	world := func(certs ...[]byte) string {
		return "edge: {gateways: [{hostname: gw.plant.test, hub: fakecloud-hub, edgeCA: {pem: " + quoted(pemOf(certs...)) + ", key: {pem: " + quoted(keyPEM(t, ca)) + "}}}]}"
	}
	cloud := fakecloud.Start(t, fakecloud.WithWorld(world(ca.Certificate...)))
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	defer raw.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(pemOf(root.Certificate[0])))
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "gw.plant.test"})
	require.NoError(t, conn.Handshake())
	require.Len(t, conn.ConnectionState().PeerCertificates, 3)

	_, err = fakecloud.New(t.Context(), fakecloud.WithWorld(world(ca.Certificate[0], root.Certificate[0])))
	require.ErrorContains(t, err, "none left out")
	_, err = fakecloud.New(t.Context(), fakecloud.WithWorld(world(root.Certificate[0])))
	require.ErrorContains(t, err, "does not belong to the first certificate")
}

// EDGE-5, EDGE-6, EDGE-8: whose name the token and the username may have.
func TestEdgeTokensAccepted(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	join(t, cloud, leaf())
	rule.Proves(t, "EDGE-5")
	short := leaf()
	short.Username, short.Password = ptr(edgeGateway+"/demo-leaf/?api-version=2021-04-12"), ptr(sign(edgeGateway+"/devices/demo-leaf", demoKey, later, ""))
	join(t, cloud, short)
	rule.Proves(t, "EDGE-6")
	for _, user := range []string{"anything/demo-leaf/?api-version=x", "/demo-leaf/?api-version=2021-04-12", "h/demo-leaf/api-version=2017-06-30&DeviceClientType=py"} {
		c := leaf()
		c.Username = ptr(user)
		join(t, cloud, c)
	}
	rule.Proves(t, "EDGE-8")
	noSecrets(t, cloud)
}

// EDGE-7, EDGE-9, EDGE-10, EDGE-16: what is refused with 5, and with 3.
func TestEdgeConnectRefused(t *testing.T) {
	t.Parallel()
	for id, c := range map[rule.ID]struct {
		change func(*rawmqtt.Connect)
		code   byte
	}{
		"EDGE-7/password":  {func(c *rawmqtt.Connect) { c.Password = ptr("secret") }, 5},
		"EDGE-7/malformed": {func(c *rawmqtt.Connect) { c.Password = ptr("SharedAccessSignature sr=x") }, 5},
		"EDGE-7/host": {func(c *rawmqtt.Connect) {
			c.Password = ptr(sign("other.azure-devices.net/devices/demo-leaf", demoKey, later, ""))
		}, 5},
		"EDGE-7/resource": {func(c *rawmqtt.Connect) { c.Password = ptr(sign(demoHub+"/devices/demo-sas", demoKey, later, "")) }, 5},
		"EDGE-7/expired": {func(c *rawmqtt.Connect) {
			c.Password = ptr(sign(demoHub+"/devices/demo-leaf", demoKey, 1500000000, ""))
		}, 5},
		"EDGE-7/signature":   {func(c *rawmqtt.Connect) { c.Password = ptr(sign(demoHub+"/devices/demo-leaf", secondKey, later, "")) }, 5},
		"EDGE-9/api-version": {func(c *rawmqtt.Connect) { c.Username = ptr(demoHub + "/demo-leaf/?DeviceClientType=x") }, 3},
		"EDGE-9/form":        {func(c *rawmqtt.Connect) { c.Username = ptr(demoHub + "/demo-leaf") }, 3},
		"EDGE-9/device":      {func(c *rawmqtt.Connect) { c.Username = ptr(demoHub + "//?api-version=1") }, 3},
		"EDGE-9/blank":       {func(c *rawmqtt.Connect) { c.Username, c.Password = nil, nil }, 3},
		"EDGE-9/level":       {func(c *rawmqtt.Connect) { c.Protocol, c.Level = "MQIsdp", 3 }, 1},
		"EDGE-10/client-id":  {func(c *rawmqtt.Connect) { c.ClientID = "Demo-Leaf" }, 5},
		"EDGE-16/none":       {func(c *rawmqtt.Connect) { c.Password = nil }, 5},
	} {
		t.Run(string(id), func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			c2 := leaf()
			c.change(&c2)
			conn := tryEdge(t, cloud, c2)
			wantConnack(t, conn, c.code)
			wantClosed(t, conn)
			refused(t, cloud, id)
			rule.Proves(t, id.Row())
			noSecrets(t, cloud)
		})
	}
}

// EDGE-11: a device of the hub becomes a child, is disabled, and leaves.
func TestEdgeScope(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld("azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: lone, authentication: {symmetricKey: {primaryKey: "+demoKey+"}}}]}]}"))
	conn := tryEdge(t, cloud, child("lone"))
	wantRefused(t, cloud, conn, 5, "EDGE-11/parent", "whose parent is mygateway")
	require.NoError(t, cloud.SetParent(demoHub, "lone", "mygateway"))
	conn = tryEdge(t, cloud, child("lone"))
	wantRefused(t, cloud, conn, 5, "EDGE-11/cached", "mygateway")
	children, err := cloud.RefreshEdge(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, 2, children)
	live := join(t, cloud, child("lone"))
	require.NoError(t, cloud.SetParent(demoHub, "lone", ""))
	_, err = cloud.RefreshEdge(edgeGateway)
	require.NoError(t, err)
	wantCut(t, cloud, live, "EDGE-11/removed")

	// Two minutes later an unknown id is asked about again.
	require.NoError(t, cloud.SetParent(demoHub, "lone", "mygateway"))
	require.NoError(t, cloud.Advance(3*time.Minute))
	live = join(t, cloud, child("lone"))
	patch(t, cloud, "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: lone, status: disabled}]}]}")
	wantCut(t, cloud, live, "EDGE-11/disabled")
	conn = tryEdge(t, cloud, child("lone"))
	wantConnack(t, conn, 5)
	rule.Proves(t, "EDGE-11")
}

// EDGE-11/gateway: the gateway leaves the world.
func TestEdgeGatewayRemoved(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	live := join(t, cloud, leaf())
	require.NoError(t, cloud.Plane().World.Replace(t.Context(), []byte("base: none")))
	wantCut(t, cloud, live, "EDGE-11/gateway")
}

// CloudAndScope takes a stranger's token while the hub can be asked.
func TestEdgeCloudAndScope(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld("edge: {gateways: [{hostname: "+edgeGateway+", authenticationMode: CloudAndScope}]}"))
	guest := child("demo-sas")
	conn := join(t, cloud, guest)
	say(t, conn, "devices/demo-sas/messages/events/", "hi")
	guest.Password = ptr(sign(demoHub+"/devices/demo-sas", secondKey, later, ""))
	wantRefused(t, cloud, tryEdge(t, cloud, guest), 5, "EDGE-7/signature", "demo-sas")
}

func thumbed(primary, secondary string) string {
	return "        - {deviceId: x1, authentication: {x509Thumbprint: {primaryThumbprint: " + primary + ", secondaryThumbprint: " + secondary + "}}}\n"
}

// EDGE-12: both thumbprints, and nothing else; the answer is a CONNACK, not an alert.
func TestEdgeThumbprints(t *testing.T) {
	t.Parallel()
	one, two, other := valid(t, "x1"), valid(t, "x1"), valid(t, "x1")
	old := selfSigned(t, "x1", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), nil, false)
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(thumbed(sha1Of(one), sha256Of(two)))))
	x1 := child("x1")
	x1.Password = nil
	join(t, cloud, x1, one)
	join(t, cloud, x1, two)
	wantRefused(t, cloud, tryEdge(t, cloud, x1, other), 5, "EDGE-12/thumbprint", sha256Upper(two))
	patch(t, cloud, edgeWorld(thumbed(sha1Of(old), sha256Of(old))))
	wantRefused(t, cloud, tryEdge(t, cloud, x1, old), 5, "EDGE-12/date", "valid at")
	token := child("x1")
	wantRefused(t, cloud, tryEdge(t, cloud, token), 5, "EDGE-16/type", "registry")
	rule.Proves(t, "EDGE-12", "EDGE-16")
}

// EDGE-13: the gateway's trust bundle counts, and the common name.
func TestEdgeCertificateAuthority(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld("        - {deviceId: x2, authentication: {type: certificateAuthority}}\n")))
	x2 := child("x2")
	x2.Password = nil
	join(t, cloud, x2, *device(t, cloud, "x2"))
	wantRefused(t, cloud, tryEdge(t, cloud, x2, *device(t, cloud, "X2")), 5, "EDGE-13/cn", `CN="x2"`)
	wantRefused(t, cloud, tryEdge(t, cloud, x2, valid(t, "x2")), 5, "EDGE-13/chain", "demo-ca")
	rule.Proves(t, "EDGE-13")
}

// EDGE-14, EDGE-15: modules have keys, of their own or their device's.
func TestEdgeModules(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(
		"        - {deviceId: d, authentication: {symmetricKey: {primaryKey: "+demoKey+"}}, modules: [{moduleId: m, authentication: {symmetricKey: {primaryKey: "+secondKey+"}}}]}\n")))
	own, devices := child("d/m"), child("d/m")
	own.Password = ptr(sign(demoHub+"/devices/d/modules/m", secondKey, later, ""))
	devices.Password = ptr(sign(demoHub+"/devices/d", demoKey, later, ""))
	join(t, cloud, own)
	join(t, cloud, devices)
	// The device has got another key: the gateway asks its hub again.
	_, err := cloud.RefreshEdge(edgeGateway)
	require.NoError(t, err)
	patch(t, cloud, "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: d, authentication: {symmetricKey: {primaryKey: "+thirdKey+"}}}]}]}")
	devices.Password = ptr(sign(demoHub+"/devices/d", thirdKey, later, ""))
	join(t, cloud, devices)
	rule.Proves(t, "EDGE-15")
	asDevice := child("d")
	asDevice.Password = own.Password
	wantRefused(t, cloud, tryEdge(t, cloud, asDevice), 5, "EDGE-7/resource", "devices/d (decoded)")
	own.Password = nil
	wantRefused(t, cloud, tryEdge(t, cloud, own, valid(t, "d/m")), 5, "EDGE-14/module", "SAS token")
	rule.Proves(t, "EDGE-14")
}

// EDGE-17: the second connection wins; beyond maxClients a client is not served.
func TestEdgeTakeover(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(keyed("second"))+"      maxClients: 1\n"))
	first := join(t, cloud, leaf())
	again := join(t, cloud, leaf())
	wantCut(t, cloud, first, "EDGE-17/takeover")
	say(t, again, leafSays, "mine")
	atHub(t, cloud, "demo-leaf", 1)
	full := join(t, cloud, child("second"))
	refused(t, cloud, "EDGE-17/clients")
	send(t, full, rawmqtt.Publish("devices/second/messages/events/", "lost", 1, 9, false))
	wantAlive(t, full)
	messages, _ := cloud.Telemetry(demoHub, "second", 0, 0)
	require.Empty(t, messages)
	send(t, again, leaf().Bytes())
	wantCut(t, cloud, again, "EDGE-9/first")
	rule.Proves(t, "EDGE-17", "EDGE-9")
}

// EDGE-41: a child of a gateway below, which signs for it.
func TestEdgeNested(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld("        - deviceId: below\n          authentication: {symmetricKey: {primaryKey: "+demoKey+"}}\n          capabilities: {iotEdge: true}\n          modules: [{moduleId: $edgeHub, authentication: {symmetricKey: {primaryKey: "+secondKey+"}}}]\n"+
		keyed("sibling"))+"azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: deep, parent: below, authentication: {symmetricKey: {primaryKey: "+demoKey+"}}}]}]}\n"))
	chained := func(chain string) rawmqtt.Connect {
		c := child("deep")
		c.Username = ptr(demoHub + "/deep/?api-version=2021-04-12&auth-chain=" + percent(chain))
		c.Password = ptr(sign(demoHub+"/devices/below/modules/$edgeHub", secondKey, later, ""))
		return c
	}
	conn := join(t, cloud, chained("deep;below"))
	say(t, conn, "devices/deep/messages/events/", "from below")
	require.Equal(t, "from below", string(atHub(t, cloud, "deep", 1)[0].Body))
	wantRefused(t, cloud, tryEdge(t, cloud, chained("below;deep")), 5, "EDGE-41/target", "auth-chain=deep;")
	wantRefused(t, cloud, tryEdge(t, cloud, chained("deep;sibling")), 5, "EDGE-41/actor", "auth-chain=deep;below;mygateway")
	wrong := chained("deep;below")
	wrong.Password = child("deep").Password
	wantRefused(t, cloud, tryEdge(t, cloud, wrong), 5, "EDGE-7/resource", "$edgeHub")
	rule.Proves(t, "EDGE-41")
}

// EDGE-40: subscriptions outlive the connection, messages to nobody do not.
func TestEdgeKeptSession(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	kept := leaf()
	kept.Keep = true
	conn := join(t, cloud, kept)
	subscribe(t, conn, "$iothub/methods/POST/#")
	send(t, conn, []byte{0xe0, 0})
	wantClosed(t, conn)
	conn = dialEdge(t, cloud)
	send(t, conn, kept.Bytes())
	wantBytes(t, conn, 0x20, 2, 1, 0)
	done := callMethod(t, cloud, "demo-leaf", "again")
	answerMethod(t, conn, "again", `{"ok":true}`)
	require.NoError(t, <-done)
	rule.Proves(t, "EDGE-40")
	send(t, conn, []byte{0xe0, 0})
	wantClosed(t, conn)
	join(t, cloud, leaf()) // clean session 1 forgets
	conn = dialEdge(t, cloud)
	send(t, conn, kept.Bytes())
	wantConnack(t, conn, 0)
}

func sha256Upper(c tls.Certificate) string { return strings.ToUpper(sha256Of(c)) }
