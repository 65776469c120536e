package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
)

// upgradeTask uploads a package, and orders the default world's device to install it.
func upgradeTask(t *testing.T, cloud *fakecloud.Cloud, kind, bucket, content string) (task string) {
	t.Helper()
	require.Equal(t, http.StatusOK, ask(t, cloud, via{name: iotdaAPI}, "PUT /obs/"+bucket+"/pump-2.bin", content).StatusCode)
	made := iotdaSays(t, cloud, "POST", "/ota-upgrades/packages", `{"package_type":"`+kind+`Package","product_id":"demo","version":"v2","file_location":{"obs_location":{"bucket_name":"`+bucket+`","object_key":"pump-2.bin"}}}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	var ids struct {
		Package string `json:"package_id"`
		Task    string `json:"task_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.body), &ids))
	ordered := iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"to-v2","task_type":"`+kind+`Upgrade","targets":["demo_node1"],"document":{"package_id":"`+ids.Package+`"}}`)
	require.Equal(t, http.StatusCreated, ordered.StatusCode, ordered.body)
	require.NoError(t, json.Unmarshal([]byte(ordered.body), &ids))
	return ids.Task
}

// The kit's device installs what the application orders: it is asked for its version, downloads the package by
// the address or by the token that it is given, checks it, reports, and is asked again.
func TestIoTDAKitUpgrades(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, bucket string }{{"firmware", "packages"}, {"software", "packages"}, {"firmware", "iotda-packages"}, {"software", "iotda-packages"}} {
		t.Run(c.kind+" of "+c.bucket, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			ctx := patience(t)
			d := node(t, ctx, kitNode(t, cloud))
			var version atomic.Value
			version.Store("v1")
			orders, results := make(chan iotda.Upgrade, 1), make(chan error, 1)
			require.NoError(t, d.OnUpgrade(func() iotda.Versions {
				return iotda.Versions{Software: version.Load().(string), Firmware: version.Load().(string)}
			}, func(ctx context.Context, u iotda.Upgrade) {
				orders <- u
				results <- install(ctx, d, u, downloader(t, cloud), func() { version.Store(u.Version) })
			}))
			task := upgradeTask(t, cloud, c.kind, c.bucket, "version 2 of it")
			u := next(t, ctx, orders)
			require.Equal(t, c.kind == "firmware", u.Firmware)
			require.Equal(t, "v2", u.Version)
			require.Equal(t, c.bucket == "iotda-packages", u.AccessToken != "")
			require.NoError(t, next(t, ctx, results))
			awaitTaken(t, ctx, cloud, `"event_type":"version_report"`, 2)
			require.Contains(t, iotdaSays(t, cloud, "GET", "/batchtasks/"+task, "").body, `"task_details":[{"target":"demo_node1","status":"Success"`)
			short := map[string]string{"firmware": "fw", "software": "sw"}[c.kind]
			require.Contains(t, iotdaSays(t, cloud, "GET", "/devices/demo_node1", "").body, `"`+short+`_version":"v2"`)
		})
	}
}

// install downloads what was ordered, reports half and all of it, and switches to it.
func install(ctx context.Context, d *iotda.Device, u iotda.Upgrade, client *http.Client, switchOver func()) error {
	var got bytes.Buffer
	if err := u.Download(ctx, client, &got); err != nil {
		return err
	}
	if got.String() != "version 2 of it" {
		return fmt.Errorf("downloaded %q", got.String())
	}
	if err := d.ReportProgress(ctx, iotda.Progress{Percent: 50, Version: "v1"}); err != nil {
		return err
	}
	switchOver()
	return d.ReportProgress(ctx, iotda.Progress{Result: iotda.UpgradeOK, Percent: 100, Version: u.Version})
}

// downloader is a client that reaches the cloud by its names and trusts it.
func downloader(t *testing.T, cloud *fakecloud.Cloud) *http.Client {
	t.Helper()
	transport := cloud.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// awaitTaken waits until the cloud has acknowledged the n-th of the device's events with this text.
func awaitTaken(t *testing.T, ctx context.Context, cloud *fakecloud.Cloud, text string, n int) {
	t.Helper()
	sent, err := cloud.Await(ctx, fakecloud.Filter{Device: node1, Kind: "publish", Match: func(e *fakecloud.Event) bool {
		return e.Dir == "in" && strings.Contains(string(e.Payload), text)
	}}, n)
	require.NoError(t, err)
	_, err = cloud.Await(ctx, fakecloud.Filter{Device: node1, Kind: "puback", Since: sent[n-1].Seq}, 1)
	require.NoError(t, err)
}

// A package that is not the one that was ordered is not installed, and the task fails with the device's reason.
func TestIoTDAKitUpgradeFails(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	d := node(t, ctx, kitNode(t, cloud))
	results := make(chan error, 1)
	require.NoError(t, d.OnUpgrade(func() iotda.Versions { return iotda.Versions{Firmware: "v1"} }, func(ctx context.Context, u iotda.Upgrade) {
		u.Sign = strings.Repeat("0", 64) // as if the package had been changed on its way
		err := u.Download(ctx, downloader(t, cloud), &bytes.Buffer{})
		if told := d.ReportProgress(ctx, iotda.Progress{Result: iotda.UpgradeCheckFailed, Percent: 30, Version: "v1"}); told != nil {
			err = told
		}
		results <- err
	}))
	task := upgradeTask(t, cloud, "firmware", "packages", "version 2 of it")
	require.ErrorIs(t, next(t, ctx, results), iotda.ErrPackage)
	require.Contains(t, iotdaSays(t, cloud, "GET", "/batchtasks/"+task, "").body, `"output":"the package failed its check"`)
}
