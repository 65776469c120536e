package iotda_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
)

// Which devices a filter picks: both ends of the period are in it, and conditions are joined by and.
func TestFindDevices(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	register(t, s, "node1", "")
	d, err := s.Device(instance, "demo_node1")
	require.NoError(t, err)
	made := d.Created.Truncate(time.Second)
	for _, c := range []struct {
		name   string
		filter iotda.DeviceFilter
		found  bool
	}{
		{"all", iotda.DeviceFilter{}, true},
		{"from its second", iotda.DeviceFilter{From: made}, true},
		{"to its second", iotda.DeviceFilter{To: made}, true},
		{"later", iotda.DeviceFilter{From: made.Add(time.Second)}, false},
		{"earlier", iotda.DeviceFilter{To: made.Add(-time.Second)}, false},
		{"its product and node", iotda.DeviceFilter{ProductID: d.ProductID, NodeID: d.NodeID}, true},
		{"two fields of one value", iotda.DeviceFilter{ProductID: d.ProductID, AppID: d.ProductID}, false},
		{"a device that connects itself is its own gateway", iotda.DeviceFilter{GatewayID: d.DeviceID}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := s.FindDevices(instance, c.filter)
			require.NoError(t, err)
			ids := []string{}
			for _, d := range all {
				ids = append(ids, d.DeviceID)
			}
			if c.found {
				require.Contains(t, ids, d.DeviceID)
			} else {
				require.NotContains(t, ids, d.DeviceID)
			}
		})
	}
	_, err = s.FindDevices(instance, iotda.DeviceFilter{From: d.Created, To: d.Created.Add(-time.Second)})
	var e *iotda.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, iotda.CodePeriod, e.Code)
}
