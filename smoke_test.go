package fakecloud_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

func TestStartAndClose(t *testing.T) {
	cloud := fakecloud.Start(t, fakecloud.WithSeed(1))
	require.NotZero(t, cloud.Ports().MQTTS)
}
