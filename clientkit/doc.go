// Package clientkit holds what its device clients have in common: the state of a connection, where time and
// chance come from, and how packets are shown. The clients are in packages of their own: clientkit/azure for
// DPS and IoT Hub, clientkit/mindsphere, clientkit/iotda.
package clientkit
