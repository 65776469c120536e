package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

func deviceIDs(cloud *fakecloud.Cloud) (all []string) {
	for _, d := range cloud.Devices() {
		all = append(all, d.Platform+" "+d.ID)
	}
	return all
}

func TestResetGoesBackToTheWorld(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	first := deviceIDs(cloud)
	c := signIn(t, cloud, rawmqtt.Connect{ClientID: "dev-01", Username: ptr(userDev01), Password: ptr(tokenV1),
		Will: &rawmqtt.Will{Topic: dev01Events, Payload: "will"}})
	say(t, c, dev01Events, "before")
	_, err := cloud.PatchDesired(contosoHost, "dev-01", json.RawMessage(`{"a":1}`))
	require.NoError(t, err)
	require.NoError(t, cloud.SendC2D(contosoHost, "dev-01", fakecloud.C2D{Body: []byte("waits")}))
	require.NoError(t, cloud.PatchWorld(t.Context(), "azure: {hubs: [{name: contoso, devices: [{deviceId: added}]}, {name: another}]}"))
	require.NoError(t, cloud.DeleteDevice("iothub", contosoHost, "dev-0"))
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "connect"}, Action: fakecloud.FaultAction{Code: ptrInt(3)}})
	cloud.Skew(-1)

	before := cloud.Events(fakecloud.Filter{})
	require.NoError(t, cloud.Reset())
	wantClosed(t, c)
	require.Equal(t, first, deviceIDs(cloud))
	messages, last := cloud.Telemetry(contosoHost, "", 0, 0)
	require.Empty(t, messages, "the will is of before, too")
	require.NotZero(t, last, "numbers go on")
	require.Empty(t, cloud.Faults())
	events := cloud.Events(fakecloud.Filter{})
	require.EqualValues(t, "reset", events[0].Kind)
	require.Greater(t, events[0].Seq, before[len(before)-1].Seq)

	c = signIn(t, cloud, dev01())
	send(t, c, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(t, c, 0x90, 3, 0, 1, 0)
	send(t, c, rawmqtt.Publish("$iothub/twin/GET/?$rid=1", "", 0, 0, false))
	require.Equal(t, `{"desired":{"$version":1},"reported":{"$version":1}}`, receive(t, c).Payload())
	say(t, c, dev01Events, "after")
	require.Len(t, telemetry(t, cloud, "dev-01", 1), 1)
}

// Ids that follow from the seed come again, so that a test sees the same ones whatever ran before it.
func TestResetBeginsTheSeedAnew(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithSeed(7), fakecloud.WithWorld(contoso))
	etag := func() string {
		d, err := cloud.Device("iothub", contosoHost, "dev-01")
		require.NoError(t, err)
		return fmt.Sprint(d.State["etag"])
	}
	first := etag()
	for range 2 {
		require.NoError(t, cloud.Reset())
		require.Equal(t, first, etag())
	}
}

func TestResetOfAGlobLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	first := deviceIDs(cloud)
	require.NoError(t, cloud.PatchWorld(t.Context(), "azure: {hubs: [{name: contoso, devices: [{deviceId: job42-a}, {deviceId: job43-a}]}], "+
		"dps: [{name: fakecloud-dps, enrollments: [{registrationId: job42-a, attestation: {symmetricKey: {}}}]}]}"))
	stays := signIn(t, cloud, dev01())
	_, err := cloud.PatchDesired(contosoHost, "dev-0", json.RawMessage(`{"a":1}`))
	require.NoError(t, err)
	_, err = cloud.ResetDevices("job42-[")
	require.ErrorContains(t, err, `devices "job42-[": it is a glob`)
	count, err := cloud.ResetDevices("job42-*")
	require.NoError(t, err)
	require.Equal(t, 1, count)
	require.Len(t, deviceIDs(cloud), len(first)+1)
	require.Contains(t, deviceIDs(cloud), "iothub job43-a")

	// A device of the world comes back as the world has it, and takes its connections with it.
	count, err = cloud.ResetDevices("dev-0")
	require.NoError(t, err)
	require.Equal(t, 1, count)
	require.Contains(t, deviceIDs(cloud), "iothub dev-0")
	twin, err := cloud.Twin(contosoHost, "dev-0")
	require.NoError(t, err)
	require.NotContains(t, string(twin), `"a"`)
	say(t, stays, dev01Events, "still here")
	_, err = cloud.ResetDevices("dev-01*")
	require.NoError(t, err)
	wantClosed(t, stays)
}

// With a device go its messages and its events, also when the instance starts again; those of others stay, and so do
// those that come after.
func TestResetOfAGlobTakesMessagesAndEvents(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	other := rawmqtt.Connect{ClientID: "demo-sas", Username: ptr(demoHub + "/demo-sas/?api-version=2021-04-12"),
		Password: ptr(sign(demoHub+"/devices/demo-sas", demoKey, farFuture, ""))}
	var last uint64
	look := func(cloud *fakecloud.Cloud) {
		for host, want := range map[string]string{contosoHost: "after", demoHub: "other"} {
			messages, _ := cloud.Telemetry(host, "", 0, 0)
			require.Len(t, messages, 1, host)
			require.Equal(t, want, string(messages[0].Body))
		}
		events := telemetry(t, cloud, "dev-01", 1)
		require.Len(t, events, 1)
		require.Equal(t, "after", string(events[0].Payload))
		require.Len(t, telemetry(t, cloud, "demo-sas", 1), 1)
		require.Greater(t, lastOf(cloud), last, "numbers go on")
		last = lastOf(cloud)
	}
	for _, life := range []func(*fakecloud.Cloud){
		func(cloud *fakecloud.Cloud) {
			say(t, signIn(t, cloud, dev01()), dev01Events, "before")
			c := dial(t, cloud, via{name: demoHub})
			send(t, c, other.Bytes())
			wantConnack(t, c, 0)
			say(t, c, "devices/demo-sas/messages/events/", "other")
			_, err := cloud.ResetDevices("dev-*")
			require.NoError(t, err)
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry", Device: "dev-01"}))
			say(t, signIn(t, cloud, dev01()), dev01Events, "after")
			look(cloud)
		},
		look,
	} {
		cloud, err := fakecloud.New(t.Context(), fakecloud.WithServerKey("ecdsa"), fakecloud.WithDataDir(dir), fakecloud.WithWorld(contoso))
		require.NoError(t, err)
		life(cloud)
		require.NoError(t, cloud.Close())
	}
}

// What a reset has emptied stays empty when the instance starts again.
func TestResetOutlivesTheInstance(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	live := func(life func(*fakecloud.Cloud)) {
		cloud, err := fakecloud.New(t.Context(), fakecloud.WithServerKey("ecdsa"), fakecloud.WithDataDir(dir), fakecloud.WithWorld(contoso))
		require.NoError(t, err)
		life(cloud)
		require.NoError(t, cloud.Close())
		require.Error(t, cloud.Reset(), "closed")
	}
	var first []string
	live(func(cloud *fakecloud.Cloud) {
		first = deviceIDs(cloud)
		say(t, signIn(t, cloud, dev01()), dev01Events, "before")
		require.NoError(t, cloud.PatchWorld(t.Context(), "azure: {hubs: [{name: contoso, devices: [{deviceId: added}]}]}"))
		require.NoError(t, cloud.Reset())
		say(t, signIn(t, cloud, dev01()), dev01Events, "after")
	})
	live(func(cloud *fakecloud.Cloud) {
		require.Equal(t, first, deviceIDs(cloud))
		messages, _ := cloud.Telemetry(contosoHost, "", 0, 0)
		require.Len(t, messages, 1)
		require.Equal(t, "after", string(messages[0].Body))
	})
}

// flood publishes on connections of its own until stop is closed. Its devices take each other's place.
func flood(cloud *fakecloud.Cloud, roots *x509.CertPool, stop <-chan struct{}) error {
	for {
		raw, err := net.Dial("tcp", cloud.MQTTSAddr())
		if err != nil {
			return err
		}
		c := rawmqtt.New(tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: contosoHost}))
		for id, packet := uint16(0), dev01().Bytes(); err == nil; packet = rawmqtt.Publish(dev01Events, "x", 1, id, false) {
			if _, err = c.Write(packet); err == nil {
				_, err = c.Read()
			}
			id++
		}
		raw.Close()
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

func TestResetUnderLoad(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	stop, ended := make(chan struct{}), make(chan error, 3)
	for range cap(ended) {
		go func() { ended <- flood(cloud, roots, stop) }()
	}
	for range 20 {
		telemetry(t, cloud, "dev-01", 20)
		require.NoError(t, cloud.Reset())
	}
	close(stop)
	for left, until := cap(ended), time.Now().Add(rawmqtt.Patience); left > 0; {
		select {
		case err := <-ended:
			require.NoError(t, err)
			left--
		case <-time.After(50 * time.Millisecond): // one that was still dialling has nobody who takes its place
			require.True(t, time.Now().Before(until), "a connection has outlived resets")
			require.NoError(t, cloud.Reset())
		}
	}
	messages, _ := cloud.Telemetry(contosoHost, "", 0, 0)
	count := len(messages)
	say(t, signIn(t, cloud, dev01()), dev01Events, "one more")
	messages, _ = cloud.Telemetry(contosoHost, "", 0, 0)
	require.Len(t, messages, count+1)
}

func TestSnapshotMovesToAnotherInstance(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	require.NoError(t, cloud.PatchWorld(t.Context(), "pki: {cas: [{name: plant}]}\nazure: {hubs: [{name: contoso, certificates: [{name: plant, ca: plant}], devices: [{deviceId: added}]}]}"))
	c := signIn(t, cloud, dev01())
	say(t, c, dev01Events, "one")
	_, err := cloud.PatchDesired(contosoHost, "dev-01", json.RawMessage(`{"a":1}`))
	require.NoError(t, err)
	require.NoError(t, cloud.SendC2D(contosoHost, "dev-01", fakecloud.C2D{Body: []byte("waits")}))
	inject(t, cloud, fakecloud.Fault{ID: "kept", Match: fakecloud.FaultMatch{Step: "dps.poll"}, Action: fakecloud.FaultAction{Drop: true}, Count: 3})
	file, err := cloud.Snapshot()
	require.NoError(t, err)
	want := deviceIDs(cloud)
	say(t, c, dev01Events, "goes on")

	other := fakecloud.Start(t, fakecloud.WithDataDir(t.TempDir()))
	require.NoError(t, other.PatchWorld(t.Context(), "pki: {cas: [{name: plant}]}"), "another CA of the same name")
	for _, target := range []*fakecloud.Cloud{other, cloud} {
		require.NoError(t, target.Restore(file))
		require.Equal(t, want, deviceIDs(target))
		messages, _ := target.Telemetry(contosoHost, "", 0, 0)
		require.Len(t, messages, 1)
		require.Equal(t, "one", string(messages[0].Body))
		require.Equal(t, "kept", target.Faults()[0].ID)
		target.ClearFaults()
		twin, err := target.Twin(contosoHost, "dev-01")
		require.NoError(t, err)
		require.Contains(t, string(twin), `"a":1`)
		d := signIn(t, target, dev01())
		send(t, d, rawmqtt.Subscribe(1, 1, "devices/dev-01/messages/devicebound/#"))
		wantBytes(t, d, 0x90, 3, 0, 1, 1)
		require.Equal(t, "waits", receive(t, d).Payload())
	}
	wantClosed(t, c)
	require.NoError(t, other.Reset())
	require.NotEqual(t, want, deviceIDs(other), "reset still goes back to the world of the start")
}

func repack(t *testing.T, file []byte, change func(text string) string) []byte {
	t.Helper()
	packed, err := gzip.NewReader(bytes.NewReader(file))
	require.NoError(t, err)
	text, err := io.ReadAll(packed)
	require.NoError(t, err)
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err = w.Write([]byte(change(string(text))))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestMalformedSnapshotsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	file, err := cloud.Snapshot()
	require.NoError(t, err)
	c := signIn(t, cloud, dev01())
	replace := func(old, new string) func(string) string {
		return func(text string) string {
			require.Contains(t, text, old)
			return strings.Replace(text, old, new, 1)
		}
	}
	firstLines := func(n int) func(string) string {
		return func(text string) string { return strings.Join(strings.SplitAfter(text, "\n")[:n], "") }
	}
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"empty":          {nil, "no gzip file"},
		"text":           {[]byte("azure: {}"), "no gzip file"},
		"cut":            {file[:len(file)/2], "unexpected EOF"},
		"damaged":        {append(bytes.Clone(file[:len(file)-8]), make([]byte, 8)...), "checksum"},
		"another thing":  {repack(t, file, func(string) string { return "{}\n" }), "line 1: it does not begin as a snapshot does"},
		"another format": {repack(t, file, replace(`"format":1`, `"format":2`)), "line 1: format 2"},
		"half":           {repack(t, file, firstLines(4)), "stops after line 4"},
		"a line less": {repack(t, file, func(s string) string {
			l := strings.SplitAfter(s, "\n")
			return strings.Join(append(l[:2:2], l[3:]...), "")
		}), "it counts"},
		"unknown key":     {repack(t, file, replace(`"table":`, `"tabel":`)), `line 2: json: unknown field "tabel"`},
		"nothing":         {repack(t, file, replace(`{"table":`, "{}\n"+`{"table":`)), "line 2: it is none of"},
		"unknown table":   {repack(t, file, replace(`{"table":"iothub.hubs"`, `{"table":"iothub.hups"`)), "table iothub.hups: nothing in this version knows it"},
		"unreadable row":  {repack(t, file, replace(`{"table":"iothub.hubs"`, `{"table":"iothub.devices","key":"x","value":"e30x"}`+"\n"+`{"table":"iothub.hubs"`)), `it counts`},
		"malformed fault": {repack(t, file, replace(`{"table":`, `{"fault":{"match":{"step":"lunch"},"action":{}}}`+"\n"+`{"table":`)), "line 2: invalid fault: match.step"},
		"many faults": {repack(t, file, replace(`{"table":`, strings.Repeat(`{"fault":{"match":{"step":"connect"},"action":{"close":true}}}`+"\n", 1001)+`{"table":`)),
			"line 1002: at most 1000 faults"},
		"malformed ca": {repack(t, file, replace(`{"end":true,"lines":`, `{"ca":"x","certificate":"y"}`+"\n"+`{"end":true,"lines":1`)), "it counts"},
	} {
		err := cloud.Restore(tt.file)
		require.ErrorContains(t, err, tt.want, name)
		require.ErrorContains(t, err, "bad snapshot", name)
	}
	say(t, c, dev01Events, "nothing has changed")
}

func TestExpireAndDisconnectOneDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	c, other := signIn(t, cloud, dev01()), signIn(t, cloud, modA())
	require.NoError(t, cloud.Expire("iothub", contosoHost, "dev-01/mod-a"))
	wantClosed(t, other)
	require.Equal(t, "dev-01/mod-a", refused(t, cloud, "HUB-24/expired").Device)
	require.NoError(t, cloud.Disconnect("iothub", contosoHost, "dev-01"))
	wantClosed(t, c)
	require.ErrorContains(t, cloud.Expire("iothub", contosoHost, "dev-0"), "no connection")
	require.Error(t, cloud.Expire("iothub", contosoHost, "dev-9"))
	require.Error(t, cloud.Expire("iotsub", contosoHost, "dev-01"))
}
