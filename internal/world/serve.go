package world

import (
	"fmt"
	"reflect"
)

// Serve holds the flags of `fakecloud serve` by their names. Unset ones are zero or nil.
type Serve struct {
	Profile           string   `yaml:"profile" enum:"default ci strict hostile classroom" doc:"what the instance is for; sets what nothing else does"`
	Data              string   `yaml:"data" doc:"directory of PKI and state, relative to the working directory"`
	Ephemeral         *bool    `yaml:"ephemeral" doc:"keep nothing on disk"`
	Bind              string   `yaml:"bind" doc:"address of the device ports"`
	AdminBind         string   `yaml:"admin-bind" doc:"address of the admin port"`
	LAN               *bool    `yaml:"lan" doc:"device ports on all addresses"`
	Advertise         []string `yaml:"advertise" doc:"further names that clients dial"`
	MQTTSPort         Port     `yaml:"mqtts-port" doc:"MQTT over TLS; default 8883"`
	MQTTPort          Port     `yaml:"mqtt-port" doc:"plain MQTT; default 1883"`
	HTTPSPort         Port     `yaml:"https-port" doc:"HTTPS and WebSocket; default auto"`
	AMQPSPort         Port     `yaml:"amqps-port" doc:"for AMQP over TLS, which no platform speaks yet; default 5671"`
	AMQPPort          Port     `yaml:"amqp-port" doc:"for plain AMQP, likewise; default off"`
	EdgePort          Port     `yaml:"edge-port" doc:"Edge gateway; default 8884"`
	AdminPort         Port     `yaml:"admin-port" doc:"admin API; default 8484"`
	ProxyPort         Port     `yaml:"proxy-port" doc:"HTTP CONNECT and SOCKS5 proxy; default 8485"`
	ServerKey         string   `yaml:"server-key" enum:"vendor ecdsa rsa" doc:"key type of server certificates; default vendor"`
	ServerCA          string   `yaml:"server-ca" doc:"file of a root of one's own for server certificates"`
	ServerCAKey       string   `yaml:"server-ca-key" doc:"key file of server-ca"`
	RootUnconstrained *bool    `yaml:"root-unconstrained" doc:"server root without name constraints"`
	Seed              *uint64  `yaml:"seed" doc:"generated ids follow from it"`
	LogFormat         string   `yaml:"log-format" enum:"text json" doc:"default text"`
	LogLevel          string   `yaml:"log-level" enum:"debug info warn error" doc:"default info"`
	KeyLog            string   `yaml:"keylog" doc:"file for TLS secrets, for Wireshark"`
	AllowOutbound     []string `yaml:"allow-outbound" doc:"hosts, or host:port, that webhooks and forwarding may call besides loopback"`
	Adopt             *bool    `yaml:"adopt" doc:"let every refused client in from its next attempt on, where that can be"`
	AdminToken        string   `yaml:"admin-token" world:"secret" doc:"bearer token of the admin API"`
	ViewerToken       string   `yaml:"viewer-token" world:"secret" doc:"read-only bearer token of the admin API"`
}

// Port is a TCP port in decimal, 0 for any free one, "auto" or "off". Empty is unset.
type Port string

// Flag is one flag of `fakecloud serve` with its values in order.
type Flag struct {
	Name   string
	Values []string
}

// Flags lists what is set, under the names of the command line.
func (s Serve) Flags() []Flag {
	var flags []Flag
	v := reflect.ValueOf(s)
	for _, f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.index)
		if value.IsZero() {
			continue
		}
		if value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		flag := Flag{Name: f.key}
		if list, ok := value.Interface().([]string); ok {
			flag.Values = append(flag.Values, list...)
		} else {
			flag.Values = []string{fmt.Sprint(value.Interface())}
		}
		flags = append(flags, flag)
	}
	return flags
}
